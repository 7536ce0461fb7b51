"""Reads the tokenizers around M3D-LaMed: LLaMA-2's, Phi-3's and LLaMA-3's of the language model, BERT's of M3D-CLIP."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece

from harness.errors import DataError
from reference_model.convert.checkpoint_files import read_object
from reference_model.convert.tokenizer import (
    ADDED,
    FAST,
    SENTENCEPIECE,
    FoundTokenizer,
    read_fast,
    read_sentencepiece,
    sentencepiece_backend,
    tokenizer_file,
)
from reference_model.inputs.tokenizers import END, START, SavedTokenizer

SETTINGS, WORD_PIECES = "tokenizer_config.json", "vocab.txt"
# M3D trains LLaMA-3 to end its answers with id 128001, whatever the files of the model call the end of a text.
LLAMA_3_END = "<|end_of_text|>"
# Fields of `transformers.AddedToken` that a tokenizer of Hugging Face stores.
_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


def read_language_tokenizer(place: Path, base: int) -> FoundTokenizer:
    """Return the tokenizer of a language model with the tokens that belong to it, such as Phi-3's `<|end|>`.

    Args:
        place: A file `tokenizer.model` or `tokenizer.json`, or a folder with one of them; `tokenizer.model` goes first.
        base: The expected number of its entries; tokens with larger ids are listed as added ones.

    Raises:
        DataError: There is no tokenizer, it cannot be read, or has another number of entries.
    """
    file = tokenizer_file(place, SENTENCEPIECE, FAST)
    document = read_object(file) if file.suffix == ".json" else {}
    settings = _settings(file)
    tokens = dict(_added(file, document, settings))
    if document and not _spells_bytes(document):
        backend = _kept(file, document, base)
    else:
        pairs = read_fast(file)[0] if document else read_sentencepiece(file)
        # As in transformers 4.39, with which M3D is trained: the mode is legacy unless the settings say otherwise.
        backend = sentencepiece_backend(pairs, legacy=settings.get("legacy") is not False)
        backend.add_tokens([tokens[token] for token in sorted(tokens) if token < base])
    own = {token: added.content for token, added in tokens.items() if token < base}
    _check_entries(file, backend, base, own)
    start, end = _marks(settings, backend)
    for mark in (start, end):
        if backend.token_to_id(mark) is None:
            raise DataError(f"{file}: expected an entry for the token {mark}, found none")
    return FoundTokenizer(
        saved=SavedTokenizer(definition=str(backend.to_str()), start=start, end=end),
        file=file,
        added={added.content: token for token, added in tokens.items() if token >= base},
    )


def read_text_tokenizer(place: Path, entries: int) -> FoundTokenizer:
    """Return BERT's tokenizer.

    Args:
        place: A file `tokenizer.json` or `vocab.txt`, a folder with one of them, or a file of weights in that folder.
        entries: The expected number of its entries.

    Raises:
        DataError: There is no tokenizer, it cannot be read, is not BERT's, or has another number of entries.
    """
    inside = place.is_file() and place.name not in (FAST, WORD_PIECES)
    file = tokenizer_file(place.parent if inside else place, FAST, WORD_PIECES, option="--text-tokenizer")
    backend = _kept(file, read_object(file), entries) if file.suffix == ".json" else _word_pieces(file)
    marks = ("[CLS]", "[SEP]", "[PAD]", "[UNK]")
    if lacking := [mark for mark in marks if backend.token_to_id(mark) is None]:
        raise DataError(f"{file}: expected the tokens {', '.join(marks)} of BERT, found no {', '.join(lacking)}")
    _check_entries(file, backend, entries, {})
    saved = SavedTokenizer(definition=str(backend.to_str()), start=marks[0], end=marks[1])
    return FoundTokenizer(saved=saved, file=file, added={})


def _settings(file: Path) -> Mapping[str, Any]:
    beside = file.with_name(SETTINGS)
    return read_object(beside) if beside.is_file() else {}


def _spells_bytes(document: Mapping[str, Any]) -> bool:
    """Return whether characters without a piece become byte tokens, as in LLaMA-2's tokenizer and unlike LLaMA-3's."""
    model = document.get("model")
    return isinstance(model, Mapping) and bool(model.get("byte_fallback"))


def _added(file: Path, document: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[tuple[int, AddedToken]]:
    """Yield the added tokens by id; the last of several with one id counts."""
    listed = file.with_name(ADDED)
    try:
        if listed.is_file():
            for content, token in read_object(listed).items():
                yield int(token), AddedToken(content, special=True, normalized=False)
        for described in document.get("added_tokens", ()):
            yield int(described["id"]), _token(described)
        for token, described in settings.get("added_tokens_decoder", {}).items():
            yield int(token), _token(described)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: expected added tokens with contents and ids beside it, found {error!r}") from error


def _token(described: Mapping[str, Any]) -> AddedToken:
    return AddedToken(described["content"], **{flag: bool(described.get(flag)) for flag in _FLAGS})


def _kept(file: Path, document: Mapping[str, Any], base: int) -> Tokenizer:
    """Return the tokenizer of a `tokenizer.json` as it is, but for tokens behind the base and the length of texts."""
    try:
        tokens = [token for token in document.get("added_tokens", ()) if int(token["id"]) < base]
        # Training scripts save the padding and the truncation that they used last.
        kept = {**document, "added_tokens": tokens, "padding": None, "truncation": None}
        return Tokenizer.from_str(json.dumps(kept))
    except Exception as error:  # `tokenizers` raises nothing more special
        raise DataError(f"{file}: expected a tokenizer of Hugging Face's format: {error}") from error


def _word_pieces(file: Path) -> Tokenizer:
    """Return BERT's tokenizer for a list of pieces, one a line."""
    try:
        pieces = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from error
    ids = {piece: index for index, piece in enumerate(pieces)}
    backend = Tokenizer(WordPiece(ids, unk_token="[UNK]"))
    backend.add_special_tokens([piece for piece in pieces if piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")])
    backend.normalizer = normalizers.BertNormalizer(lowercase=_settings(file).get("do_lower_case", True))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    if "[CLS]" in ids and "[SEP]" in ids:
        backend.post_processor = processors.BertProcessing(("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"]))
    return backend


def _check_entries(file: Path, backend: Tokenizer, base: int, own: Mapping[int, str]) -> None:
    """Check that a tokenizer has the ids below the base and no others, and its added tokens the ids of their files."""
    vocabulary: dict[str, int] = backend.get_vocab(with_added_tokens=True)
    if sorted(vocabulary.values()) != list(range(base)):
        raise DataError(f"{file}: expected {base} entries, as many as the preset has, found {len(vocabulary)}")
    for token, content in own.items():
        if vocabulary.get(content) != token:
            raise DataError(f"{file}: added token {content}: expected id {vocabulary.get(content)}, found {token}")


def _marks(settings: Mapping[str, Any], backend: Tokenizer) -> tuple[str, str]:
    """Return the tokens with which M3D begins a text and ends an answer."""
    named = [settings.get(key) for key in ("bos_token", "eos_token")]
    start, end = (mark.get("content") if isinstance(mark, Mapping) else mark for mark in named)
    if backend.token_to_id(LLAMA_3_END) is not None:
        end = LLAMA_3_END
    return str(start or START), str(end or END)

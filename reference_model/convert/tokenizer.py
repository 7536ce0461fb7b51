"""Turns the LLaMA tokenizer of a checkpoint into a `tokenizer.json` that splits texts like the slow tokenizer."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from harness.errors import DataError
from reference_model.convert.checkpoint_files import read_object
from reference_model.inputs.tokenizers import END, START, UNKNOWN, SavedTokenizer

SENTENCEPIECE, FAST, ADDED = "tokenizer.model", "tokenizer.json", "added_tokens.json"
# SentencePiece's character for a space.
BLANK = "▁"

# Field numbers of `sentencepiece_model.proto`. The package `sentencepiece` does not suffice: its processor exposes
# neither the model type nor the normaliser, and its parser accepts invalid UTF-8 and has one message for all torn
# files.
_PIECES, _TRAINER, _NORMALIZER = 1, 2, 3
_TEXT, _SCORE, _KIND = 1, 2, 3
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6
_MODEL_TYPE, _BPE = 3, 2
_CHARACTER_MAP, _DUMMY_PREFIX, _EXTRA_BLANKS = 2, 3, 4

# Wire types of the protocol buffer format, without its two deprecated ones for groups.
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5

Value = int | bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BytePairs:
    """A vocabulary of byte pair encoding.

    Attributes:
        ids: The id of every piece.
        merges: Pairs of pieces that are joined, in order of priority.
    """

    ids: Mapping[str, int]
    merges: tuple[tuple[str, str], ...]


def read_sentencepiece(path: Path) -> BytePairs:
    """Return the vocabulary of a SentencePiece model as LLaMA has it.

    Raises:
        DataError: The file is torn, is not a byte pair encoding, normalises characters, or has pieces of other kinds.
    """
    try:
        data = path.read_bytes()
        message = list(_fields(data))
        pieces = [_piece(value) for number, value in message if number == _PIECES]
        parts = {number: dict(_fields(_bytes(value))) for number, value in message if number in (_TRAINER, _NORMALIZER)}
    except (OSError, IndexError, TypeError, ValueError, struct.error) as error:
        raise DataError(f"{path}: expected a SentencePiece model, which cannot be read as one: {error}") from error
    _check(path, pieces, parts.get(_TRAINER, {}), parts.get(_NORMALIZER, {}))
    ids = {text: index for index, (text, _, _) in enumerate(pieces)}
    scores = {text: score for text, score, kind in pieces if kind == _NORMAL}
    return BytePairs(ids=ids, merges=merges_of(scores, ids))


def merges_of(scores: Mapping[str, float], ids: Mapping[str, int]) -> tuple[tuple[str, str], ...]:
    """Return every pair of pieces that joins to a third, sorted by the score of the third, then by the ids of the pair.

    Args:
        scores: Scores of the pieces that a merge may make; SentencePiece first joins the pair of the highest score.
        ids: Ids of all pieces.
    """
    found = [
        (-score, ids[text[:cut]], ids[text[cut:]], (text[:cut], text[cut:]))
        for text, score in scores.items()
        for cut in range(1, len(text))
        if text[:cut] in ids and text[cut:] in ids
    ]
    return tuple(pair for *_, pair in sorted(found))


def _check(
    path: Path, pieces: Sequence[tuple[str, float, int]], trainer: Mapping[int, Value], normalizer: Mapping[int, Value]
) -> None:
    if trainer.get(_MODEL_TYPE) != _BPE:
        raise DataError(
            f"{path}: expected byte pair encoding, model type {_BPE}, found {trainer.get(_MODEL_TYPE, 1)!r}"
        )
    if normalizer.get(_CHARACTER_MAP) or not normalizer.get(_DUMMY_PREFIX, 1) or normalizer.get(_EXTRA_BLANKS, 1):
        raise DataError(f"{path}: expected texts to be split as they stand, with a blank before them, as LLaMA does")
    kinds = {kind for *_, kind in pieces}
    if not kinds <= {_NORMAL, _UNKNOWN, _CONTROL, _BYTE}:
        raise DataError(f"{path}: expected normal, unknown, control and byte pieces, found kinds {sorted(kinds)}")


def _piece(value: Value) -> tuple[str, float, int]:
    """Return the text, score and kind of a piece."""
    fields = dict(_fields(_bytes(value)))
    score = struct.unpack("<f", _bytes(fields.get(_SCORE, b"\0\0\0\0")))[0]
    return _bytes(fields.get(_TEXT, b"")).decode("utf-8"), score, int(fields.get(_KIND, _NORMAL))


def _bytes(value: Value) -> bytes:
    if isinstance(value, int):
        raise TypeError("a number where bytes should be")
    return value


def _fields(data: bytes) -> Iterator[tuple[int, Value]]:
    """Yield the number and value of each field of a protocol buffer message."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        length = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}.get(wire)
        if length is None:
            if wire != _LENGTH:
                raise TypeError(f"a field of wire type {wire}")
            length, place = _varint(data, place)
        if place + length > len(data):
            raise IndexError("it ends in the middle of a field")
        yield number, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a varint, seven bits per byte with the lowest first, and the offset after it."""
    number = shift = 0
    while True:
        byte = data[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTokenizer:
    """The tokenizer that was found beside a checkpoint.

    Attributes:
        saved: The tokenizer with only its base vocabulary.
        file: The file that it was read from.
        added: Ids of the tokens added after the base vocabulary.
    """

    saved: SavedTokenizer
    file: Path
    added: Mapping[str, int]


def read_tokenizer(place: Path, base: int) -> FoundTokenizer:
    """Return the tokenizer in a folder or file.

    Args:
        place: A file `tokenizer.model` or `tokenizer.json`, or a folder with one of them; `tokenizer.model` goes first.
        base: The expected number of entries of its vocabulary, added tokens not counted.

    Raises:
        DataError: There is no tokenizer, it cannot be read, is not of LLaMA's kind, or has another number of entries.
    """
    file = tokenizer_file(place, SENTENCEPIECE, FAST)
    pairs, added = read_fast(file) if file.suffix == ".json" else (read_sentencepiece(file), {})
    if sorted(pairs.ids.values()) != list(range(base)):
        raise DataError(f"{file}: expected {base} entries, the base_vocabulary of the preset, found {len(pairs.ids)}")
    missing = [token for token in (UNKNOWN, START, END) if token not in pairs.ids]
    if missing:
        raise DataError(f"{file}: expected the tokens {UNKNOWN}, {START} and {END}, found no {', '.join(missing)}")
    beside = file.with_name(ADDED)
    if beside.is_file():
        added = {**added, **read_object(beside)}
    saved = SavedTokenizer(definition=definition_of(pairs), start=START, end=END)
    return FoundTokenizer(saved=saved, file=file, added={name: id for name, id in added.items() if id >= base})


def definition_of(pairs: BytePairs) -> str:
    """Return the text of a `tokenizer.json` for LLaMA's pieces as LLaVA-1.5 and MedPLIB are trained with them."""
    return str(sentencepiece_backend(pairs, legacy=True).to_str())


def sentencepiece_backend(pairs: BytePairs, *, legacy: bool) -> Tokenizer:
    """Return a tokenizer of LLaMA's pieces; characters without a piece become byte tokens.

    Args:
        pairs: The pieces.
        legacy: The mode of transformers' slow tokenizer: whether every text between two special tokens starts with a
            space, or only one at the very beginning.
    """
    model = BPE(vocab=dict(pairs.ids), merges=list(pairs.merges), unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    if legacy:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=BLANK, prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def tokenizer_file(place: Path, *names: str, option: str = "--tokenizer") -> Path:
    """Return the first of some files that a folder has, or `place` itself if it is a file.

    Raises:
        DataError: The folder has none of them; `option` is what the user may name another folder with.
    """
    if place.is_file():
        return place
    for name in names:
        if (place / name).is_file():
            return place / name
    raise DataError(f"{place}: expected {' or '.join(names)}, found neither; name the tokenizer's folder with {option}")


def read_fast(file: Path) -> tuple[BytePairs, dict[str, int]]:
    """Return the vocabulary and the added tokens of a `tokenizer.json`."""
    document = read_object(file)
    try:
        model = document["model"]
        ids = {str(piece): int(id) for piece, id in model["vocab"].items()}
        # A merge is a string or, since tokenizers 0.20, a list.
        pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
        merges = tuple((str(first), str(second)) for first, second in pairs)
        added = {str(token["content"]): int(token["id"]) for token in document.get("added_tokens", ())}
        spelt = bool(model["byte_fallback"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: expected pieces and merges of byte pair encoding, found no {error}") from error
    strange = [pair for pair in merges if not {*pair, "".join(pair)} <= ids.keys()]
    if strange or not spelt:
        found = f"the merge {strange[0]} of what is no piece" if strange else "one without bytes to fall back on"
        raise DataError(f"{file}: expected LLaMA's tokenizer, found {found}")
    return BytePairs(ids=ids, merges=merges), added

"""LLaMA's tokenizer from the files of a checkpoint, as a `tokenizer.json` that splits texts as its slow one does."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer, decoders, normalizers
from tokenizers.models import BPE

from harness.errors import DataError
from harness.records import Json
from reference_model.convert.sentencepiece import BytePairs, read_sentencepiece
from reference_model.convert.stored import read_object
from reference_model.tokenizers import END, START, UNKNOWN, SavedTokenizer

SENTENCEPIECE, FAST, ADDED = "tokenizer.model", "tokenizer.json", "added_tokens.json"
BLANK = "▁"


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundTokenizer:
    """What stands beside a checkpoint.

    Attributes:
        saved: The base vocabulary.
        file: It was read from.
        added: Ids of the tokens that were added behind it.
    """

    saved: SavedTokenizer
    file: Path
    added: Mapping[str, int]


def read_tokenizer(place: Path, base: int) -> FoundTokenizer:
    """Return the tokenizer in a folder or file.

    Args:
        place: Folder with `tokenizer.model` or `tokenizer.json`, the former read where both are there; or one of these.
        base: Entries that its vocabulary should have, added tokens not counted.
    Raises:
        DataError: There is none, it cannot be read, is not LLaMA's kind, or has another number of entries.
    """
    file = _file(place)
    pairs, added = _read_fast(file) if file.suffix == ".json" else (read_sentencepiece(file), {})
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
    """Return the text of a `tokenizer.json` for LLaMA's pieces.

    Every text between two special tokens begins with a blank, as in the slow tokenizer's legacy mode, which LLaVA-1.5
    and MedPLIB are trained with. What is no piece is spelt in bytes.
    """
    model = BPE(vocab=dict(pairs.ids), merges=list(pairs.merges), unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return str(tokenizer.to_str())


def _file(place: Path) -> Path:
    if place.is_file():
        return place
    for name in (SENTENCEPIECE, FAST):
        if (place / name).is_file():
            return place / name
    raise DataError(
        f"{place}: expected {SENTENCEPIECE} or {FAST}, found neither; name the tokenizer's folder with --tokenizer"
    )


def _read_fast(file: Path) -> tuple[BytePairs, dict[str, int]]:
    """Return vocabulary and added tokens of a `tokenizer.json`."""
    document = read_object(file)
    try:
        model = document["model"]
        ids = {str(piece): int(id) for piece, id in model["vocab"].items()}
        merges = tuple(_pair(merge) for merge in model["merges"])
        added = {str(token["content"]): int(token["id"]) for token in document.get("added_tokens", ())}
        spelt = bool(model["byte_fallback"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: expected pieces and merges of byte pair encoding, found no {error}") from error
    strange = [pair for pair in merges if not {*pair, "".join(pair)} <= ids.keys()]
    if strange or not spelt:
        found = f"the merge {strange[0]} of what is no piece" if strange else "one without bytes to fall back on"
        raise DataError(f"{file}: expected LLaMA's tokenizer, found {found}")
    return BytePairs(ids=ids, merges=merges), added


def _pair(merge: Json) -> tuple[str, str]:
    first, second = merge.split(" ") if isinstance(merge, str) else merge
    return str(first), str(second)

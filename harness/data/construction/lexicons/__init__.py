"""Word lists of construction as packaged data files: each says its source, its licence and its version."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.records import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """An anatomical structure.

    Attributes:
        name: Its name in the lexicon.
        regions: Parts of the body that it lies in.
        words: Its names in English, lower case, its own first.
        adjectives: English words for what belongs to it: `hepatic`.
        zh: Its names in Chinese.
        part_of: Names of the structures that contain it.
    """

    name: str
    regions: tuple[str, ...]
    words: tuple[str, ...]
    adjectives: tuple[str, ...]
    zh: tuple[str, ...]
    part_of: tuple[str, ...]


def read_lexicon(name: str) -> Mapping[str, Json]:
    """Return a packaged lexicon with its `source`, `licence` and `version`."""
    content: Mapping[str, Json] = json.loads((Path(__file__).parent / f"{name}.json").read_text(encoding="utf-8"))
    return content


def lexicon_texts(*names: str) -> dict[str, str]:
    """Return the content of lexicons by `lexicons/NAME`, for the digest of a construction's data."""
    folder = Path(__file__).parent
    return {f"lexicons/{name}": (folder / f"{name}.json").read_text(encoding="utf-8") for name in names}


@cache
def structures() -> Mapping[str, Structure]:
    """Return the anatomical structures by their names."""
    return {
        one["name"]: Structure(
            name=one["name"],
            regions=tuple(one["regions"]),
            words=(one["name"], *one["words"]),
            adjectives=tuple(one["adjectives"]),
            zh=tuple(one["zh"]),
            part_of=tuple(one["part_of"]),
        )
        for one in read_lexicon("anatomy")["structures"]
    }


@cache
def structures_by_words() -> Mapping[tuple[str, ...], tuple[Structure, bool]]:
    """Return (structure, whether it is named by an adjective) by the English words of each of its names."""
    found: dict[tuple[str, ...], tuple[Structure, bool]] = {}
    for structure in structures().values():
        for word in structure.words:
            found.setdefault(tuple(word.split()), (structure, False))
        for word in structure.adjectives:
            found.setdefault(tuple(word.split()), (structure, True))
    return found


@cache
def particles(name: str) -> frozenset[str]:
    """Return one of the lists of small words that the checks read sentences with."""
    return frozenset(read_lexicon("particles")["lists"][name])

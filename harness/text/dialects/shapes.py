"""What a reply places, in the numbers that it writes: the common result of all dialects' grammars."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from harness.records import Json

NUMBER = r"[-+]?(?:\d{1,9}(?:\.\d{1,17})?|\.\d{1,17})"
# Innermost brackets with at least one digit: `[1, 2, 3, 4]` of `[[1, 2, 3, 4], [5, 6, 7, 8]]`.
_BRACKETS = re.compile(r"\[([^\[\]{}()<>]*)\]")
_GROUP = re.compile(rf"\s*{NUMBER}\s*(?:,\s*{NUMBER}\s*)*")
# Ends of sentences, line breaks, and what tags and brackets of other things are made of.
_APART = re.compile(r"[.!?。；;]\s+(?=[^\W\d_a-z])|[\n<>\[\]{}|]")
_LINK = re.compile(r"\A(?:and|or|und|et|y|及|和)\b\s*", re.IGNORECASE)

Numbers = tuple[float, ...]
Kind = Literal["box", "point", "polygon", "mask", "picture", "file", "phrase"]


@dataclass(frozen=True, slots=True)
class Shape:
    """One thing that a reply places or names.

    Attributes:
        kind: `box`, `point` and `polygon` have numbers; `mask` has run lengths, `picture` probabilities within the
            box of its numbers, and `file` the name of a file; a `phrase` names a mask that the model gives beside its
            words.
        numbers: Corners of a box, a point, or the first part of a polygon, as written.
        label: Its name in the reply; empty if it has none.
        score: Its confidence; None if the reply gives none.
        parts: Further parts of a polygon.
        value: The JSON value of a mask, a picture or a file.
        span: (start, end) of a phrase's name in the reply; None if it has no name.
    """

    kind: Kind
    numbers: Numbers = ()
    label: str = ""
    score: float | None = None
    parts: tuple[Numbers, ...] = ()
    value: Json = None
    span: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """All that a reply holds.

    Attributes:
        shapes: In the order of the reply.
        none: The reply says in its dialect that there is nothing.
    """

    shapes: Sequence[Shape] = ()
    none: bool = False


@dataclass(frozen=True, slots=True)
class Brackets:
    """One innermost pair of square brackets that holds nothing but numbers.

    Attributes:
        groups: The numbers between semicolons.
        start, end: Where the brackets begin and end in the reply.
    """

    groups: tuple[Numbers, ...]
    start: int
    end: int


def bracketed_numbers(text: str) -> list[Brackets]:
    """Return every innermost `[n, n; n, n]` of a text, in order; brackets that hold anything else are left out.

    Of brackets that are cut off by the end of the text the groups up to the last semicolon count.
    """
    found = []
    for match in _BRACKETS.finditer(text):
        groups = match[1].split(";")
        if all(_GROUP.fullmatch(group) for group in groups):
            numbers = tuple(tuple(map(float, group.split(","))) for group in groups)
            found.append(Brackets(numbers, match.start(), match.end()))
    start = text.rfind("[")
    if start > text.rfind("]"):
        groups = text[start + 1 :].split(";")[:-1]
        if groups and all(_GROUP.fullmatch(group) for group in groups):
            numbers = tuple(tuple(map(float, group.split(","))) for group in groups)
            found.append(Brackets(numbers, start, len(text)))
    return found


def words_before(text: str, start: int, previous: int) -> str:
    """Return the words that lead up to a place in a text, as the name of what stands there.

    Args:
        text: The reply.
        start: The place.
        previous: Where the thing before it ends, or 0.
    """
    words = text[max(previous, start - 200) : start]
    words = _APART.split(words)[-1].strip(" \t\n.,;:，。；：、–-`*")
    return _LINK.sub("", words, count=1)

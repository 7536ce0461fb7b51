"""Words and clauses of a text, for checks that ask what a sentence says about a structure."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from harness.data.construction.lexicons import Structure, particles, structures, structures_by_words
from harness.text.characters import plain_characters

CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[^\W_{CJK}]+(?:'[^\W_{CJK}]+)?|[{CJK}]+|[.;:!?,，。；：！？、\n]")
_HAS_CJK = re.compile(f"[{CJK}]")
# A denial further back belongs to another part of the clause.
_BEFORE, _BEHIND = 8, 6


@dataclass(frozen=True, slots=True)
class Mention:
    """A structure that a text names.

    Attributes:
        structure: The structure.
        start, end: Its words among the tokens of the text, half-open.
        adjective: Whether an adjective names it: "hepatic".
        denied: Whether the clause says that it is not there.
    """

    structure: Structure
    start: int
    end: int
    adjective: bool
    denied: bool


@lru_cache(maxsize=256)
def tokens(text: str) -> tuple[str, ...]:
    """Return the words and marks of a text in lower case; a run of Chinese characters is one token."""
    return tuple(_TOKEN.findall(plain_characters(text).lower()))


def count_words(text: str) -> int:
    """Return the number of words; a Chinese character is one word."""
    return sum(len(token) if _HAS_CJK.match(token) else token[0].isalnum() for token in tokens(text))


def denied(found: Sequence[str], start: int, end: int) -> bool:
    """Return whether the clause around found[start:end] says that this is not there."""
    for place in range(start - 1, max(-1, start - 1 - _BEFORE), -1):
        token = found[place]
        if token in particles("clause_ends"):
            break
        # "No, the liver is enlarged." answers a question, and denies nothing of the liver.
        if token == "," and place and found[place - 1] in ("no", "not") and (place < 2 or found[place - 2] in ".!?"):
            break
        if token in particles("denials"):
            return True
    for token in found[end : end + _BEHIND]:
        if token in particles("clause_ends") or token == ",":
            break
        if token in particles("denials_behind"):
            return True
    return False


def mentions(text: str) -> Iterator[Mention]:
    """Yield the structures that a text names, in its order; of overlapping names the longest."""
    found, table, place = tokens(text), structures_by_words(), 0
    longest = _longest_name()
    while place < len(found):
        for length in range(min(longest, len(found) - place), 0, -1):
            known = table.get(tuple(found[place : place + length]))
            if known is not None:
                end = place + length
                yield Mention(known[0], place, end, known[1], denied(found, place, end))
                place = end
                break
        else:
            if _HAS_CJK.match(found[place]):
                yield from _chinese(found[place], place)
            place += 1


@cache
def _longest_name() -> int:
    return max(map(len, structures_by_words()))


@cache
def _chinese_names() -> tuple[re.Pattern[str], dict[str, Structure]]:
    names = {name: structure for structure in structures().values() for name in structure.zh}
    # The longest first: the adrenal gland's name begins with the kidney's.
    return re.compile("|".join(sorted(map(re.escape, names), key=len, reverse=True))), names


def _chinese(run: str, place: int) -> Iterator[Mention]:
    pattern, names = _chinese_names()
    for match in pattern.finditer(run):
        missing = any(word in run[: match.start()] for word in particles("zh_denials"))
        yield Mention(names[match[0]], place, place + 1, False, missing)


def contains(text: str, name: str) -> bool:
    """Return whether a text has the words of a name in a row, also with a plural -s; never for an empty name."""
    found, wanted = tokens(text), tokens(name)
    if not wanted:
        return False
    if _HAS_CJK.search(name):
        return name.lower() in plain_characters(text).lower()
    *first, last = wanted
    ends = {last, f"{last}s", f"{last}es"}
    size = len(wanted)
    return any(
        found[place + size - 1] in ends and list(found[place : place + size - 1]) == first
        for place in range(len(found) - size + 1)
    )

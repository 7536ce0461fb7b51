"""Our own rules for replies to questions with options: only letters that exist, never a guess.

The first step that fires decides. Options whose texts are the same, ends trimmed, are one answer; a step that names two
answers leaves the reply unread, as does no step.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from functools import cache

from harness.text.choices.reading import ChoiceReading, lettered
from harness.text.normalisers import standard_normalise

_BETWEEN = r"\s*(?:[,/、&]|(?i:\b(?:or|and)\b)|或|和)\s*"
"""What stands between the letters of a reply that lists several."""


def strict_letter(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read one option out of a reply, after NFKC.

    The steps, each with capital letters of existing options only:

    1. `letter_alone`: the whole reply is one letter, bare or in ( ), [ ] or *, perhaps followed by `.`, `)` or `:`.
    2. `leading_letter`: it begins with a letter, then `.`, `)` or `:`, then a blank or the end.
    3. `named_letter`: the word answer or option, or 答案, then perhaps `is`, `:` or 是, then a letter, marked as in
       step 1 or not. Letters listed after it (B or C) count too, and so does every such place in the reply.
    4. `option_text`: the reply equals one option's text, both as `standard_normalise` leaves them.

    Nothing read, as of an empty reply: rule `none`. No options: the same. Source: ours.
    """
    named = lettered(options)
    text = unicodedata.normalize("NFKC", reply).strip()
    for rule, find in _STEPS if named else ():
        if found := find(text, named):
            return _agreed(found, named, rule)
    return ChoiceReading(None, "none")


def exact(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read a reply that is, its ends trimmed, character for character one option's letter or one option's text.

    Steps: `letter`, then `option_text`; else `none`, as of an empty reply. A letter is read first where an option's
    text is a letter too. Source: ours.
    """
    named, text = lettered(options), reply.strip()
    if text in named:
        return ChoiceReading(text, "letter")
    found = [letter for letter, option in named.items() if option.strip() == text]
    return ChoiceReading(found[0], "option_text") if found else ChoiceReading(None, "none")


def _agreed(found: Sequence[str], named: Mapping[str, str], rule: str) -> ChoiceReading:
    """Return the first letter when all that were found stand for one text."""
    texts = {named[letter].strip() for letter in found}
    return ChoiceReading(found[0] if len(texts) == 1 else None, rule)


def _letter_alone(text: str, named: Mapping[str, str]) -> list[str]:
    match = _alone("".join(named)).fullmatch(text)
    return [group for group in match.groups() if group] if match else []


def _leading_letter(text: str, named: Mapping[str, str]) -> list[str]:
    match = _leading("".join(named)).match(text)
    return [match[1]] if match else []


def _named_letter(text: str, named: Mapping[str, str]) -> list[str]:
    letters = "".join(named)
    lists = [match[1] for match in _named(letters).finditer(text)]
    return [letter for listed in lists for letter in re.findall(rf"(?<![A-Za-z])[{letters}](?![A-Za-z])", listed)]


def _option_text(text: str, named: Mapping[str, str]) -> list[str]:
    wanted = standard_normalise(text)
    return [letter for letter, option in named.items() if standard_normalise(option) == wanted]


@cache
def _alone(letters: str) -> re.Pattern[str]:
    one = f"[{letters}]"
    return re.compile(rf"\**(?:\(\**({one})\**\)|\[\**({one})\**\]|({one}))\**[.):]?\**")


@cache
def _leading(letters: str) -> re.Pattern[str]:
    return re.compile(rf"([{letters}])[.):](?:\s|$)")


@cache
def _named(letters: str) -> re.Pattern[str]:
    one = rf"[*(\[]*[{letters}](?![A-Za-z0-9_'’\-])[*)\].]*"
    link = r"[\s*]*(?:(?:(?i:\bis\b)|:|是)[\s*]*)*"
    return re.compile(rf"(?:(?<![A-Za-z])(?i:answer|option)(?![A-Za-z])|答案){link}({one}(?:{_BETWEEN}{one})*)")


_STEPS: tuple[tuple[str, Callable[[str, Mapping[str, str]], list[str]]], ...] = (
    ("letter_alone", _letter_alone),
    ("leading_letter", _leading_letter),
    ("named_letter", _named_letter),
    ("option_text", _option_text),
)

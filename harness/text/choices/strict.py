"""Our own rules for replies to questions with options: only letters that exist, and never a guess.

The first step that finds something decides. Options with the same text, apart from outer blanks, are one answer. If a
step finds two answers, or if no step finds any, the reply counts as unread.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from harness.text.choices.reading import ChoiceReading, lettered
from harness.text.normalisers import standard_normalise

# Separates the letters of a reply that lists several.
_BETWEEN = r"\s*(?:[,/、&]|(?i:\b(?:or|and)\b)|或|和)\s*"


def strict_letter(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read one option out of a reply, after NFKC.

    The steps, which accept only capital letters of existing options, are:

    1. `letter_alone`: the whole reply is one letter, bare or in ( ), [ ] or *, perhaps followed by `.`, `)` or `:`.
    2. `leading_letter`: the reply begins with a letter, then `.`, `)` or `:`, then a blank or the end.
    3. `named_letter`: the word answer or option, or 答案, then perhaps `is`, `:` or 是, then a letter, marked as in
       step 1 or not. Letters listed after it (B or C) count, too, and so does every such place in the reply.
    4. `option_text`: the reply equals one option's text, both in the form of `standard_normalise`.

    The rule is `none` if nothing is read, as for an empty reply, or if there are no options.
    Source: ours.
    """
    named = lettered(options)
    text = unicodedata.normalize("NFKC", reply).strip()
    for rule, found in _steps(text, named) if named else ():
        if found:
            answers = {named[letter].strip() for letter in found}
            return ChoiceReading(found[0] if len(answers) == 1 else None, rule)
    return ChoiceReading(None, "none")


def exact(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read a reply that equals, apart from outer blanks, one option's letter or one option's text.

    The steps are `letter`, then `option_text`, so that a letter wins over an option whose text is a letter. The rule is
    `none` otherwise, as for an empty reply.
    Source: ours.
    """
    named, text = lettered(options), reply.strip()
    if text in named:
        return ChoiceReading(text, "letter")
    found = [letter for letter, option in named.items() if option.strip() == text]
    return ChoiceReading(found[0], "option_text") if found else ChoiceReading(None, "none")


def _steps(text: str, named: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each step and the letters that it finds."""
    letters = "".join(named)
    alone, leading, stated = _patterns(letters)
    whole = alone.fullmatch(text)
    yield "letter_alone", [group for group in whole.groups() if group] if whole else []
    first = leading.match(text)
    yield "leading_letter", [first[1]] if first else []
    # Letters within words that join a list ("A and B") are not listed letters.
    single = rf"(?<![A-Za-z])[{letters}](?![A-Za-z])"
    yield "named_letter", [letter for listed in stated.finditer(text) for letter in re.findall(single, listed[1])]
    wanted = standard_normalise(text)
    yield "option_text", [letter for letter, option in named.items() if standard_normalise(option) == wanted]


@cache
def _patterns(letters: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Return the patterns of the first three steps for options with these letters."""
    one = f"[{letters}]"
    alone = re.compile(rf"\**(?:\(\**({one})\**\)|\[\**({one})\**\]|({one}))\**[.):]?\**")
    leading = re.compile(rf"({one})[.):](?:\s|$)")
    # No letter, digit, quote or hyphen may follow: "option A1", "A's" and "A-line" name no option.
    marked = rf"[*(\[]*{one}(?![A-Za-z0-9_'’\-])[*)\].]*"
    link = r"[\s*]*(?:(?:(?i:\bis\b)|:|是)[\s*]*)*"
    word = r"(?:(?<![A-Za-z])(?i:answer|option)(?![A-Za-z])|答案)"
    return alone, leading, re.compile(rf"{word}{link}({marked}(?:{_BETWEEN}{marked})*)")

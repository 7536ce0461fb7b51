"""MMMU's reading of replies, with the unwrapping that MedEvalKit's copy of it adds for letters.

Source: eval_utils.py of github.com/MMMU-Benchmark/MMMU and utils/MMMU/eval_utils.py of
github.com/alibaba-damo-academy/MedEvalKit (9b12e3b).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from harness.text.choices.medevalkit import boxed, tagged
from harness.text.choices.reading import ChoiceReading, lettered

_MARKS = (",", ".", "!", "?", ";", ":", "'")
_FEW_WORDS = 5  # a reply of at most this many words is not searched for option texts
_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def mmmu(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read one option letter out of a reply; of several letters, the one whose last occurrence comes last.

    1. `bracketed`: an option letter in round brackets.
    2. `lone_letter`: an option letter between blanks. The article "A" counts as one.
    3. `option_text`: an option's text, ignoring case, in a reply of more than five words.

    The rule is `none` otherwise, and for an empty reply; the released code draws an option at random then. Beforehand
    the content of an answer tag or a box replaces the reply, and the marks , . ! ? ; : ' are trimmed from its ends, one
    kind after the other.
    """
    if "<answer>" in reply:
        reply = tagged(reply, "answer")
    elif "\\boxed" in reply:
        reply = boxed(reply)
    reply = reply.strip()
    for mark in _MARKS:
        reply = reply.strip(mark)
    text = f" {reply} "  # so that a letter at either end has blanks on both sides
    named = lettered(options)
    for rule, written in (("bracketed", "({})"), ("lone_letter", " {} ")):
        if found := _last(text, {letter: written.format(letter) for letter in named}):
            return ChoiceReading(found, rule)
    if len(text.split()) > _FEW_WORDS:
        found = _last(text.lower(), {letter: option.lower() for letter, option in named.items()})
        if found:
            return ChoiceReading(found, "option_text")
    return ChoiceReading(None, "none")


def _last(text: str, written: Mapping[str, str]) -> str | None:
    """Return the letter whose written form occurs last in the text; of equals the first, None if none occurs."""
    places = {letter: place for letter, part in written.items() if (place := text.rfind(part)) >= 0}
    return max(places, key=places.__getitem__, default=None)


def mmmu_candidates(reply: str) -> list[str | float]:
    """Return the possible meanings of an open reply: texts in lower case and numbers to two decimals, each once.

    They are the key parts of its lines and the numbers in them. The key part of a line is the shortest of the texts
    that follow the last "is ", "so ", "answer " and the like, and in the last line also "="; other lines have none. A
    reply without any key part is its own key part. (The released code was meant to split at sentences, too, but it
    searches for a capital letter after lower-casing.)
    """
    text = reply.strip().strip(".").lower()
    *lines, last = text.split("\n")
    parts = [*(_key_part(line, _KEYS) for line in lines), _key_part(last, (*_KEYS, "="))]
    keys = [part for part in parts if part and part not in _MARKS] or [text]
    numbers = [number for key in keys for pattern in _NUMBERS for number in pattern.findall(key)]
    return list(dict.fromkeys(form for item in (*keys, *numbers) for form in mmmu_forms(item)))


def _key_part(line: str, keys: Iterable[str]) -> str:
    shortest = ""
    for key in keys:
        if key in line:
            tail = line.split(key)[-1].strip()
            if not shortest or len(tail) < len(shortest):
                shortest = tail
    return shortest


def mmmu_forms(text: str) -> list[str | float]:
    """Return the forms in which a text is compared: a number to two decimals, or else the text in lower case.

    A single character has two forms, with a blank before or behind it, which avoids chance matches.
    """
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def mmmu_match(candidates: Iterable[str | float], answers: Iterable[str]) -> str | float | None:
    """Return the first candidate that contains the text of an answer or equals its number; None if none does."""
    forms = [form for answer in answers for form in mmmu_forms(answer)]
    texts = [form for form in forms if isinstance(form, str)]
    for candidate in candidates:
        if any(text in candidate for text in texts) if isinstance(candidate, str) else candidate in forms:
            return candidate
    return None

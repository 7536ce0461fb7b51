"""Replies as MMMU's evaluation reads them, with the unwrapping that MedEvalKit's copy puts in front for letters.

Source: eval_utils.py of github.com/MMMU-Benchmark/MMMU and utils/MMMU/eval_utils.py of
github.com/alibaba-damo-academy/MedEvalKit (9b12e3b).
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from harness.text.choices.medevalkit import boxed, tagged
from harness.text.choices.reading import ChoiceReading, lettered

_MARKS = (",", ".", "!", "?", ";", ":", "'")
_FEW_WORDS = 5
"""A reply of at most so many words is not searched for option texts."""
_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d+\.\d+|\.\d+|\d+\b)(?![eE][+-]?\d+)(?![,\d])"),
)


def mmmu(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read one option letter out of a reply; where several are found, the one whose last occurrence is last.

    1. `bracketed`: an option letter in round brackets.
    2. `lone_letter`: an option letter between blanks. The article "A" is one.
    3. `option_text`: in a reply of more than five words an option's text, case aside.

    Else `none`, an empty reply too, where the released code draws an option at random. Before all this, what an
    answer tag or a box holds replaces the reply, and each mark of , . ! ? ; : ' in turn is trimmed from its ends.
    """
    text = f" {_trimmed(_unwrapped(reply))} "
    named = lettered(options)
    for rule, written in (("bracketed", "({})"), ("lone_letter", " {} ")):
        if found := _last(text, {letter: written.format(letter) for letter in named}):
            return ChoiceReading(found, rule)
    if len(text.split()) > _FEW_WORDS:
        found = _last(text.lower(), {letter: option.lower() for letter, option in named.items()})
        if found:
            return ChoiceReading(found, "option_text")
    return ChoiceReading(None, "none")


def _unwrapped(reply: str) -> str:
    if "<answer>" in reply:
        return tagged(reply, "answer")
    return boxed(reply) if "\\boxed" in reply else reply


def _trimmed(text: str) -> str:
    text = text.strip()
    for mark in _MARKS:
        text = text.strip(mark)
    return text


def _last(text: str, written: Mapping[str, str]) -> str | None:
    """Return the letter whose writing occurs last in the text, of equals the first; None where none occurs."""
    places = {letter: place for letter, part in written.items() if (place := text.rfind(part)) >= 0}
    return max(places, key=places.__getitem__, default=None)


def mmmu_candidates(reply: str) -> list[str | float]:
    """Return what an open reply may mean: texts in lower case and numbers to two decimals, each once.

    They are the key parts of its lines and the numbers in them. The key part of a line is the shortest of what follows
    the last "is ", "so ", "answer " and the like, in the last line also "="; lines without one have none. A reply
    without any key part is its own. (The released code means to split at sentences too, but looks for a capital after
    lower-casing.)
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
    """Return the forms in which a text is compared: a number to two decimals, else lower case.

    A single character is looked for with a blank on either side, to avoid chance matches.
    """
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        text = text.lower()
    return [f" {text}", f"{text} "] if len(text) == 1 else [text]


def mmmu_match(candidates: Iterable[str | float], answers: Iterable[str]) -> str | float | None:
    """Return the first candidate that holds the text of an answer or equals its number; None if none does."""
    forms = [form for answer in answers for form in mmmu_forms(answer)]
    texts = [form for form in forms if isinstance(form, str)]
    for candidate in candidates:
        if any(text in candidate for text in texts) if isinstance(candidate, str) else candidate in forms:
            return candidate
    return None

"""The options that a closed question names: yes and no, or what stands on either side of its "or".

No paper says which options it gave for closed questions whose answer is not yes or no; these are read out of the
question by rule, in its own order and words, so neither looks nor order tell which is right.
"""

import re
from dataclasses import dataclass, replace
from string import ascii_uppercase

from harness.data.integrity import Integrity
from harness.records import Sample
from harness.text.normalisers import vqa_v2_normalise

YES_NO = ("yes", "no")

_OR = re.compile(r",?\s+or\s+", re.IGNORECASE)
_ASKING = frozenset({"which", "what", "where", "who", "whose", "how"})
_INDEFINITE = frozenset({"a", "an"})
_OPENING = frozenset({"a", "an", "the", "either", "just"})
_BREAKS = frozenset(
    {
        *("a", "an", "the", "this", "that", "these", "those", "there", "here", "it", "its", "if", "than", "then"),
        *("is", "are", "was", "were", "be", "do", "does", "did", "has", "have", "used", "seen", "shown", "image"),
        *("picture", "in", "on", "at", "of", "to", "from", "for", "by", "with", "as", "between", "when", "near"),
        *("either", "just", *_ASKING),
    }
)
"""Words that an alternative does not go across."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a closed question lets one choose from.

    Attributes:
        texts: In letter order, as the question has them.
        letter: Of the right one.
    """

    texts: tuple[str, ...]
    letter: str

    @property
    def answer(self) -> str:
        """The right option's text."""
        return self.texts[ascii_uppercase.index(self.letter)]


def options_of(question: str, answer: str, place: str, integrity: Integrity) -> Options | None:
    """Return the options of a closed question; None where it names none.

    An answer that the question does not name becomes the last option, and is reported.

    Args:
        question, answer: As released.
        place: The record, for the report.
        integrity: The report.
    """
    words = " ".join(_words(answer))
    if words in YES_NO:
        return Options(texts=YES_NO, letter=ascii_uppercase[YES_NO.index(words)])
    named = alternatives(question)
    if not named:
        integrity.find("missing_value", place, "options: the question names no alternatives")
        return None
    right = _right(named, answer)
    if right is None:
        listed = ", ".join(map(repr, named))
        integrity.find("answer_not_among_options", place, f"the answer is {answer!r}, the question names {listed}")
        named, right = (*named, _as_written(answer.strip(), named)), len(named)
    return Options(texts=named, letter=ascii_uppercase[right])


def with_options(sample: Sample, place: str, integrity: Integrity) -> Sample:
    """Return a sample of a closed question with the options it names; one that names none cannot be asked."""
    found = options_of(sample.question, sample.target.answers[0], place, integrity)
    if found is None:
        return replace(sample, defect=sample.defect or "the question names no options")
    target = replace(sample.target, answers=(found.answer,), choice=found.letter)
    return replace(sample, choices=found.texts, target=target)


def _as_written(answer: str, named: tuple[str, ...]) -> str:
    """Return the answer without its capital where the others begin without one: its look must not tell it apart."""
    small = all(text[0].islower() for text in named) and not answer[1:2].isupper()
    return answer[:1].lower() + answer[1:] if small else answer


def alternatives(question: str) -> tuple[str, ...]:
    """Return what stands around the last "or" of a question, in its order; nothing where there is none.

    "Is the lesion on the left or right side?" gives left, right side. Parts between commas count from the one after
    the question word on: "Which organ is abnormal, heart or lung?" gives heart, lung.
    """
    before, after = _around_or(question.strip().rstrip("?.!: "))
    last = _head(after)
    if not before or not last:
        return ()
    pieces = [piece.strip() for piece in before.split(",") if piece.strip()]
    asking = max((at for at, piece in enumerate(pieces) if _ASKING & set(_lower(piece))), default=-1)
    whole = pieces[asking + 1 :]
    if asking >= 0 and whole:
        named = [_tail(piece) for piece in whole]
    else:
        named = [_tail(pieces[max(asking, 0)], most=len(last.split())), *map(_tail, pieces[max(asking, 0) + 1 :])]
    return tuple(dict.fromkeys(text for text in (*named, last) if text))


def _around_or(question: str) -> tuple[str, str]:
    """Return what stands before and after the last "or"; nothing before it where there is none."""
    *_, found = [None, *_OR.finditer(question)]
    return ("", "") if found is None else (question[: found.start()], question[found.end() :])


def _head(text: str) -> str:
    """Return the words up to the first that an alternative does not go across, after an article."""
    words = text.split()
    while words and words[0].lower() in _OPENING:
        words.pop(0)
    end = next((at for at, word in enumerate(words) if _breaks(word)), len(words))
    return _joined(words[:end])


def _tail(text: str, most: int | None = None) -> str:
    """Return the words after the last that an alternative does not go across.

    Args:
        text: A part of the question.
        most: Words to keep where no "a" or "an" tells where the alternative begins: a verb's subject may stand before.
    """
    words = text.split()
    start = next((at for at in range(len(words), 0, -1) if _breaks(words[at - 1])), 0)
    begun = start > 0 and words[start - 1].lower() in _INDEFINITE
    kept = words[start:]
    return _joined(kept if begun or most is None else kept[-most:])


def _breaks(word: str) -> bool:
    bare = word.lower().strip(",.;:")
    return bare in _BREAKS or bare.endswith(("'s", "’s", "s'"))


def _joined(words: list[str]) -> str:
    return " ".join(words).strip(" ,.;:")


def _lower(text: str) -> list[str]:
    return [word.strip(",.;:") for word in text.lower().split()]


def _right(options: tuple[str, ...], answer: str) -> int | None:
    """Return which option is the answer: the one of the same words, else the only one that holds or is held by it."""
    wanted = _words(answer)
    equal = [at for at, option in enumerate(options) if _words(option) == wanted]
    if equal:
        return equal[0]
    alike = [at for at, option in enumerate(options) if _holds(set(_words(option)), set(wanted))]
    return alike[0] if len(alike) == 1 else None


def _holds(option: set[str], answer: set[str]) -> bool:
    return bool(option and answer) and (option <= answer or answer <= option)


def _words(text: str) -> list[str]:
    return vqa_v2_normalise(text.replace("-", " ")).split()

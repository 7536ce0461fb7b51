"""The options that a closed question names: yes and no, or the alternatives on either side of its "or".

No paper says which options it gave for closed questions whose answer is not yes or no. These are taken from the
question by rule, in its own order and words, so that neither spelling nor order gives the answer away.
"""

import re
from dataclasses import dataclass, replace
from string import ascii_uppercase

from harness.data.integrity import Integrity
from harness.records import Sample
from harness.text.normalisers import vqa_v2_normalise

YES_NO = ("yes", "no")  # in this order whatever the answer, so that letters give nothing away

_OR = re.compile(r",?\s+or\s+", re.IGNORECASE)
_ASKING = frozenset({"which", "what", "where", "who", "whose", "how"})
_INDEFINITE = frozenset({"a", "an"})
_OPENING = frozenset({"a", "an", "the", "either", "just"})
# Words that an alternative does not extend across.
_BREAKS = frozenset(
    {
        *("a", "an", "the", "this", "that", "these", "those", "there", "here", "it", "its", "if", "than", "then"),
        *("is", "are", "was", "were", "be", "do", "does", "did", "has", "have", "used", "seen", "shown", "image"),
        *("picture", "in", "on", "at", "of", "to", "from", "for", "by", "with", "as", "between", "when", "near"),
        *("either", "just", *_ASKING),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options of a closed question.

    Attributes:
        texts: Their texts in letter order, as written in the question.
        letter: Letter of the right one.
    """

    texts: tuple[str, ...]
    letter: str

    @property
    def answer(self) -> str:
        """Text of the right option."""
        return self.texts[ascii_uppercase.index(self.letter)]


def options_of(question: str, answer: str, place: str, integrity: Integrity) -> Options | None:
    """Return the options of a closed question, or None if it names none.

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
        added = answer.strip()
        # If the others begin with a small letter, so must this one: a capital would give the answer away.
        if all(text[0].islower() for text in named) and not added[1:2].isupper():
            added = added[:1].lower() + added[1:]
        named, right = (*named, added), len(named)
    return Options(texts=named, letter=ascii_uppercase[right])


def with_options(sample: Sample, place: str, integrity: Integrity) -> Sample:
    """Return the sample of a closed question with the options that it names; a question without any is a defect."""
    found = options_of(sample.question, sample.target.answers[0], place, integrity)
    if found is None:
        return replace(sample, defect=sample.defect or "the question names no options")
    target = replace(sample.target, answers=(found.answer,), choice=found.letter)
    return replace(sample, choices=found.texts, target=target)


def alternatives(question: str) -> tuple[str, ...]:
    """Return the alternatives around the last "or" of a question in its order, or none if it has no "or".

    "Is the lesion on the left or right side?" gives left, right side. Parts between commas count from the one after
    the question word on: "Which organ is abnormal, heart or lung?" gives heart, lung.
    """
    text = question.strip().rstrip("?.!: ")
    ors = list(_OR.finditer(text))
    if not ors:
        return ()
    before, last = text[: ors[-1].start()], _head(text[ors[-1].end() :])
    if not before or not last:
        return ()
    pieces = [piece.strip() for piece in before.split(",") if piece.strip()]
    words = [{word.strip(",.;:") for word in piece.lower().split()} for piece in pieces]
    asking = max((at for at, found_words in enumerate(words) if _ASKING & found_words), default=-1)
    whole = pieces[asking + 1 :]
    if asking >= 0 and whole:
        named = [_tail(piece) for piece in whole]
    else:
        # The first alternative follows a verb and its subject: no more words of it are taken than the last one has.
        named = [_tail(pieces[max(asking, 0)], most=len(last.split())), *map(_tail, pieces[max(asking, 0) + 1 :])]
    return tuple(dict.fromkeys(text for text in (*named, last) if text))


def _head(text: str) -> str:
    """Return the words up to the first of `_BREAKS`, without an opening article."""
    words = text.split()
    while words and words[0].lower() in _OPENING:
        words.pop(0)
    end = next((at for at, word in enumerate(words) if _breaks(word)), len(words))
    return _joined(words[:end])


def _tail(text: str, most: int | None = None) -> str:
    """Return the words after the last of `_BREAKS`.

    Args:
        text: A part of the question.
        most: Number of words to keep if no "a" or "an" marks where the alternative begins; None for all.
    """
    words = text.split()
    start = next((at for at in range(len(words), 0, -1) if _breaks(words[at - 1])), 0)
    begun = start > 0 and words[start - 1].lower() in _INDEFINITE
    kept = words[start:]
    return _joined(kept if begun or most is None else kept[-most:])


def _breaks(word: str) -> bool:
    bare = word.lower().strip(",.;:")
    # A genitive, as in "the patient's", belongs to the words before it.
    return bare in _BREAKS or bare.endswith(("'s", "’s", "s'"))


def _joined(words: list[str]) -> str:
    return " ".join(words).strip(" ,.;:")


def _right(options: tuple[str, ...], answer: str) -> int | None:
    """Return the index of the answer among the options.

    That is the option of the same words, or else the only one whose words include the answer's or are all among them.
    """
    wanted = _words(answer)
    words = [_words(option) for option in options]
    equal = [at for at, option in enumerate(words) if option == wanted]
    if equal:
        return equal[0]
    alike = [
        at
        for at, option in enumerate(words)
        if option and wanted and (set(option) <= set(wanted) or set(wanted) <= set(option))
    ]
    return alike[0] if len(alike) == 1 else None


def _words(text: str) -> list[str]:
    return vqa_v2_normalise(text.replace("-", " ")).split()

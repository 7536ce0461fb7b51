"""Splits a report into sentences by rule, without a trained model.

A sentence ends at a run of `.`, `!` or `?`, closing brackets and quotes included, that a blank or the end follows. A
line break alone ends nothing, as reports are wrapped anywhere. A full stop does not end a sentence

- after an abbreviation ("approx. 3 cm"); after one that may also close a sentence ("etc.", "no.", "a.m.") it does when
  the next word is no continuation;
- after an initial ("J. Smith", "E. coli"), unless the next word is one that begins sentences ("vitamin D. No ...");
- after a number or an ellipsis when the next word is in lower case.

Decimals, file names and dotted units hold no blank after the stop and stay whole. A unit is a word like any other:
"3 cm. No nodes" is two sentences. The rules keep to what nltk's Punkt model for English does with such texts, so that
METEOR's protocol `m3d` needs no model; Punkt's own lists are learnt from news and differ in abbreviations.
"""

import re
from collections.abc import Iterator

_END = re.compile(r"""(?<=\S)([.!?]+)[\])}"'”’»]*(?=\s|$)""")
_OPENING = "([{\"'“‘«"
_NEXT_WORD = re.compile(r"\s+(\S+)")
_LONGEST_WORD = 40
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # "e.g", "U.S", "a.m": the last stop is not part of it

# Never the end of a sentence, whatever follows; not in capitals: MR, MS, PT and ED are medical words.
_ABBREVIATIONS = (
    "al approx ca cf cp dept dr ed eds esp est fig figs incl jr misc mr mrs ms mt pp prof pt pts ref refs resp sect sr "
    "st tab univ viz vol vols vs e.g i.e"
)
# Abbreviations only where a number follows.
_NUMBERED = "no nos art sec ch eq eqs"
# Words that, capitalised, begin a sentence even after an initial or a dotted abbreviation.
_STARTERS = (
    "a after all an and any as at both but each for from he her his however if in it its mild moderate multiple no "
    "normal on one other our severe several she since some stable that the their there these they this those through "
    "to two under we when where which while with without you"
)
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
NUMBERED = frozenset(_NUMBERED.split())
STARTERS = frozenset(_STARTERS.split())


def sentences(text: str) -> list[str]:
    """Return the sentences of `text` in order, without the blanks around them; none for a blank text.

    Joined by one blank, the sentences are the text with its blanks between sentences collapsed. A text without a final
    stop ends its last sentence all the same.
    """
    found, start = [], 0
    for end in (*_ends(text), len(text)):
        if sentence := text[start:end].strip():
            found.append(sentence)
        start = end
    return found


def _ends(text: str) -> Iterator[int]:
    """Yield where sentences end, the end of the text aside."""
    for mark in _END.finditer(text):
        following = _NEXT_WORD.match(text, mark.end())
        before = text[max(0, mark.start() - _LONGEST_WORD) : mark.start()]
        if following and _is_end(_last_word(before), mark.group(1), following.group(1).lstrip(_OPENING)):
            yield mark.end()


def _is_end(word: str, marks: str, following: str) -> bool:
    """Tell whether `marks` between `word` and the word `following` end a sentence."""
    if marks.strip("."):
        return True
    if len(marks) > 1:
        return not following[:1].islower()
    folded = word.casefold()
    if folded in ABBREVIATIONS and not word.isupper():
        return False
    if folded in NUMBERED:
        return not following[:1].isdigit()
    if word.replace(",", "").replace(".", "").isdigit():
        return not following[:1].islower()
    if _is_initial(word) or _DOTTED.fullmatch(word) or folded == "etc":
        return _begins_sentence(following)
    return True


def _last_word(before: str) -> str:
    """Return the word that a stop after `before` belongs to, without an opening bracket or a hyphenated first part."""
    word = before.split()[-1:]
    return re.split(r"[(\[{\"'“‘«/-]", word[0])[-1] if word else ""


def _is_initial(word: str) -> bool:
    return len(word) == 1 and word.isupper()


def _begins_sentence(following: str) -> bool:
    word = re.split(r"\W", following, maxsplit=1)[0]
    return word[:1].isupper() and word.casefold() in STARTERS

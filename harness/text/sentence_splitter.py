"""Rule-based splitting of reports into sentences, without a trained model.

A sentence ends at a run of `.`, `!` or `?`, including closing brackets and quotes, that is followed by a blank or the
end of the text. A line break alone does not end a sentence, since reports are wrapped anywhere. A full stop does not
end a sentence

- after an abbreviation ("approx. 3 cm"); after one that may also close a sentence ("etc.", "no.", "a.m.") it does,
  unless the next word continues the sentence;
- after an initial ("J. Smith", "E. coli"), unless the next word often begins a sentence ("vitamin D. No ...");
- after a number or an ellipsis, if the next word is in lower case.

Decimals, file names and dotted units have no blank after the stop and stay whole. A unit is a word like any other: "3
cm. No nodes" is two sentences. The rules follow nltk's Punkt model for English on such texts, so that
METEOR's protocol `m3d` needs no model; Punkt's own lists are learnt from news and differ in their abbreviations.
"""

import re
from collections.abc import Iterator

_END = re.compile(r"""(?<=\S)([.!?]+)[\])}"'”’»]*(?=\s|$)""")
_OPENING = "([{\"'“‘«"
_NEXT_WORD = re.compile(r"\s+(\S+)")
_LONGEST_WORD = 40  # characters before a stop that are searched for its word, which keeps long texts linear
_DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]")  # "e.g", "U.S", "a.m": the last stop is not part of it

# A stop after these never ends a sentence, whatever follows. In capitals they do not count: MR, MS, PT and ED are
# medical words.
_ABBREVIATIONS = (
    "al approx ca cf cp dept dr ed eds esp est fig figs incl jr misc mr mrs ms mt pp prof pt pts ref refs resp sect sr "
    "st tab univ viz vol vols vs e.g i.e"
)
# Abbreviations only if a number follows.
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
    """Return the sentences of `text` in order, without the blanks around them; [] for a blank text.

    Nothing but blanks between sentences is lost. The end of the text ends the last sentence, with or without a stop.
    """
    found, start = [], 0
    for end in (*_ends(text), len(text)):
        if sentence := text[start:end].strip():
            found.append(sentence)
        start = end
    return found


def _ends(text: str) -> Iterator[int]:
    """Yield the places at which sentences end, except for the end of the text."""
    for mark in _END.finditer(text):
        following = _NEXT_WORD.match(text, mark.end())
        before = text[max(0, mark.start() - _LONGEST_WORD) : mark.start()].split()
        # The word that the stop belongs to, without an opening bracket or the first part of a hyphenated word.
        word = re.split(r"[(\[{\"'“‘«/-]", before[-1])[-1] if before else ""
        if following and _is_end(word, mark.group(1), following.group(1).lstrip(_OPENING)):
            yield mark.end()


def _is_end(word: str, marks: str, following: str) -> bool:
    """Return whether `marks` between `word` and the word `following` end a sentence."""
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
    initial = len(word) == 1 and word.isupper()
    if initial or _DOTTED.fullmatch(word) or folded == "etc":
        begin = re.split(r"\W", following, maxsplit=1)[0]
        return begin[:1].isupper() and begin.casefold() in STARTERS
    return True

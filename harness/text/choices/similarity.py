"""Readings by likeness of strings, as released: OmniMedVQA's question-answering score and HuatuoGPT-Vision's scorer.

Likeness is `difflib.SequenceMatcher(None, option, reply).ratio()` with its defaults: it is not symmetric, and from 200
characters of reply on, characters that make up more than 1 % of it count as junk.
"""

import difflib
import re
from collections.abc import Sequence

from harness.text.choices.reading import ChoiceReading, lettered

_LONE_LETTER = re.compile(r"(?:is |是|为|\W|^)(?![aA] )([a-nA-N])(?:\W|$)")


def likeness(options: Sequence[str], reply: str) -> list[float]:
    """Return how alike each option and the reply are, in [0, 1]; two empty texts are alike."""
    matcher = difflib.SequenceMatcher(None, "", reply)
    ratios = []
    for option in options:
        matcher.set_seq1(option)
        ratios.append(matcher.ratio())
    return ratios


def omnimedvqa(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read the option most like the reply, case and all; of equals the first. Likeness 0 with all, as of "": no option.

    A reply that is a letter is not understood: it is like whichever option holds that character. Rules: `likeness`,
    `nothing_alike`.

    Source: OmniMedVQA, question-answering score, github.com/OpenGVLab/Multi-Modality-Arena.
    """
    ratios = likeness(options, reply)
    best = max(ratios, default=0.0)
    if best == 0:
        return ChoiceReading(None, "nothing_alike")
    return ChoiceReading(list(lettered(options))[ratios.index(best)], "likeness")


def huatuo(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read a reply as HuatuoGPT-Vision's matcher does when it is handed the options by letter, as it was meant to be.

    1. `lone_letter`: the first letter a to n, of either case, that stands alone and is not an article before a blank;
       it is returned as written and need not be an option's, so "I think" is read as I and "b" is not B.
    2. `option_text`: of the option texts in the lower-cased reply, the one whose last occurrence begins last; of
       equals the first.
    3. `likeness`: the option most like the reply, both lower-cased; of equals the last. So something is always read, of
       an empty reply the last option.

    Source: scorer.py of github.com/FreedomIntelligence/HuatuoGPT-Vision (2025-01). As released the matcher gets the
    whole record in place of the options, and the run ends at the first reply without a lone letter.
    """
    lone = _LONE_LETTER.search(reply)
    if lone:
        return ChoiceReading(lone[1], "lone_letter")
    text = reply.lower()
    named = {letter: option.lower() for letter, option in lettered(options).items()}
    places = {letter: text.rfind(option) for letter, option in named.items()}
    if max(places.values(), default=-1) >= 0:
        return ChoiceReading(max(places, key=places.__getitem__), "option_text")
    ratios = likeness(list(named.values()), text)
    best = max(range(len(ratios)), key=lambda index: (ratios[index], index), default=None)
    return ChoiceReading(None if best is None else list(named)[best], "likeness")

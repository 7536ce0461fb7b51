"""Readings by string similarity, as released: OmniMedVQA's question-answering score and HuatuoGPT-Vision's scorer.

Similarity is `difflib.SequenceMatcher(None, option, reply).ratio()` with its defaults. It is not symmetric, and in
replies of 200 characters and more, characters that make up more than 1 % of the reply count as junk.
"""

import difflib
import re
from collections.abc import Sequence

from harness.text.choices.reading import ChoiceReading, lettered

_LONE_LETTER = re.compile(r"(?:is |是|为|\W|^)(?![aA] )([a-nA-N])(?:\W|$)")


def likeness(options: Sequence[str], reply: str) -> list[float]:
    """Return the similarity of each option to the reply, in [0, 1]; it is 1 for two empty texts."""
    # One matcher for all options, because it indexes its second text, the longer reply, only once.
    matcher = difflib.SequenceMatcher(None, "", reply)
    ratios = []
    for option in options:
        matcher.set_seq1(option)
        ratios.append(matcher.ratio())
    return ratios


def omnimedvqa(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read the option that is most similar to the reply, case included; of equals the first.

    The rule is `likeness`, or `nothing_alike` if the similarity to all options is 0, as for an empty reply; there is no
    answer then. A reply that is a letter is not understood: it resembles whichever option holds that character.

    Source: OmniMedVQA, question-answering score, github.com/OpenGVLab/Multi-Modality-Arena.
    """
    ratios = likeness(options, reply)
    best = max(ratios, default=0.0)
    if best == 0:
        return ChoiceReading(None, "nothing_alike")
    return ChoiceReading(list(lettered(options))[ratios.index(best)], "likeness")


def huatuo(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read a reply as HuatuoGPT-Vision's matcher does if it gets the options by letter, as was intended.

    1. `lone_letter`: the first letter a to n, of either case, that stands alone and is not an article before a blank.
       It is returned as written and need not belong to an option: "I think" is read as I, and "b" is not B.
    2. `option_text`: of the option texts in the lower-cased reply, the one whose last occurrence begins last; of
       equals the first.
    3. `likeness`: the option most similar to the reply, both lower-cased; of equals the last. So an option is always
       read, and from an empty reply the last one.

    Source: scorer.py of github.com/FreedomIntelligence/HuatuoGPT-Vision (2025-01). As released, the matcher gets the
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

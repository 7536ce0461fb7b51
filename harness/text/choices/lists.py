"""Lists of options in a reply: naming several of them chooses none."""

import re
from collections.abc import Mapping

from harness.text.choices import wording
from harness.text.choices.claims import NEAR, denied_before, option_pattern
from harness.text.normalisers import standard_normalise
from harness.text.yes_no import POLARITY

Item = tuple[int, int, str]  # where an option is named, and its text


def without_lists(text: str, texts: Mapping[str, str]) -> str:
    """Return the text with a dash in place of every list of options that names two or more and ends there.

    A list is letters and option texts with nothing but marks, line ends, "and" or "or" between them: it chooses none
    of them, neither the first nor the last. Lists that a sentence goes on about ("A and B are wrong") stay, and so does
    the first option of one if it is denied ("Not A. B").

    Args:
        text: The answer, as `short_answer` gives it.
        texts: The options' texts by letter, in the form of `standard_normalise`.
    """
    # Paragraphs first: a question's options that a reply repeats end with theirs, and the answer may follow.
    for gap in (wording.GAP, wording.WIDE_GAP):
        pieces, since = [], 0
        for chain in _chains(text, texts, gap):
            listed = list(chain)
            while listed and not _ends(text, listed[-1], last=len(listed) == len(chain)):
                listed.pop()  # a sentence goes on about it
            if len(listed) > 1 and denied_before(text[max(0, chain[0][0] - NEAR) : chain[0][0]]):
                # A letter is denied with its text: "Not A. Liver".
                own = listed[1][2] == listed[0][2] and listed[1][1] - listed[1][0] > 1
                listed = listed[1 + own :]
            if len({option for _, _, option in listed}) > 1:
                pieces += [text[since : listed[0][0]], "-"]
                since = listed[-1][1]
        text = "".join([*pieces, text[since:]])
    return text


def _ends(text: str, item: Item, *, last: bool) -> bool:
    """Return whether a list may end with this item: at an end of line, or the last one at that of a sentence."""
    return (wording.LIST_END if last else wording.LINE_END).match(text, item[1]) is not None


def _chains(text: str, texts: Mapping[str, str], gap: re.Pattern[str]) -> list[list[Item]]:
    """Return the options that a text names, in order; those with only a gap between them are together."""
    pattern = option_pattern(tuple(texts.values()))
    found = list(pattern.finditer(text.lower())) if pattern else []
    items = [(*match.span(), standard_normalise(match[0])) for match in found]
    covered = {place for start, end, _ in items for place in range(start, end)}
    letters = [match for match in wording.LONE.finditer(text) if match[1] in texts and match.start(1) not in covered]
    if set(texts.values()) <= set(POLARITY):
        # Yes and no are words of any sentence, whose sense `yes_no` knows, unless they stand behind their letters.
        labelled = {match.end() for match in letters}
        items = [item for item in items if {item[0] - 1, item[0] - 2, item[0] - 3} & labelled]
    items += [(match.start(1), match.end(1), texts[match[1]]) for match in letters]
    chains: list[list[Item]] = []
    for start, end, option in sorted(items):
        if not chains or not gap.fullmatch(text, chains[-1][-1][1], start):
            chains.append([(start, end, option)])
            continue
        before = chains[-1][-1][2]
        # An option's text may itself be a letter: "A. B".
        chains[-1].append((start, end, before if text[start:end].lower() == before else option))
    return chains

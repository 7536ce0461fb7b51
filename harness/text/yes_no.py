"""Which of yes and no a reply answers, in English and Chinese. Nothing is guessed: an unclear reply gives None."""

import re
from typing import Literal

from harness.text.reply import short_answer

Polarity = Literal["yes", "no"]

POLARITY: dict[str, Polarity] = {"yes": "yes", "是": "yes", "no": "no", "否": "no"}

_PREFIX = re.compile(
    r"(?:(?:so|thus|therefore|hence)\W+)?(?:the|my)?\s*(?:final|correct|short|best)?\s*answer\b[^.:;,\n]{0,60}?"
    r"(?:\s+(?:is|would\s+be|should\s+be)\b|[:=])\s*|(?:答案|回答|结论)(?:是|为|:|：)\s*[:：]?",
    re.IGNORECASE,
)
_NOT_ANSWERING = (
    r"\s+(?:doubt|question|matter|idea|clue|answer|comment|information|way"
    r"|images?\s+(?:is|was|are|were|provided|given|attached))\b"
)
# "no." before a number is short for number.
_ENGLISH = re.compile(rf"(?<![\w-])(?:yes|no(?!{_NOT_ANSWERING}))(?![\w-]|'[a-z]|\.\s?\d)", re.IGNORECASE)
# 是 is also the verb "is", and both characters stand in many words (是否, 但是, 否则): they answer as a clause only.
_CHINESE = re.compile(
    r"(?:(?<=^)|(?<=[\s,.;:!?，。；：！？、\"'(（]))(?:是的?|否)(?=$|[啊呀哦]|[\s,.;:!?，。；：！？、\"')）])"
)
_CHINESE_START = re.compile(r"是(?!否|不是|非|什么|哪|谁)|否(?!则|认|定|决)")
# Both in one breath: "yes or no", "yes/no", "yes no", 是或否.
_BOTH = re.compile(
    r"(?:\s*(?:and|or|nor|/|\\|&|\|)\s*|[ \t]+)(yes|no)(?![\w-])|\s*[和或与、/]\s*([是否])", re.IGNORECASE
)
_DENIED = re.compile(
    r"(?:\b(?:not|never|neither|nor|cannot|without|whether|if|either|instead\s+of|rather\s+than)\b|n't\b|不|非)"
    r"(?:[^\w,.;:!?，。；]+\w+){0,3}[^\w,.;:!?，。；]*$",
    re.IGNORECASE,
)
# "no" that answers, in contrast to one before a noun, as in "Yes, there is no effusion".
_NO_ANSWERS = re.compile(r"no\W*(?:$|[.,;:!\n])", re.IGNORECASE)


def yes_no(reply: str) -> Polarity | None:
    """Return which of yes (是) and no (否) a reply answers, after `short_answer` has unwrapped it; None if unclear.

    A reply that begins with one of them, perhaps behind "the answer is", answers that: "Yes, there is no effusion" is
    yes. It is unclear if the other one follows as an answer, too: "yes or no", "Yes ... no, wait", "No, but yes on the
    left". Any other reply has to hold exactly one of them, and not a denied one ("I cannot say yes"). Words are runs of
    letters and digits. 是 and 否 count at the start and as clauses of their own, since 是 is also a verb and part of
    many words; 不是 ("is not") is neither.
    """
    answer = short_answer(reply)
    if not answer:
        return None
    prefix = _PREFIX.match(answer)
    text = answer[prefix.end() :] if prefix else answer
    text = text.lstrip(" \t\n.,:;!\"'*()[]-")
    found = [(match.start(), match[0].lower()) for match in _ENGLISH.finditer(text)]
    found += [(match.start(), match[0][0]) for match in _CHINESE.finditer(text)]
    start = _CHINESE_START.match(text)
    if start and not any(place == 0 for place, _ in found):
        found.append((0, start[0]))
    found.sort()
    if not found:
        return None
    place, word = found[0]
    answered = POLARITY[word]
    others = [(at, other) for at, other in found[1:] if POLARITY[other] != answered]
    if place == 0:
        both = _BOTH.match(text, len(word))
        if both and POLARITY[(both[1] or both[2]).lower()] != answered:
            return None
        clear = not any(other != "no" or _NO_ANSWERS.match(text, at) for at, other in others)
    else:
        clear = not others and not _DENIED.search(text[:place])
    return answered if clear else None

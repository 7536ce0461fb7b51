"""Replies as MedEvalKit reads them: the answer taken out of its wrapping, then compared.

Source: utils/utils.py of github.com/alibaba-damo-academy/MedEvalKit (9b12e3b), with `extract_boxed_content` of the
package mathruler.
"""

from collections.abc import Sequence

from harness.text.choices.reading import ChoiceReading, lettered
from harness.text.choices.similarity import likeness

_BOX = "\\boxed{"
_MARKERS = (
    "**answer**:",
    "**answer**",
    "*answer*:",
    "**answer:**",
    "answer is",
    "answer:",
    "答案:",
    "final answer",
    "final answer is",
)


def tagged(text: str, tag: str) -> str:
    """Return what stands in `<tag>...</tag>`, several joined by a blank; the text itself where that is nothing."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    found, rest = [], text
    while opening in rest:
        inside, end, rest = rest.partition(opening)[2].partition(closing)
        if end:
            found.append(inside)
    return " ".join(found).strip() or text


def boxed(text: str) -> str:
    """Return the trimmed content of the last `\\boxed{...}`, whose braces balance; `None`, the word, without one."""
    start = text.rfind(_BOX)
    content, depth = text[start + len(_BOX) :], 1
    for end, character in enumerate(content if start >= 0 else ""):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return content[:end].strip()
    return "None"


def unwrapped(reply: str) -> str:
    """Return the answer that a reply states, in lower case.

    A reply with the word "boxed" is replaced by what is boxed, else one with an answer tag by what is tagged; then for
    each marker in turn, such as "answer is", the text after its last occurrence is kept.
    """
    text = reply.lower()
    if "boxed" in text:
        text = boxed(text)
    elif "<answer>" in text:
        text = tagged(text, "answer")
    for marker in _MARKERS:
        text = text.split(marker)[-1]
    return text


def medevalkit(reply: str, options: Sequence[str]) -> ChoiceReading:
    """Read one option out of a reply, as MedEvalKit does for OmniMedVQA.

    1. `letter`: what is left of the unwrapped reply up to its first full stop and after its last colon is a letter. A
       first paragraph that is a letter, or a last one that begins with a letter and a full stop, is the whole reply.
    2. `likeness`: the option, written as "a. text", that is most like the unwrapped reply; of equals the first.
    3. `nothing_alike`: likeness 0 with all options, as of an empty reply; the first is taken, as released. No options:
       `none`.
    """
    named = {letter.lower(): option.lower() for letter, option in lettered(options).items()}
    text = unwrapped(_deciding_paragraph(tagged(reply, "answer").lower(), named)).strip().lower().replace("\n", "")
    short = text.partition(".")[0].rpartition(":")[2]
    if short in named:
        return ChoiceReading(short.upper(), "letter")
    ratios = likeness([f"{letter}. {option}" for letter, option in named.items()], text)
    best = max(ratios, default=None)
    if best is None:
        return ChoiceReading(None, "none")
    return ChoiceReading(list(named)[ratios.index(best)].upper(), "likeness" if best > 0 else "nothing_alike")


def _deciding_paragraph(text: str, named: dict[str, str]) -> str:
    """Return the first paragraph where it is a letter, else the last up to its full stop where that is one."""
    paragraphs = text.split("\n\n")
    if paragraphs[0] in named:
        return paragraphs[0]
    ending = paragraphs[-1].partition(".")[0]
    return ending if ending in named else text

"""MedEvalKit's reading of replies: the answer is taken out of its wrapping, then compared.

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
    """Return the content of `<tag>...</tag>`, of several tags joined by blanks; the text itself if that is empty."""
    opening, closing = f"<{tag}>", f"</{tag}>"
    found, rest = [], text
    while opening in rest:
        inside, end, rest = rest.partition(opening)[2].partition(closing)
        if end:
            found.append(inside)
    return " ".join(found).strip() or text


def boxed(text: str) -> str:
    """Return the trimmed content of the last `\\boxed{...}` with balanced braces, or else the word `None`."""
    start = text.rfind(_BOX)
    content, depth = text[start + len(_BOX) :], 1
    for end, character in enumerate(content if start >= 0 else ""):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return content[:end].strip()
    return "None"


def unwrapped(reply: str) -> str:
    """Return the answer that a reply states, in lower case.

    A reply with the word "boxed" is replaced by the content of its box, any other reply with an answer tag by the
    content of the tag. Then for each marker in turn, such as "answer is", only the text after its last occurrence is
    kept.
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

    1. `letter`: the unwrapped reply, up to its first full stop and after its last colon, is a letter. If the first
       paragraph is a letter, or the last one begins with a letter and a full stop, that paragraph is the whole reply.
    2. `likeness`: the option, written as "a. text", that is most similar to the unwrapped reply; of equals the first.
    3. `nothing_alike`: the similarity to all options is 0, as for an empty reply; the first option is taken, as
       released. Without options the rule is `none`.
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
    """Return the first paragraph if it is a letter, the last up to its full stop if that is a letter, else the text."""
    paragraphs = text.split("\n\n")
    if paragraphs[0] in named:
        return paragraphs[0]
    ending = paragraphs[-1].partition(".")[0]
    return ending if ending in named else text

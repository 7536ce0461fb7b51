"""Dialects of corners and brackets: Qwen-VL, InternVL, DeepSeek-VL2, CogVLM, GLM, Ferret, Shikra, LLaVA, M3D.

The numbers of a box stand in brackets of their own, and those make the box; tags around them only name it. So a lost
tag costs a name, and a lost bracket, comma or number the box, while the others of the reply stay where they are.
"""

import re
from collections.abc import Callable

from harness.text.dialects.shapes import NUMBER, Numbers, Shape, Written, bracketed_numbers, words_before

_CORNER = rf"\(\s*({NUMBER})\s*,\s*({NUMBER})\s*\)"
_CORNERS = re.compile(rf"{_CORNER}(?:\s*,\s*{_CORNER})*")
_ONE_CORNER = re.compile(_CORNER)
_CUT_BEFORE = re.compile(r"[\d)]\s*,\s*\Z")
_CUT_BEHIND = re.compile(r"\s*,\s*[(\d]")
# Names in tags, and the tags alone, behind which no name counts any more.
_NAMES = re.compile(
    r"<(?:(?P<ref>ref)|\|(?P<det>ref)\||\|(?P<qwen>object_ref_start)\|)>(?P<name>[^<>]*)"
    r"(?(ref)</ref>)(?(det)<\|/ref\|>)(?(qwen)<\|object_ref_end\|>)"
    r"|<\|?/?(?:ref|object_ref_start|object_ref_end)\|?>?"
)
# Tags and outer brackets between the words and the numbers.
_AROUND = re.compile(r"(?:<\|?/?\w+\|?>|[\s\[])*\Z")


def corner_pairs(text: str, axes: int) -> Written:
    """Read `<ref>label</ref><box>(x1,y1),(x2,y2)</box>` and the same in the tags of Qwen2-VL, or without tags.

    Corners joined by commas belong together: two are a box, and any other number, such as the four of a `<quad>`, none.
    """
    if axes != 2:
        return Written()
    found: list[tuple[int, int, Numbers]] = []
    for match in _CORNERS.finditer(text):
        corners = _ONE_CORNER.findall(match[0])
        quad = text.rfind("<quad>", 0, match.start())
        if len(corners) != 2 or quad > text.rfind("</quad>", 0, match.start()):
            continue
        # What is left of a corner beside them: they were two of more than two.
        if not _CUT_BEFORE.search(text, max(0, match.start() - 16), match.start()) and not _CUT_BEHIND.match(
            text, match.end()
        ):
            numbers = tuple(float(number) for corner in corners for number in corner)
            found.append((match.start(), match.end(), numbers))
    return Written(_named(text, found))


def bracket_boxes(*, nested: bool = False, points: bool = False, words: bool = False) -> Callable[[str, int], Written]:
    """Return the reader of boxes in square brackets, several of them between semicolons or each in its own.

    Args:
        nested: Only brackets within brackets or behind a tag: `[[x1, y1, x2, y2]]`.
        points: Brackets of as many numbers as there are axes are points.
        words: The words before the brackets are the label, where no tag names it.
    """

    def read(text: str, axes: int) -> Written:
        found: list[tuple[int, int, Numbers]] = []
        for brackets in bracketed_numbers(text):
            counts = {len(group) for group in brackets.groups}
            wanted = 2 * axes
            # Groups of another length have lost or doubled a number, or a semicolon between them: none of them counts.
            if counts != {wanted} and not (points and counts == {axes}):
                continue
            if nested and not _stands_nested(text, brackets.start):
                continue
            found += [(brackets.start, brackets.end, group) for group in brackets.groups]
        return Written(_named(text, found, words=words, corners=2 * axes))

    return read


def points(text: str, axes: int) -> Written:
    """Read points as `[x, y]` or `(x, y)`; those of a volume have three numbers, z first."""
    found = [
        (brackets.start, brackets.end, group)
        for brackets in bracketed_numbers(text)
        for group in brackets.groups
        if {len(each) for each in brackets.groups} == {axes}
    ]
    pattern = re.compile(rf"\(\s*{NUMBER}\s*(?:,\s*{NUMBER}\s*){{{axes - 1}}}\)")
    for match in pattern.finditer(text):
        found.append((match.start(), match.end(), tuple(map(float, match[0][1:-1].split(",")))))
    return Written(_named(text, sorted(found), corners=2 * axes))


def _stands_nested(text: str, start: int) -> bool:
    before = text[max(0, start - 16) : start].rstrip()
    return before.endswith(("[", ">")) or (before.endswith(",") and before[:-1].rstrip().endswith("]"))


def _named(
    text: str, found: list[tuple[int, int, Numbers]], *, words: bool = True, corners: int = 4
) -> tuple[Shape, ...]:
    """Return the shapes at places of a reply, each with the name that the last tag before it gives.

    Args:
        text: The reply.
        found: (start, end, numbers), by place.
        words: A reply without names in tags names things by the words before them.
        corners: Numbers of a box; any other count is a point.
    """
    names = list(_NAMES.finditer(text))
    tagged = any(name["name"] is not None for name in names)
    shapes = []
    label, previous, told = "", 0, 0
    for start, end, numbers in found:
        while told < len(names) and names[told].end() <= start:
            label = (names[told]["name"] or "").strip()
            told += 1
        if not tagged and words and start > previous:
            around = _AROUND.search(text, max(previous, start - 200), start)
            # Nothing but a comma or an "and" between two: the second is named as the first is.
            label = words_before(text, around.start() if around else start, previous) or label
        shapes.append(Shape("box" if len(numbers) == corners else "point", numbers, label))
        previous = end
    return tuple(shapes)

"""Dialects of location tokens: PaliGemma's `<loc0123>`, Florence-2's `<loc_123>`, Kosmos-2's `<patch_index_0123>`.

Tokens follow each other without a mark between, so only a run of exactly the right number counts: where one is lost,
doubled or damaged, nothing tells which of the others it was.
"""

import re

from harness.text.dialects.shapes import Numbers, Shape, Written

_PALIGEMMA = re.compile(r"(?:<loc\d{4}>)+")
_PALIGEMMA_LABEL = re.compile(r"(?:<seg\d{3}>)*[ \t]*([^<>;\n`]*)")
_FLORENCE = re.compile(r"(?:<loc_\d{1,4}>)+")
_CUT_TOKEN = re.compile(r"<(?:l(?:o(?:c(?:_\d{0,4})?)?)?)?")
_INSTANCE = re.compile(r"<poly>((?:<loc_\d{1,4}>|<sep>)+)</poly>")
_LABEL_BEFORE = re.compile(r"[^<>\n`]*\Z")
_DAMAGED_TOKEN = re.compile(r"/?\s*(?:loc|seg|poly|sep|s)?_?\d*")
_NUMBER = re.compile(r"\d+")
_KOSMOS = re.compile(r"<phrase>(?P<phrase>[^<>]*)</phrase>|(?P<run>(?:<patch_index_\d{4}>)+)|</?(?:phrase|grounding)>?")
_PALIGEMMA_BINS = 1024
_FLORENCE_BINS = 1000
_KOSMOS_SIDE = 32  # cells of the grid on each axis
_LEAST_CORNERS = 3  # of a polygon
_LABEL_REACH = 200  # characters before a token in which its label is looked for


def paligemma(text: str, axes: int) -> Written:
    """Read `<locY1><locX1><locY2><locX2> label`, perhaps with 16 `<seg>` codes before the label.

    The codes stand for a mask only together with the decoder's weights, so they give none.
    """
    shapes = []
    for match in _PALIGEMMA.finditer(text) if axes == 2 else ():
        bins = [int(number) for number in _NUMBER.findall(match[0])]
        if len(bins) == 4 and max(bins) < _PALIGEMMA_BINS:
            label = _PALIGEMMA_LABEL.match(text, match.end())
            shapes.append(Shape("box", tuple(map(float, bins)), label[1].strip() if label else ""))
    return Written(shapes)


def florence2(text: str, axes: int) -> Written:
    """Read `label<loc_x1><loc_y1><loc_x2><loc_y2>`, with further fours for further boxes of the label."""
    shapes = []
    for match in _FLORENCE.finditer(text) if axes == 2 else ():
        bins = [int(number) for number in _NUMBER.findall(match[0])]
        # Cut off within a token: those before it are whole. Cut off or damaged elsewhere, the run has lost a token.
        if len(bins) % 4 and not _CUT_TOKEN.fullmatch(text, match.end()):
            continue
        label = _label_before(text, match.start())
        fours = [bins[place : place + 4] for place in range(0, len(bins) // 4 * 4, 4)]
        # `<loc_1000>` is no token of the vocabulary: its box is none, and the others of the run stay.
        shapes += [Shape("box", tuple(map(float, four)), label) for four in fours if max(four) < _FLORENCE_BINS]
    return Written(shapes)


def florence2_polygons(text: str, axes: int) -> Written:
    """Read `label<poly><loc_x><loc_y>...</poly>`, one mask each, its parts divided by `<sep>`.

    Without `<poly>` and `</poly>` a polygon that was cut off would look like a whole one. An odd number of tokens in a
    part, which released code cuts to an even one, makes no mask.
    """
    shapes = []
    for match in _INSTANCE.finditer(text) if axes == 2 else ():
        parts: list[Numbers] = []
        for part in match[1].split("<sep>"):
            bins = tuple(float(number) for number in _NUMBER.findall(part))
            if len(bins) % 2 or len(bins) < 2 * _LEAST_CORNERS or max(bins) >= _FLORENCE_BINS:
                break
            parts.append(bins)
        else:
            shapes.append(Shape("polygon", parts[0], _label_before(text, match.start()), parts=tuple(parts[1:])))
    return Written(shapes)


def kosmos2(text: str, axes: int) -> Written:
    """Read `<phrase>label</phrase><object><patch_index_A><patch_index_B></object>`, with cells of the grid as numbers.

    A and B are the cells of the upper left and the lower right corner. The box reaches from centre to centre, or, if
    both lie in one row or one column, around both cells.

    Source: transformers, models/kosmos2/processing_kosmos2.py, patch_index_to_coordinate.
    """
    shapes, label = [], ""
    for match in _KOSMOS.finditer(text) if axes == 2 else ():
        if match["run"] is None:
            label = (match["phrase"] or "").strip()
            continue
        cells = [int(number) for number in re.findall(r"\d{4}", match["run"])]
        if len(cells) != 2 or max(cells) >= _KOSMOS_SIDE**2:
            continue
        (top, left), (bottom, right) = (divmod(cell, _KOSMOS_SIDE) for cell in cells)
        one_line = top == bottom or left == right
        before, behind = (0.0, 1.0) if one_line else (0.5, 0.5)
        shapes.append(Shape("box", (left + before, top + before, right + behind, bottom + behind), label))
    return Written(shapes)


def _label_before(text: str, start: int) -> str:
    found = _LABEL_BEFORE.search(text, max(0, start - _LABEL_REACH), start)
    label = found[0].strip() if found else ""
    return "" if _DAMAGED_TOKEN.fullmatch(label) else label

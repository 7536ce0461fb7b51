"""Dialects of markup: Molmo's points, and phrases that name the masks a model gives beside its words."""

import re

from harness.text.dialects.shapes import Shape, Written

_TAG = re.compile(r"<points?\b([^<>]*)")
_ATTRIBUTE = re.compile(r'(?<![\w"])([xy])(\d{0,3})="(\d{1,4}(?:\.\d{1,6})?)"')
_ALT = re.compile(r'(?<!\w)alt="([^"<>]*)"')
_INNER = re.compile(r">([^<>]*)</points?>")
_CLICK = re.compile(r"(?<!\w)(?:Click)?\((\d{1,3}\.\d), ?(\d{1,3}\.\d)\)")
# Tenths of a percent, three digits each and four for 100 %. Three at the end of a reply may be four that were cut off.
_TENTHS = re.compile(r"(?<!\w)p\s*=\s*(\d{3}|1000)\s*,\s*(\d{3}|1000)(?!\d)")
_MAYBE_CUT = "100"
_COORDS = re.compile(r'(?<![\w"])coords="([^"<>]*)("?)')
_POSITION = re.compile(r"[0-9]{3,4} [0-9]{3,4}")
_MOST = 100.0
_MOST_2 = 1000.0
_TOKEN = re.compile(r"\[\s*SEG\s*\]|<\s*SEG\s*>")
# MIMO's token stands within the phrase, which one rendering of its paper closes by a second `<p>`; GLaMM's behind it.
_PHRASES = re.compile(
    rf"<\s*p\s*>(?P<around>[^<>\[\]]*)(?:(?:{_TOKEN.pattern})\s*)+<\s*/?\s*p\s*>"
    rf"|<\s*p\s*>(?P<before>[^<>\[\]]*)<\s*/\s*p\s*>|(?P<token>{_TOKEN.pattern})|</?\s*p\s*>"
)


def molmo(text: str, axes: int) -> Written:
    """Read `<point x="" y="" alt="">` and `<points x1="" y1="" x2="" y2="" ...>`, `Click(x, y)` and `p=DDD, DDD`.

    A point above 100 is none, as in the released reader. The number in the names tells which x and y belong together,
    so a point whose x or y is lost or given twice takes nothing from the others.
    """
    shapes: list[tuple[int, Shape]] = []
    for tag in _TAG.finditer(text) if axes == 2 else ():
        given: dict[str, dict[str, list[float]]] = {}
        for axis, number, value in _ATTRIBUTE.findall(tag[1]):
            given.setdefault(number, {}).setdefault(axis, []).append(float(value))
        label = _label(text, tag)
        for point in given.values():
            numbers = (*point.get("x", ()), *point.get("y", ()))
            if len(point) == 2 and len(numbers) == 2 and max(numbers) <= _MOST:
                shapes.append((tag.start(), Shape("point", numbers, label)))
    for match in _CLICK.finditer(text) if axes == 2 else ():
        numbers = (float(match[1]), float(match[2]))
        if max(numbers) <= _MOST:
            shapes.append((match.start(), Shape("point", numbers)))
    for match in _TENTHS.finditer(text) if axes == 2 else ():
        if not (match[2] == _MAYBE_CUT and match.end() == len(text)):
            shapes.append((match.start(), Shape("point", (int(match[1]) / 10, int(match[2]) / 10))))
    return Written(tuple(shape for _, shape in sorted(shapes, key=lambda item: item[0])))


def molmo2(text: str, axes: int) -> Written:
    """Read `<points coords="1 1 073 160 2 173 600" alt="">`: the image, then number, x and y of each point.

    The numbers count up from 1, which makes a lost or doubled coordinate known: the list then gives nothing. Points of
    another image than the first, or of several, give nothing either.
    """
    shapes = []
    for tag in _TAG.finditer(text) if axes == 2 else ():
        coords = _COORDS.search(tag[1])
        words = coords[1].split() if coords else []
        if coords and not coords[2]:
            words = words[: 1 + max(0, len(words) - 2) // 3 * 3]  # cut off, and the last of them perhaps within
        label = _label(text, tag)
        triples = [words[place : place + 3] for place in range(1, len(words), 3)]
        counted = [triple[0] for triple in triples] == [str(number) for number in range(1, len(triples) + 1)]
        positions = [tuple(map(float, triple[1:])) for triple in triples if _POSITION.fullmatch(" ".join(triple[1:]))]
        if words[:1] == ["1"] and counted and len(positions) == len(triples):
            shapes += [Shape("point", position, label) for position in positions if max(position) <= _MOST_2]
    return Written(shapes)


def _label(text: str, tag: re.Match[str]) -> str:
    """Return the name of the points of a tag: its `alt`, else the words inside."""
    alt = _ALT.search(tag[1])
    inner = None if alt else _INNER.match(text, tag.end())
    return alt[1].strip() if alt else inner[1].strip() if inner else ""


def phrases(text: str, axes: int) -> Written:  # noqa: ARG001 - a phrase has no axes
    """Read `<p>phrase</p> [SEG]`, `<p>phrase<SEG></p>` and a lone `[SEG]`: the k-th token names the k-th mask.

    A mask belongs to the nearest phrase before its token.
    """
    shapes: list[Shape] = []
    current, fresh, previous = Shape("phrase"), False, 0
    for match in _PHRASES.finditer(text):
        name = match["around"] if match["around"] is not None else match["before"]
        if name is not None:
            start = match.start("around" if match["around"] is not None else "before")
            start += len(name) - len(name.lstrip())
            label = " ".join(name.split())
            current, fresh = Shape("phrase", label=label, span=(start, start + len(name.strip()))), True
        if match["around"] is not None:
            shapes += [current] * len(_TOKEN.findall(match[0]))
            fresh = False
        elif match["token"] is not None:
            # A phrase names the next mask, and those that follow that one without a word between.
            named = fresh or not text[previous : match.start()].strip(" \t\n,")
            shapes.append(current if named else Shape("phrase"))
            fresh = False
        elif name is None:
            current, fresh = Shape("phrase"), False  # a tag without its other half
        previous = match.end()
    return Written(tuple(shapes))

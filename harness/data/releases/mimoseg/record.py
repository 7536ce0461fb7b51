"""One record of a MIMOSeg file, with known defects repaired by rule and missing parts reported."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from harness.data.integrity import Integrity
from harness.errors import DataError
from harness.imaging.frames import check_box
from harness.records import Box, Json, Mask, Points, Size
from harness.text.grounded_text import normalise_name, parse

PERSPECTIVES = ("1", "2", "3", "4")
POINTING = ("2", "4")  # perspectives whose records have a visual prompt
WORDED = ("1", "2")  # perspectives whose instructions and answers are made from templates

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")

# Two variants of the paper's grammar `<p>name<SEG></p>`: a second `<p>` in place of the closing tag, as arXiv's HTML of
# the paper prints it, and the token after the closing tag, as in GLaMM's grammar.
_SECOND_OPENING = re.compile(r"(<\s*SEG\s*>\s*)<\s*p\s*>", re.IGNORECASE)
_TOKEN_AFTER = re.compile(r"<\s*p\s*>\s*([^<>]*?)\s*<\s*/\s*p\s*>\s*\[\s*SEG\s*\]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NamedMask:
    """An entity of a record.

    Attributes:
        name: As written.
        paths: Mask files below the release's folder that make it up together.
        runs: The mask itself as JSON, if the record holds it.
    """

    name: str
    paths: tuple[str, ...] = ()
    runs: Mapping[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record after repairs.

    Attributes:
        place: File and number, for messages.
        id: As released.
        image: Path below the release's folder; None if the record names none.
        facts: `modality`, `source` and `case` of its image, as far as the record gives them.
        instruction, answer: Empty if the record has none.
        entities: In the order of the answer.
        prompt: Its visual prompt; None without one.
        wording: Author of the instruction, as the record says.
        defect: Why it cannot be asked, judged by the record alone; None if it can.
    """

    place: str
    id: str
    image: str | None
    facts: Mapping[str, str]
    instruction: str
    answer: str
    entities: tuple[NamedMask, ...]
    prompt: Box | Points | None
    wording: str
    defect: str | None

    @property
    def names(self) -> list[str]:
        """The names of the entities, in the order of the answer."""
        return [entity.name for entity in self.entities]

    @property
    def prompt_kind(self) -> str:
        """`box`, `point` or `none`."""
        return "none" if self.prompt is None else "box" if isinstance(self.prompt, Box) else "point"

    @property
    def amount(self) -> str:
        """The number of entities as a word: `none`, `one` or `several`."""
        return ("none", "one", "several")[min(len(self.entities), 2)]


def parse_record(value: Json, place: str, number: int, perspective: str, integrity: Integrity) -> Record:
    """Return a record with known defects repaired, and report what it lacks."""
    parser = _Parser(place, integrity)
    record = value if isinstance(value, dict) else {}
    facts = {key: parser.text(record.get(key)) for key in ("modality", "source", "case") if record.get(key)}
    image = parser.image(record.get("image"))
    entities = parser.entities(record)
    instruction, answer = parser.text(record.get("instruction")), parser.answer(record)
    if perspective not in WORDED:
        parser.require(instruction=instruction, answer=answer)
    elif not entities:
        parser.require(instruction=instruction)
    parser.compare_names(answer, entities)
    return Record(
        place=place,
        id=parser.id(record.get("id"), number),
        image=image,
        facts=facts,
        instruction=instruction,
        answer=answer,
        entities=entities,
        prompt=parser.prompt(record.get("prompt"), needed=perspective in POINTING),
        wording=parser.text(record.get("wording")).lower() or "release",
        defect=parser.defect,
    )


@dataclass(slots=True)
class _Parser:
    """Parses one record, and remembers the first reason why it cannot be asked."""

    place: str
    integrity: Integrity
    defect: str | None = None

    def lack(self, name: str, detail: str = "") -> None:
        self.integrity.find("missing_value", self.place, f"{name}: {detail}" if detail else name)
        self.defect = self.defect or f"the record has no {name}" + (" that can be read" if detail else "")

    def require(self, **texts: str) -> None:
        for name, text in texts.items():
            if not text:
                self.lack(name)

    def text(self, value: Json) -> str:
        """Return a value as text without outer blanks; empty if it is absent."""
        if value is not None and not isinstance(value, str):
            self.integrity.repair("value_cast_to_text", self.place)
        return "" if value is None else str(value).strip()

    def id(self, value: Json, number: int) -> str:
        found = self.text(value)
        if not found:
            self.integrity.repair("id_from_row", self.place)
        return found or f"row-{number}"

    def image(self, value: Json) -> str | None:
        path = self.text(value)
        if not path:
            self.lack("image")
            return None
        return self.with_suffix(path, "image")

    def with_suffix(self, path: str, what: str) -> str:
        if path.lower().endswith(SUFFIXES):
            return path
        self.integrity.repair(f"{what}_suffix_added", self.place)
        return f"{path}.png"

    def answer(self, record: Mapping[str, Json]) -> str:
        """Return the answer in the grammar `<p>name<SEG></p>`, rewritten from its known variants."""
        text = self.text(record.get("answer"))
        for name, pattern, canonical in (
            ("closing_tag_rewritten", _SECOND_OPENING, r"\1</p>"),
            ("token_moved_into_entity", _TOKEN_AFTER, r"<p>\1<SEG></p>"),
        ):
            text, count = pattern.subn(canonical, text)
            if count:
                self.integrity.repair(name, self.place)
        return text

    def entities(self, record: Mapping[str, Json]) -> tuple[NamedMask, ...]:
        """Return the entities; an empty list means that there is nothing to find, a missing one is a fault."""
        listed = record.get("entities")
        if not isinstance(listed, list):
            self.lack("entities", "" if listed is None else f"found {str(listed)[:40]!r}")
            return ()
        return tuple(entity for entity in map(self._entity, listed) if entity is not None)

    def _entity(self, value: Json) -> NamedMask | None:
        given = value if isinstance(value, dict) else {}
        name, mask = self.text(given.get("name")), given.get("mask")
        paths = [mask] if isinstance(mask, str) else mask if isinstance(mask, list) else []
        if not name or not (isinstance(mask, dict) or (paths and all(isinstance(path, str) for path in paths))):
            self.lack("entity", f"expected a name and a mask, found {str(value)[:40]!r}")
            return None
        if isinstance(mask, dict):
            return NamedMask(name, runs=mask)
        return NamedMask(name, tuple(self.with_suffix(path.strip(), "mask") for path in paths))

    def compare_names(self, answer: str, entities: Sequence[NamedMask]) -> None:
        """Report an answer that wraps other names than the record has masks for; it is scored by the masks."""
        wrapped = [normalise_name(entity.name) for entity in parse(answer, "mimo").entities]
        named = [normalise_name(entity.name) for entity in entities]
        if answer and wrapped != named and self.defect is None:
            detail = f"the answer wraps {', '.join(wrapped) or 'nothing'}; masks for {', '.join(named) or 'nothing'}"
            self.integrity.find("entity_mismatch", self.place, detail)

    def prompt(self, value: Json, *, needed: bool) -> Box | Points | None:
        if value is None:
            if needed:
                self.lack("prompt")
            return None
        found = _prompt(value) if isinstance(value, dict) else None
        if found is None:
            self.lack("prompt", f"expected a box or points, found {str(value)[:60]!r}")
        return found


def _prompt(value: Mapping[str, Json]) -> Box | Points | None:
    """Return the box of four numbers, or the points of two numbers each, foreground unless labelled 0, in (x, y)."""
    box, points = value.get("box"), value.get("points")
    if points is None:
        return Box(corners=tuple(map(float, box or ()))) if _numbers(box, 4) else None
    if box is not None or not isinstance(points, list) or not points or not all(_numbers(one, 2) for one in points):
        return None
    labels = value.get("labels", [1] * len(points))
    if not isinstance(labels, list) or len(labels) != len(points) or not all(label in (0, 1) for label in labels):
        return None
    return Points(points=tuple((float(x), float(y)) for x, y in points), labels=tuple(map(int, labels)))


def _numbers(value: Json, count: int) -> bool:
    if not isinstance(value, list) or len(value) != count:
        return False
    # True is an int in Python, and `json` reads NaN and Infinity.
    return all(isinstance(one, int | float) and not isinstance(one, bool) and isfinite(one) for one in value)


def outside(prompt: Box | Points, size: Size) -> str | None:
    """Return which part of a visual prompt is outside an image of size (H, W); None if all of it is inside."""
    if isinstance(prompt, Box):
        try:
            check_box(prompt, size, "prompt")
        except DataError as error:
            return str(error).removeprefix("prompt: ")
        return None
    height, width = size
    found = [f"({x:g}, {y:g})" for x, y in prompt.points if not (0 <= x < width and 0 <= y < height)]
    return f"point {found[0]} of an image {size} as (H, W)" if found else None


def touches(prompt: Box | Points, targets: Sequence[Mask]) -> bool:
    """Return whether a box or a foreground point has a pixel in common with any of the masks."""
    from harness.imaging import masks  # numpy should load when a release is read, not when readers are listed

    if isinstance(prompt, Box):
        boxes = [prompt]
    else:
        # A point covers the pixel that contains it.
        chosen = zip(prompt.points, prompt.labels, strict=True)
        boxes = [Box(corners=(int(x), int(y), int(x) + 1, int(y) + 1)) for (x, y), label in chosen if label]
    return any(masks.intersection(masks.from_box(box, mask.size), mask) for box in boxes for mask in targets)

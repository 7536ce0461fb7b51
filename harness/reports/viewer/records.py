"""One sample as a page shows it, before it becomes HTML."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

LayerKind = Literal["target", "prediction", "prompt"]

# Colours of entities that a page can tell apart; further ones begin again with the first.
COLOURS = 8
# Characters of a text that are shown at once, and in all.
BRIEF = 600
MOST_CHARACTERS = 6_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A mask, box or point over an image or over slices.

    Attributes:
        kind: Whose it is.
        colour: Number of its entity's colour; None if the sample has one thing only, which is coloured by kind.
        name: Of its entity; may be empty.
        area: Pixels or voxels of a mask; None of a box or point.
        path: `d` of an SVG path in the pixels of the image; empty in a volume.
        slices: Of a volume: by plane, the paths by number of the slice.
    """

    kind: LayerKind
    colour: int | None
    name: str
    area: int | None = None
    path: str = ""
    slices: Mapping[str, Mapping[int, str]] = field(default_factory=dict)

    @property
    def classes(self) -> str:
        """The classes of its path."""
        return self.kind if self.colour is None or self.kind == "prompt" else f"{self.kind} e{self.colour}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownImage:
    """An image of a sample.

    Attributes:
        size: (H, W) of the original image, the frame of all paths.
        uri: `data:` URI; None if its pixels are not shown.
    """

    size: tuple[int, ...]
    uri: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Slices of a volume in one direction.

    Attributes:
        name: `axial`, `coronal` or `sagittal`.
        depth: Number of slices of the volume.
        places: Numbers of the slices that the page holds, ascending.
        first: Index into `places` of the slice that is shown at first.
        size: (rows, columns) of one slice in voxels, the frame of all paths.
        tile: (rows, columns) of one slice as it is shown, with square pixels.
        grid: (rows, columns) of slices in the image.
        uri: `data:` URI of an image with all slices in reading order; None if voxels are not shown.
    """

    name: str
    depth: int
    places: tuple[int, ...]
    first: int
    size: tuple[int, int]
    tile: tuple[int, int]
    grid: tuple[int, int] = (1, 1)
    uri: str | None = None


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a text: plain, in the colour of an entity, or a tag of the model's grammar."""

    text: str
    kind: Literal["plain", "entity", "tag"] = "plain"
    classes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """A text in pieces, cut to MOST_CHARACTERS.

    Attributes:
        pieces: What is shown at once.
        rest: What is shown on demand.
        cut: Characters that are left out.
    """

    pieces: tuple[Piece, ...] = ()
    rest: tuple[Piece, ...] = ()
    cut: int = 0

    def __bool__(self) -> bool:
        return bool(self.pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreLine:
    """The score under one metric and protocol.

    Attributes:
        status: `failed`, else the status of the score.
        values: (name, value) of the metric's values.
        note: The metric's own remark, such as the rule that read the answer.
    """

    metric: str
    protocol: str
    status: str
    values: tuple[tuple[str, float | None], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewedSample:
    """One sample of a task.

    Attributes:
        sample_id: As in the manifest.
        repeat: 0-based number of the repetition, None in a task that asks once.
        value: Of the headline metric; None if it has none.
        status: What readers filter by: the status of the prediction if that is not ok, else that of the score.
        prompt, target, answer: Texts.
        error: Why there is no answer.
        images: Images, the first with the shapes; empty for a volume.
        planes: Slices of a volume; empty for images.
        shapes: Over the image or the slices, targets before predictions.
        unshown: Why pixels, or shapes, are not shown; empty if all are.
        description: The content of the drawing in words, for readers who do not see it.
        scores: Under every metric and protocol.
        facts: Strata and further facts, name and value.
    """

    sample_id: str
    repeat: int | None
    value: float | None
    status: str
    prompt: Words
    target: Words
    answer: Words
    error: str
    images: tuple[ShownImage, ...]
    planes: tuple[Plane, ...]
    shapes: tuple[Shape, ...]
    unshown: str
    description: str
    scores: tuple[ScoreLine, ...]
    facts: tuple[tuple[str, str], ...]

    @property
    def title(self) -> str:
        """The id, with the number of the repetition where there are several."""
        return self.sample_id if self.repeat is None else f"{self.sample_id} (repetition {self.repeat + 1})"

    @property
    def kinds(self) -> tuple[LayerKind, ...]:
        """The kinds of shapes that there are, in the order of their switches."""
        found = {shape.kind for shape in self.shapes}
        return tuple(kind for kind in ("target", "prediction", "prompt") if kind in found)

    @property
    def has_pixels(self) -> bool:
        """Whether an image or slices are shown, not only masks."""
        return any(image.uri for image in self.images) or any(plane.uri for plane in self.planes)

    @property
    def volume_data(self) -> str:
        """What the script needs to change slices, as JSON that may stand in a script element."""
        data = [
            {
                "places": plane.places,
                "tile": plane.tile,
                "columns": plane.grid[1],
                "paths": [
                    [shape.slices.get(plane.name, {}).get(place, "") for place in plane.places] for shape in self.shapes
                ],
            }
            for plane in self.planes
        ]
        # Only `<` could end the element; the strings are numbers and letters of paths anyway.
        return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")

    @property
    def weight(self) -> int:
        """About how many bytes the sample adds to a page."""
        pixels = sum(len(image.uri or "") for image in self.images) + sum(len(plane.uri or "") for plane in self.planes)
        paths = sum(
            len(shape.path) + sum(len(path) for plane in shape.slices.values() for path in plane.values())
            for shape in self.shapes
        )
        texts = sum(
            len(piece.text)
            for words in (self.prompt, self.target, self.answer)
            for piece in (*words.pieces, *words.rest)
        )
        return pixels + paths + 2 * texts + 160 * len(self.scores) + 2_000

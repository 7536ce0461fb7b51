"""A modality of the phantoms: its structures, its words and the function that draws a case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.drawing.canvas import Canvas, Floats, Point, grid

Role = Literal["organ", "lesion", "sign"]


def with_article(name: str) -> str:
    """Return the name with its indefinite article: "a liver", "an MRI"."""
    # An abbreviation goes by its first letter's name: the twelve here begin with a vowel when said.
    spelled = len(name) > 1 and name.partition(" ")[0].isupper()
    vowel = name[0] in ("AEFHILMNORSX" if spelled else "aeiou")
    return f"{'an' if vowel else 'a'} {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomCase:
    """Everything that is decided about an image before it is drawn, so that answers can be balanced.

    Attributes:
        lesions: How many lesions to draw, 0 to 3.
        sign: Whether to draw the other abnormality of the modality.
        side: Side of the sign: -1 left of the image's middle, 1 right of it.
        lean: Which of paired organs is the larger: -1 the left one in the image, 1 the right one.
        position: Position of the slice in the patient, in (-1, 1).
        anatomy: Random numbers of the patient; slices of a volume repeat them, so that they show the same anatomy.
        grain: Random numbers of this image: noise, exposure.
    """

    lesions: int
    sign: bool
    side: int
    lean: int
    position: float
    anatomy: Generator
    grain: Generator

    def pair(self, side: int, spread: float) -> float:
        """Return the relative size of the organ on one side (-1 or 1): 1 plus or minus half of `spread`."""
        return 1 + spread / 2 * self.lean * side


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A structure that a modality may show.

    Attributes:
        name, plural: As a question would say them.
        role: `organ` is always there, `lesion` is counted, `sign` is there or not and has a side.
        mass: Whether it takes neither article nor plural: "fresh blood".
        normal: Whether a healthy patient may have it too.
        paired: Whether there are two of them, one on each side.
    """

    name: str
    plural: str
    role: Role = "organ"
    mass: bool = False
    normal: bool = False
    paired: bool = False

    @property
    def with_article(self) -> str:
        """Return "a liver", "an optic disc", "fresh blood"."""
        return self.name if self.mass else with_article(self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalityPhantom:
    """One modality, and the part of the body that it images.

    Attributes:
        prefix: First part of a file name, as SA-Med2D-20M spells its modalities.
        code: Modality code of the harness.
        source: Name of the made-up dataset.
        native_2d: Whether each image is a study of its own and not a slice of a volume.
        modality: Its name as an answer would say it: "CT".
        aliases: Other words for it, each of which a question may use.
        region: Part of the body, as an answer would say it.
        organ: Part of the body, as VQA-RAD's `image_organ` would write it.
        view: Opening words of a description.
        structures: In the order of their class ids.
        draw: Draws a case.
    """

    prefix: str
    code: str
    source: str
    native_2d: bool
    modality: str
    aliases: tuple[str, ...]
    region: str
    organ: str
    view: str
    structures: tuple[Structure, ...]
    draw: Callable[[PhantomCase], Canvas]

    def class_id(self, name: str) -> int:
        """Return the number of a class, from 1.

        Raises:
            ValueError: The modality has no structure of that name.
        """
        return [structure.name for structure in self.structures].index(name) + 1

    def stem(self, patient: int, index: int) -> str:
        """Return the file name of an image without its suffix; a native 2-D image is a case of its own.

        The parts between double hyphens are those of SA-Med2D-20M: modality, dataset, case, slice.
        """
        case = f"case_{patient:04}"
        view = f"--{case}_{index}--2d_none" if self.native_2d else f"--{case}--z_{index:04}"
        return f"{self.prefix}--{self.source}{view}"


def scatter(random: Generator, host: Floats, count: int, *, gap: float, middle: float | None = None) -> list[Point]:
    """Return up to `count` points (x, y) at which `host` is positive, no two nearer than `gap`.

    Args:
        random: Draws the points.
        host: Field, float64 (H, W), positive where a point may be.
        count: Wanted number; fewer points are returned if there is no room for them.
        gap: Least distance of two points, in the unit of `grid`.
        middle: Half width of a strip around the image's middle that stays free, so that left and right are beyond
            doubt; None for no strip.
    Returns:
        Points in the unit of `grid`; empty if `host` is positive nowhere.
    """
    x, y = grid((host.shape[0], host.shape[1]))
    allowed = host > 0 if middle is None else (host > 0) & (np.abs(x) > middle)
    rows, columns = np.nonzero(allowed)
    found: list[Point] = []
    # Points are drawn until they keep their distance; 200 draws end the search in a host that is too small.
    for _ in range(200 if rows.size else 0):
        if len(found) == count:
            break
        pick = int(random.integers(rows.size))
        point = (float(x[rows[pick], columns[pick]]), float(y[rows[pick], columns[pick]]))
        if all((point[0] - other[0]) ** 2 + (point[1] - other[1]) ** 2 >= gap * gap for other in found):
            found.append(point)
    return found

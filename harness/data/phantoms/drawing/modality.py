"""What a modality look is: its structures, its words and the function that draws a case."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from harness.data.phantoms.drawing.canvas import Canvas, Floats, Point, grid

Role = Literal["organ", "lesion", "sign"]


def with_article(name: str) -> str:
    """Return "a liver", "an MRI": an abbreviation goes by how its first letter is said."""
    spelled = len(name) > 1 and name.partition(" ")[0].isupper()
    vowel = name[0] in ("AEFHILMNORSX" if spelled else "aeiou")
    return f"{'an' if vowel else 'a'} {name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PhantomCase:
    """What is decided of a picture before it is drawn, so that answers can be balanced.

    Attributes:
        lesions: How many lesions to draw, 0 to 3.
        sign: Whether to draw the other abnormality of the look.
        side: Where that lies: -1 left of the picture's middle, 1 right of it.
        lean: Which of paired organs is the larger: -1 the left one in the picture, 1 the right one.
        position: Where the slice lies in the patient, in (-1, 1).
        anatomy: Random numbers of the patient.
        grain: Random numbers of this picture.
    """

    lesions: int
    sign: bool
    side: int
    lean: int
    position: float
    anatomy: Generator
    grain: Generator

    def pair(self, side: int, spread: float) -> float:
        """Return the relative size of the organ on one side, the larger one by `spread` above 1."""
        return 1 + spread / 2 * self.lean * side


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Something a look may show.

    Attributes:
        name, plural: As a question would say them.
        role: `organ` is always there, `lesion` is counted, `sign` is there or not and has a side.
        mass: No article and no plural: "fresh blood".
        normal: A healthy patient may have it too.
        paired: Two of them, one on each side.
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
    """One modality.

    Attributes:
        prefix: First part of a file name.
        code: Modality code of the harness.
        source: The made-up dataset.
        native_2d: Images are no slices of a volume.
        modality: As an answer would say it: "CT scan".
        aliases: Other words for it, each of which a question may use.
        region: Part of the body, as an answer would say it.
        organ: The same as VQA-RAD's `image_organ` would.
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
        """Return the number of a class, from 1."""
        return [structure.name for structure in self.structures].index(name) + 1

    def stem(self, patient: int, index: int) -> str:
        """Return the name of an image without its suffix; a native 2-D image is a case of its own."""
        case = f"case_{patient:04}"
        view = f"--{case}_{index}--2d_none" if self.native_2d else f"--{case}--z_{index:04}"
        return f"{self.prefix}--{self.source}{view}"


def scatter(random: Generator, host: Floats, count: int, *, gap: float, middle: float | None = None) -> list[Point]:
    """Return up to `count` points where `host` is positive, no two nearer than `gap`.

    Args:
        host: Field (H, W) of where a point may lie.
        count: Wanted number; fewer come back where no room is left.
        gap: In the unit of `grid`.
        middle: Half width of a strip around the picture's middle that stays free; None for none.
    """
    x, y = grid((host.shape[0], host.shape[1]))
    allowed = host > 0 if middle is None else (host > 0) & (np.abs(x) > middle)
    rows, columns = np.nonzero(allowed)
    found: list[Point] = []
    for _ in range(200 if rows.size else 0):
        if len(found) == count:
            break
        pick = int(random.integers(rows.size))
        point = (float(x[rows[pick], columns[pick]]), float(y[rows[pick], columns[pick]]))
        if all((point[0] - other[0]) ** 2 + (point[1] - other[1]) ** 2 >= gap * gap for other in found):
            found.append(point)
    return found

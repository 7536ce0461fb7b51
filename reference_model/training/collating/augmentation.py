"""The random changes of volumes in M3D's training, and what they do to masks and boxes.

Shape suffixes: N volumes or masks; D, H, W on the grid of the model.
"""

from dataclasses import dataclass

import torch
from numpy.random import Generator
from torch import Tensor

from harness.records import Box
from harness.text import boxes
from reference_model.inputs.volume_boxes import box_text
from reference_model.inputs.volumes import Size3


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """A change of a volume as in M3D's training; masks and boxes move with it.

    As released, words stay as they are, although left and right may change places.

    Attributes:
        turns: Quarter turns in plane, from H towards W, which must be equally long.
        mirrored: The axes of (D, H, W) that are reversed after the turns.
        factor: By which grey values are multiplied.
        shift: What is then added to them.
    """

    turns: int = 0
    mirrored: tuple[int, ...] = ()
    factor: float = 1.0
    shift: float = 0.0

    @classmethod
    def sampled(cls, random: Generator) -> "Augmentation":
        """Return a change with the released probabilities.

        One to three quarter turns half the time, each axis mirrored one time in ten, a factor of 0.9 to 1.1 half the
        time, and a shift of -0.1 to 0.1 half the time.
        """
        return cls(
            turns=int(random.integers(1, 4)) if random.random() < 0.5 else 0,
            mirrored=tuple(axis for axis in range(3) if random.random() < 0.1),
            factor=float(1 + random.uniform(-0.1, 0.1)) if random.random() < 0.5 else 1.0,
            shift=float(random.uniform(-0.1, 0.1)) if random.random() < 0.5 else 0.0,
        )

    def moved(self, values_NDHW: Tensor) -> Tensor:
        """Return volumes or masks of any type, (N, D, H, W), turned and mirrored."""
        turned_NDHW = torch.rot90(values_NDHW, self.turns, dims=(2, 3))
        return turned_NDHW.flip([1 + axis for axis in self.mirrored])

    def volume(self, volume_1DHW: Tensor) -> Tensor:
        """Return a volume, float32 (1, D, H, W), moved and changed in brightness; it may leave [0, 1], as released."""
        return self.moved(volume_1DHW) * self.factor + self.shift

    def box(self, box: Box, size: Size3) -> Box:
        """Return where a box goes.

        Args:
            box: z1 y1 x1 z2 y2 x2, half-open, in cells of the grid.
            size: (D, H, W) of the grid.
        """
        spans = list(zip(box.corners[:3], box.corners[3:], strict=True))
        for _ in range(self.turns):
            down, (start, end) = spans[1:]
            spans[1:] = [(size[2] - end, size[2] - start), down]
        for axis in self.mirrored:
            start, end = spans[axis]
            spans[axis] = size[axis] - end, size[axis] - start
        return Box(corners=(*(start for start, _ in spans), *(end for _, end in spans)))

    def text(self, text: str, size: Size3) -> str:
        """Return a text with its boxes, `[z1, y1, x1, z2, y2, x2]` as M3D writes them, where the change moves them.

        Args:
            text: A question or an answer whose boxes are on the grid; a box without extent stays as it is.
            size: (D, H, W) of the grid.
        """

        def moved(corners: boxes.Corners) -> str | None:
            box = boxes.from_m3d(corners, size)
            return box_text(self.box(box, size), size) if boxes.is_possible(box.corners) else None

        return boxes.rewrite_m3d(text, moved)

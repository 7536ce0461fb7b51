"""What every cell of a picture shows, in words: the captions of patches that stage 0 learns from.

Shape suffixes: H, W of the original image, S side of the padded square, G cells along a side, P cells in reading order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label, sum_labels

from harness.imaging import masks
from harness.records import Mask
from reference_model.inputs.images import mask_in_square
from reference_model.inputs.regions import EIGHT_NEIGHBOURS, Bools
from reference_model.training.mixing import Row

SIDES = ("left", "right")
MIDDLE = 0.1
"""Share of half the width within which a centre lies on neither side."""
COUNTS = ("one", "two", "three", "more")
LARGER = 1.1
"""Ratio of areas from which one of two parts is the larger."""
COVERED = 0.25
"""Share of a cell from which it shows a part; of a smaller part the cell shows it that has most of it."""
SPECK = 0.02
"""Share of the largest part below which a part is no part, but an edge that came loose."""


class PatchCaption(NamedTuple):
    """One part of a structure, as words that may be empty.

    Attributes:
        name: Of the structure.
        side: On which its centre lies.
        number: How many parts the structure has.
        size: `larger`, if it is the larger one of two.
    """

    name: str
    side: str = ""
    number: str = ""
    size: str = ""

    @property
    def words(self) -> str:
        """All of it, behind one another."""
        return " ".join(word for word in self if word)


BACKGROUND = PatchCaption("")
"""What a cell shows that no mask covers."""


@dataclass(frozen=True, slots=True)
class _CaptionedPart:
    shown: PatchCaption
    mask_SS: Bools


def patch_captions(row: Row, *, side: int, cells: int) -> tuple[PatchCaption, ...]:
    """Return what the P cells of a picture show, in reading order; of several parts in a cell the smallest.

    Args:
        row: With all masks of the picture, for what no mask covers is taken for background.
        side: S, into which the picture is padded.
        cells: G.
    """
    parts = [part for example in row if example.mask is not None for part in _parts(example.name, example.mask, side)]
    shown = [BACKGROUND] * cells**2
    for part in sorted(parts, key=lambda one: (-int(one.mask_SS.sum()), one.shown.name)):
        for place in _covered(part.mask_SS, cells):
            shown[int(place)] = part.shown
    return tuple(shown)


def structures(shown: Sequence[PatchCaption]) -> dict[str, list[PatchCaption]]:
    """Return the different parts of each structure that cells show, by name."""
    found: dict[str, list[PatchCaption]] = {}
    for one in dict.fromkeys(shown):
        if one != BACKGROUND:
            found.setdefault(one.name, []).append(one)
    return found


def side_of(mask: Bools) -> str:
    """Return the side of a picture on which the centre of a mask (H, W) lies; empty near the middle."""
    width = mask.shape[1]
    across = 2.0 * float(np.nonzero(mask)[1].mean() + 0.5) / width - 1.0
    return "" if abs(across) <= MIDDLE else SIDES[across > 0]


def _parts(name: str, mask: Mask, side: int) -> Iterator[_CaptionedPart]:
    mask_HW = masks.decode(mask)
    labels_HW, count = label(mask_HW, structure=EIGHT_NEIGHBOURS)
    areas = np.asarray(sum_labels(mask_HW, labels_HW, range(1, count + 1)))
    kept = [number for number in range(1, count + 1) if areas[number - 1] > SPECK * areas.max()]
    for number in kept:
        part_HW = labels_HW == number
        others = [areas[other - 1] for other in kept if other != number]
        larger = len(others) == 1 and areas[number - 1] >= LARGER * others[0]
        shown = PatchCaption(
            name, side_of(part_HW), COUNTS[min(len(kept), len(COUNTS)) - 1], "larger" if larger else ""
        )
        yield _CaptionedPart(shown, mask_in_square(part_HW, side))


def _covered(part_SS: Bools, cells: int) -> NDArray[np.intp]:
    """Return the numbers of the cells that show a part; none where resizing left nothing of it."""
    step = part_SS.shape[0] // cells
    share_GG = part_SS[: cells * step, : cells * step].reshape(cells, step, cells, step).mean(axis=(1, 3))
    return np.flatnonzero((share_GG > 0) & (share_GG >= min(COVERED, share_GG.max())))

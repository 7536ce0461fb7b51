"""Captions of patches: words for the structure in every cell of an image, from which stage 0 learns.

Shape suffixes: H, W of the original image, S side of the padded square, G cells along a side, P cells in reading order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import label, sum_labels

from harness.imaging import masks
from harness.records import Mask
from reference_model.inputs.images import Bools, mask_in_square
from reference_model.inputs.regions import EIGHT_NEIGHBOURS
from reference_model.training.mixing import Row

SIDES = ("left", "right")
# Share of half the width within which a centre lies on neither side.
MIDDLE = 0.1
# The last word stands for every larger number.
COUNTS = ("one", "two", "three", "more")
# Least ratio of areas at which one of two parts is called the larger.
LARGER = 1.1
# A cell shows a part that covers at least this share of it; a part that covers no cell so far is shown by the cell that
# has most of it.
COVERED = 0.25
# A component below this share of the largest one is ignored as a fragment of an edge.
SPECK = 0.02


class PatchCaption(NamedTuple):
    """One part of a structure, as words that may be empty.

    Attributes:
        name: The name of the structure.
        side: The side of the image on which the centre of the part lies.
        number: How many parts the structure has.
        size: `larger` if the part is the larger of two.
    """

    name: str
    side: str = ""
    number: str = ""
    size: str = ""

    @property
    def words(self) -> str:
        """All words that are not empty, joined by spaces."""
        return " ".join(word for word in self if word)


# The caption of a cell that no mask covers.
BACKGROUND = PatchCaption("")


@dataclass(frozen=True, slots=True)
class _CaptionedPart:
    shown: PatchCaption
    mask_SS: Bools


def patch_captions(row: Row, *, side: int, cells: int) -> tuple[PatchCaption, ...]:
    """Return the captions of the P cells of an image, in reading order; a cell with several parts gets the smallest.

    Args:
        row: Questions with all masks of the image; cells that no mask covers are background.
        side: S, in pixels.
        cells: G.
    """
    named = dict.fromkeys(one for example in row for one in example.named_masks)
    parts = [part for name, mask in named for part in _parts(name, mask, side)]
    shown = [BACKGROUND] * cells**2
    for part in sorted(parts, key=lambda one: (-int(one.mask_SS.sum()), one.shown.name)):
        step = side // cells
        whole_SS = part.mask_SS[: cells * step, : cells * step]
        share_GG = whole_SS.reshape(cells, step, cells, step).mean(axis=(1, 3))
        # Also above 0: resizing may have left nothing of a part.
        for place in np.flatnonzero((share_GG > 0) & (share_GG >= min(COVERED, share_GG.max()))):
            shown[int(place)] = part.shown
    return tuple(shown)


def structures(shown: Sequence[PatchCaption]) -> dict[str, list[PatchCaption]]:
    """Return the distinct parts of each structure that cells show, by the name of the structure."""
    found: dict[str, list[PatchCaption]] = {}
    for one in dict.fromkeys(shown):
        if one != BACKGROUND:
            found.setdefault(one.name, []).append(one)
    return found


def side_of(mask: Bools) -> str:
    """Return the side of an image on which the centre of a boolean mask (H, W) lies; empty near the middle."""
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

"""Several masks against several: the table of their IoU, and one-to-one matchings over it."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks
from harness.metrics.metric import Floats
from harness.records import Entity, Mask, Sample

Matches = list[tuple[int, int]]  # (row, column) of every matched pair, by ascending row


def target_entities(sample: Sample) -> tuple[Entity, ...]:
    """Return the entities of the target; there are none if the target is `absent`."""
    return () if sample.target.absent else sample.target.entities


def target_masks(sample: Sample) -> tuple[Mask, ...]:
    """Return the masks of the target's entities; there are none if the target is `absent`."""
    return tuple(entity.mask for entity in target_entities(sample) if entity.mask is not None)


def filled(found: Sequence[Mask]) -> tuple[Mask, ...]:
    """Return the masks that cover at least one pixel."""
    return tuple(mask for mask in found if masks.area(mask))


# All rows score one sample before the next comes, and most of them need the same table.
@lru_cache(maxsize=16)
def _table(rows: tuple[Mask, ...], columns: tuple[Mask, ...]) -> Floats:
    table = masks.iou_table(rows, columns)
    table.flags.writeable = False  # the cache hands the same array to every caller
    return table


def iou_table(predicted: Sequence[Mask], targets: Sequence[Mask], where: str, *, nothing: float = 0.0) -> Floats:
    """Return the IoU of every pair, shape (predicted, targets) float64, range [0, 1].

    Args:
        predicted, targets: Masks of one size; a side without a mask gives a table without rows or columns.
        where: Begins the message of an error; the id of the sample.
        nothing: The IoU of two empty masks.
    Raises:
        DataError: The sizes differ.
    """
    for mask in (*predicted, *targets):
        masks.check_size(mask, (*targets, *predicted)[0].size, where)
    table = _table(tuple(predicted), tuple(targets))
    return np.where(np.isnan(table), nothing, table)


def best_matching(worth: Floats, admissible: NDArray[np.bool_]) -> Matches:
    """Return the one-to-one matching with the most admissible pairs and, among those, the largest summed worth.

    Args:
        worth: (rows, columns) float64, in [0, 1].
        admissible: (rows, columns) boolean, the pairs that may be matched.
    """
    bonus = min(worth.shape) + 1.0  # one pair more outweighs whatever the others may be worth
    return largest_matching(np.where(admissible, bonus + worth, 0.0))


def largest_matching(worth: Floats) -> Matches:
    """Return the one-to-one matching with the largest summed worth, without pairs that are worth nothing.

    Args:
        worth: (rows, columns) float64, at least 0.
    Source: Kuhn, Naval Research Logistics Quarterly 2 (1955) 83.
    """
    if not (worth > 0).any():
        return []
    from scipy.optimize import linear_sum_assignment  # slow to import

    rows, columns = linear_sum_assignment(worth, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if worth[row, column] > 0]


def greedy_matching(worth: Floats) -> Matches:
    """Return the pairs found by taking, again and again, the largest worth above 0 among the rows and columns left.

    The first in row order wins a tie. As in GLaMM's released code, a worth that is not a number ends the search.

    Args:
        worth: (rows, columns) float64.
    Source: mbzuai-oryx/groundingLMM, eval/gcg.
    """
    left = np.array(worth)
    found: Matches = []
    while left.size:
        place: Any = np.unravel_index(np.argmax(left), left.shape)
        if not left[place] > 0:  # argmax returns a NaN before any number, and a NaN is not above 0
            break
        found.append((int(place[0]), int(place[1])))
        left[place[0], :] = 0.0
        left[:, place[1]] = 0.0
    return sorted(found)

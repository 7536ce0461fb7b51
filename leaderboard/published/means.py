"""Checks of printed digits by themselves: means that do not follow from their row, accuracies that no count gives.

All in decimals, because binary fractions would decide wrongly at the edge of a rounding interval.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from leaderboard.published.mapping import Placed, PrintedMean
from leaderboard.published.printed import PublishedCell

Decimals = Mapping[tuple[str, str], int]
# A number rounded to one digit more first (63.745 -> 63.75 -> 63.8) is off by up to a tenth of half a unit more.
SECOND_ROUNDING = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class MeanCheck:
    """One printed mean, recomputed.

    Attributes:
        printed: The mean and its members.
        recomputed: Mean of the printed members, in the paper's scale.
        low: Least value the mean can have, as its members are rounded.
        high: Largest value it can have.
        decimals: Digits after the point that the table prints.
        follows: Whether some value in [low, high] rounds to the printed one.
    """

    printed: PrintedMean
    recomputed: Decimal
    low: Decimal
    high: Decimal
    decimals: int
    follows: bool


def check_means(means: Sequence[PrintedMean], decimals: Decimals) -> list[MeanCheck]:
    """Recompute printed means from the printed values of their row.

    Each printed value x with d decimals stands for any value in x +- 0.5 * 10^-d; a mean follows if the interval of the
    recomputed mean and that of the printed one meet.

    Args:
        means: Printed means that have a value.
        decimals: Decimals that each (paper, table) prints.
    """
    return [_check(mean, decimals[mean.cell.paper, mean.cell.table]) for mean in means]


def _check(mean: PrintedMean, digits: int) -> MeanCheck:
    values = [cell.value for cell in mean.members if cell.value is not None]
    assert mean.cell.value is not None, "the mapping takes means and members with a value only"
    weighted = sum((weight * value for weight, value in zip(mean.weights, values, strict=True)), Decimal(0))
    recomputed = weighted / sum(mean.weights)
    # A weighted mean of numbers that are each off by at most half a unit is itself off by at most half a unit.
    half = half_unit(digits)
    low, high = recomputed - half, recomputed + half
    follows = low <= mean.cell.value + half and high >= mean.cell.value - half
    return MeanCheck(mean, recomputed, low, high, digits, follows)


def half_unit(digits: int) -> Decimal:
    """Return half a unit of the last printed digit."""
    return Decimal(5).scaleb(-digits - 1)


@dataclass(frozen=True, slots=True)
class CountCheck:
    """A printed accuracy that is not a count of right answers over n, however it was rounded.

    Attributes:
        placed: The cell with its place.
        nearest: The nearest accuracies below and above it that a count over n gives, in percent.
    """

    placed: Placed
    nearest: tuple[float, float]


def is_count(value: Decimal, n: int, digits: int) -> bool:
    """Return whether an accuracy in percent, printed with `digits` decimals, is k / n for a whole k.

    It may have been rounded twice.
    """
    margin = half_unit(digits) * (1 + SECOND_ROUNDING)
    least = math.ceil((value - margin) * n / 100)
    return least <= (value + margin) * n / 100


def impossible_counts(cells: Sequence[Placed], decimals: Decimals) -> list[CountCheck]:
    """Return the accuracies over a known n that no count of right answers gives."""
    found: list[CountCheck] = []
    for item in cells:
        n, value = item.place.n if item.place and item.place.counts_answers else None, item.cell.value
        if n is not None and value is not None and not is_count(value, n, digits_of(item.cell, decimals)):
            right = math.floor(value * n / 100)
            found.append(CountCheck(item, (100 * right / n, 100 * (right + 1) / n)))
    return found


def digits_of(cell: PublishedCell, decimals: Decimals) -> int:
    """Return the decimals that a cell's table prints."""
    return decimals[cell.paper, cell.table]

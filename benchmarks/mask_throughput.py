"""Dice and IoU of stored 512 x 512 masks on one core: our run-length path against dense numpy.

Ours starts from the JSON text of a result on disk and ends with both values. Dense numpy gets arrays that are already
decoded, once in the usual form and once in the fastest we know; in a last row the fastest form starts from the same
text as ours. All take turns in every repeat, and the fastest repeat of each counts.

    python benchmarks/mask_throughput.py
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.imaging import mask_files, masks
from harness.metrics import find, sample_values
from harness.records import Entity, Prediction, Sample, Target

# Pixels; the target of 20,000 pairs per second (docs/benchmarks.md) is for masks of this size.
SIDE = 512
DICE = find("dice", "standard")
IOU = find("iou", "standard")
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class MaskTimingPair:
    """A predicted and a target mask as boolean (SIDE, SIDE) arrays, and both as the JSON text of a stored result."""

    prediction: Bools
    target: Bools
    stored: str


def blob(generator: np.random.Generator) -> tuple[float, float, float, NDArray[np.float64]]:
    """Return centre row, centre column and radius in pixels, and the amplitudes (2, 8) of a wavy outline.

    The radius is that of an organ or a lesion.
    """
    row, column = generator.uniform(150, SIDE - 150, size=2)
    return row, column, generator.uniform(20, 130), generator.normal(0, 0.06, size=(2, 8))


def draw(row: float, column: float, radius: float, waves: NDArray[np.float64]) -> Bools:
    """Return the filled outline as a boolean (SIDE, SIDE) array."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    angle = np.arctan2(rows - row, columns - column)
    orders = np.arange(1, waves.shape[1] + 1)[:, None, None]
    outline = (waves[0, :, None, None] * np.cos(orders * angle) + waves[1, :, None, None] * np.sin(orders * angle)).sum(
        0
    )
    inside: Bools = np.hypot(rows - row, columns - column) < radius * (1 + outline)
    return inside


def pair(generator: np.random.Generator) -> MaskTimingPair:
    """Return a target of one to three blobs, and the same blobs shifted and roughened as a model might draw them."""
    prediction, target = np.zeros((2, SIDE, SIDE), dtype=bool)
    for _ in range(generator.integers(1, 4)):
        row, column, radius, waves = blob(generator)
        target |= draw(row, column, radius, waves)
        shift = generator.normal(0, 4, size=2)
        prediction |= draw(row + shift[0], column + shift[1], radius, waves + generator.normal(0, 0.02, waves.shape))
    stored = [mask_files.to_json(masks.encode(array)) for array in (prediction, target)]
    return MaskTimingPair(prediction, target, json.dumps(stored))


def from_stored(text: str) -> tuple[float | None, float | None]:
    """Return (Dice, IoU) as scoring does: read, compare, combine."""
    # Run lengths are not checked again: the harness wrote them, and a run reads its results in the same way.
    predicted, reference = (mask_files.from_json(value, where="stored", check=False) for value in json.loads(text))
    sample = Sample(id="x", target=Target(entities=(Entity(name="x", mask=reference),)))
    prediction = Prediction(key="x", status="ok", masks=(predicted,))
    (dice,) = sample_values(DICE, DICE.score(sample, prediction).stats)
    (iou,) = sample_values(IOU, IOU.score(sample, prediction).stats)
    return dice, iou


def dense_usual(prediction: Bools, target: Bools) -> tuple[float, float]:
    """Return (Dice, IoU) of boolean (H, W) masks with `.sum()`, as most evaluation scripts compute them."""
    intersection = np.logical_and(prediction, target).sum()
    dice = 2 * intersection / (prediction.sum() + target.sum())
    return float(dice), float(intersection / np.logical_or(prediction, target).sum())


def dense_fastest(prediction: Bools, target: Bools) -> tuple[float, float]:
    """Return (Dice, IoU) of boolean (H, W) masks with the fewest passes and numpy's vectorised counting of booleans."""
    intersection = np.count_nonzero(prediction & target)
    areas = np.count_nonzero(prediction) + np.count_nonzero(target)
    # |A or B| = |A| + |B| - |A and B| saves the pass over the union.
    return 2 * intersection / areas, intersection / (areas - intersection)


def dense_from_stored(text: str) -> tuple[float, float]:
    """Return (Dice, IoU) as `dense_fastest` does, after decoding the masks."""
    predicted, reference = (mask_files.from_json(value, where="stored", check=False) for value in json.loads(text))
    return dense_fastest(masks.decode(predicted), masks.decode(reference))


def fastest(contestants: Sequence[Callable[[], object]], repeats: int) -> list[float]:
    """Return the fewest seconds each contestant took, all taking turns in every repeat."""
    # Other work on the machine only adds time, so the minimum is nearest to the cost itself; taking turns lets a slow
    # spell of the machine hit all contestants alike.
    best = [float("inf")] * len(contestants)
    for _ in range(repeats):
        for index, contestant in enumerate(contestants):
            start = time.perf_counter()
            contestant()
            best[index] = min(best[index], time.perf_counter() - start)
    return best


def main() -> None:
    """Draw the pairs, check that all contestants agree, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=20)
    arguments = parser.parse_args()
    generator = np.random.default_rng(20)
    pairs = [pair(generator) for _ in range(arguments.pairs)]
    # A faster path to another number proves nothing. All count the same pixels; only divisions may round differently.
    ours = np.array([from_stored(each.stored) for each in pairs], dtype=np.float64)
    for method in (dense_usual, dense_fastest):
        dense = np.array([method(each.prediction, each.target) for each in pairs])
        np.testing.assert_allclose(ours, dense, rtol=1e-12)
    seconds = fastest(
        [
            lambda: [from_stored(each.stored) for each in pairs],
            lambda: [dense_usual(each.prediction, each.target) for each in pairs],
            lambda: [dense_fastest(each.prediction, each.target) for each in pairs],
            lambda: [dense_from_stored(each.stored) for each in pairs],
        ],
        arguments.repeats,
    )
    size = np.mean([len(each.stored) for each in pairs])
    print(f"{len(pairs)} pairs of {SIDE} x {SIDE}, {size:.0f} bytes of JSON a pair; fastest of {arguments.repeats}")
    print(f"{'path':<46}{'us/pair':>10}{'pairs/s':>10}{'ours is':>10}")
    names = (
        "ours, from stored JSON",
        "dense numpy, decoded, .sum()",
        "dense numpy, decoded, count_nonzero",
        "dense numpy, from stored JSON, count_nonzero",
    )
    for name, total in zip(names, seconds, strict=True):
        print(f"{name:<46}{total / len(pairs) * 1e6:>10.1f}{len(pairs) / total:>10.0f}{total / seconds[0]:>9.1f}x")


if __name__ == "__main__":
    main()

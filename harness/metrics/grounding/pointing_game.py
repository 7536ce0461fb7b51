"""The pointing game: whether the place that an answer points at lies inside the mask of the target.

Source: Zhang et al., arXiv:1608.00507, without its margin of 15 pixels.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks, soft_masks
from harness.metrics.family import Family, Protocol
from harness.metrics.instances.matching import target_entities, target_masks
from harness.metrics.metric import EmptyCases, Metric, Outcome, Stats
from harness.metrics.ratios import ratio
from harness.records import Entity, Mask, Prediction, Sample
from harness.text.grounded_text import normalise_name


def _pointing_game(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (targets whose mask is hit, targets); a mask is hit if it holds the place that the answer points at.

    A predicted mask points at its most probable pixel if there are probabilities, else at its own pixel nearest to its
    centre; a box points at its centre. Targets are met by name, and each predicted entity is used once; an answer
    without entities gives its masks, or else its boxes, or else its points, in the order of the targets. Without a
    target that has a pixel the score is undefined.

    Raises:
        DataError: A predicted mask has another size than the target.
    """
    targets = [entity for entity in target_entities(sample) if entity.mask is not None and masks.area(entity.mask)]
    if not targets:
        return Outcome("undefined")
    places = _places(targets, prediction, sample)
    hits = [_inside(entity.mask, place) for entity, place in zip(targets, places, strict=True)]
    return Outcome("ok", (float(sum(hits)), float(len(targets))), {"hits": hits})


def _places(targets: Sequence[Entity], prediction: Prediction, sample: Sample) -> list[tuple[int, ...] | None]:
    """Return the pixel, in array order, that the answer points at for each target."""
    if prediction.entities:
        left = list(prediction.entities)
        indices: list[int | None] = []
        for target in targets:
            name = normalise_name(target.name)
            found = next((entity for entity in left if normalise_name(entity.name) == name), None)
            indices.append(None if found is None else found.mask)
            if found is not None:
                left.remove(found)
        return [_mask_place(prediction, index, sample) for index in indices]
    if prediction.masks:
        places = [_mask_place(prediction, index, sample) for index in range(len(prediction.masks))]
    elif prediction.points and not prediction.boxes:
        # The pixel that holds the point; x comes first in a point and last in an array.
        places = [tuple(int(np.floor(value)) for value in point[::-1]) for point in prediction.points]
    else:
        places = []
        for box in prediction.boxes:
            half = len(box.corners) // 2
            ends = zip(box.corners[:half], box.corners[half:], strict=True)
            centre = [int(np.floor((start + end) / 2)) for start, end in ends]
            # Corners of an image are (x, y), pixels (row, column); those of a volume have the order of the array.
            places.append(tuple(centre[::-1] if half == 2 else centre))
    return [*places, *(None for _ in targets)][: len(targets)]


def _mask_place(prediction: Prediction, index: int | None, sample: Sample) -> tuple[int, ...] | None:
    if index is None:
        return None
    mask = prediction.masks[index]
    for target in target_masks(sample)[:1]:
        masks.check_size(mask, target.size, sample.id)
    if len(prediction.soft_masks) == len(prediction.masks):
        probabilities = soft_masks.decode(prediction.soft_masks[index])
        return _central(probabilities == probabilities.max())  # several pixels may share the maximum
    return _central(masks.decode(mask))


def _central(pixels: NDArray[np.bool_]) -> tuple[int, ...] | None:
    """Return the pixel of a mask nearest to its centre of mass, the first if several tie; None without a pixel.

    The centre itself would not do: that of a ring lies outside of it.
    """
    indices = np.argwhere(pixels)
    if not len(indices):
        return None
    distances = ((indices - indices.mean(axis=0)) ** 2).sum(axis=1)
    # Rounded, so that equal distances tie whatever their last bit says and the first pixel wins on every machine.
    return tuple(int(value) for value in indices[int(np.argmin(np.round(distances, 9)))])


def _inside(mask: Mask | None, place: tuple[int, ...] | None) -> bool:
    if mask is None or place is None or len(place) != len(mask.size):
        return False
    within = all(0 <= value < length for value, length in zip(place, mask.size, strict=True))
    return within and bool(masks.decode(mask)[place])


def _worst(sample: Sample) -> Stats:
    # At least 1: a failed prediction counts as 0 even if there is nothing to find.
    return (0.0, float(max(sum(masks.area(mask) > 0 for mask in target_masks(sample)), 1)))


POINTING_GAME = Family(
    name="phrase_grounding_pointing_game",
    line="grounding",
    suits=frozenset({"grounded_text", "masks", "boxes"}),
    protocols=(
        Protocol(
            "standard",
            version=1,
            stats=("hits", "targets"),
            score=_pointing_game,
            combine=ratio,
            worst=_worst,
            ceiling=lambda sample: 1.0 if any(masks.area(mask) for mask in target_masks(sample)) else None,
            certificate="Names beyond those of the target cost nothing, so a guess for every name fills the gaps of an "
            "answer.",
            summary="Share of targets whose mask holds the place that the answer points at.",
            formula="targets whose mask holds the most probable pixel, the central pixel, the box centre or the point "
            "/ targets.",
            empty=EmptyCases(prediction=0.0, target="undefined", both="undefined"),
            source="Zhang et al., arXiv:1608.00507, without its margin of 15 pixels",
        ),
    ),
)

METRICS: tuple[Metric, ...] = POINTING_GAME.rows()

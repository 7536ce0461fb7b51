"""Shared parts of the mask metrics: the masks that count, their pixel counts, and the spacing of the grid.

A prediction without a mask is an empty prediction. All counts come from run lengths, without decoding a mask
(docs/log.md compares the time with dense arrays).
"""

from dataclasses import replace
from functools import lru_cache

from harness.imaging import masks, soft_masks
from harness.imaging.masks import Overlap
from harness.metrics.metric import EmptyCases, Stats
from harness.records import Mask, Media, Prediction, Sample

SUITS = frozenset({"masks", "grounded_text"})
DICE_STATS = ("twice_intersection", "area_sum")
IOU_STATS = ("intersection", "union")
# Our own protocols: nothing against nothing says nothing about a model, so it has no value.
EMPTY_EITHER = EmptyCases(prediction=0.0, target=0.0, both="undefined")


def targets(sample: Sample) -> tuple[Mask, ...]:
    """Return the masks of the target's entities; an entity that is only named has none."""
    return tuple(entity.mask for entity in sample.target.entities if entity.mask is not None)


def without_ignored(sample: Sample, prediction: Prediction) -> Prediction:
    """Return the prediction without the pixels that its sample ignores.

    A mask that lies in them whole says nothing that could be scored, so it goes with its score and the entities that
    point to it, unless the prediction has probabilities, which are one a mask. A mask of another size stays as it is,
    for the metric to refuse.
    """
    ignored = sample.target.ignore
    if ignored is None:
        return prediction
    counted = ~masks.decode(ignored)
    kept: dict[int, Mask] = {}
    for place, mask in enumerate(prediction.masks):
        if mask.size != ignored.size:
            kept[place] = mask
            continue
        left = masks.encode(masks.decode(mask) & counted)
        if masks.area(left) or not masks.area(mask) or prediction.soft_masks:
            kept[place] = left
    soft = list(prediction.soft_masks)
    for place, one in enumerate(soft):
        if one.size == ignored.size:
            recode = soft_masks.encode if one.levels else soft_masks.exact
            soft[place] = recode(soft_masks.decode(one) * counted)
    places = {old: new for new, old in enumerate(kept)}
    pairs = ((entity, None if entity.mask is None else places.get(entity.mask)) for entity in prediction.entities)
    return replace(
        prediction,
        masks=tuple(kept.values()),
        soft_masks=tuple(soft),
        mask_scores=tuple(score for place, score in enumerate(prediction.mask_scores) if place in kept),
        entities=tuple(
            replace(entity, mask=place) for entity, place in pairs if entity.mask is None or place is not None
        ),
    )


def checked(sample: Sample, predicted: tuple[Mask, ...], target: tuple[Mask, ...]) -> tuple[Mask, ...]:
    """Return `predicted` after checking that its masks have the size of the target.

    Raises:
        DataError: A predicted mask has another size than the target; the message names the sample.
    """
    if target:
        for mask in predicted:
            masks.check_size(mask, target[0].size, sample.id)
    return predicted


# All rows score one sample before the next comes, and most of them need the same counts.
@lru_cache(maxsize=16)
def _overlap(predicted: tuple[Mask, ...], target: tuple[Mask, ...]) -> Overlap:
    if predicted and target:
        return masks.overlap(masks.merge(predicted), masks.merge(target))
    return Overlap(
        masks.area(masks.merge(predicted)) if predicted else 0, masks.area(masks.merge(target)) if target else 0, 0
    )


def compare(sample: Sample, predicted: tuple[Mask, ...], target: tuple[Mask, ...]) -> Overlap:
    """Return the counts of the union of `predicted` against the union of `target`; either may hold no mask.

    Raises:
        DataError: As `checked`.
    """
    return _overlap(checked(sample, predicted, target), target)


def all_masks(sample: Sample, prediction: Prediction) -> Overlap:
    """Return the counts of all predicted masks together against all target masks together."""
    return compare(sample, prediction.masks, targets(sample))


def first_masks(sample: Sample, prediction: Prediction) -> Overlap:
    """Return the counts of the first predicted mask against the first target mask."""
    return compare(sample, prediction.masks[:1], targets(sample)[:1])


def area(target: tuple[Mask, ...]) -> int:
    """Return the number of pixels that the union of the masks covers; 0 if there is no mask."""
    return _overlap((), target).second


def media_of(sample: Sample, size: tuple[int, ...]) -> Media | None:
    """Return the image or volume of this size whose spacing is known; None if there is none."""
    for media in sample.media:
        if tuple(media.size) == tuple(size) and media.spacing_mm is not None and len(media.spacing_mm) == len(size):
            return media
    return None


def size_of(sample: Sample) -> tuple[int, ...]:
    """Return (H, W) or (D, H, W) of the target's masks, else of the first image or volume; empty if it is unknown."""
    target = targets(sample)
    return tuple(target[0].size) if target else tuple(sample.media[0].size) if sample.media else ()


def dice_stats(overlap: Overlap) -> Stats:
    """Return the stats of Dice: 2 |P and T| and |P| + |T|, in pixels."""
    return 2.0 * overlap.intersection, float(overlap.first + overlap.second)


def iou_stats(overlap: Overlap) -> Stats:
    """Return the stats of IoU: |P and T| and |P or T|, in pixels."""
    return float(overlap.intersection), float(overlap.union)


def miss_all(sample: Sample) -> Stats:
    """Return the stats of an answer that finds nothing; the target keeps its weight in pooled values."""
    # At least 1: a failed prediction counts as 0 even if there is nothing to find.
    return 0.0, float(max(area(targets(sample)), 1))


def ceiling_all(sample: Sample) -> float | None:
    """Return 1, which a copy of the target reaches; None if no target mask has a pixel."""
    return 1.0 if area(targets(sample)) else None

"""Names with masks: mask-to-entity F1, GLaMM's recall and hallucination.

An entity of a prediction is a name and, if the model grounded it, a mask. `harness.text.grounded_text` reads both out
of a reply that only has tags. If the target is `absent` there is no entity to find.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from harness.imaging import masks
from harness.metrics.family import Family, Protocol
from harness.metrics.instances.matching import best_matching, iou_table, target_entities, target_masks
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Parameter, Stats
from harness.metrics.ratios import f1_precision_recall, ratio, shares
from harness.records import Mask, Prediction, Sample
from harness.text.grounded_text import normalise_name

_SUITS = frozenset({"grounded_text"})
_HALF = 0.5  # MIMO prints no threshold; GLaMM and the scorers that MIMO cites use 0.5

Similarity = Callable[[str, str], float]  # (target's name, predicted name) -> how alike; GLaMM requires 0.5


def _sided_iou(sample: Sample, rows: Sequence[Mask | None], columns: Sequence[Mask | None]) -> Floats:
    """Return the IoU of every pair, (rows, columns) float64; 0 if a side has no mask or both masks are empty."""
    table = np.zeros((len(rows), len(columns)))
    row_places = [place for place, mask in enumerate(rows) if mask is not None]
    column_places = [place for place, mask in enumerate(columns) if mask is not None]
    found = [mask for mask in rows if mask is not None], [mask for mask in columns if mask is not None]
    table[np.ix_(row_places, column_places)] = iou_table(*found, sample.id)
    return table


# --- mask-to-entity F1


def _entity_f1(*, inclusive: bool) -> Callable[..., Outcome]:
    """Return the `score` of a protocol, for which an IoU of exactly 0.5 is enough if `inclusive`."""

    def score(sample: Sample, prediction: Prediction, mode: str = "all", count_stray: bool = False) -> Outcome:
        """Count the entities, and the pairs of equal name and of IoU 0.5 that a one-to-one matching finds."""
        targets, found = target_entities(sample), prediction.entities
        target_names = [normalise_name(entity.name) for entity in targets]
        names = [normalise_name(entity.name) for entity in found]
        same = np.asarray([[name == other for other in target_names] for name in names], dtype=np.bool_)
        same = same.reshape(len(names), len(target_names))
        predicted_masks = [None if entity.mask is None else prediction.masks[entity.mask] for entity in found]
        iou = _sided_iou(sample, predicted_masks, [entity.mask for entity in targets])
        correct = len(best_matching(iou, same & (iou >= _HALF if inclusive else iou > _HALF)))
        stray = len(set(range(len(prediction.masks))) - {entity.mask for entity in found})
        predicted, wanted = len(names) + count_stray * stray, len(target_names)
        if mode == "loc":  # Grounded Video Description: only words that are named on both sides count
            predicted, wanted = int(same.any(axis=1).sum()), int(same.any(axis=0).sum())
        detail = {"n_stray": stray}
        if not predicted and not wanted:
            return Outcome("undefined", (), detail)
        return Outcome("ok", entity_stats(correct, predicted, wanted), detail)

    return score


def entity_stats(correct: int, predicted: int, wanted: int) -> Stats:
    """Return the counts of a sample, the F1, precision and recall they make, and 1 for the sample itself.

    F1 = 2 correct / (predicted + wanted), precision = correct / predicted, recall = correct / wanted, each in [0, 1]; a
    share of nothing is 0. With nothing on either side the score is undefined, which is left to the caller.

    Source: MIMO, arXiv:2510.10011, appendix D.1.
    """
    precision, recall = correct / max(predicted, 1), correct / max(wanted, 1)
    f1 = 2 * correct / max(predicted + wanted, 1)
    return (float(correct), float(predicted), float(wanted), f1, precision, recall, 1.0)


def _entity_combine(sums: Floats) -> Floats:
    """Return the samples' mean F1, precision and recall, the summed counts, and the micro scores of those counts.

    Micro precision is n_correct / n_predicted, recall n_correct / n_target, and F1 2 n_correct / (n_predicted +
    n_target). Shape (..., 7) -> (..., 9) float64.
    """
    counts, means = sums[..., :3], ratio(sums[..., 3:])
    return np.concatenate([means, counts, f1_precision_recall(counts[..., 0], counts[..., 1], counts[..., 2])], axis=-1)


def _entity_ceiling(sample: Sample) -> float | None:
    """Return the F1 of an answer that names exactly the entities whose mask has a pixel."""
    wanted = len(target_entities(sample))
    possible = sum(masks.area(mask) > 0 for mask in target_masks(sample))
    return 2 * possible / (possible + wanted) if wanted else None


# --- GLaMM's recall


def glamm_matches(iou: Floats, similarity: Callable[[int, int], float]) -> int:
    """Return the number of pairs that the released search finds before it stops.

    The search takes the pair with the largest IoU of all targets (rows) and masks (columns). It stops for good if that
    IoU is less than 0.5 or the names at the same two places are less than 0.5 alike, even if a good pair is left. A
    value that is not a number, from two empty masks, counts as the largest and as enough.

    Args:
        iou: (target masks, predicted masks) float64.
        similarity: (row, column) -> similarity of the target's name and the predicted name at these places.
    Raises:
        IndexError: A mask has no name at its place. The released code raises as well and counts no match of the image.
    Source: mbzuai-oryx/groundingLMM, eval/gcg/evaluate.py.
    """
    left, found = np.array(iou), 0
    while left.size:
        place: Any = np.unravel_index(np.argmax(left), left.shape)
        if left[place] < _HALF or similarity(int(place[0]), int(place[1])) < _HALF:
            break
        found += 1
        left[place[0], :] = 0.0
        left[:, place[1]] = 0.0
    return found


def glamm_recall(similarity: Similarity, sample: Sample, prediction: Prediction) -> Outcome:
    """Return (matches, target names) of one image, whose quotient lies in [0, 1]; `glamm_matches` counts the matches.

    As in the released code, the k-th name belongs to the k-th mask. No prediction: no match. No target name: 0 of 0,
    which counts as 0.

    Raises:
        DataError: The masks differ in size.

    Source: mbzuai-oryx/groundingLMM, eval/gcg/evaluate.py.
    """
    targets = target_masks(sample)
    wanted = [entity.name.strip() for entity in target_entities(sample)]
    named = [entity.name.strip() for entity in prediction.entities]
    iou = iou_table(prediction.masks, targets, sample.id, nothing=float("nan")).T
    try:
        found = glamm_matches(iou, lambda row, column: similarity(wanted[row], named[column]))
    except IndexError:
        return Outcome("ok", (0.0, float(len(wanted))), {"rule": "more_masks_than_names"})
    return Outcome("ok", (float(found), float(len(wanted))))


def _recall_ceiling(sample: Sample) -> float | None:
    """Return 1 if every name has a mask, less if some have none; None without a name."""
    names = len(target_entities(sample))
    return len(target_masks(sample)) / names if names else None


# --- hallucination


def _hallucination(sample: Sample, prediction: Prediction) -> Outcome:
    """Return (names grounded though the target does not have them, grounded names); undefined without any.

    A name without a mask, or with an empty one, is not grounded, and each name counts once: neither words nor
    repetition make the share smaller.
    """
    present = {normalise_name(entity.name) for entity in target_entities(sample)}
    grounded = dict.fromkeys(
        normalise_name(entity.name)
        for entity in prediction.entities
        if entity.mask is not None and masks.area(prediction.masks[entity.mask])
    )
    if not grounded:
        return Outcome("undefined")
    absent = [name for name in grounded if name not in present]
    return Outcome("ok", (float(len(absent)), float(len(grounded))), {"hallucinated": absent})


# --- the table


MASK_TO_ENTITY_F1 = Family(
    name="mask_to_entity_f1",
    values=(
        "f1",
        "precision",
        "recall",
        "n_correct",
        "n_predicted",
        "n_target",
        "micro_f1",
        "micro_precision",
        "micro_recall",
    ),
    stats=("n_correct", "n_predicted", "n_target", "f1", "precision", "recall", "samples"),
    line="grounding",
    suits=_SUITS,
    combine=_entity_combine,
    worst=lambda sample: entity_stats(0, 0, len(target_entities(sample))),
    ceiling=_entity_ceiling,
    corpus=True,
    parameters=(
        Parameter(
            name="mode",
            default="all",
            choices=("all", "loc"),
            summary="all: every entity counts; loc: only entities whose name stands on both sides.",
        ),
        Parameter(
            name="count_stray", default=False, summary="Whether a mask at no entity counts as a prediction (all)."
        ),
    ),
    formula="c = pairs of equal normalised name and IoU 0.5, matched one to one; P = c / predicted entities, "
    "R = c / target entities, F1 = 2 P R / (P + R); means over samples, and micro_ from summed counts.",
    empty=EmptyCases(prediction=0.0, target=0.0, both="undefined", note="Empty: no entity."),
    protocols=(
        Protocol(
            "mimo",
            version=1,
            score=_entity_f1(inclusive=True),
            summary="F1 of entities whose name is equal and whose mask reaches IoU 0.5: mean over samples, and over "
            "all.",
            source="MIMO, arXiv:2510.10011, appendix D.1; threshold, names and matching are ours where it is silent",
        ),
        Protocol(
            "strict",
            version=1,
            score=_entity_f1(inclusive=False),
            summary="As `mimo`, but a mask must lie above IoU 0.5, as in Grounded Video Description.",
            source="as `mimo`; threshold of Zhou et al., arXiv:1812.06587",
        ),
    ),
)

GLAMM_RECALL = Family(
    name="glamm_recall",
    stats=("matches", "targets"),
    line="grounding",
    suits=_SUITS,
    combine=lambda sums: shares(sums[..., :1], sums[..., 1:], 0.0),  # 0 without a target name, as released
    worst=lambda sample: (0.0, float(len(target_entities(sample)))),  # of an answer without masks
    ceiling=_recall_ceiling,
    corpus=True,
    formula="pairs of IoU 0.5 or more and like names, largest IoU first until one fails / target names.",
    empty=EmptyCases(prediction=0.0, target=0.0, both=0.0, note="Empty: no entity."),
    protocols=(
        Protocol(
            "exact-name",
            version=1,
            score=partial(glamm_recall, lambda target, predicted: float(target == predicted)),
            certificate="A recall: names and masks that the target lacks cost nothing.",
            summary="GLaMM's recall as released, its text similarity replaced by equal names; the search stops early.",
            source="eval/gcg/evaluate.py of github.com/mbzuai-oryx/groundingLMM, names compared as ours",
        ),
    ),
)

HALLUCINATION = Family(
    name="hallucination",
    line="grounding",
    suits=_SUITS,
    higher_is_better=False,
    protocols=(
        Protocol(
            "standard",
            version=2,
            stats=("hallucinated", "grounded"),
            score=_hallucination,
            combine=ratio,
            worst=lambda _: (1.0, 1.0),
            ceiling=lambda sample: 0.0 if target_entities(sample) else None,
            certificate="Alone it is won by naming nothing, which has no value, and diluted by names that are nearly "
            "always right.",
            summary="Share of the names grounded in a mask that the target does not have; each name counts once.",
            formula="grounded names that no target entity has / grounded names.",
            empty=EmptyCases(prediction="undefined", target=1.0, both="undefined", note="Empty: no grounded entity."),
            source="ours",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (*MASK_TO_ENTITY_F1.rows(), *GLAMM_RECALL.rows(), *HALLUCINATION.rows())

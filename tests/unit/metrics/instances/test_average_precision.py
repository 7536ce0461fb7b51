"""Average precision: equal to pycocotools on random sets, resampled exactly, and what failures and absence weigh."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.instances.average_precision import METRICS, average_precision
from harness.metrics.metric import Metric, Stats, sample_values
from harness.records import Entity, Mask, Prediction, Sample, Target

ROWS = {row.name: row for row in METRICS}
BOTH = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.name)
Image = tuple[Sample, Prediction]


def mask(dense: Any) -> Mask:
    return masks.encode(np.asarray(dense, dtype=np.bool_))


def image(targets: list[Mask], found: list[Mask], scores: tuple[float, ...] = (), *, absent: bool = False) -> Image:
    entities = tuple(Entity(name="target", mask=one) for one in targets)
    sample = Sample(id="d/test/1", target=Target(entities=entities, absent=absent))
    return sample, Prediction(key="k", status="ok", masks=tuple(found), mask_scores=scores)


def pooled(row: Metric, stats: list[Stats], weights: list[float] | None = None) -> float:
    assert row.pool is not None
    return float(row.pool(stats, np.asarray(weights or [1.0] * len(stats)))[0])


def blob(generator: np.random.Generator) -> NDArray[np.bool_]:
    dense = np.zeros((12, 14), dtype=np.bool_)
    (top, bottom), (left, right) = np.sort(generator.integers(0, 13, 2)), np.sort(generator.integers(0, 15, 2))
    dense[top:bottom, left:right] = True  # sometimes empty
    return dense


def varied(target: NDArray[np.bool_], generator: np.random.Generator) -> NDArray[np.bool_]:
    return target ^ (generator.random(target.shape) < generator.choice([0.0, 0.02, 0.1, 0.3]))


def random_corpus(seed: int, *, images: int = 8, most: int = 6, scored: bool = True) -> list[Image]:
    """Return images of which some have no targets, some no detections, and whose scores often tie."""
    generator = np.random.default_rng(seed)
    corpus = []
    for _ in range(images):
        targets = [blob(generator) for _ in range(generator.integers(0, most))]
        found = [varied(target, generator) for target in targets for _ in range(generator.integers(0, 3))]
        found += [blob(generator) for _ in range(generator.integers(0, most))]
        order = generator.permutation(len(found))
        scores = tuple(generator.choice([0.25, 0.5, 0.75, 1.0], len(found)).tolist()) if scored else ()
        corpus.append(image([mask(one) for one in targets], [mask(found[place]) for place in order], scores))
    return corpus


def pycocotools_says(corpus: list[Image]) -> tuple[float, float]:
    """Return AP50 and AP as COCOeval computes them for one category."""

    def segmentation(one: Mask) -> dict[str, Any]:
        return {"size": list(one.size), "counts": one.counts}

    targets, found = [], []
    for number, (sample, prediction) in enumerate(corpus, 1):
        for entity in sample.target.entities:
            assert entity.mask is not None
            area = masks.area(entity.mask)
            common = {"image_id": number, "category_id": 1, "iscrowd": 0, "area": area, "bbox": [0, 0, 1, 1]}
            targets.append({**common, "id": len(targets) + 1, "segmentation": segmentation(entity.mask)})
        scores = prediction.mask_scores or (1.0,) * len(prediction.masks)
        for one, score in zip(prediction.masks, scores, strict=True):
            result = {"image_id": number, "category_id": 1, "segmentation": segmentation(one), "score": score}
            found.append(result)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": number, "height": 12, "width": 14} for number in range(1, len(corpus) + 1)],
            "categories": [{"id": 1, "name": "target"}],
            "annotations": targets,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "segm")
        evaluation.params.catIds = [1]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1]), float(evaluation.stats[0])


def ours(corpus: list[Image]) -> tuple[float, float]:
    ap50, ap = (pooled(row, [row.score(*one).stats for one in corpus]) for row in METRICS)
    return ap50, ap


@pytest.mark.parametrize("scored", [True, False], ids=["scores", "all_tied"])
@pytest.mark.parametrize("seed", range(12))
def test_random_sets_have_the_value_of_pycocotools(seed: int, *, scored: bool) -> None:
    corpus = random_corpus(seed, scored=scored)
    assert ours(corpus) == pytest.approx(pycocotools_says(corpus), abs=1e-12)


def test_only_the_best_hundred_of_an_image_count() -> None:
    generator = np.random.default_rng(5)
    corpus = random_corpus(6)
    targets = [blob(generator) for _ in range(4)]
    found = [varied(targets[place % 4], generator) for place in range(130)]
    scores = tuple(generator.choice([0.2, 0.4, 0.6], 130).tolist())
    corpus.insert(2, image([mask(one) for one in targets], [mask(one) for one in found], scores))
    assert ours(corpus) == pytest.approx(pycocotools_says(corpus), abs=1e-12)
    assert ROWS["ap50"].score(*corpus[2]).detail["detections"] == 100


@BOTH
@pytest.mark.parametrize("seed", range(4))
def test_a_weight_is_the_number_of_copies_of_an_image(row: Metric, seed: int) -> None:
    corpus = random_corpus(seed, images=6, scored=seed % 2 == 0)
    stats = [row.score(*one).stats for one in corpus]
    weights = [2.0, 0.0, 1.0, 3.0, 1.0, 2.0]
    copies = [one for one, weight in zip(stats, weights, strict=True) for _ in range(int(weight))]
    assert pooled(row, stats, weights) == pooled(row, copies)


@BOTH
def test_many_draws_are_pooled_at_once(row: Metric) -> None:
    stats = [row.score(*one).stats for one in random_corpus(3, images=5)]
    assert row.pool is not None
    draws = np.random.default_rng(0).integers(0, 3, (2, 4, 5)).astype(np.float64)
    found = row.pool(stats, draws)
    assert found.shape == (2, 4, 1)
    assert found[1, 2, 0] == pooled(row, stats, draws[1, 2].tolist())


FULL, HALF, OTHER = mask([[1, 1], [1, 1]]), mask([[1, 1], [0, 0]]), mask([[0, 0], [0, 1]])


@BOTH
def test_a_perfect_answer_reaches_the_ceiling_and_a_failed_one_the_floor(row: Metric) -> None:
    sample, answer = image([HALF, OTHER], [HALF, OTHER])
    assert sample_values(row, row.score(sample, answer).stats) == pytest.approx((1.0,))
    assert row.ceiling(sample) == pytest.approx(1.0)
    assert (row.worst(sample), row.floor(sample)) == ((2.0,), 0.0)


@BOTH
def test_no_detection_at_all_is_zero_and_not_an_error(row: Metric) -> None:
    outcome = row.score(*image([FULL], []))
    assert (outcome.status, sample_values(row, outcome.stats)) == ("ok", (0.0,))


@BOTH
def test_an_image_without_targets_has_no_value_but_its_masks_count_in_the_corpus(row: Metric) -> None:
    sample, answer = image([], [FULL], absent=True)
    outcome = row.score(sample, answer)
    assert (outcome.status, sample_values(row, outcome.stats), row.ceiling(sample)) == ("ok", (None,), None)
    hit = row.score(*image([FULL], [FULL])).stats
    assert pooled(row, [outcome.stats, hit]) == pytest.approx(0.5)
    assert pooled(row, [hit, outcome.stats]) == pytest.approx(1.0)


@BOTH
def test_an_empty_target_mask_can_never_be_found(row: Metric) -> None:
    sample, answer = image([FULL, mask([[0, 0], [0, 0]])], [FULL])
    assert sample_values(row, row.score(sample, answer).stats) == pytest.approx((51 / 101,))
    assert row.ceiling(sample) == pytest.approx(51 / 101)


@BOTH
def test_nothing_that_is_absent_is_a_target(row: Metric) -> None:
    assert row.score(*image([mask([[0, 0], [0, 0]])], [], absent=True)).stats == (0.0,)


def test_the_detail_says_whether_the_model_gave_scores() -> None:
    modes = [ROWS["ap"].score(*image([FULL], [FULL], scores)).detail["score_mode"] for scores in ((), (0.5,))]
    assert modes == ["all 1.0", "model"]


def test_scores_of_another_number_than_masks_are_refused() -> None:
    with pytest.raises(DataError, match=r"^d/test/1: mask_scores: expected 1 numbers, found 2$"):
        ROWS["ap50"].score(*image([FULL], [FULL], (0.5, 0.5)))


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(DataError, match=r"^d/test/1: predicted mask is \(1, 2\), image is \(2, 2\) as \(H, W\)"):
        ROWS["ap50"].score(*image([FULL], [mask([[1, 1]])]))


def test_volumes_are_matched_like_images() -> None:
    volume = mask(np.ones((2, 3, 4)))
    assert sample_values(ROWS["ap"], ROWS["ap"].score(*image([volume], [volume])).stats) == pytest.approx((1.0,))


def test_average_precision_without_anything_to_find_is_undefined() -> None:
    assert np.isnan(average_precision(np.array([0.0]), 0))

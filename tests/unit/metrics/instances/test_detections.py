"""COCO's average precision against COCOeval itself, with labels, crowds, ties and empty images."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harness.cli.metric.input import read_pair
from harness.imaging import masks
from harness.metrics.instances.detections import METRICS
from harness.metrics.metric import Stats

ROWS = {row.name: row for row in METRICS}
SIZE = (12, 12)


def corpus(seed: int) -> list[dict[str, Any]]:
    """Return lines with shifted boxes as masks; scores in steps of 0.1, so that some tie."""
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(6):
        sides: dict[str, list[dict[str, Any]]] = {"prediction": [], "target": []}
        for _ in range(draw.integers(0, 4)):
            top, left = draw.integers(0, 7, 2)
            label, crowd = int(draw.integers(1, 3)), int(draw.random() < 0.25)
            for side, (down, right) in (("target", (0, 0)), ("prediction", draw.integers(0, 3, 2))):
                mask = np.zeros(SIZE, dtype=int)
                mask[top + down : top + down + 4, left + right : left + right + 4] = 1
                fact = {"iscrowd": crowd} if side == "target" else {"score": int(draw.integers(3, 8)) / 10}
                if draw.random() < 0.85:
                    sides[side] += [{"mask": mask.tolist(), "label": label, **fact}] * int(draw.integers(1, 3))
        lines.append(sides)
    return lines


def expected(lines: list[dict[str, Any]]) -> tuple[float, float]:
    """Return AP and AP50 of COCOeval."""

    def rle(mask: Any) -> dict[str, Any]:
        found = masks.encode(np.array(mask, dtype=bool))
        assert found.counts is not None
        return {"size": list(found.size), "counts": found.counts}

    targets: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image, line in enumerate(lines, 1):
        for item in line["target"]:
            facts = {"id": len(targets) + 1, "image_id": image, "category_id": item["label"], "bbox": [0, 0, 1, 1]}
            area = int(np.sum(item["mask"]))
            targets.append({**facts, "iscrowd": item["iscrowd"], "area": area, "segmentation": rle(item["mask"])})
        for item in line["prediction"]:
            place = {"image_id": image, "category_id": item["label"], "score": item["score"]}
            found.append({**place, "segmentation": rle(item["mask"])})
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": image, "height": 12, "width": 12} for image in range(1, len(lines) + 1)],
            "categories": [{"id": 1}, {"id": 2}],
            "annotations": targets,
        }
        truth.createIndex()
        check = COCOeval(truth, truth.loadRes(found), "segm")
        check.evaluate()
        check.accumulate()
        check.summarize()
    return float(check.stats[0]), float(check.stats[1])


def stats(name: str, lines: list[dict[str, Any]]) -> list[Stats]:
    pairs = [read_pair(line, f"line {place}", "detections") for place, line in enumerate(lines)]
    return [ROWS[name].score(*pair).stats for pair in pairs]


@pytest.mark.parametrize("seed", range(8))
def test_both_numbers_are_those_of_cocoeval(seed: int) -> None:
    lines = corpus(seed)
    for name, value in zip(("ap", "ap50"), expected(lines), strict=True):
        pool = ROWS[name].pool
        assert pool is not None
        assert pool(stats(name, lines), np.ones(len(lines)))[0] == pytest.approx(value, abs=1e-12)


def test_a_weight_is_a_number_of_copies() -> None:
    lines = corpus(3)
    weights = np.array([2, 0, 1, 3, 1, 0])
    copied = [line for line, weight in zip(lines, weights, strict=True) for _ in range(weight)]
    pool = ROWS["ap"].pool
    assert pool is not None
    weighted = pool(stats("ap", lines), np.stack([weights, np.ones(6)]).astype(float))
    assert weighted[0, 0] == pytest.approx(pool(stats("ap", copied), np.ones(len(copied)))[0], abs=1e-12)


def test_an_image_without_a_target_has_no_value_and_crowds_need_not_be_found() -> None:
    item = {"mask": [[1, 0]], "label": 1}
    crowd = {"prediction": [{**item, "score": 0.5}], "target": [{**item, "iscrowd": 1}]}
    assert np.isnan(ROWS["ap"].combine(np.array(stats("ap", [crowd])[0]))).all()

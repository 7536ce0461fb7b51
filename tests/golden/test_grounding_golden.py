"""AP, mIoU, recall and F1 of grounded masks against released code; `grounding.json` says which."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.imaging import masks
from harness.metrics.grounding import mask_to_entity
from harness.metrics.instances import average_precision, instance
from harness.metrics.metric import Metric, Stats, sample_values
from harness.records import Entity, Mask, PredictedEntity, Prediction, Sample, Target

CASES = json.loads((Path(__file__).parent / "grounding.json").read_text(encoding="utf-8"))
ROWS = {
    (row.name, row.protocol): row for row in (*average_precision.METRICS, *mask_to_entity.METRICS, *instance.METRICS)
}


def mask(rows: str) -> Mask:
    return masks.encode(np.array([[int(pixel) for pixel in row] for row in rows.split("/")]))


def several(rows: list[str]) -> list[Mask]:
    found = []
    for each in rows:
        count, _, single = each.rpartition(" * ")
        found += [mask(single)] * int(count or 1)
    return found


def named(entities: list[dict[str, Any]]) -> tuple[list[str], list[Mask | None]]:
    names = [entity["entity"] for entity in entities]
    return names, [mask(entity["mask"]) if entity["mask"] else None for entity in entities]


def sample(names: list[str], targets: list[Mask | None]) -> Sample:
    entities = tuple(Entity(name=name, mask=found) for name, found in zip(names, targets, strict=True))
    return Sample(id="golden/1", target=Target(entities=entities))


def prediction(names: list[str], found: list[Mask | None]) -> Prediction:
    kept = [one for one in found if one is not None]
    places = iter(range(len(kept)))
    entities = tuple(
        PredictedEntity(name=name, mask=None if one is None else next(places))
        for name, one in zip(names, found, strict=True)
    )
    return Prediction(key="k", status="ok", masks=tuple(kept), entities=entities)


def pooled(row: Metric, stats: list[Stats]) -> list[float]:
    if row.pool is not None:
        return row.pool(stats, np.ones(len(stats))).tolist()
    return row.combine(np.asarray(stats).sum(axis=0)).tolist()


def image_stats(row: Metric, case: dict[str, Any]) -> list[Stats]:
    stats = []
    for image in case["images"]:
        targets = tuple(Entity(name="target", mask=target) for target in several(image["gt"]))
        found, scores = several(image["pred"]), tuple(image.get("scores", ()))
        answer = Prediction(key="k", status="ok", masks=tuple(found), mask_scores=scores)
        stats.append(row.score(Sample(id="golden/1", target=Target(entities=targets)), answer).stats)
    return stats


@pytest.mark.parametrize("case", CASES["ap_miou"], ids=lambda case: str(case["name"]))
def test_average_precision_and_miou_are_those_of_the_released_script(case: dict[str, Any]) -> None:
    for name, output in (("ap50", "AP50"), ("ap", "AP_50_95")):
        row = ROWS[name, "glamm"]
        assert pooled(row, image_stats(row, case)) == pytest.approx([case["outputs"][output]], abs=1e-6)
    row = ROWS["miou", "glamm"]
    stats = image_stats(row, case)
    assert pooled(row, stats) == pytest.approx([case["outputs"]["mIoU"]], abs=1e-6)
    assert [sample_values(row, one)[0] for one in stats] == pytest.approx(case["outputs"]["per_image_mIoU"], abs=1e-6)


@pytest.mark.parametrize("case", CASES["glamm_recall_matching"], ids=lambda case: str(case["name"]))
def test_recall_stops_where_the_released_search_stops(case: dict[str, Any]) -> None:
    target = sample(case["gt_labels"], [mask(rows) for rows in case["gt_masks"]])
    found: list[Mask | None] = [mask(rows) for rows in case["pred_masks"]]
    found += [None] * (len(case["pred_labels"]) - len(found))
    outcome = ROWS["glamm_recall", "exact-name"].score(target, prediction(case["pred_labels"], found))
    assert outcome.stats == (case["outputs"]["tp"], case["outputs"]["actual_positives"])


@pytest.mark.parametrize("case", CASES["mimo_f1_proposed"], ids=lambda case: str(case["name"]))
def test_entity_f1_is_that_of_the_proposed_definition(case: dict[str, Any]) -> None:
    row, expected = ROWS["mask_to_entity_f1", "mimo"], case["outputs"]
    outcome = row.score(sample(*named(case["gt"])), prediction(*named(case["pred"])))
    names = ("f1", "precision", "recall", "tp", "n_pred", "n_gt")
    assert sample_values(row, outcome.stats)[:6] == pytest.approx([expected[name] for name in names], abs=1e-6)

"""Retrieval and slice rules of M3D; `m3d_retrieval.json` says where the numbers come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.imaging.views import slice_places
from harness.metrics.metric import sample_values
from harness.metrics.retrieval import METRICS, matrix_outcome, matrix_ranks, volume_scores

CASES = json.loads((Path(__file__).parent / "m3d_retrieval.json").read_text(encoding="utf-8"))
ROWS = {row.protocol: row for row in METRICS}
DIRECTIONS = ("IR_image_to_text", "TR_text_to_image")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES["retrieval"], ids=lambda case: str(case["name"]))
def test_recall_is_that_of_the_ranks_with_the_lowest_index_first(case: dict[str, Any], direction: str) -> None:
    similarity = np.array(case["scores_image_by_text"], dtype=np.float64)
    if direction == "TR_text_to_image":
        similarity = similarity.T
    ranks, expected = matrix_ranks(similarity), case[direction]
    assert (1 + ranks.better).tolist() == expected["rank_optimistic"]
    assert (ranks.better + ranks.tied).tolist() == expected["rank_pessimistic"]
    assert (1 + ranks.better + ranks.first).tolist() == expected["rank_lowest_index_first"]
    values = sample_values(ROWS["m3d"], matrix_outcome(ROWS["m3d"], similarity.tolist(), "line 1").stats)
    recalls = expected["from_ranks"]["lowest_index_first"]
    assert values[:3] == pytest.approx([recalls[name] for name in ("R@1", "R@5", "R@10")], abs=1e-6)


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("case", CASES["retrieval"], ids=lambda case: str(case["name"]))
def test_fair_recall_lies_between_the_ranks_that_ties_leave_open(case: dict[str, Any], direction: str) -> None:
    similarity = np.array(case["scores_image_by_text"], dtype=np.float64)
    if direction == "TR_text_to_image":
        similarity = similarity.T
    values = sample_values(ROWS["standard"], matrix_outcome(ROWS["standard"], similarity.tolist(), "line 1").stats)
    bounds = case[direction]["from_ranks"]
    for found, name in zip(values, ("R@1", "R@5", "R@10"), strict=False):
        assert found is not None
        assert bounds["pessimistic"][name] - 1e-9 <= found <= bounds["optimistic"][name] + 1e-9


@pytest.mark.parametrize("case", CASES["slice_max_retrieval"])
def test_a_volume_scores_its_best_slice(case: dict[str, Any]) -> None:
    found = volume_scores(np.array(case["slice_scores"]))
    assert found.tolist() == [pytest.approx(row, abs=1e-6) for row in case["volume_scores"]]


@pytest.mark.parametrize("case", CASES["slice_sampling"], ids=lambda case: f"{case['num']}_of_{case['n']}")
def test_slices_are_chosen_as_released_or_as_two_readings_of_the_paper(case: dict[str, Any]) -> None:
    assert slice_places.every_nth(case["n"], case["num"]) == case["gpt4v_script"]
    assert slice_places.evenly_spaced(case["n"], case["num"]) == case["linspace_round"]
    assert slice_places.bin_centres(case["n"], case["num"]) == case["bin_centres"]

"""All pairs at once have the p values of one comparison where it is exact, and come close where it draws signs."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from harness import metrics
from harness.comparison.every_pair import every_pair
from harness.comparison.paired import PairedDifference, paired_difference, paired_sums
from harness.comparison.pairing import pair_scores
from harness.comparison.scored_run import ScoreColumns
from tests.unit.comparison.columns import columns


def assert_equal_to_single_comparisons(
    runs: Sequence[ScoreColumns], method: str, tolerance: float = 1e-9, *, single: bool = False, **options: Any
) -> list[PairedDifference]:
    """Compare the p value of every pair with that of `paired_difference`; return those differences."""
    given = {"metric": None, "name": 0, "mean": "micro", "over": None, "better": True, **options}
    paired = [pair_scores(runs[0], run) for run in runs]
    rows = np.arange(len(paired[0].cluster))
    sums = [
        paired_sums(it, given["metric"], rows, name=given["name"], mean=given["mean"], over=given["over"])
        for it in paired
    ]
    found = every_pair(
        np.stack([it.b for it in sums]), sums[0].estimator, sign=1.0 if given["better"] else -1.0, single=single
    )
    wanted = [
        paired_difference(
            pair_scores(a, b),
            given["metric"],
            task="t",
            name=given["name"],
            mean=given["mean"],
            over=given["over"],
            higher_is_better=given["better"],
        )
        for a, b in combinations(runs, 2)
    ]
    assert set(found.method.tolist()) == {method}
    assert found.gain.tolist() == pytest.approx([it.improvement for it in wanted], abs=1e-12)
    assert found.p.tolist() == pytest.approx([it.p for it in wanted], abs=tolerance)
    return wanted


@pytest.mark.parametrize("better", [True, False])
def test_single_answers_are_tested_by_mcnemar(better: bool) -> None:
    generator = np.random.default_rng(1)
    runs = [columns((generator.random(60) < share).astype(float)) for share in (0.4, 0.5, 0.9, 0.9)]
    found = assert_equal_to_single_comparisons(runs, "mcnemar", single=True, better=better)
    assert {it.p_method for it in found} == {"mcnemar"}


def test_marks_that_differ_by_one_are_tested_by_mcnemar_too() -> None:
    generator = np.random.default_rng(2)
    base = generator.integers(2, 5, 40).astype(float)
    runs = [columns(base), columns(base + generator.integers(0, 2, 40)), columns(base + 1)]
    assert_equal_to_single_comparisons(runs[:2], "mcnemar", single=True)
    assert_equal_to_single_comparisons(runs[1:], "mcnemar", single=True)


@pytest.mark.parametrize("undefined", [False, True])
def test_every_assignment_of_signs_is_tried_where_few_clusters_differ(undefined: bool) -> None:
    generator = np.random.default_rng(3)
    clusters = [f"patient {number:02d}" for number in range(12) for _ in range(1 + number % 3)]
    values = generator.random((4, len(clusters))).round(2)
    values[1, :8] = values[0, :8]
    values[3] = values[0]
    if undefined:
        values[2, [4, 9]] = np.nan
    found = assert_equal_to_single_comparisons([columns(row, clusters) for row in values], "permutation-exact")
    assert {it.p_method for it in found} == {"permutation-exact"}


@pytest.mark.parametrize("spans", [False, True])
def test_means_over_strata_and_pooled_numbers_are_tested_exactly_too(spans: bool) -> None:
    generator = np.random.default_rng(4)
    clusters = [f"p{number // 2}" for number in range(20)]
    strata = [{"modality": "ct" if (number % 2 if spans else number < 10) else "mr"} for number in range(20)]
    values = generator.random((3, 20)).round(2)
    runs = [columns(row, clusters, strata=strata) for row in values]
    assert_equal_to_single_comparisons(runs, "permutation-exact", mean="macro", over="modality")
    ciou = metrics.find("ciou")
    stats = [[(float(i), float(i + u)) for i, u in generator.integers(1, 9, (20, 2))] for _ in range(3)]
    runs = [columns(row, clusters, stats=part) for row, part in zip(values, stats, strict=True)]
    assert_equal_to_single_comparisons(runs, "permutation-exact", mean="pooled", metric=ciou)


def test_many_clusters_are_tested_by_the_normal_form_of_the_same_flips() -> None:
    generator = np.random.default_rng(5)
    clusters = [f"p{number // 3:03d}" for number in range(600)]
    base = generator.random(600)
    values = [np.clip(base + generator.normal(0.01 * run, 0.3, 600), 0, 1) for run in range(3)]
    values[2][::7] = np.nan
    runs = [columns(row, clusters) for row in values]
    # The draws of one comparison have a standard error of 0.005 at most.
    found = assert_equal_to_single_comparisons(runs, "sign-flip-normal", 0.02)
    assert {it.p_method for it in found} == {"permutation"}
    sums = np.stack([np.bincount(np.arange(600) // 3, row) for row in values[:2]])
    moves = sums[1] - sums[0]
    exact = 2 * ndtr(-abs(moves.sum()) / np.sqrt((moves**2).sum()))
    both = np.stack([np.stack([row, np.full(200, 3.0)], axis=1) for row in sums])
    pair = every_pair(both, lambda it: it[..., 0] / it[..., 1], sign=1.0, single=False)
    assert pair.p[0] == pytest.approx(exact, rel=1e-9)


def test_moves_that_cancel_each_other_show_nothing() -> None:
    a, b = np.zeros(40), np.tile([0.25, -0.25], 20)
    assert_equal_to_single_comparisons([columns(a), columns(a + 0.0), columns(a)], "permutation-exact")
    both = np.stack([np.stack([row, np.ones(40)], axis=1) for row in (a, b)])
    found = every_pair(both, lambda it: it[..., 0] / it[..., 1], sign=1.0, single=False)
    assert (found.gain[0], found.p[0], found.method[0]) == (0.0, 1.0, "sign-flip-normal")

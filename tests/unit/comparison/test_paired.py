"""Paired differences: equal to scipy and statsmodels where they are exact, and signed, counted and bounded rightly."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar

from harness import metrics
from harness.comparison.paired import PairedDifference, paired_difference
from harness.comparison.pairing import PairedScores, pair_scores
from harness.comparison.permutation import holm
from harness.errors import SpecError
from tests.unit.comparison.columns import columns, paired


def difference(scores: PairedScores, **options: Any) -> PairedDifference:
    given = {"task": "t", "name": 0, "mean": "micro", "higher_is_better": True, **options}
    return paired_difference(scores, given.pop("metric", None), **given)


def by_scipy(a: Any, b: Any, clusters: list[str], alternative: str) -> float:
    """Return scipy's exact p value over sign flips of the clusters' summed differences."""
    moves = np.asarray(
        [sum(y - x for x, y, of in zip(a, b, clusters, strict=True) if of == name) for name in sorted(set(clusters))]
    )
    found = permutation_test(
        (moves,), np.sum, permutation_type="samples", n_resamples=np.inf, alternative=alternative, vectorized=False
    )
    return float(found.pvalue)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("side", "alternative"), [("two-sided", "two-sided"), ("worse", "less"), ("better", "greater")]
)
def test_p_equals_scipys_permutation_test_where_all_signs_are_tried(seed: int, side: str, alternative: str) -> None:
    generator = np.random.default_rng(seed)
    clusters = [f"patient {number}" for number in range(9) for _ in range(1 + number % 3)]
    a, b = generator.random((2, len(clusters))).round(1)
    found = difference(paired(a, b, clusters), side=side)
    assert found.p_method == "permutation-exact"
    assert found.p == pytest.approx(by_scipy(a, b, clusters, alternative), abs=1e-9)


@pytest.mark.parametrize(("gained", "lost"), [(3, 9), (9, 3), (5, 5), (1, 0), (14, 31), (0, 0)])
def test_p_equals_mcnemar_of_statsmodels(gained: int, lost: int) -> None:
    a = [0.0] * gained + [1.0] * lost + [1.0] * 7 + [0.0] * 4
    b = [1.0] * gained + [0.0] * lost + [1.0] * 7 + [0.0] * 4
    found = difference(paired(a, b))
    assert (found.p_method, found.wins, found.losses, found.ties) == ("mcnemar", gained, lost, 11)
    assert found.p == pytest.approx(mcnemar([[7, lost], [gained, 4]], exact=True).pvalue, abs=1e-9)


def test_drawn_signs_come_close_to_all_signs() -> None:
    generator = np.random.default_rng(5)
    a, b = generator.random((2, 13))
    exact = difference(paired(a, b + 0.2), side="better")
    again = difference(paired(np.tile(a, 2), np.tile(b + 0.2, 2), [f"{n % 13:02d}" for n in range(26)]), side="better")
    assert exact.p == again.p  # twice the same answers of a patient say nothing new
    many = paired([*a, *a], [*(b + 0.2), *b])
    found = difference(many, side="better")
    assert found.p_method == "permutation"
    assert found.p is not None
    moves = np.asarray([*(b + 0.2 - a), *(b - a)])
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=(20_000, len(moves)))
    assert found.p == pytest.approx(float(np.mean(signs @ moves >= moves.sum())), abs=0.02)


def test_a_margin_is_a_drop_that_is_not_a_loss() -> None:
    clusters = [f"{number // 2}" for number in range(80)]
    a = np.linspace(0.2, 0.9, 80)
    b = a - 0.03 + 0.02 * np.sin(np.arange(80))
    worse = [difference(paired(a, b, clusters), side="worse", margin=margin).p for margin in (0.0, 0.02, 0.06)]
    assert [p is not None and p < 0.01 for p in worse] == [True, True, False]
    better = [difference(paired(a, b, clusters), side="better", margin=margin).p for margin in (0.0, 0.02, 0.06)]
    assert [p is not None and p < 0.01 for p in better] == [False, False, True]


def test_a_shift_by_the_margin_gives_the_same_p_as_shifted_values() -> None:
    generator = np.random.default_rng(7)
    a, b = generator.random((2, 10))
    assert difference(paired(a, b), side="worse", margin=0.1).p == difference(paired(a, b + 0.1), side="worse").p
    lower = {"side": "worse", "higher_is_better": False}
    assert difference(paired(a, b), margin=0.1, **lower).p == difference(paired(a, b - 0.1), **lower).p


def test_lower_is_better_turns_wins_and_the_side() -> None:
    found = difference(paired([5.0, 4.0, 6.0], [3.0, 4.0, 5.0]), higher_is_better=False, side="worse")
    assert (found.wins, found.ties, found.losses) == (2, 1, 0)
    assert found.difference == pytest.approx(-1.0)
    assert found.improvement == pytest.approx(1.0)
    assert found.p == 1.0


def test_a_value_of_one_run_only_counts_in_that_run() -> None:
    found = difference(paired([0.5, None, None, 0.8], [0.5, 0.0, None, 0.8]))
    assert (found.value_a, found.value_b) == (0.65, pytest.approx(1.3 / 3))
    assert (found.n, found.n_a, found.n_b, found.unpaired, found.ties) == (3, 2, 3, 1, 2)


def test_few_clusters_have_no_interval_and_no_detectable_effect() -> None:
    found = difference(paired([0.1, 0.2, 0.3, 0.4], [0.2, 0.3, 0.5, 0.6]))
    assert (found.ci, found.ci_method, found.detectable, found.effect_size) == (None, "none", None, None)
    assert found.p == 0.125


def test_equal_runs_differ_by_nothing() -> None:
    values = list(np.linspace(0, 1, 30))
    found = difference(paired(values, values))
    assert (found.difference, found.ci, found.p, found.detectable) == (0.0, (0.0, 0.0), 1.0, 0.0)
    assert found.effect_size is None


def test_nothing_in_common_has_no_difference() -> None:
    found = difference(paired([None] * 6, [0.5] * 6))
    assert (found.value_a, found.value_b, found.difference, found.p, found.p_method) == (None, 0.5, None, None, "none")


def test_the_interval_is_that_of_the_differences_and_the_detectable_effect_follows_its_error() -> None:
    generator = np.random.default_rng(3)
    a, noise = generator.random(60), generator.normal(0, 0.1, 60)
    found = difference(paired(a, a + 0.05 + noise))
    assert found.ci is not None
    assert found.standard_error == pytest.approx(noise.std(ddof=1) / 60**0.5, rel=1e-6)
    assert found.ci[0] == pytest.approx(0.05 + noise.mean() - 1.96 * noise.std() / 60**0.5, abs=0.01)
    assert found.detectable == pytest.approx((1.959964 + 1.281552) * (found.standard_error or 0), rel=1e-6)
    assert found.effect_size == pytest.approx((0.05 + noise.mean()) / noise.std(ddof=1), rel=1e-6)


def test_a_macro_mean_weighs_strata_alike_and_a_stratum_is_compared_alone() -> None:
    strata = [{"organ": "liver"}] * 8 + [{"organ": "spleen"}] * 2
    scores = paired([0.0] * 10, [0.1] * 8 + [0.5] * 2, strata=strata)
    assert difference(scores, mean="macro", over="organ").difference == pytest.approx(0.3)
    spleen = difference(scores, stratum=("organ", "spleen"))
    assert (spleen.n, spleen.difference) == (2, 0.5)
    with pytest.raises(SpecError, match="t: no sample of both runs has organ 'kidney'; expected one of liver, spleen"):
        difference(scores, stratum=("organ", "kidney"))


def test_a_macro_mean_with_a_stratum_of_one_patient_has_no_interval() -> None:
    strata = [{"organ": "liver"}] * 8 + [{"organ": "spleen"}]
    found = difference(paired([0.0] * 9, [0.1] * 8 + [0.5], strata=strata), mean="macro", over="organ")
    assert (found.ci, found.p_method) == (None, "permutation-exact")


def test_macro_p_values_exchange_whole_patients_of_several_strata() -> None:
    generator = np.random.default_rng(11)
    clusters = [f"{number % 8}" for number in range(24)]
    strata = [{"organ": "liver" if number < 16 else "spleen"} for number in range(24)]
    a, b = generator.random((2, 24))
    found = difference(paired(a, b, clusters, strata), mean="macro", over="organ")
    weights = np.asarray([1 / 16] * 16 + [1 / 8] * 8)
    assert found.p == pytest.approx(by_scipy(a * weights, b * weights, clusters, "two-sided"), abs=1e-9)


def bleu_pair(worse: int) -> PairedScores:
    """Return two runs of 12 texts as BLEU's stats, in one of which `worse` texts match less."""
    good = [(8.0, 6.0, 5.0, 4.0, 10.0, 9.0, 8.0, 7.0, 10.0, 10.0, 1.0)] * 12
    bad = [(4.0, 2.0, 1.0, 1.0, 10.0, 9.0, 8.0, 7.0, 10.0, 10.0, 1.0)] * worse + good[worse:]
    both = [columns([0.5] * 12, stats=stats) for stats in (good, bad)]
    return pair_scores(*both)


def test_a_corpus_metric_is_exchanged_as_statistics() -> None:
    row = metrics.find("bleu")
    scores = bleu_pair(5)
    found = difference(scores, metric=row, mean="pooled", side="worse")
    totals = [row.combine(stats.sum(axis=0))[0] for stats in (scores.stats_a, scores.stats_b)]
    assert (found.value_a, found.value_b) == pytest.approx(tuple(totals))
    # Of 2^5 exchanges of the five texts that differ only the observed one is as bad.
    assert found.p == pytest.approx(1 / 32, abs=1e-12)
    assert found.p_method == "permutation-exact"
    assert found.ci is not None
    assert found.ci[1] < 0


def test_a_pooled_mean_needs_the_code_of_its_metric() -> None:
    with pytest.raises(SpecError, match="t: a pooled mean of a task's own metric cannot be compared without its code"):
        difference(bleu_pair(1), mean="pooled")


def test_average_precision_is_compared_by_choosing_whole_images() -> None:
    hit, miss = (1.0, 0.9, 1.0), (1.0, 0.9, 0.0)  # one target, one detection with its score, and whether it hits
    a = columns([1.0] * 8, lists=[hit] * 8)
    b = columns([1.0] * 4 + [0.0] * 4, lists=[hit] * 4 + [miss] * 4)
    found = difference(pair_scores(a, b), metric=metrics.find("ap50", "glamm"), mean="pooled", side="worse")
    assert found.value_a == 1.0
    assert found.value_b is not None
    assert found.value_b < 1.0
    assert found.p == pytest.approx(1 / 16)
    assert found.standard_error is not None


def test_holm_is_that_of_its_paper() -> None:
    assert holm([0.01, 0.04, None, 0.03]) == pytest.approx([0.03, 0.06, None, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []

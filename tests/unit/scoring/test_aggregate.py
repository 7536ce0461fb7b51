"""Scores become rows: values, counts, intervals and their order."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.metrics import find
from harness.metrics.metric import Floats, Metric, Outcome, Stats
from harness.records import Result, Score
from harness.scoring import aggregate as aggregate_module
from harness.scoring.aggregate import aggregate, to_json


def ratios(sums: Floats) -> Floats:
    parts, wholes = sums[..., :1], sums[..., 1:]
    shares: Floats = np.divide(parts, wholes, out=np.full(parts.shape, np.nan), where=wholes > 0)
    return shares


METRIC = Metric(
    name="share",
    protocol="standard",
    version=3,
    values=("share",),
    stats=("part", "whole"),
    line="text",
    suits=frozenset({"text"}),
    score=lambda _sample, _prediction: Outcome("undefined"),
    combine=ratios,
    worst=lambda _: (0.0, 1.0),
    ceiling=lambda _: 1.0,
)


def score(number: int, value: float | None, *, cluster: str | None = None, **changes: Any) -> Score:
    base = Score(
        sample_id=f"d/test/{number}",
        repeat=0,
        metric="share",
        protocol="standard",
        status="ok",
        values=(value,),
        stats=(value or 0.0, 1.0),
        cluster=cluster or f"patient{number}",
        strata={"modality": "ct"},
    )
    return replace(base, **changes)


def rows(scores: Iterable[Score], **asked: Any) -> list[Result]:
    options = {"strata": [], "macro_over": None, "pooled": False, **asked}
    return aggregate("task", METRIC, scores, **options)


def undefined(number: int) -> Score:
    return score(number, None, status="undefined", values=(), stats=())


def test_micro_is_the_mean_of_the_samples() -> None:
    (row,) = rows(score(i, value) for i, value in enumerate([0.0, 0.5, 1.0, 1.0, 0.25]))
    assert row.value == 0.55
    assert (row.n, row.clusters, row.undefined, row.failed, row.unparsed) == (5, 5, 0, 0, 0)
    assert (row.metric, row.name, row.protocol, row.protocol_version) == ("share", "share", "standard", 3)
    assert (row.stratum, row.mean, row.higher_is_better, row.note) == (None, "micro", True, None)
    assert row.ci_method == "bca"
    assert row.ci is not None
    assert row.ci[0] < 0.55 < row.ci[1]


def test_each_status_is_counted_where_it_belongs() -> None:
    (row,) = rows(
        [
            score(1, 1.0),
            score(2, 0.0, failed=True),
            score(3, 0.0, status="unparsed"),
            undefined(4),
            score(5, None, status="unjudged", values=(), stats=()),
            score(6, None, status="scorer_error", values=(), stats=()),
            score(7, None),
            replace(undefined(8), failed=True),
        ]
    )
    assert row.value == pytest.approx(1 / 3)
    assert (row.n, row.undefined, row.failed, row.unparsed) == (3, 3, 2, 1)


def test_a_value_that_is_none_is_undefined_for_its_name_only() -> None:
    two = replace(METRIC, values=("first", "second"), combine=lambda sums: np.stack([sums[..., 0]] * 2, axis=-1))
    scores = [replace(score(i, 0.0), values=(0.5, None if i else 0.25)) for i in range(4)]
    first, second = aggregate("task", two, scores, strata=[], macro_over=None, pooled=False)
    assert (first.name, first.value, first.n, first.undefined) == ("first", 0.5, 4, 0)
    assert (second.name, second.value, second.n, second.undefined) == ("second", 0.25, 1, 3)


def test_rows_come_by_name_then_whole_task_then_strata_by_key_and_value() -> None:
    two = replace(METRIC, values=("a", "b"), combine=lambda sums: np.repeat(ratios(sums), 2, axis=-1))
    scores = [
        replace(score(i, 1.0), values=(1.0, 0.5), strata={"organ": organ, "modality": modality})
        for i, (organ, modality) in enumerate([("lung", "mr"), ("brain", "ct"), ("lung", "ct")])
    ]
    found = aggregate("task", two, scores, strata=["organ", "modality"], macro_over="organ", pooled=True)
    one_name: list[tuple[str, object]] = [
        ("micro", None),
        ("macro", None),
        ("pooled", None),
        ("micro", {"modality": "ct"}),
        ("micro", {"modality": "mr"}),
        ("micro", {"organ": "brain"}),
        ("micro", {"organ": "lung"}),
    ]
    assert [(row.name, row.mean, row.stratum) for row in found] == [("a", *row) for row in one_name] + [
        ("b", *row) for row in one_name
    ]


def test_a_macro_key_without_rows_of_its_own_still_makes_the_mean() -> None:
    scores = [score(i, float(i == 3), strata={"modality": "ct" if i else "mr"}) for i in range(4)]
    found = rows(scores, macro_over="modality")
    assert [(row.mean, row.stratum) for row in found] == [("micro", None), ("macro", None)]
    assert found[1].value == pytest.approx((1 / 3 + 0) / 2)
    assert found[1].n == 4


def test_a_sample_without_the_key_stands_under_none() -> None:
    found = rows([score(1, 1.0), score(2, 0.0, strata={})], strata=["modality"])
    assert [(row.stratum, row.value) for row in found[1:]] == [({"modality": "ct"}, 1.0), ({"modality": "none"}, 0.0)]


def test_a_stratum_without_a_value_makes_the_macro_mean_null_and_is_named() -> None:
    found = rows([score(1, 1.0), replace(undefined(2), strata={"modality": "mr"})], macro_over="modality")
    assert found[1].value is None
    assert (found[1].ci, found[1].ci_method) == (None, "none")
    assert found[1].note == "no defined value in modality 'mr'"


def test_pooled_combines_summed_stats() -> None:
    scores = [score(i, 0.5, stats=(float(i), 10.0 + i)) for i in range(6)]
    pooled = rows([*scores, undefined(9), score(10, 0.0, status="unparsed", stats=(0.0, 5.0))], pooled=True)[1]
    assert pooled.value == pytest.approx(15 / 80)
    assert (pooled.mean, pooled.n, pooled.undefined, pooled.unparsed) == ("pooled", 7, 1, 1)
    assert pooled.ci is not None


CORPUS = replace(METRIC, corpus=True)


def pool_of_sums(stats: Sequence[Stats], weights: Floats) -> Floats:
    """Pool by weighted sums, for which the additive way gives the same."""
    return ratios(weights @ np.asarray(stats, dtype=np.float64).reshape(len(stats), 2))


def cohort() -> list[Score]:
    return [
        score(
            number,
            0.5,
            stats=(float(number % 5), 5.0 + number % 7),
            cluster=f"patient{number // 2}",
            strata={"modality": ("ct", "mr")[number // 2 % 2]},
        )
        for number in range(40)
    ]


def test_a_corpus_metric_has_pooled_rows_only_in_strata_too() -> None:
    found = aggregate("task", CORPUS, cohort(), strata=["modality"], macro_over="modality", pooled=True)
    assert [(row.mean, row.stratum) for row in found] == [
        ("pooled", None),
        ("macro", None),
        ("pooled", {"modality": "ct"}),
        ("pooled", {"modality": "mr"}),
    ]
    whole, macro, ct, mr = found
    sums = np.sum([score.stats for score in cohort()], axis=0)
    assert whole.value == pytest.approx(sums[0] / sums[1])
    assert ct.value is not None
    assert mr.value is not None
    assert macro.value == pytest.approx((ct.value + mr.value) / 2)
    assert (whole.n, ct.n, mr.n) == (40, 20, 20)
    assert macro.ci is not None
    assert macro.ci[0] < macro.value < macro.ci[1]


@pytest.mark.parametrize("spanning", [False, True])
def test_a_metric_that_pools_all_stats_agrees_with_one_that_pools_sums(spanning: bool) -> None:
    scores = cohort()
    if spanning:
        scores = [replace(row, strata={"modality": ("ct", "mr")[place % 2]}) for place, row in enumerate(scores)]
    asked = {"strata": ["modality"], "macro_over": "modality", "pooled": False}
    sums = aggregate("task", CORPUS, scores, **asked)  # type: ignore[arg-type]
    lists = aggregate("task", replace(CORPUS, pool=pool_of_sums), scores[::-1], **asked)  # type: ignore[arg-type]
    assert [row.ci_method for row in lists] == [row.ci_method for row in sums] == ["bca"] * 4
    for one, other in zip(sums, lists, strict=True):
        assert other.value == pytest.approx(one.value, abs=1e-12)
        assert other.ci == pytest.approx(one.ci, abs=1e-9)


def test_a_pooling_metric_sees_the_samples_in_the_order_of_their_ids() -> None:
    seen = []

    def pool(stats: Sequence[Stats], weights: Floats) -> Floats:
        seen.append([row[0] for row in stats])
        return np.ones((*weights.shape[:-1], 1))

    scores = [score(number, 0.5, stats=(float(number), 1.0)) for number in (3, 1, 4, 2)]
    aggregate("task", replace(CORPUS, pool=pool), [*scores, undefined(0)], strata=[], macro_over=None, pooled=False)
    assert seen[0] == [1.0, 2.0, 3.0, 4.0]


def test_a_caveat_is_shown_with_every_number_of_its_metric() -> None:
    (row,) = aggregate(
        "task", replace(METRIC, caveat="mind"), [score(1, 1.0)], strata=[], macro_over=None, pooled=False
    )
    assert row.note == "mind"


def test_no_defined_value_is_null_with_the_reason() -> None:
    for scores in ([], [undefined(1)]):
        found = rows(scores, macro_over="modality", pooled=True)
        assert [row.value for row in found] == [None, None, None]
        assert [row.ci for row in found] == [None, None, None]
        assert found[0].note == "no sample has a defined value"
        assert found[2].note == "no sample has a defined value"
    assert found[1].note == "no defined value in modality 'ct'"


def test_summed_stats_that_define_no_value_are_null_with_the_reason() -> None:
    found = rows([score(1, 0.5, stats=(0.0, 0.0))], pooled=True)
    assert (found[1].mean, found[1].value, found[1].note) == ("pooled", None, "the summed stats define no value")


def test_a_stratum_without_a_scored_sample_is_null_under_a_metric_that_ranks_a_corpus() -> None:
    ap50 = find("ap50", "glamm")
    named: dict[str, Any] = {"metric": "ap50", "protocol": "glamm"}
    scores = [score(number, 1.0, stats=(1.0, 0.9, 1.0), **named) for number in range(6)]
    left_out = [replace(undefined(number), strata={"modality": "mr"}, **named) for number in (7, 8)]
    found = aggregate("task", ap50, [*scores, *left_out], strata=["modality"], macro_over="modality", pooled=False)
    assert [(row.mean, row.stratum, row.value) for row in found] == [
        ("pooled", None, 1.0),
        ("macro", None, None),
        ("pooled", {"modality": "ct"}, 1.0),
        ("pooled", {"modality": "mr"}, None),
    ]
    assert found[1].note == "no defined value in modality 'mr'"
    assert found[3].note == "no sample has a defined value"
    nothing = aggregate("task", ap50, left_out, strata=["modality"], macro_over=None, pooled=False)
    assert [row.value for row in nothing] == [None, None]


def test_an_implied_key_has_rows_only_if_the_samples_differ_in_it() -> None:
    present, absent = ({"modality": "ct", "presence": word} for word in ("present", "absent"))
    same = rows([score(1, 1.0, strata=present), score(2, 0.0, strata=present)], implied=["presence"])
    assert [row.stratum for row in same] == [None]
    apart = rows([score(1, 1.0, strata=present), score(2, 0.0, strata=absent)], implied=["presence"])
    assert [(row.stratum, row.value) for row in apart] == [
        (None, 0.5),
        ({"presence": "absent"}, 0.0),
        ({"presence": "present"}, 1.0),
    ]
    assert [row.stratum for row in rows([score(1, 1.0)], implied=["presence"])] == [None]


def test_clusters_without_a_value_do_not_make_an_interval() -> None:
    four = [score(i, i / 4) for i in range(4)]
    assert rows([*four, undefined(8), undefined(9)])[0].ci_method == "none"
    assert rows([*four, undefined(8), score(9, 0.5)])[0].ci_method == "bca"


def test_samples_of_one_cluster_are_drawn_together() -> None:
    alone = rows(score(i, float(i % 2)) for i in range(40))[0]
    together = rows(score(i, float(i % 2), cluster=f"p{i % 2}{i % 5}") for i in range(40))[0]
    assert alone.clusters == 40
    assert together.clusters == 10
    assert alone.ci is not None
    assert together.ci is not None
    assert np.ptp(together.ci) > np.ptp(alone.ci)


def test_macro_draws_inside_strata_unless_a_cluster_spans_them() -> None:
    # between strata all differs, inside a stratum nothing does: only draws over the whole task can vary
    values = {"ct": 1.0, "mr": 0.0}
    inside = [score(i, values[m], strata={"modality": m}) for i, m in enumerate(["ct", "mr"] * 10)]
    macro = rows(inside, macro_over="modality")[1]
    assert macro.ci == (0.5, 0.5)
    uneven = [
        score(i, value, cluster=f"p{i // 2}", strata={"modality": "ct" if i % 2 else "mr"})
        for i, value in enumerate(np.random.default_rng(0).random(20))
    ]
    spanning = rows(uneven, macro_over="modality")[1]
    assert spanning.clusters == 10
    assert spanning.ci is not None
    assert np.ptp(spanning.ci) > 0.1


def test_a_macro_mean_with_a_stratum_of_one_cluster_has_no_interval_and_says_why() -> None:
    scores = [score(i, i / 10, strata={"modality": "mr" if i == 3 else "ct"}) for i in range(10)]
    macro = rows(scores, macro_over="modality")[1]
    assert macro.value is not None
    assert macro.ci is None
    assert macro.note == "no interval: modality 'mr' has one cluster"


def test_metrics_of_a_task_share_their_draws_and_tasks_do_not() -> None:
    scores = [score(i, value) for i, value in enumerate(np.random.default_rng(0).random(50))]
    other = replace(METRIC, name="other")
    renamed = [replace(one, metric="other") for one in scores]
    asked: dict[str, Any] = {"strata": [], "macro_over": None, "pooled": False}
    first = aggregate("task", METRIC, scores, **asked)[0].ci
    assert aggregate("task", other, renamed, **asked)[0].ci == first
    assert aggregate("another", METRIC, scores, **asked)[0].ci != first


def test_a_stratum_draws_with_a_seed_of_its_own() -> None:
    whole, stratum = rows(
        [score(i, value) for i, value in enumerate(np.random.default_rng(0).random(50))], strata=["modality"]
    )
    assert whole.value == stratum.value
    assert whole.ci != stratum.ci


def test_repeats_are_rows_of_the_mean_in_one_cluster() -> None:
    (row,) = rows(score(i, float(repeat), repeat=repeat) for i in range(6) for repeat in range(2))
    assert (row.value, row.n, row.clusters) == (0.5, 12, 6)


def test_scores_of_another_metric_are_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="scores of another metric"):
        rows([score(1, 1.0, metric="dice")])


def test_a_score_of_the_wrong_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(AssertionError, match="d/test/1: share has 1 values"):
        rows([score(1, 1.0, values=())])
    with pytest.raises(AssertionError, match="d/test/1: share has 2 stats"):
        rows([score(1, 1.0, stats=(1.0,))], pooled=True)


def test_to_json_writes_the_row_of_results_json() -> None:
    row = rows([score(i, 1.0) for i in range(5)], strata=["modality"])[1]
    assert json.dumps(to_json(row), allow_nan=False) == (
        '{"metric": "share", "name": "share", "protocol": "standard", "protocol_version": 3, "higher_is_better": true, '
        '"stratum": {"modality": "ct"}, "mean": "micro", "value": 1.0, "ci": [1.0, 1.0], "ci_method": "percentile", '
        '"n": 5, "clusters": 5, "undefined": 0, "failed": 0, "unparsed": 0}'
    )
    assert to_json(replace(row, note="why"))["note"] == "why"


def test_to_json_refuses_what_json_cannot_hold() -> None:
    row = rows([score(1, 1.0)])[0]
    with pytest.raises(AssertionError, match=r"share: results\.json holds finite numbers only"):
        to_json(replace(row, value=math.nan))


def test_a_key_with_too_many_values_has_no_rows_and_the_whole_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate_module, "MOST_STRATA", 6)
    scores = [score(i, float(i % 2), strata={"modality": "ct", "patient": str(i)}) for i in range(7)]
    whole, macro, ct = rows(scores, strata=["modality", "patient"], macro_over="patient")
    said = "patient has 7 values: no rows by more than 6"
    assert (whole.note, whole.value) == (said, 3 / 7)
    assert (macro.mean, macro.note, macro.value, macro.ci, macro.ci_method) == ("macro", said, None, None, "none")
    assert (ct.stratum, ct.note) == ({"modality": "ct"}, None)


def test_a_macro_interval_of_too_many_sums_is_left_out_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = [score(i, float(i % 2), strata={"modality": "ct" if i < 9 else "mr"}) for i in range(18)]
    (_, with_interval, *_) = rows(scores, strata=["modality"], macro_over="modality")
    assert with_interval.ci is not None
    monkeypatch.setattr(aggregate_module, "MOST_MACRO_SUMS", 71)
    (_, macro, *_) = rows(scores, strata=["modality"], macro_over="modality")
    assert (macro.value, macro.ci) == (with_interval.value, None)
    assert macro.note == "no interval: 18 clusters in 2 values of modality are too many"

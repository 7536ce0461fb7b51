"""What holds for aggregation whatever the scores: order, shards and counts."""

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.metrics.answers.short_answer import METRICS
from harness.records import Result, Score, ScoreStatus
from harness.scoring.aggregate import aggregate

STATUSES: tuple[ScoreStatus, ...] = ("ok", "ok", "ok", "unparsed", "undefined", "unjudged", "scorer_error")
METRIC = next(metric for metric in METRICS if (metric.name, metric.protocol) == ("token_prf", "standard"))


@st.composite
def scores(draw: st.DrawFn) -> list[Score]:
    """Draw up to 40 scores in up to 12 clusters and 3 strata, of every status."""
    found = []
    for number in range(draw(st.integers(0, 40))):
        status = draw(st.sampled_from(STATUSES))
        counted = status in ("ok", "unparsed")
        values = draw(st.tuples(*[st.none() | st.floats(0, 1)] * 3)) if counted else ()
        found.append(
            Score(
                sample_id=f"d/test/{number}",
                repeat=0,
                metric="token_prf",
                protocol="standard",
                status=status,
                values=values,
                stats=draw(st.tuples(*[st.integers(0, 50).map(float)] * 3)) if counted else (),
                failed=draw(st.booleans()) if counted else False,
                cluster=f"p{draw(st.integers(0, 11))}",
                strata={"modality": draw(st.sampled_from(["ct", "mr", "us"]))} if draw(st.booleans()) else {},
            )
        )
    return found


def results(found: list[Score]) -> list[Result]:
    return aggregate("task", METRIC, iter(found), strata=["modality"], macro_over="modality", pooled=True)


@settings(max_examples=40, deadline=None)
@given(scores(), st.randoms(use_true_random=False))
def test_the_order_of_the_scores_changes_nothing(found: list[Score], shuffle: random.Random) -> None:
    shuffled = list(found)
    shuffle.shuffle(shuffled)
    assert results(shuffled) == results(found)


@settings(max_examples=40, deadline=None)
@given(scores())
def test_strata_add_up_to_the_whole(found: list[Score]) -> None:
    rows = results(found)
    for name in METRIC.values:
        whole = next(row for row in rows if row.name == name and row.mean == "micro" and row.stratum is None)
        parts = [row for row in rows if row.name == name and row.stratum is not None]
        for count in ("n", "undefined", "failed", "unparsed"):
            assert sum(getattr(part, count) for part in parts) == getattr(whole, count)
        if whole.value is not None:
            total = math.fsum(part.value * part.n for part in parts if part.value is not None)
            assert total / whole.n == pytest.approx(whole.value)


@settings(max_examples=40, deadline=None)
@given(scores())
def test_every_number_is_finite_and_a_missing_one_has_a_reason(found: list[Score]) -> None:
    for row in results(found):
        assert (row.value is None) <= (row.note is not None)
        assert (row.ci is None) == (row.ci_method == "none")
        assert all(math.isfinite(number) for number in (row.value or 0.0, *(row.ci or ())))
        assert row.ci is None or row.ci[0] <= row.ci[1]
        assert row.failed >= row.unparsed
        assert row.n >= row.failed


@settings(max_examples=20, deadline=None)
@given(scores())
def test_renaming_clusters_in_order_changes_nothing(found: list[Score]) -> None:
    renamed = [replace(score, cluster=f"x{score.cluster}") for score in found]
    assert results(renamed) == results(found)

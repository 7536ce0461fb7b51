"""The score in a judge's reply."""

import numpy as np
import pytest

from harness.metrics.answers.judge import METRICS, m3d_points
from harness.metrics.metric import Metric, Outcome, sample_values
from harness.records import Prediction, Sample

SAMPLE = Sample(id="d/test/1")
ALL_ROWS = pytest.mark.parametrize("row", METRICS, ids=lambda row: row.protocol)


def outcome(row: Metric, text: str | None) -> Outcome:
    return row.score(SAMPLE, Prediction(key="k", status="ok", text=text))


def test_the_rows_are_those_of_the_spec() -> None:
    assert [(row.name, row.protocol, row.line, row.unit) for row in METRICS] == [
        ("judge", "standard", "judge", "points"),
        ("judge", "m3d", "judge", "points"),
    ]


@pytest.mark.parametrize(
    ("reply", "points"),
    [
        ("Score: 75.5", 75.5),
        ("Score: 75. Score: 80.0", 80.0),
        ("score: 75.5", None),
        ("Score:  75.5", None),
        ("Score: 150.0", 150.0),
        (f"Score: {'9' * 400}.0", None),
    ],
)
def test_m3d_takes_decimals_only_and_as_written(reply: str, points: float | None) -> None:
    assert m3d_points(reply) == points


@ALL_ROWS
def test_a_reply_without_a_score_is_unjudged(row: Metric) -> None:
    for text in (None, "no idea"):
        found = outcome(row, text)
        assert (found.status, found.stats) == ("unjudged", ())


@ALL_ROWS
def test_points_are_averaged_and_a_failed_prediction_has_none(row: Metric) -> None:
    first, second = outcome(row, "Score: 80.0").stats, row.worst(SAMPLE)
    assert sample_values(row, first) == (80.0,)
    assert sample_values(row, second) == (row.floor(SAMPLE),) == (0.0,)
    assert row.ceiling(SAMPLE) == 100.0
    np.testing.assert_array_equal(row.combine(np.asarray([first]) + np.asarray([second])), [[40.0]])

"""Ratios of summed stats."""

import numpy as np
import pytest

from harness.metrics.ratios import f1_precision_recall, miss_if_answered, ratio, shares
from harness.records import Sample, Target


def test_a_share_of_nothing_is_what_the_caller_says() -> None:
    parts, wholes = np.asarray([1.0, 0.0, 0.0]), np.asarray([2.0, 4.0, 0.0])
    assert shares(parts, wholes, 1.0).tolist() == [0.5, 0.0, 1.0]


def test_the_last_column_divides_the_others_and_0_leaves_them_undefined() -> None:
    sums = np.asarray([[3.0, 1.0, 4.0], [0.0, 0.0, 0.0]])
    np.testing.assert_array_equal(ratio(sums), [[0.75, 0.25], [np.nan, np.nan]])
    assert ratio(np.ones((5, 2, 4))).shape == (5, 2, 3)


@pytest.mark.parametrize(
    ("shared", "found", "wanted", "values"),
    [
        (1, 2, 4, [1 / 3, 0.5, 0.25]),
        (0, 0, 3, [0.0, 0.0, 0.0]),
        (0, 3, 0, [0.0, 0.0, 0.0]),
        (0, 0, 0, [np.nan] * 3),
    ],
)
def test_f1_precision_and_recall(shared: float, found: float, wanted: float, values: list[float]) -> None:
    counts = (np.asarray(count, dtype=np.float64) for count in (shared, found, wanted))
    np.testing.assert_allclose(f1_precision_recall(*counts), values)


def test_a_reply_that_scores_nothing_counts_only_if_there_is_an_answer() -> None:
    assert miss_if_answered(Sample(id="a", target=Target(answers=("liver",)))) == (0.0, 1.0)
    assert miss_if_answered(Sample(id="a", target=Target())) == (0.0, 0.0)

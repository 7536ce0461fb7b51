"""Scores of several runs, side by side."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablations.paired_scores import Number, means, read_sums
from harness.errors import DataError
from tests.unit.benchmarks.scores import write_scores

DICE = Number(title="G", task="mecovqa_g", metric="dice", protocol="medplib", name="dice", over="modality")
CLOSED = Number(
    title="closed",
    task="vqa_rad",
    metric="vqa_accuracy",
    protocol="standard",
    name="vqa_accuracy",
    only=("answer_type", "closed"),
)


def test_values_are_summed_by_cluster_and_stratum(tmp_path: Path) -> None:
    write_scores(tmp_path, DICE, {"a/1": 0.5, "b/1": 1.0, "a/2": 0.25}, {"modality": "of {}"})
    found = read_sums([tmp_path], DICE)
    assert found.clusters == ("a", "b")
    assert found.sums[0].tolist() == [[[0.75, 2.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 1.0]]]
    assert means(found.sums.sum(axis=1)).tolist() == [(0.375 + 1.0) / 2]


def test_an_undefined_score_counts_nowhere(tmp_path: Path) -> None:
    write_scores(tmp_path, DICE, {"a/1": 0.5, "a/2": None}, {"modality": "ct"})
    assert read_sums([tmp_path], DICE).sums.tolist() == [[[[0.5, 1.0]]]]


def test_a_stratum_without_values_has_no_mean() -> None:
    assert np.isnan(means(np.array([[1.0, 2.0], [0.0, 0.0]])))


def test_only_the_samples_of_the_stratum_count(tmp_path: Path) -> None:
    write_scores(tmp_path, CLOSED, {"a/1": 1.0}, {"answer_type": "open"})
    with pytest.raises(DataError, match=r"samples with \('answer_type', 'closed'\), found none; raise --limit"):
        read_sums([tmp_path], CLOSED)


def test_runs_about_other_samples_are_refused(tmp_path: Path) -> None:
    write_scores(tmp_path / "one", DICE, {"a/1": 1.0}, {"modality": "ct"})
    write_scores(tmp_path / "two", DICE, {"a/2": 1.0}, {"modality": "ct"})
    with pytest.raises(DataError, match=r"two: mecovqa_g: expected the 1 samples of .*one, found others"):
        read_sums([tmp_path / "one", tmp_path / "two"], DICE)


def test_a_run_without_the_task_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the scores of a finished run; evaluate mecovqa_g first"):
        read_sums([tmp_path], DICE)

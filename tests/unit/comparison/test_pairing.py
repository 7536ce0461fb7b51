"""Pairs of samples: by id and repetition, whatever the order of the files; columns as the files of scores hold them."""

from pathlib import Path

import numpy as np
import pytest

from harness import metrics
from harness.comparison.pairing import pair_scores
from harness.comparison.scored_run import read_columns, read_run
from harness.errors import SpecError
from harness.records import Score
from harness.scoring.score import ScoreFile
from tests.support.scored_runs import write_run
from tests.unit.comparison.columns import columns


def test_pairs_do_not_depend_on_the_order_of_the_files() -> None:
    a = columns([1.0, 2.0, 3.0], ["p", "q", "q"], ids=["x", "y", "z"])
    b = columns([30.0, 10.0, 40.0], ["q", "p", "r"], ids=["z", "x", "w"])
    found = pair_scores(a, b)
    assert found.sample_ids.to_pylist() == ["x", "z"]
    assert found.values_a[:, 0].tolist() == [1.0, 3.0]
    assert found.values_b[:, 0].tolist() == [10.0, 30.0]
    assert (found.only_a, found.only_b, found.clusters) == (1, 1, 2)


def test_repetitions_of_a_sample_are_paired_with_each_other() -> None:
    a = columns([1.0, 2.0, 3.0], ["x", "x", "y"], ids=["x", "x", "y"], repeat=[0, 1, 0])
    b = columns([20.0, 10.0], ["x", "x"], ids=["x", "x"], repeat=[1, 0])
    found = pair_scores(a, b)
    assert found.repeat.tolist() == [0, 1]
    assert found.values_b[:, 0].tolist() == [10.0, 20.0]
    assert (found.only_a, found.only_b) == (1, 0)


def test_strata_are_those_that_the_common_samples_have() -> None:
    strata = [{"organ": "liver"}, {"organ": "spleen"}, {}]
    found = pair_scores(columns([1.0] * 3, strata=strata), columns([1.0, 1.0], ids=["s0000", "s0002"]))
    names, index = found.strata["organ"]
    assert [names[place] for place in index] == ["liver", "none"]
    assert names == ["liver", "none"]


def score(sample_id: str, status: str, **fields: object) -> Score:
    given = {"repeat": 0, "metric": "token_prf", "protocol": "standard", "cluster": "b", "strata": {"k": "v"}, **fields}
    return Score(sample_id=sample_id, status=status, **given)  # type: ignore[arg-type]


def test_columns_hold_what_a_file_of_scores_holds(tmp_path: Path) -> None:
    file = ScoreFile(tmp_path / "scores.parquet")
    metric = metrics.find("token_prf", "standard")
    stats = tuple(float(number) for number in range(1, len(metric.stats) + 1))
    file.add(score("x", "ok", values=(0.5, None, 1.0), stats=stats))
    file.add(score("y", "undefined", cluster="a"))
    file.add(score("z", "unparsed", values=(0.0, 0.0, 0.0), stats=stats, failed=True))
    file.add(score("w", "scorer_error", strata={}))
    file.close()
    found = read_columns(tmp_path / "scores.parquet", 3, metric)
    assert found.sample_ids.to_pylist() == ["x", "y", "z", "w"]
    assert found.scored.tolist() == [True, False, True, False]
    assert found.failed.tolist() == [False, False, True, False]
    assert [found.cluster_names[place] for place in found.cluster] == ["b", "a", "b", "b"]
    assert [found.strata_values[place] for place in found.strata] == [{"k": "v"}, {"k": "v"}, {"k": "v"}, {}]
    np.testing.assert_array_equal(found.values, [[0.5, np.nan, 1.0], [np.nan] * 3, [0.0] * 3, [np.nan] * 3])
    np.testing.assert_array_equal(found.stats, [stats, [0.0] * len(stats), stats, [0.0] * len(stats)])


def test_columns_of_an_empty_file_are_empty(tmp_path: Path) -> None:
    ScoreFile(tmp_path / "scores.parquet").close()
    found = read_columns(tmp_path / "scores.parquet", 1, metrics.find("dice"))
    assert (len(found.sample_ids), found.values.shape, found.cluster_names) == (0, (0, 1), [])


def test_stats_of_no_fixed_length_stay_lists(tmp_path: Path) -> None:
    file = ScoreFile(tmp_path / "scores.parquet")
    file.add(score("x", "ok", values=(1.0,), stats=(1.0, 0.9, 1.0, 0.4, 0.0)))
    file.add(score("y", "undefined"))
    file.close()
    found = read_columns(tmp_path / "scores.parquet", 1, metrics.find("ap50", "glamm"))
    assert found.lists == [(1.0, 0.9, 1.0, 0.4, 0.0), ()]


def test_a_metric_that_was_not_scored_is_named_with_those_that_were(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "run", [0.5]))
    with pytest.raises(
        SpecError, match=r"spots was not scored by dise standard \(did you mean .dice standard.\?\); it has dice"
    ):
        run.tasks["spots"].read("dise", "standard")

"""A run directory is scored into the content of `results.json`, `scores/` and `failures.jsonl`."""

import json
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.evaluation.evaluate import evaluate
from harness.evaluation.results import Scored, score_run
from harness.evaluation.setup import RunSpec
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore
from harness.scoring.availability import UsableMetric, UsableMetrics, usable_metrics
from harness.tasks.catalog import index
from harness.tasks.spec import TaskSpec
from tests.support.tiny_vqa_rad import write_release

SAMPLES = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a model that answers nothing but "yes"."""
    folder = tmp_path_factory.mktemp("results")
    root = write_release(folder / "data", SAMPLES)
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(root),),
        out=folder / "run",
        cache=folder / "cache",
        ray="off",
    )
    return evaluate(spec).out


def _scored(run: Path, out: Path) -> Scored:
    record = RunDirectory(run).read_run()
    tasks, groups = index(()).resolve(record["requested"])
    store = RunStore(run)
    try:
        store.open(record)
        return score_run(store, record, tasks, groups, RunDirectory(out))
    finally:
        store.close()


def test_a_second_scoring_into_another_folder_gives_the_same_results_and_leaves_the_run(
    run: Path, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.suffix == ".parquet"}
    again = _scored(run, tmp_path)
    assert json.loads(json.dumps(again.results)) == RunDirectory(run).read_results()
    assert (again.wanted, again.faults, again.failures) == (SAMPLES, 0, [])
    assert {path: path.read_bytes() for path in before} == before
    names = {path.name for path in RunDirectory(run).scores_folder.iterdir()}
    assert {path.name for path in RunDirectory(tmp_path).scores_folder.iterdir()} == names


def test_floor_and_ceiling_are_given_for_the_first_value_of_the_whole_task_only(run: Path) -> None:
    rows = RunDirectory(run).read_results()["tasks"]["vqa_rad"]["metrics"]
    bounded = [row for row in rows if "floor" in row]
    assert bounded
    assert all(row["stratum"] is None and "ceiling" in row for row in bounded)
    assert [row for row in rows if row["stratum"] is not None]


def test_a_request_without_a_prediction_is_not_run_and_lowers_the_coverage(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    for path in run.rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    predictions = RunDirectory(copy).predictions_path
    lines = predictions.read_bytes().splitlines(keepends=True)
    predictions.write_bytes(b"".join(lines[1:]))
    found = _scored(copy, copy)
    block = found.results["tasks"]["vqa_rad"]
    assert block["counts"]["not_run"] == 1
    assert block["coverage"] == pytest.approx(1 - 1 / SAMPLES)
    assert [(failure.status, failure.message) for failure in found.failures] == [("not_run", "not asked yet")]
    written = [json.loads(line) for line in RunDirectory(copy).failures_path.read_text().splitlines()]
    assert [line["sample_id"] for line in written] == [failure.sample_id for failure in found.failures]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ({"combine": lambda _sums: 1 / 0}, "vqa_accuracy (standard) raised ZeroDivisionError: division by zero"),
        ({"prepare": lambda _pairs: [][0]}, "vqa_accuracy (standard) raised IndexError: list index out of range"),
    ],
)
def test_a_metric_that_raises_costs_its_own_rows_only(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: dict[str, Any], words: str
) -> None:
    def with_a_broken_metric(task: TaskSpec, judged: Collection[str]) -> UsableMetrics:
        found = usable_metrics(task, judged)
        for number, row in enumerate(found.rows):
            if (row.metric.name, row.metric.protocol) == ("vqa_accuracy", "standard"):
                # A corpus metric is combined once for all samples, so its scores are whole and its rows are not.
                metric = replace(row.metric, corpus=True, each=row.metric.combine, **broken)
                found.rows[number] = UsableMetric(metric, row.use)
        return found

    monkeypatch.setattr("harness.evaluation.results.usable_metrics", with_a_broken_metric)
    found = _scored(run, tmp_path)
    (missing,) = found.results["unavailable"]
    assert (missing["task"], missing["metric"]) == ("vqa_rad", "vqa_accuracy")
    assert missing["reason"].startswith(f"{words} (test_results.py:")
    assert "harness score RUN_DIR" in missing["remedy"]
    assert found.broken == [f"vqa_rad: {missing['reason']}"]
    kept = {(row["metric"], row["protocol"]) for row in found.results["tasks"]["vqa_rad"]["metrics"]}
    whole = RunDirectory(run).read_results()["tasks"]["vqa_rad"]["metrics"]
    assert kept == {(row["metric"], row["protocol"]) for row in whole} - {("vqa_accuracy", "standard")}

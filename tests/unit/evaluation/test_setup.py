"""What is stated is resolved before anything is asked."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.evaluation.setup import Observer, PreparedRun, RunSpec, open_session
from harness.paths import default_cache
from harness.tasks.catalog import index
from harness.tasks.overrides import with_protocols


def _session(**changes: Any) -> PreparedRun:
    stated: dict[str, Any] = {
        "tasks": ("samed2d_seg",),
        "model": "baseline:otsu",
        "data_roots": ("phantom",),
    }
    return open_session(RunSpec(**{**stated, **changes}), Observer())


def test_a_batch_larger_than_the_model_takes_is_refused() -> None:
    with pytest.raises(SpecError, match=r"--batch-size 5000: baseline:otsu takes at most 1024 requests a batch"):
        _session(batch_size=5000)


@pytest.mark.parametrize(("asked", "size"), [(None, 16), ("auto", 1024), (7, 7)])
def test_a_batch_is_sixteen_unless_asked_otherwise(asked: Any, size: int) -> None:
    assert _session(batch_size=asked).batch_size == size


def test_the_default_run_directory_names_model_and_digest() -> None:
    session = _session()
    assert session.out.parent == Path("runs")
    assert session.out.name.startswith("baseline-otsu-")
    assert session.out != _session(seed=1).out


def test_execution_options_do_not_change_the_run() -> None:
    assert _session().run_record() == _session(workers=4, timeout=5.0, ray="local").run_record()


def test_a_model_that_takes_the_target_is_marked_oracle() -> None:
    assert _session(model="baseline:oracle").run_record()["model"]["oracle"] is True
    assert _session().run_record()["model"]["oracle"] is False


def test_protocols_choose_among_the_metrics_of_a_task() -> None:
    task = with_protocols(index().load("samed2d_seg"), ["medplib"])
    assert {(use.metric, use.protocol) for use in task.metrics} == {("dice", "medplib"), ("iou", "medplib")}
    assert (task.headline.metric, task.headline.protocol) == ("dice", "medplib")


def test_a_protocol_that_no_metric_has_is_refused() -> None:
    with pytest.raises(
        SpecError,
        match=r"--protocol vqa-v2: the metrics of samed2d_seg have m3d, medplib, .*, surface-distance",
    ):
        with_protocols(index().load("samed2d_seg"), ["vqa-v2"])


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("MEDGROUND_CACHE")
    assert default_cache() == Path.home() / ".cache" / "medground"


@pytest.mark.parametrize("tasks", [(), ("",), (" ", "")])
def test_no_task_is_no_evaluation(tasks: tuple[str, ...]) -> None:
    with pytest.raises(SpecError, match=r"^--tasks: expected at least one task or group, found none; `harness list"):
        _session(tasks=tasks)

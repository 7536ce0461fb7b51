"""What is stated is resolved before anything is asked."""

from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.evaluation import setup
from harness.evaluation.setup import Observer, PreparedRun, RunSpec, choose_runner, open_session
from harness.paths import default_cache
from harness.records import Resources
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


def test_a_model_may_say_how_large_its_usual_batch_is(tmp_path: Path) -> None:
    path = tmp_path / "wide.py"
    path.write_text(
        "from harness import Capabilities\n"
        "class Wide:\n"
        "    def capabilities(self):\n"
        "        return Capabilities(max_batch=100, usual_batch=64)\n"
        "    def load(self, device): ...\n"
        "    def predict(self, requests): ...\n"
    )
    assert _session(model=f"{path}:Wide").batch_size == 64
    assert _session(model=f"{path}:Wide", batch_size=3).batch_size == 3


def test_the_default_run_directory_names_model_and_digest() -> None:
    session = _session()
    assert session.out.parent == Path("runs").absolute()
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


USES_EITHER, NO_USE = Resources(), Resources(gpus=0)


def runner(resources: Resources, **options: Any) -> tuple[str | None, int | None, float | None]:
    found = choose_runner(RunSpec(tasks=("t",), model="m", **options), resources)
    return found.address, found.wanted.workers, found.wanted.resources.gpus


@pytest.mark.parametrize(
    ("gpus", "resources", "options", "expected"),
    [
        # One copy runs in this process, on the GPU if it can use it.
        (0, USES_EITHER, {}, (None, 1, 0.0)),
        (1, USES_EITHER, {}, (None, 1, 1.0)),
        (4, NO_USE, {}, (None, 1, 0.0)),
        (4, USES_EITHER, {"ray": "off"}, (None, 1, 1.0)),
        (1, USES_EITHER, {"gpus_per_worker": 0.5}, (None, 1, 0.5)),
        (1, USES_EITHER, {"gpus_per_worker": 0.0}, (None, 1, 0.0)),
        (4, Resources(gpus=4), {}, (None, 1, 4.0)),
        # Several go to Ray, which settles what is open.
        (4, USES_EITHER, {}, ("local", None, None)),
        (0, USES_EITHER, {"workers": 2}, ("local", 2, None)),
        (4, USES_EITHER, {"workers": 1}, (None, 1, 1.0)),
        (0, USES_EITHER, {"ray": "10.0.0.1:6379"}, ("10.0.0.1:6379", None, None)),
        (0, Resources(cpus=0), {"workers": 999}, ("local", 999, None)),
    ],
)
def test_a_model_that_can_use_a_gpu_gets_one(
    monkeypatch: pytest.MonkeyPatch,
    gpus: int,
    resources: Resources,
    options: dict[str, Any],
    expected: tuple[str | None, int | None, float | None],
) -> None:
    monkeypatch.setattr(setup, "gpus_here", lambda: gpus)
    monkeypatch.setattr(setup, "check_address", lambda _: None)
    assert runner(resources, **options) == expected


def test_several_gpus_without_ray_are_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "gpus_here", lambda: 4)
    monkeypatch.setattr(setup, "ray_is_installed", lambda: False)
    assert runner(USES_EITHER) == (None, 1, 1.0)


@pytest.mark.parametrize(
    ("gpus", "options", "message"),
    [
        (4, {"gpus_per_worker": 1.5}, r"^--gpus-per-worker 1\.5: expected a whole number, or a fraction of one GPU$"),
        (4, {"gpus_per_worker": float("nan")}, r"^--gpus-per-worker nan: expected a number of at least 0$"),
        (
            0,
            {"gpus_per_worker": 1.0},
            r"^--gpus-per-worker 1: this machine has 0 GPUs \(.*\); --gpus-per-worker 0 runs",
        ),
        (1, {"gpus_per_worker": 2.0}, r"^--gpus-per-worker 2: this machine has 1 GPU \(.*\); expected at most 1$"),
        (
            0,
            {"workers": 50, "ray": "local"},
            r"^--workers 50 with 1 CPUs each: they ask for 50, this machine has 3 and shares each at most 16 times",
        ),
        (0, {"workers": 49}, r"^--workers 49 with 1 CPUs each: they ask for 49, this machine has 3 and shares each at"),
        (0, {"ray": "127.0.0.1:1"}, r"^--ray 127\.0\.0\.1:1: cannot connect: Connection refused; is a cluster running"),
        (0, {"ray": "nowhere"}, r"^--ray nowhere: expected local, auto, off or HOST:PORT, such as 10\.0\.0\.1:6379$"),
    ],
)
def test_what_is_not_there_is_refused_before_the_data_are_prepared(
    monkeypatch: pytest.MonkeyPatch, gpus: int, options: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr(setup, "gpus_here", lambda: gpus)
    monkeypatch.setattr("harness.evaluation.setup.os.cpu_count", lambda: 3)
    monkeypatch.setattr(setup, "prepare_cells", lambda *_: pytest.fail("the data were prepared"))
    with pytest.raises(SpecError, match=message):
        _session(**options)

"""The same bytes on Ray as in process, and every fault of a model a record or one clear message."""

import json
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from tests.support.tiny_vqa_rad import write_release

SAMPLES = 24
BAD = "vqa_rad/test/5"
pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_local")]

Command = Callable[..., Result]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with SAMPLES questions of VQA-RAD."""
    return write_release(tmp_path_factory.mktemp("release"), SAMPLES)


@pytest.fixture
def run(command: Command, release: Path, tmp_path: Path) -> Callable[..., Result]:
    """`harness run` into the folder `name`, on Ray unless told, in batches of 4."""

    def call(name: str, *more: object, model: str = "scripted", args: str = "text=yes") -> Result:
        words = ["run", "--tasks", "vqa_rad", "--data-root", release, "--model", model, "--out", tmp_path / name]
        words += ["--model-args", args] if args else []
        words += [] if "--ray" in more else ["--ray", "local"]
        return command(*words, "--batch-size", 4, "--json", *more)

    return call


def events(folder: Path, name: str) -> list[dict[str, Any]]:
    lines = (folder / "events.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == name]


def counts(result: Result) -> dict[str, int]:
    found: dict[str, int] = json.loads(result.stdout)["tasks"]["vqa_rad"]["counts"]
    return found


@pytest.mark.parametrize("args", ["text=yes", pytest.param("text=yes,fail_every=4", marks=pytest.mark.slow)])
def test_any_number_of_workers_gives_the_bytes_of_one_process(
    run: Callable[..., Result], tmp_path: Path, args: str
) -> None:
    runners = {"off": ("--ray", "off"), **{f"ray{n}": ("--workers", n) for n in (1, 2, 3)}}
    for name, words in runners.items():
        result = run(name, *words, "--max-failures", "100%", args=args)
        assert result.exit_code == 0, result.stderr
    expected = (tmp_path / "off" / "results.json").read_bytes()
    assert {name: (tmp_path / name / "results.json").read_bytes() == expected for name in runners} == dict.fromkeys(
        runners, True
    )


def test_masks_are_the_same_bytes_too(command: Command, tmp_path: Path) -> None:
    for runner in ("off", "local"):
        words = ["run", "--tasks", "samed2d_seg", "--model", "baseline:otsu", "--data-root", "phantom", "--limit", 12]
        result = command(*words, "--ray", runner, "--out", tmp_path / runner)
        assert result.exit_code == 0, result.stderr
    assert (tmp_path / "local" / "results.json").read_bytes() == (tmp_path / "off" / "results.json").read_bytes()


def test_a_sample_that_no_worker_survives_is_a_model_error_and_the_rest_stands(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("run", "--max-failures", "100%", "--workers", 2, args=f"text=yes,crash_on={BAD}")
    assert result.exit_code == 0, result.stderr
    assert counts(result) == {"ok": SAMPLES - 1, "model_error": 1}
    assert f"{BAD}: model_error: WorkerDied: {BAD}: the model's process ended 3 times" in result.stderr
    died = events(tmp_path / "run", "died")
    assert [len(event["keys"]) for event in died] == [4, 1, 1, 1]


def test_a_sample_on_which_the_model_hangs_is_a_timeout_and_the_rest_stands(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    result = run("run", "--max-failures", "100%", "--timeout", 0.5, args=f"text=yes,hang_on={BAD}")
    assert result.exit_code == 0, result.stderr
    assert counts(result) == {"ok": SAMPLES - 1, "timeout": 1}
    assert [(len(event["keys"]), event["seconds"]) for event in events(tmp_path / "run", "hung")] == [(4, 2), (1, 0.5)]


def adapter(folder: Path, body: str) -> str:
    path = folder / "mine.py"
    header = "import os\nfrom harness.records import Answer, Capabilities\n\n"
    path.write_text(header + textwrap.dedent(body))
    return f"{path}:Mine"


def test_a_bad_model_path_ends_with_2_and_one_message(run: Callable[..., Result], tmp_path: Path) -> None:
    model = adapter(
        tmp_path,
        """
        class Mine:
            def __init__(self, path):
                self.path = path
            def capabilities(self):
                return Capabilities(max_batch=8)
            def load(self, device):
                open(self.path)
            def predict(self, requests):
                return []
        """,
    )
    result = run("run", "--workers", 2, model=model, args="path=/no/such/weights")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "load() failed: FileNotFoundError: [Errno 2] No such file or directory: '/no/such/weights'" in result.stderr
    assert events(tmp_path / "run", "died") == []


@pytest.mark.parametrize(
    ("ends", "code", "message"),
    [
        ("load", 3, "the model's process ended while it loaded, 3 times"),
        pytest.param(
            "predict", 3, "the model's process ended 9 times and answered nothing between", marks=pytest.mark.slow
        ),
    ],
)
def test_a_model_that_always_ends_its_process_stops_the_run(
    run: Callable[..., Result], tmp_path: Path, ends: str, code: int, message: str
) -> None:
    model = adapter(
        tmp_path,
        f"""
        class Mine:
            def capabilities(self):
                return Capabilities(max_batch=8, batch_invariant=True)
            def load(self, device):
                {"os._exit(9)" if ends == "load" else "pass"}
            def predict(self, requests):
                os._exit(9)
        """,
    )
    result = run("run", "--max-failures", "100%", model=model, args="")
    assert result.exit_code == code
    assert result.stdout == ""
    assert result.stderr.count(message) == 1


def test_what_an_adapter_does_to_its_process_stays_there(run: Callable[..., Result], tmp_path: Path) -> None:
    model = adapter(
        tmp_path,
        """
        class Mine:
            def capabilities(self):
                return Capabilities(max_batch=8, batch_invariant=True)
            def load(self, device):
                print("loading ...")
            def predict(self, requests):
                os.write(1, b"native noise\\n")
                print("python noise")
                if any("finding 5 " in request.prompt for request in requests):
                    raise SystemExit(0)
                return (Answer(text="yes") for request in requests)
        """,
    )
    found = {}
    for runner in ("off", "local"):
        result = run(runner, "--ray", runner, "--max-failures", "100%", model=model, args="")
        assert result.exit_code == 0, result.stderr
        assert counts(result) == {"ok": SAMPLES - 1, "model_error": 1}
        found[runner] = (tmp_path / runner / "results.json").read_bytes()
    assert found["off"] == found["local"]


def test_gpus_that_the_cluster_lacks_are_refused(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("run", "--gpus-per-worker", 1, "--workers", 2)
    assert result.exit_code == 2
    assert "--gpus-per-worker 1: Ray sees 0 GPUs and 4 CPUs on 1 node; --gpus-per-worker 0 runs" in result.stderr
    assert events(tmp_path / "run", "started") == []


def test_a_run_begun_on_ray_is_finished_in_process(run: Callable[..., Result], tmp_path: Path) -> None:
    model = f"text=yes,crash_on={BAD}"
    broken = run("run", "--max-failures", "100%", args=model)
    assert broken.exit_code == 0
    predictions = tmp_path / "run" / "predictions" / "predictions.jsonl"
    lines = predictions.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if b"model_error" in line] + [line for line in lines if b'"ok"' in line][:9]
    predictions.write_bytes(b"".join(kept))
    resumed = run("run", "--ray", "off", "--max-failures", "100%", args=model)
    assert resumed.exit_code == 0, resumed.stderr
    assert resumed.stdout == broken.stdout

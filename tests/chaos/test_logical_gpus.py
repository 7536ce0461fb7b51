"""GPUs that exist for Ray only: which worker gets which, and what is said of it. No model here touches one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.tiny_vqa_rad import write_release

pytestmark = [pytest.mark.slow, pytest.mark.ray]

ADAPTER = """
import os
import time

from harness import Answer, Capabilities, Resources


class Device:
    version = "1"

    def capabilities(self):
        return Capabilities(max_batch=2, batch_invariant=True)

    def load(self, device):
        self.device = device

    def predict(self, requests):
        time.sleep(0.2)
        return [Answer(text=f"{self.device} {os.environ.get('CUDA_VISIBLE_DEVICES')}") for _ in requests]


class OnCpu(Device):
    def capabilities(self):
        return Capabilities(max_batch=2, resources=Resources(gpus=0))


class Large(Device):
    def capabilities(self):
        return Capabilities(max_batch=2, resources=Resources(gpus=2))
"""


def run(folder: Path, name: str, *more: str, gpus: str = "0,1") -> tuple[int, str, list[dict[str, Any]], set[str]]:
    """Run a class of the adapter; return exit code, stderr, the workers of the session, and what the model saw."""
    if not (folder / "data").exists():
        write_release(folder / "data", 24)
        (folder / "device.py").write_text(ADAPTER)
    command = [sys.executable, "-m", "harness.cli", "run", "--tasks", "vqa_rad", "--data-root", str(folder / "data")]
    command += ["--model", f"{folder}/device.py:{name}", "--batch-size", "2", "--out", str(folder / "run"), *more]
    done = subprocess.run(
        command,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    sessions, predictions = folder / "run" / "sessions.jsonl", folder / "run" / "predictions" / "predictions.jsonl"
    workers = json.loads(sessions.read_text().splitlines()[-1])["workers"] if sessions.exists() else []
    lines = predictions.read_text().splitlines() if predictions.exists() else []
    return done.returncode, done.stderr, workers, {json.loads(line)["text"] for line in lines}


def device(worker: str, *gpus: str) -> dict[str, Any]:
    return {"worker": worker, "device": "cuda:0" if gpus else "cpu", "gpus": list(gpus), "gpu": None}


@pytest.mark.parametrize("words", [(), ("--workers", "2"), ("--ray", "local")])
def test_each_gpu_gets_a_copy(tmp_path: Path, words: tuple[str, ...]) -> None:
    code, stderr, workers, seen = run(tmp_path, "Device", *words)
    assert code == 0, stderr
    assert sorted(worker["worker"] for worker in workers) == ["worker-1", "worker-2"]
    assert sorted((worker["device"], *worker["gpus"]) for worker in workers) == [("cuda:0", "0"), ("cuda:0", "1")]
    assert seen == {"cuda:0 0", "cuda:0 1"}


def test_a_part_of_a_gpu_is_shared(tmp_path: Path) -> None:
    code, stderr, workers, seen = run(tmp_path, "Device", "--workers", "4", "--gpus-per-worker", "0.5")
    assert code == 0, stderr
    assert sorted(gpu for worker in workers for gpu in worker["gpus"]) == ["0", "0", "1", "1"]
    assert seen == {"cuda:0 0", "cuda:0 1"}


def test_one_copy_runs_in_this_process_with_all_gpus_in_sight(tmp_path: Path) -> None:
    code, stderr, workers, seen = run(tmp_path, "Large")
    assert code == 0, stderr
    assert workers == [device("driver", "0", "1")]
    assert seen == {"cuda:0 0,1"}


@pytest.mark.parametrize(
    ("name", "words"), [("OnCpu", ("--workers", "2")), ("Device", ("--workers", "2", "--gpus-per-worker", "0"))]
)
def test_a_model_stays_on_the_cpu_where_it_says_so_or_is_told(
    tmp_path: Path, name: str, words: tuple[str, ...]
) -> None:
    code, stderr, workers, _ = run(tmp_path, name, *words)
    assert code == 0, stderr
    assert sorted(workers, key=str) == [device("worker-1"), device("worker-2")]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workers", "3"), "--workers 3 with 1 CPU and 1 GPU each: Ray sees 2 GPUs and "),
        (
            ("--gpus-per-worker", "3"),
            "--gpus-per-worker 3: this machine has 2 GPUs (CUDA_VISIBLE_DEVICES='0,1'); expec",
        ),
        (("--workers", "2", "--gpus-per-worker", "2"), "--workers 2 with 1 CPU and 2 GPUs each: Ray sees 2 GPUs and "),
        (("--gpus-per-worker", "1.5"), "--gpus-per-worker 1.5: expected a whole number, or a fraction of one GPU"),
    ],
)
def test_gpus_that_are_not_there_end_with_2(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    code, stderr, workers, _ = run(tmp_path, "Device", *words)
    assert code == 2
    assert message in stderr
    assert "Traceback" not in stderr
    assert workers == []

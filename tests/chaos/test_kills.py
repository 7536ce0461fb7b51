"""kill -9 of a worker, of the driver and of both: the same command ends with the same bytes, and wastes little."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.chaos.killable import BATCH, SAMPLES, Run, wait_until, workers_of

RunFactory = Callable[..., Run]
ON_RAY = ("--ray", "local", "--workers", "2")


def kill_worker(process: subprocess.Popen[str]) -> None:
    """Kill the oldest worker: a younger one may still load."""
    os.kill(workers_of(process)[0], signal.SIGKILL)


def assert_same_end(
    run: Run, expected: bytes, *, process: subprocess.Popen[str] | None = None, batches_lost: int
) -> None:
    run.hurry()
    code, stdout, stderr = run.finish(process)
    assert code == 0, stderr
    assert run.results == expected
    assert json.loads(stdout) == json.loads(expected)
    run.check_books(batches_lost=batches_lost)


def test_a_killed_driver_goes_on_where_it_was(run: RunFactory, expected: bytes) -> None:
    killed = run("killed", "--ray", "off")
    for batches in (2, 6):
        process = killed.start()
        killed.wait_for("finished", batches)
        killed.kill(process)
    assert_same_end(killed, expected, batches_lost=2)


@pytest.mark.ray
def test_killed_workers_are_replaced_while_the_run_goes_on(run: RunFactory, expected: bytes) -> None:
    killed = run("killed", *ON_RAY, model_args="sleep=0.1")
    process = killed.start()
    for deaths, batches in enumerate((2, 6)):
        killed.wait_for("finished", batches)
        kill_worker(process)
        killed.wait_for("died", deaths + 1)
    assert_same_end(killed, expected, process=process, batches_lost=2)


PHASES = {
    "load": lambda run: run.count("session"),
    "first batch": lambda run: run.count("started"),
    "between batches": lambda run: run.count("finished") >= 3,
    "last batch": lambda run: run.count("started") >= SAMPLES // BATCH,
    "scoring": lambda run: run.count("stopped"),
    "writing": lambda run: (run.out / "results.json").exists(),
}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(600)
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("victim", ["driver", "worker", "driver in process"])
def test_a_kill_in_any_phase_changes_nothing(run: RunFactory, expected: bytes, victim: str, phase: str) -> None:
    if victim == "worker" and phase in ("scoring", "writing"):
        pytest.skip("no worker is left in this phase")
    runner = ("--ray", "off") if victim == "driver in process" else ON_RAY
    killed = run("killed", *runner, model_args="sleep=0.05")
    process = killed.start()
    wait_until(lambda: PHASES[phase](killed))
    if victim == "worker":
        wait_until(lambda: workers_of(process))
        kill_worker(process)
        assert_same_end(killed, expected, process=process, batches_lost=1)
        return
    killed.kill(process)
    assert_same_end(killed, expected, batches_lost=2)


@pytest.mark.slow
@pytest.mark.ray
def test_a_driver_on_ray_and_then_both_are_killed(run: RunFactory, expected: bytes) -> None:
    killed = run("killed", *ON_RAY, model_args="sleep=0.1")
    process = killed.start()
    killed.wait_for("finished", 2)
    killed.kill(process)
    process = killed.start()  # at once, while workers of the first may still live
    killed.wait_for("finished", killed.count("finished") + 1)
    kill_worker(process)
    killed.kill(process)
    assert_same_end(killed, expected, batches_lost=4)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("moment", range(10))
@pytest.mark.parametrize("victim", ["driver in process", "driver", "worker", "both"])
def test_a_kill_at_any_moment_changes_nothing(run: RunFactory, expected: bytes, victim: str, moment: int) -> None:
    chance = random.Random(f"{victim} {moment}")
    ray = () if victim == "driver in process" else ON_RAY
    killed = run("killed", *(ray or ("--ray", "off")), model_args="sleep=0.05")
    process = killed.start()
    if victim == "worker":
        wait_until(lambda: killed.count("session"))
        wait_until(lambda: workers_of(process))
        time.sleep(chance.uniform(0, 2))
        for pid in workers_of(process)[:1]:
            os.kill(pid, signal.SIGKILL)
        assert_same_end(killed, expected, process=process, batches_lost=1)
        return
    time.sleep(chance.uniform(0.1, 3.0 if victim == "driver in process" else 11.0))
    if victim == "both":
        for pid in workers_of(process)[:1]:
            os.kill(pid, signal.SIGKILL)
    if process.poll() is None:
        killed.kill(process)
    assert_same_end(killed, expected, batches_lost=1 if victim == "driver in process" else 2)

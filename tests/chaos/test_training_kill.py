"""kill -9 of a training, between its states and while one is written: the same command ends with the same numbers."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from harness.data.phantoms.families import write_phantoms
from tests.chaos.killable import LONGEST_SECONDS, wait_until

STEPS = 8
STAGES = {
    "0.yaml": """
stage: 0
title: Parents
objective: parents
start: {}
trains: [mask_decoder, language.lm_head]
data: [{task: mecovqa_g}, {task: mecovqa_c}]
questions: 9
losses: {language: 1.0, bce: 1.0, dice: 1.0}
""",
    "1.yaml": """
stage: 1
title: Words
start: {from: 0}
trains: [connector, language.lm_head]
lora: {rank: 2, alpha: 4, dropout: 0.5, targets: [q_proj]}
data: [{task: mecovqa_c}, {task: vqa_rad}]
losses: {language: 1.0}
questions: 2
""",
}
NUMBERS = f"learning_rate: 0.01\nschedule: cosine\nwarm_up: 0.1\nsteps: {STEPS}\nbatch: 2\n"


@dataclass
class Training:
    """The command that trains both stages, and what it has written."""

    command: list[str]
    out: Path
    cache: Path
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[str]:
        """Start the command; it writes a state after every step."""
        # One thread: how sums are cut into threads is part of what they round to.
        environment = os.environ | {"MEDGROUND_CACHE": str(self.cache), "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            self.command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        self.started.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> None:
        """Wait for the command, which has to end well."""
        _, stderr = process.communicate(timeout=LONGEST_SECONDS)
        assert process.returncode == 0, stderr

    def kill(self, process: subprocess.Popen[str]) -> None:
        """End the command at once; it has not come to its end before."""
        process.kill()
        process.communicate(timeout=LONGEST_SECONDS)
        assert process.returncode == -signal.SIGKILL

    @property
    def steps(self) -> int:
        """Lines in the logs."""
        return sum(log.read_bytes().count(b"\n") for log in self.out.glob("stage-*/log.jsonl"))

    @property
    def half_written(self) -> list[Path]:
        """States that are being written."""
        return list(self.out.glob("stage-*/.step-*.partial"))

    def numbers(self) -> list[dict[str, Any]]:
        """Return the lines of both logs, without the seconds that the steps took."""
        lines = [
            line for number in (0, 1) for line in (self.out / f"stage-{number}/log.jsonl").read_text().splitlines()
        ]
        return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]

    def weights(self) -> bytes:
        """Return the bytes of the last model."""
        return (self.out / "stage-1/model/model.safetensors").read_bytes()


@pytest.fixture
def training(tmp_path: Path) -> Iterator[Callable[[str], Training]]:
    """A factory of trainings of two short stages on drawn patients; what they started is ended with the test."""
    write_phantoms(tmp_path / "data", seed=3, patients=6, slices=1)
    for name, stage in STAGES.items():
        (tmp_path / name).write_text(stage + NUMBERS)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("recipe: two-stages\npreset: medplib-tiny\nstages: [0.yaml, 1.yaml]\n")
    made: list[Training] = []

    def make(name: str) -> Training:
        command = [sys.executable, "-m", "reference_model.cli", "train", "--recipe", str(recipe), "--stage", "all"]
        command += ["--data-root", str(tmp_path / "data"), "--out", str(tmp_path / name), "--save-seconds", "0"]
        made.append(Training(command=command, out=tmp_path / name, cache=tmp_path / "cache"))
        return made[-1]

    yield make
    for process in (process for one in made for process in one.started):
        if process.poll() is None:
            process.kill()
        process.communicate()


def kill_while_writing(training: Training, process: subprocess.Popen[str]) -> list[Path]:
    """Kill a training in the middle of writing a state; return what is left of that."""
    end = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < end and process.poll() is None:
        if training.half_written:
            process.send_signal(signal.SIGSTOP)  # holds it there, if it has not finished the state meanwhile
            if training.half_written:
                training.kill(process)
                return training.half_written
            process.send_signal(signal.SIGCONT)
        time.sleep(0.001)
    raise AssertionError("no state was seen while it was written")


@pytest.mark.slow
def test_a_training_that_is_killed_twice_ends_with_the_numbers_of_one_that_is_not(
    training: Callable[[str], Training],
) -> None:
    chance = random.Random(6)
    whole, killed = training("whole"), training("killed")
    undisturbed = whole.start()
    process, step = killed.start(), chance.randint(2, STEPS + 2)
    wait_until(lambda: killed.steps >= step)
    time.sleep(chance.uniform(0, 0.1))
    killed.kill(process)
    assert kill_while_writing(killed, killed.start())
    assert 0 < killed.steps < 2 * STEPS
    killed.finish(killed.start())
    whole.finish(undisturbed)
    assert len(whole.numbers()) == 2 * STEPS
    assert killed.numbers() == whole.numbers()
    assert killed.weights() == whole.weights()
    assert not killed.half_written

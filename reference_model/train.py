"""The training loop: one for all stages.

Everything a step draws is drawn from the seed, the stage and the step, so that a stage that is killed and begun again
goes on with the losses it would have had.
"""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from math import cos, isfinite, pi
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import nn

from harness.errors import ModelError
from harness.records import Json
from reference_model.checkpoint import Progress, last_step, load_step, save_step
from reference_model.mixing import Mix, Row
from reference_model.objectives import Measured, Objective
from reference_model.recipe import Precision, Stage

BETAS = (0.9, 0.95)
LARGEST_GRADIENT = 1.0
SAVE_SECONDS = 60.0
"""Time after which a state is written: what a kill can cost."""
LOG = "log.jsonl"


class Watcher(Protocol):
    """Is told how a stage goes."""

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Show the losses of a step; `step` of `steps` are done."""


class Silent:
    """Shows nothing."""

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """How a stage runs.

    Attributes:
        stage: Its numbers.
        steps: Of it.
        warm_up: Of these, in how many the learning rate rises.
        seed: Of all that is drawn.
        precision: Of the passes.
        save_seconds: Time between states on disk; 0 writes one after every step.
    """

    stage: Stage
    steps: int
    warm_up: int
    seed: int
    precision: Precision = "fp32"
    save_seconds: float = SAVE_SECONDS

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        highest = self.stage.learning_rate
        if step < self.warm_up:
            return highest * step / self.warm_up
        left = (self.steps - step) / max(1, self.steps - self.warm_up)
        return highest * (left if self.stage.schedule == "linear" else (1 + cos(pi * (1 - left))) / 2)

    def seed_of(self, step: int) -> int:
        """Return what a step's drop-outs, drops and region parts are drawn from."""
        drawn = np.random.default_rng([self.seed, self.stage.number, step]).integers(2**62)
        return int(drawn)


def train(
    objective: Objective,
    mix: Mix,
    trained: Mapping[str, nn.Parameter],
    course: Course,
    *,
    folder: Path,
    settings: Mapping[str, Json],
    watcher: Watcher,
) -> None:
    """Run a stage to its end, from where it was left.

    Args:
        objective: What is minimised.
        mix: The rows of every step.
        trained: All that moves, by name.
        course: How it runs.
        folder: Takes states and the log.
        settings: See `checkpoint.Progress`.
        watcher: Told of every step.
    Raises:
        ModelError: A loss is not a number any more.
        SpecError: The folder holds a state of other settings.
    """
    optimizer = torch.optim.AdamW(trained.values(), lr=0.0, betas=BETAS, weight_decay=0.0)
    state = last_step(folder)
    begun = 0 if state is None else load_step(state, settings, trained, optimizer)
    folder.mkdir(parents=True, exist_ok=True)
    log = _kept_log(folder / LOG, begun)
    saved = time.monotonic()
    with log.open("a", encoding="utf-8") as file:
        for step in range(begun, course.steps):
            began = time.monotonic()
            parts = _step(objective, mix.step(step), trained, optimizer, course, step)
            line = _line(parts, step, course) | {"seconds": round(time.monotonic() - began, 4)}
            file.write(json.dumps(line) + "\n")
            file.flush()
            watcher.show(course.stage, step + 1, course.steps, line["losses"])
            if step + 1 == course.steps or time.monotonic() - saved >= course.save_seconds:
                save_step(folder, Progress(step=step + 1, settings=settings), trained, optimizer)
                saved = time.monotonic()


def _step(
    objective: Objective,
    rows: Sequence[Row],
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    course: Course,
    step: int,
) -> list[Measured]:
    """Take one step; return what each part of the rows gave."""
    seed = course.seed_of(step)
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    size = course.stage.rows
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    found: list[Measured] = []
    objective.model.train()
    optimizer.zero_grad()
    for number, part in enumerate(parts):
        with _passes(course.precision):
            measured = objective.measure(part, random, drop_seed=seed + number)
        _check(measured, course, step)
        torch.autograd.backward(measured.total / len(parts))
        found.append(measured)
    nn.utils.clip_grad_norm_(trained.values(), LARGEST_GRADIENT)
    for group in optimizer.param_groups:
        group["lr"] = course.learning_rate(step)
    optimizer.step()
    return found


def _passes(precision: Precision) -> AbstractContextManager[object]:
    return torch.autocast("cpu", dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def _check(measured: Measured, course: Course, step: int) -> None:
    if not isfinite(float(measured.total.detach())):
        told = ", ".join(f"{name} {value:g}" for name, value in measured.losses.items())
        raise ModelError(
            f"stage {course.stage.number}, step {step}: expected finite losses, got {told}; lower the learning rate"
        )


def _line(parts: Sequence[Measured], step: int, course: Course) -> dict[str, Json]:
    """Return the log's line of a step: the losses, and of every layer with experts the tokens of each."""
    names = parts[0].losses
    line: dict[str, Json] = {
        "step": step,
        "learning_rate": course.learning_rate(step),
        "losses": {name: sum(part.losses[name] for part in parts) / len(parts) for name in names},
    }
    if parts[0].routing:
        layers = range(len(parts[0].routing))
        line["tokens"] = [
            torch.stack([part.routing[layer].tokens_E for part in parts]).sum(dim=0).tolist() for layer in layers
        ]
        line["dropped"] = [sum(int(part.routing[layer].dropped) for part in parts) for layer in layers]
    return line


def _kept_log(log: Path, begun: int) -> Path:
    """Take out of the log what comes after the state that is gone on from, a torn line included."""
    if log.exists():
        lines = log.read_text(encoding="utf-8").splitlines(keepends=True)[:begun]
        log.write_text("".join(lines), encoding="utf-8")
    return log

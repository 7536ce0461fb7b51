"""The training loop: one for all stages.

Everything a step draws is drawn from the seed, the stage and the step, so that a stage that is killed and begun again
goes on with the losses it would have had. A step's rows are cut into parts. What a part gives does not depend on who
measures it: as many parts, in one process or in several, are the same training up to the rounding of sums.
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, cos, isfinite, pi
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from harness.errors import ModelError, SpecError
from harness.records import Json
from reference_model.checkpoints.training_state import Progress, last_step
from reference_model.distributed.fsdp import clip_gradients, is_sharded, load_whole, save_whole
from reference_model.distributed.processes import Processes
from reference_model.modeling.moe import Routing
from reference_model.training.log import LoggedStep, StepLog
from reference_model.training.mixing import Mix, Row
from reference_model.training.objectives import Measured, Objective
from reference_model.training.optimizers import build_optimizer
from reference_model.training.recipe import Precision, Stage

LARGEST_GRADIENT = 1.0
# Time after which a state is written: what a kill can cost.
SAVE_SECONDS = 60.0
ALONE = Processes()


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
    processes: Processes = ALONE,
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
        processes: That share the rows; the first of them writes.
    Raises:
        ModelError: A loss is not a number any more.
        SpecError: The folder holds a state of other settings, or a step has fewer rows than there are processes.
    """
    optimizer = build_optimizer(trained, course.stage.muon)
    state = last_step(folder)
    begun = 0 if state is None else load_whole(state, settings, trained, optimizer)
    saved = time.monotonic()
    with StepLog(folder, begun, written=processes.first) as log:
        for step in range(begun, course.steps):
            began = time.monotonic()
            logged = _step(objective, mix.step(step), trained, optimizer, course, step, processes)
            log.write(replace(logged, seconds=time.monotonic() - began))
            watcher.show(course.stage, step + 1, course.steps, logged.losses)
            due = step + 1 == course.steps or time.monotonic() - saved >= course.save_seconds
            if processes.as_first_says(due):
                log.sync()
                save_whole(folder, Progress(step=step + 1, settings=settings), trained, optimizer, processes)
                saved = time.monotonic()


def parts_of_step(stage: Stage, processes: int) -> int:
    """Return into how many parts the rows of a step are cut: as many for each process, none above `stage.rows`."""
    return processes * ceil(ceil(stage.batch / processes) / stage.rows)


def cut(rows: Sequence[Row], parts: int) -> list[Sequence[Row]]:
    """Return consecutive parts whose sizes differ by at most one.

    Raises:
        SpecError: There are fewer rows than parts.
    """
    if len(rows) < parts:
        raise SpecError(
            f"--processes: expected at most as many parts as a step has rows, {len(rows)}, got {parts}; start fewer"
        )
    ends = [len(rows) * number // parts for number in range(parts + 1)]
    return [rows[begin:end] for begin, end in pairwise(ends)]


@dataclass(frozen=True, slots=True)
class _BatchShare:
    """What a part of the rows gave, and its share of them."""

    share: float
    measured: Measured


def _step(
    objective: Objective,
    rows: Sequence[Row],
    trained: Mapping[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
    course: Course,
    step: int,
    processes: Processes,
) -> LoggedStep:
    """Take one step; return what all parts of the rows gave."""
    sharded = any(is_sharded(parameter) for parameter in trained.values())
    optimizer.zero_grad()
    found = _measured(objective, rows, course, step, processes, keep_casts=not sharded)
    logged = _together(found, course, step, processes)
    processes.average_gradients([parameter for parameter in trained.values() if not is_sharded(parameter)])
    clip_gradients(list(trained.values()), LARGEST_GRADIENT)
    for group in optimizer.param_groups:
        group["lr"] = logged.learning_rate
    optimizer.step()
    return logged


def _measured(
    objective: Objective, rows: Sequence[Row], course: Course, step: int, processes: Processes, *, keep_casts: bool
) -> list[_BatchShare]:
    """Measure this process's parts of the rows, and add up their gradients.

    The loss of a step is the mean over its parts, each with the weight of its rows; a part's losses are means over its
    own tokens and masks. The factor is there because gradients are averaged over the processes.
    """
    parts = cut(rows, parts_of_step(course.stage, processes.count))
    found: list[_BatchShare] = []
    objective.model.train()
    for number in processes.own(len(parts)):
        share = len(parts[number]) / len(rows)
        seed = course.seed_of(step) + number
        torch.manual_seed(seed)
        with _passes(course.precision, processes.device, keep_casts=keep_casts):
            random, progress = np.random.default_rng(seed), step / course.steps
            measured = objective.measure(parts[number], random, drop_seed=seed, progress=progress)
        if measured.total.requires_grad:  # rows may hold nothing of what this stage trains
            torch.autograd.backward(measured.total * (share * processes.count))
        found.append(_BatchShare(share, measured))
    return found


def _passes(precision: Precision, device: torch.device, *, keep_casts: bool) -> AbstractContextManager[object]:
    """Return in what the passes are computed; a layer that is forgotten after its pass must not be kept as a cast."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=keep_casts)


def _together(found: Sequence[_BatchShare], course: Course, step: int, processes: Processes) -> LoggedStep:
    """Return what the parts of all processes gave.

    Raises:
        ModelError: A loss is not a number any more.
    """
    names = list(found[0].measured.losses)
    losses = [sum(part.share * part.measured.losses[name] for part in found) for name in names]
    total = sum(part.share * float(part.measured.total.detach()) for part in found)
    counts_LE = torch.stack([_counts(part.measured.routing) for part in found]).sum(dim=0)
    total, *values = processes.total([total, *losses, *counts_LE.flatten().tolist()])
    mean = dict(zip(names, values, strict=False))
    if not isfinite(total):
        told = ", ".join(f"{name} {value:g}" for name, value in mean.items())
        raise ModelError(
            f"stage {course.stage.number}, step {step}: expected finite losses, got {told}; lower the learning rate"
        )
    layers = torch.tensor(values[len(names) :], dtype=torch.float64).view(counts_LE.shape).long().tolist()
    return LoggedStep(
        step=step,
        learning_rate=course.learning_rate(step),
        losses=mean,
        tokens=tuple(tuple(layer[:-1]) for layer in layers),
        dropped=tuple(layer[-1] for layer in layers),
    )


def _counts(routing: Sequence[Routing]) -> Tensor:
    """Return of every layer with experts the tokens of each expert and, last, the dropped choices (L, E + 1)."""
    if not routing:
        return torch.zeros((0, 1))
    return torch.stack([torch.cat((layer.tokens_E, layer.dropped[None])) for layer in routing]).cpu()

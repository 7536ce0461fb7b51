"""The training loop: one for all stages.

The random numbers of a step depend only on the seed, the stage and the step, so that a stage that is killed and resumed
has the same losses as one that runs through. The rows of a step are cut into parts. The losses of a part do not depend
on the process that computes them: the same parts give the same training in one process or in several, up to rounding.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil, cos, isfinite, pi
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

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

# The norm at which MedPLIB clips gradients.
LARGEST_GRADIENT = 1.0
# Seconds between states on disk, the most work that a kill can cost.
SAVE_SECONDS = 60.0
ALONE = Processes()


class Watcher(Protocol):
    """Follows the progress of a stage."""

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Show the losses of the latest step; `step` of `steps` are done."""


class Silent:
    """Shows nothing."""

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The schedule of a stage.

    Attributes:
        stage: The configuration of the stage.
        steps: The number of steps.
        warm_up: The number of steps in which the learning rate rises.
        seed: The seed of all random numbers.
        precision: The precision of forward passes.
        save_seconds: Seconds between states on disk; with 0, every step writes a state.
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
        # Falls to 0, as in MedPLIB (linear) and in LLaVA's script for stage I (cosine).
        left = (self.steps - step) / max(1, self.steps - self.warm_up)
        return highest * (left if self.stage.schedule == "linear" else (1 + cos(pi * (1 - left))) / 2)

    def seed_of(self, step: int) -> int:
        """Return the seed of a step, from which dropout, dropped tokens and region parts are drawn."""
        # Below 2**63, which torch's generators take, with room for the number of a part to be added.
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
    """Run a stage to its end, from its last state on disk.

    Args:
        objective: Measures the losses.
        mix: The rows of every step.
        trained: The parameters that are trained, of any shape, by name; they are changed in place.
        course: The schedule of the stage.
        folder: The folder for states and the log.
        settings: See `training_state.Progress`.
        watcher: Called after every step.
        processes: The processes that share the rows; only the first writes files.

    Raises:
        ModelError: A loss is no longer finite.
        SpecError: The folder holds a state with other settings, or a step has fewer rows than parts.
    """
    optimizer = build_optimizer(trained, course.stage.muon, weight_decay=course.stage.weight_decay)
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
                # Before the state: resuming cuts a log that is ahead of the state, but cannot fill one behind it.
                log.sync()
                save_whole(folder, Progress(step=step + 1, settings=settings), trained, optimizer, processes)
                saved = time.monotonic()


def parts_of_step(stage: Stage, processes: int) -> int:
    """Return the number of parts of a step: equally many per process, each of at most `stage.rows` rows."""
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
    """The losses of one part of a step, and its share of the rows of the step."""

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
    """Take one step; return the losses and the routing over all parts of the rows."""
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
    """Measure the parts of this process and accumulate their gradients.

    The loss of a step is the mean over its parts, weighted by their rows; the losses of a part are means over its
    tokens and masks.
    """
    parts = cut(rows, parts_of_step(course.stage, processes.count))
    found: list[_BatchShare] = []
    objective.model.train()
    for number in processes.own(len(parts)):
        share = len(parts[number]) / len(rows)
        seed = course.seed_of(step) + number
        torch.manual_seed(seed)
        passes: AbstractContextManager[object] = nullcontext()
        if course.precision == "bf16":
            # Cached casts would keep alive the layers that FSDP frees after their pass.
            passes = torch.autocast(processes.device.type, dtype=torch.bfloat16, cache_enabled=keep_casts)
        with passes, _attention(course.precision, processes.device.type):
            random, progress = np.random.default_rng(seed), step / course.steps
            measured = objective.measure(parts[number], random, drop_seed=seed, progress=progress)
        if measured.total.requires_grad:  # False if the rows use none of the trained parameters
            # Multiplied by the number of processes, as gradients are averaged over them later.
            torch.autograd.backward(measured.total * (share * processes.count))
        found.append(_BatchShare(share, measured))
    return found


@contextmanager
def _attention(precision: Precision, device: str) -> Iterator[None]:
    """Choose torch's kernels of attention for the passes inside."""
    if precision != "bf16" or device != "cpu":
        yield
        return
    # On a CPU the fused kernels are slower in the backward pass than plain products in bf16, and they take no mask that
    # needs a gradient, as SAM's learned positions do; torch then falls back to products in fp32. With plain products in
    # bf16 a step of the stage 0 of `mimo-tiny` takes 0.74 of the time. The switch is of the whole process.
    before: bool = torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()  # type: ignore[no-untyped-call]
    torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.cuda.allow_fp16_bf16_reduction_math_sdp(before)


def _together(found: Sequence[_BatchShare], course: Course, step: int, processes: Processes) -> LoggedStep:
    """Return the losses and the routing of a step over the parts of all processes.

    Raises:
        ModelError: A loss is no longer finite.
    """
    names = list(found[0].measured.losses)
    losses = [sum(part.share * part.measured.losses[name] for part in found) for name in names]
    total = sum(part.share * float(part.measured.total.detach()) for part in found)
    counts_LE = torch.stack([_counts(part.measured.routing) for part in found]).sum(dim=0)
    # All numbers of a step are summed in one all-reduce.
    total, *values = processes.total([total, *losses, *counts_LE.flatten().tolist()])
    mean = dict(zip(names, values, strict=False))
    if not isfinite(total):
        shown = ", ".join(f"{name} {value:g}" for name, value in mean.items())
        raise ModelError(
            f"stage {course.stage.number}, step {step}: expected finite losses, got {shown}; lower the learning rate"
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
    """Return int64 (L, E + 1): tokens per expert and, last, dropped choices, of L layers; float32 (0, 1) if L is 0."""
    if not routing:
        return torch.zeros((0, 1))
    return torch.stack([torch.cat((layer.tokens_E, layer.dropped[None])) for layer in routing]).cpu()

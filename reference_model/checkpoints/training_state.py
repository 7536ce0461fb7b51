"""The state of an unfinished training: step, optimizer and progress."""

import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from harness.errors import SpecError
from harness.records import Json
from reference_model.checkpoints.atomic_folders import SCHEMA, atomic_folder, read_json, write_json
from reference_model.checkpoints.checkpoint import check_names, read_tensors

STATE, TRAINED, OPTIMIZER = "state.json", "trained.safetensors", "optimizer.safetensors"

_STEP = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The progress of a stage.

    Attributes:
        step: How many steps are done.
        settings: All settings on which the next step depends; a stage with other settings cannot resume.
    """

    step: int
    settings: Mapping[str, Json]


def save_step(
    folder: Path, progress: Progress, trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    """Write the state of a stage below `folder`, then remove older states.

    Args:
        folder: The folder of the stage.
        progress: The progress of the stage.
        trained: The parameters that the stage trains, of any shape and dtype, by name.
        optimizer: The optimizer of these parameters.
    """
    with atomic_folder(folder / f"step-{progress.step:06}") as partial:
        save_file({name: parameter.detach().contiguous() for name, parameter in trained.items()}, partial / TRAINED)
        state = {
            f"{name}|{quantity}": value.detach().contiguous()
            for name, parameter in trained.items()
            for quantity, value in optimizer.state.get(parameter, {}).items()
        }
        save_file(state, partial / OPTIMIZER)
        write_json(partial / STATE, {"schema": SCHEMA, "step": progress.step, "settings": dict(progress.settings)})
    remove_steps(folder, before=progress.step)  # last: if killed before this, the older state is still complete


def remove_steps(folder: Path, *, before: float = inf) -> None:
    """Remove the states in a stage's folder that have fewer steps than `before`; by default, all."""
    for number, state in list(_steps(folder)):
        if number < before:
            shutil.rmtree(state)


def last_step(folder: Path) -> Path | None:
    """Return the latest state in a stage's folder; None if there is no state."""
    return max(_steps(folder), default=(0, None))[1]


def load_step(
    state: Path, settings: Mapping[str, Json], trained: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> int:
    """Load a state into parameters and optimizer; return the number of steps done.

    Args:
        state: The folder of the state, as `last_step` returns it.
        settings: The settings of the stage that resumes.
        trained: The parameters that the stage trains, of any shape and dtype, by name; they are changed in place.
        optimizer: A fresh optimizer of the same parameters.
    Raises:
        SpecError: The state was written by a stage with other settings.
        DataError: A file is missing or torn, or holds other parameters.
    """
    found = read_json(state / STATE)
    _check_settings(state, found.get("settings", {}), settings)
    weights = read_tensors(state / TRAINED)
    check_names(weights, trained, state / TRAINED)
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(weights[name])
    for key, value in read_tensors(state / OPTIMIZER).items():
        name, _, quantity = key.rpartition("|")
        # torch's optimizers keep their step count on the CPU.
        optimizer.state[trained[name]][quantity] = value if quantity == "step" else value.to(trained[name].device)
    return int(found["step"])


def _check_settings(state: Path, found: Mapping[str, Json], wanted: Mapping[str, Json]) -> None:
    changed = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if changed:
        raise SpecError(
            f"{state}: was left by a training with another {' and '.join(changed)}; "
            "go on with the same, or choose another --out"
        )


def _steps(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("step-*"):
        if match := _STEP.fullmatch(path.name):
            yield int(match[1]), path

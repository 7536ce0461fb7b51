"""The cells of a run, one per task, in memory and as `plan/cells.json`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from harness.data.manifest import Prepared
from harness.records import Capabilities, Json
from harness.records.atomic_files import make_folder, write_atomically
from harness.runs.directory import RunDirectory
from harness.runs.plan_digests import read_intact, with_digests
from harness.tasks.spec import TaskSpec
from harness.tasks.volume_recipes import RECIPES


@dataclass(slots=True, kw_only=True)
class Cell:
    """One task of a run with one model.

    Attributes:
        task: The task.
        prepared: Its prepared release.
        samples: Number of samples that take part, after `--limit`.
        fallbacks: The task's fallbacks that the model needs, as `name: value`.
        unsupported: Why the model cannot be asked; None if it can.
    """

    task: TaskSpec
    prepared: Prepared
    samples: int = 0
    fallbacks: tuple[str, ...] = ()
    unsupported: str | None = None

    @property
    def wanted(self) -> int:
        """Number of scores that the cell should have: samples times repetitions."""
        return self.samples * self.task.repeats


@dataclass(slots=True)
class Plan:
    """Everything a run will do.

    Attributes:
        directory: The run directory, or a temporary folder for a dry run.
        cells: In the order of the tasks.
        unavailable: `{task, metric, reason, remedy}` of everything that cannot be run or scored here.
        capabilities: Of the model, on which its requests depend; None if the plan was only read.
    """

    directory: RunDirectory
    cells: list[Cell] = field(default_factory=list)
    unavailable: list[dict[str, Json]] = field(default_factory=list)
    capabilities: Capabilities | None = None

    @property
    def supported(self) -> list[Cell]:
        """Cells that the model supports."""
        return [cell for cell in self.cells if cell.unsupported is None]

    def file(self, task: str) -> Path:
        """Return the path of one task's plan."""
        return self.directory.plan_path(task)

    @property
    def files(self) -> list[Path]:
        """Paths of the plans of the supported cells, in the order of the tasks."""
        return [self.file(cell.task.task) for cell in self.supported]


def write_cells(result: Plan) -> None:
    """Write `plan/cells.json`, whose presence marks the plan as complete."""
    cells = {
        cell.task.task: {
            "samples": cell.samples,
            "of": cell.prepared.samples,
            "fallbacks": list(cell.fallbacks),
            "unsupported": cell.unsupported,
            "data_digest": cell.prepared.digest,
        }
        for cell in result.cells
    }
    # Whoever has the same data can plan the same requests again, without the model.
    asked = {} if result.capabilities is None else {"capabilities": capabilities_to_json(result.capabilities)}
    path = result.directory.cells_path
    make_folder(path.parent)
    # Without digests of the tasks: run.json holds them, and a run whose task changed is refused when it is resumed.
    files = {cell.task.task: result.file(cell.task.task) for cell in result.supported}
    content = with_digests(
        {"cells": cells, "unavailable": result.unavailable, **asked},
        {task: file for task, file in files.items() if file.exists()},
    )
    write_atomically(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def capabilities_to_json(capabilities: Capabilities) -> dict[str, Json]:
    """Return the capabilities on which a model's requests and their keys depend."""
    return {
        "takes": sorted(capabilities.takes),
        "gives": sorted(capabilities.gives),
        "max_images": capabilities.max_images,
        "per_sample": capabilities.per_sample,
        "volume": capabilities.volume,
    }


def capabilities_from_json(value: Mapping[str, Json]) -> Capabilities:
    """Return the capabilities that `capabilities_to_json` wrote; those on which no request depends have defaults.

    Raises:
        ValueError: The value has other keys or types.
    """
    names = ("takes", "gives", "max_images", "per_sample", "volume")
    takes, gives, most, per_sample, volume = (cast(Any, value.get(name)) for name in names)
    lists = all(isinstance(one, list) and all(isinstance(word, str) for word in one) for one in (takes, gives))
    # To Python, true is the number 1.
    whole = isinstance(most, int) and not isinstance(most, bool) and most >= 0
    known = volume is None or (isinstance(volume, str) and volume in RECIPES)
    if value.keys() != {*names} or not (lists and whole and isinstance(per_sample, bool) and known):
        raise ValueError(f"expected {', '.join(names)} of a model's capabilities, with a volume recipe of this version")
    return Capabilities(
        takes=frozenset(takes), gives=frozenset(gives), max_images=most, per_sample=per_sample, volume=volume
    )


def stored_capabilities(directory: RunDirectory) -> Capabilities | None:
    """Return the capabilities by which a run was planned; None for the plan of an older version, which has none.

    Raises:
        DamagedPlanError: The plan is missing or damaged.
    """
    found = read_intact(directory.cells_path).get("capabilities")
    return None if found is None else capabilities_from_json(found)

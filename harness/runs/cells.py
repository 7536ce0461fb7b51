"""The cells of a run, one per task, in memory and as `plan/cells.json`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.manifest import Prepared
from harness.records import Json
from harness.records.atomic_files import write_atomically
from harness.runs.directory import RunDirectory
from harness.runs.plan_digests import with_digests
from harness.tasks.spec import TaskSpec


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
    """

    directory: RunDirectory
    cells: list[Cell] = field(default_factory=list)
    unavailable: list[dict[str, Json]] = field(default_factory=list)

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
    path = result.directory.cells_path
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without digests of the tasks: run.json holds them, and a run whose task changed is refused when it is resumed.
    files = {cell.task.task: result.file(cell.task.task) for cell in result.supported}
    content = with_digests(
        {"cells": cells, "unavailable": result.unavailable},
        {task: file for task, file in files.items() if file.exists()},
    )
    write_atomically(path, json.dumps(content, indent=2, sort_keys=True) + "\n")

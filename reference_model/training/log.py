"""The files that a stage writes while it runs: `stage.json` describes it, `log.jsonl` has one line per step."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import TextIO

from harness.errors import DataError
from harness.records import Json
from harness.records.atomic_files import write_atomically

SCHEMA = 1
STAGE, LOG = "stage.json", "log.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageNote:
    """The description of a stage.

    Attributes:
        recipe: The name of the recipe.
        stage: The number of the stage.
        title: A short description of the stage.
        seed: The seed of all random numbers.
        steps: How many steps the whole stage takes.
        losses: The weight of each loss.
        experts: Numbers of the stages that its experts come from; empty if its base already has them, or it has none.
    """

    recipe: str
    stage: int
    title: str
    seed: int
    steps: int
    losses: Mapping[str, float]
    experts: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedStep:
    """One training step.

    Attributes:
        step: The number of the step, from 0.
        learning_rate: The learning rate of the step.
        losses: The losses before weighting, by name.
        tokens: For every layer with experts, the number of tokens whose first choice each expert was.
        dropped: For every layer with experts, the number of choices of a full expert.
        seconds: The duration of the step, in seconds.
    """

    step: int
    learning_rate: float
    losses: Mapping[str, float]
    tokens: tuple[tuple[int, ...], ...] = ()
    dropped: tuple[int, ...] = ()
    seconds: float = 0.0

    def line(self) -> str:
        """Return the line of the log; `tokens` and `dropped` are left out if no layer has experts."""
        values = {key: value for key, value in asdict(self).items() if value != ()}
        return json.dumps(values | {"seconds": round(self.seconds, 4)}) + "\n"


class StepLog:
    """The log of a stage, open for appending; only the first of several processes writes it."""

    def __init__(self, folder: Path, begun: int, *, written: bool = True) -> None:
        """Open the log, and remove the lines after the state from which the stage resumes, torn lines included.

        Args:
            folder: The folder of the stage; created if it is missing.
            begun: The number of steps done.
            written: Whether this process writes the log.
        """
        self._file: TextIO | None = None
        if written:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / LOG
            kept = path.read_text(encoding="utf-8").splitlines(keepends=True)[:begun] if path.exists() else []
            write_atomically(path, "".join(kept))
            self._file = path.open("a", encoding="utf-8")

    def __enter__(self) -> "StepLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, step: LoggedStep) -> None:
        """Add a step and flush it, so that other processes can read it."""
        if self._file is not None:
            self._file.write(step.line())
            self._file.flush()

    def sync(self) -> None:
        """Sync the log to the disk, so that no state there is ahead of it."""
        if self._file is not None:
            os.fsync(self._file.fileno())


def write_note(folder: Path, note: StageNote) -> None:
    """Write the description of a stage into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / STAGE, json.dumps({"schema": SCHEMA, **asdict(note)}, indent=1) + "\n")


def read_note(folder: Path) -> StageNote:
    """Return the description of a stage.

    Raises:
        DataError: The file is missing, or does not hold the description of a stage.
    """
    path = folder / STAGE
    try:
        found = json.loads(path.read_bytes())
        if found.pop("schema") != SCHEMA:
            raise ValueError("another schema")
        return StageNote(**{**found, "experts": tuple(found["experts"])})
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; a stage writes it when it begins") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: expected recipe, title, seed, steps and losses of a stage, found {error}") from error


def read_log(folder: Path) -> list[LoggedStep]:
    """Return the logged steps of a stage, at least one.

    Raises:
        DataError: There is no log, it is empty, or a line is not a step.
    """
    path = folder / LOG
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if not lines:
        raise DataError(f"{path}: expected one line a step, found none; no step of the stage is done yet")
    return [_step(line, f"{path}:{number}") for number, line in enumerate(lines, start=1)]


def _step(line: str, where: str) -> LoggedStep:
    try:
        found: dict[str, Json] = json.loads(line)
        tokens = tuple(tuple(layer) for layer in found.get("tokens", ()))
        return LoggedStep(**{**found, "tokens": tokens, "dropped": tuple(found.get("dropped", ()))})
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where}: expected the line of a step, found {line[:60]!r}; a training that was cut short mends it "
            "when it goes on"
        ) from error

"""The folder or file that an export writes: never over other files, and with a record of what is in it."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness.errors import SpecError
from harness.exports.finished_run import FinishedRun
from harness.exports.sample_scores import as_csv, load_scores
from harness.records import Json

RECORD = "export.json"
SCORES = "scores.csv"
MOST_STEM = 60  # characters; with a number and a suffix far below what file systems allow


class UnheldTaskError(SpecError):
    """A run without a task that a format can hold."""


def write_tasks(
    run: FinishedRun,
    out: Path,
    form: str,
    write: Callable[[str, Path], Path],
    *,
    refusal: Callable[[str], str | None] = lambda _: None,
    apart: bool = False,
) -> tuple[list[Path], list[str]]:
    """Write the tasks of a run that a format holds, and the record of the export.

    Args:
        run: The run; of its tasks those that are refused are taken out.
        out: New or empty folder.
        form: Name of the format.
        write: Writes a task, by its name, into a folder that is there; returns what a user is shown.
        refusal: Says why a task cannot be held, and what to do; None if it can.
        apart: Whether each of several tasks gets a folder of its own.
    Returns:
        What `write` returned, and notes on what is left out.
    Raises:
        UnheldTaskError: No task can be held.
        SpecError: `out` holds files or cannot be written.
        DataError: A stored prediction is damaged.
    """
    refused = {name: reason for name in run.tasks if (reason := refusal(name)) is not None}
    run.tasks = {name: spec for name, spec in run.tasks.items() if name not in refused}
    if not run.tasks:
        first = f"{run.directory.path}: no task can be written as {form}"
        raise UnheldTaskError("\n  ".join([first, *refused.values()]))
    try:
        if out.is_dir() and any(out.iterdir()):
            raise SpecError(f"--out {out}: expected a new or an empty folder, found files in it; name another folder")
        written = []
        for name in run.tasks:
            folder = out / name if apart and len(run.tasks) > 1 else out
            folder.mkdir(parents=True, exist_ok=True)
            written.append(write(name, folder))
        write_record(out, run, form)
    except FileExistsError as error:
        raise SpecError(f"--out {out}: expected a folder, found a file; name another folder") from error
    except OSError as error:
        raise SpecError(f"--out {out}: cannot be written: {error.strerror}; name another folder") from error
    return written, [*(f"left out: {reason}" for reason in refused.values()), *run.notes]


def write_record(out: Path, run: FinishedRun, form: str) -> None:
    """Write model, versions, digests and numbers as `export.json`, and the scores by sample as `scores.csv`.

    Args:
        out: The folder.
        run: The run.
        form: Name of the format.
    """
    write_json(out / RECORD, run.record(form))
    names = list(run.tasks)
    # One table of scores, whichever tasks it holds: a single task is selected as in `export csv --task`.
    table = load_scores(run.directory.path, task=names[0] if len(names) == 1 else None, long=True)
    (out / SCORES).write_text(as_csv(table[table["task"].isin(names)]), encoding="utf-8")


def write_json(path: Path, value: Json) -> None:
    """Write JSON, indented, in UTF-8; NaN and infinity are refused by an assertion of `json`."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def write_lines(path: Path, values: Iterable[Json]) -> None:
    """Write JSON lines in UTF-8, one value at a time."""
    with path.open("w", encoding="utf-8") as file:
        for value in values:
            file.write(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def stems() -> Iterator[str]:
    """Yield numbers from 1 that begin the names of files, so that they sort in the order of the plan."""
    number = 0
    while True:
        number += 1
        yield f"{number:06d}"


def file_stem(number: str, sample_id: str) -> str:
    """Return a name without suffix that any file system takes: ids may hold slashes, or differ in letter case only.

    Args:
        number: One of `stems`, which makes the name unique.
        sample_id: Its ASCII letters, digits, dots and dashes are kept, the last MOST_STEM of them.
    """
    return f"{number}_{re.sub(r'[^A-Za-z0-9.-]+', '_', sample_id)[-MOST_STEM:].strip('._')}"

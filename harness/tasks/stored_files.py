"""Copies of the task files in the run directory, so that the run can be scored and shown without the originals.

Below the folder `tasks` of a run directory:

    stored_tasks.json   {"tasks": {name: its file}, "groups": [{"name", "title", "members", "combine"}]}; written last
    <task>/...          the task file, with the file it includes, its wording, and the Python files of its own metrics
                        and reader, each where the task file looks for it
"""

import json
import os
import shutil
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.records.atomic_files import write_atomically
from harness.tasks.plug_ins import STORED_INDEX as INDEX
from harness.tasks.plug_ins import remember_code
from harness.tasks.spec import GroupSpec, TaskSpec
from harness.tasks.task_file import below
from harness.tasks.wording import find_wording
from harness.tasks.yaml.nodes import Faults, read_heads


def write_stored(folder: Path, tasks: Sequence[TaskSpec], groups: Sequence[GroupSpec], cache: Path) -> None:
    """Copy the files of a run's tasks, unless the folder holds them already.

    Args:
        folder: The folder for the files.
        tasks: The tasks of the run; none of their files may have changed since they were read.
        groups: The groups of the run.
        cache: Cache folder. It remembers the Python files that have run on this machine.
    Raises:
        OSError: A file cannot be copied.
    """
    complete = (folder / INDEX).is_file()
    names: dict[str, str] = {}
    for task in tasks:
        files = _files(task)
        remember_code([file for file in files if file.suffix == ".py"], cache)
        if complete:
            continue
        # A wording may be in a sibling folder and a metric anywhere, so relative places are kept.
        base = Path(os.path.commonpath([file.parent for file in files]))
        for file in files:
            copy = folder / task.task / file.relative_to(base)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
        names[task.task] = (Path(task.task) / files[0].relative_to(base)).as_posix()
    if complete:
        return
    content = {
        "tasks": names,
        "groups": [
            {"name": group.name, "title": group.title, "members": list(group.members), "combine": group.combine}
            for group in groups
        ],
    }
    folder.mkdir(exist_ok=True)
    write_atomically(folder / INDEX, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _files(task: TaskSpec) -> list[Path]:
    """Return the files that make up a task, absolute, its own first.

    Plug-ins of installed packages and those with absolute paths are not included: they stay where they are.
    """
    included = read_heads(task.file, frozenset({"include"}), Faults()).get("include")
    plug_ins = [task.release.plug_in, *(use.plug_in for use in task.metrics)]
    sources = [plug_in.reference.rpartition(":")[0] for plug_in in plug_ins if plug_in is not None]
    found = [
        task.file,
        *([] if included is None else [task.folder / str(included.value)]),
        *([] if task.wording is None else [find_wording(task.wording.name, task.folder)]),
        *(task.folder / source for source in sources if source.endswith(".py") and not Path(source).is_absolute()),
    ]
    return list(dict.fromkeys(Path(os.path.normpath(file.absolute())) for file in found))


def read_stored(folder: Path, *, known: Container[str]) -> tuple[dict[str, Path], dict[str, GroupSpec]]:
    """Return the files of the stored tasks and the stored groups, by name.

    Args:
        folder: A folder that `write_stored` has written; a missing one is empty.
        known: Names of tasks and groups to leave out.
    Raises:
        SpecError: The index cannot be read.
    """
    index = folder / INDEX
    if not index.is_file():
        return {}, {}
    try:
        content: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        # A run directory may come from elsewhere: its index must not lead out of it.
        files = {name: path for name, at in content["tasks"].items() if (path := below(folder, at)) is not None}
        groups = {
            group["name"]: GroupSpec(**{**group, "members": tuple(group["members"])}) for group in content["groups"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{index}: expected the tasks of a run, found {type(error).__name__}: {error}; "
            "remove the folder and give the original files with --task-path"
        ) from error
    return (
        {name: path for name, path in files.items() if name not in known},
        {name: group for name, group in groups.items() if name not in known},
    )

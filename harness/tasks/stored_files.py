"""Copies of the task files in the run directory, so that the run can be scored and shown without the originals.

Below the folder `tasks` of a run directory:

    stored_tasks.json   {"tasks": {name: its file}, "groups": [{"name", "title", "members", "combine"}], "files": {file:
                        its SHA-256}, "sha256": digest of the rest}; written last
    <task>/...          the task file, with the file it includes, its wording, and the Python files of its own metrics
                        and reader, each where the task file looks for it
"""

import json
import os
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.records.atomic_files import make_folder, write_atomically, write_bytes_atomically
from harness.records.codec import digest, sha256_file
from harness.tasks.plug_ins import STORED_INDEX as INDEX
from harness.tasks.plug_ins import remember_code
from harness.tasks.spec import GroupSpec, TaskSpec
from harness.tasks.task_file import below
from harness.tasks.wording import find_wording
from harness.tasks.yaml.nodes import Faults, read_heads


def write_stored(folder: Path, tasks: Sequence[TaskSpec], groups: Sequence[GroupSpec], cache: Path) -> None:
    """Copy the files of a run's tasks, unless the folder holds them already and undamaged.

    Args:
        folder: The folder for the files.
        tasks: The tasks of the run; none of their files may have changed since they were read.
        groups: The groups of the run.
        cache: Cache folder. It remembers the Python files that have run on this machine.
    Raises:
        OSError: A file cannot be read.
        InterruptedRunError: The disk refuses a copy.
    """
    complete = _is_whole(folder)
    names: dict[str, str] = {}
    copies: list[Path] = []
    for task in tasks:
        files = _files(task)
        remember_code([file for file in files if file.suffix == ".py"], cache)
        if complete:
            continue
        # A wording may be in a sibling folder and a metric anywhere, so relative places are kept.
        base = Path(os.path.commonpath([file.parent for file in files]))
        for file in files:
            copy = folder / task.task / file.relative_to(base)
            make_folder(copy.parent)
            write_bytes_atomically(copy, file.read_bytes())
            copies.append(copy)
        names[task.task] = (Path(task.task) / files[0].relative_to(base)).as_posix()
    if complete:
        return
    content: dict[str, Any] = {
        "tasks": names,
        "groups": [
            {"name": group.name, "title": group.title, "members": list(group.members), "combine": group.combine}
            for group in groups
        ],
        "files": {copy.relative_to(folder).as_posix(): sha256_file(copy) for copy in copies},
    }
    make_folder(folder)
    content["sha256"] = digest(content)
    write_atomically(folder / INDEX, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _is_whole(folder: Path) -> bool:
    """Say whether the folder holds what was written to it, as far as its index says what that was."""
    try:
        content = json.loads((folder / INDEX).read_bytes())
        _check_index(content)
        return all(sha256_file(folder / name) == sha256 for name, sha256 in content.get("files", {}).items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _check_index(content: dict[str, Any]) -> None:
    """Check the index against its own digest, which older versions did not write.

    Raises:
        ValueError: It is not what was written.
    """
    if content.keys() - {"tasks", "groups"} and content.get("sha256") != digest(
        {name: value for name, value in content.items() if name != "sha256"}
    ):
        raise ValueError("its bytes are not those that were written")


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
        SpecError: The index cannot be read, or a file that is needed is damaged.
    """
    index = folder / INDEX
    if not index.is_file():
        return {}, {}
    try:
        content: dict[str, Any] = json.loads(index.read_text(encoding="utf-8"))
        _check_index(content)
        # A run directory may come from elsewhere: its index must not lead out of it.
        files = {name: path for name, at in content["tasks"].items() if (path := below(folder, at)) is not None}
        groups = {
            group["name"]: GroupSpec(**{**group, "members": tuple(group["members"])}) for group in content["groups"]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SpecError(
            f"{index}: expected the tasks of a run, found {type(error).__name__}: {error}; "
            "run the same `harness run` command again, which writes it anew, or remove the folder and give the "
            "original files with --task-path"
        ) from error
    files = {name: path for name, path in files.items() if name not in known}
    for stored, sha256 in content.get("files", {}).items():
        path = folder / stored
        if stored.partition("/")[0] in files and (not path.is_file() or sha256_file(path) != sha256):
            raise SpecError(
                f"{path}: is damaged: its bytes are not those that were written; run the same `harness run` command "
                "again, which writes it anew, or give the original with --task-path"
            )
    return (
        files,
        {name: group for name, group in groups.items() if name not in known},
    )

"""Task and group files: the folders that hold them, the names they define, and their contents once checked.

Listing reads only the head of each file and loads no metric; `Catalog.load` and `Catalog.resolve` check everything.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.errors import SpecError, nearest
from harness.paths import packaged_folder
from harness.tasks.spec import GroupSpec, TaskSpec
from harness.tasks.stored_files import read_stored
from harness.tasks.task_file import below, read_task
from harness.tasks.yaml.mapping import Table
from harness.tasks.yaml.nodes import Faults, read_heads, read_mapping

GROUPS_FILE = "groups.yaml"
# Files in folders of this name are rubrics of judges, see `harness.evaluation.judging.rubrics`.
RUBRICS_FOLDER = "rubrics"
COMBINES: tuple[Literal["none", "macro"], ...] = ("none", "macro")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """The name and title of a task, read from the head of its file alone."""

    name: str
    title: str
    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The tasks and groups below some folders.

    Attributes:
        entries: By task name, in alphabetical order.
        groups: By group name, in alphabetical order.
    """

    entries: Mapping[str, CatalogEntry]
    groups: Mapping[str, GroupSpec]

    def load(self, name: str) -> TaskSpec:
        """Return a task, fully checked.

        Raises:
            SpecError: No task has this name, the name is that of a group, or the task's file has faults, a line each.
        """
        if name in self.groups:
            raise SpecError(f"'{name}' is a group; expected one task, one of: {', '.join(self.groups[name].members)}")
        return self.resolve([name])[0][0]

    def group(self, name: str) -> GroupSpec | None:
        """Return a group, or None if no group has the name."""
        return self.groups.get(name)

    def resolve(self, names: Sequence[str]) -> tuple[list[TaskSpec], list[GroupSpec]]:
        """Return the tasks that `names` mean, each once in the order given, and the groups among the names.

        Args:
            names: Tasks and groups; a group means all its members.

        Raises:
            SpecError: Names are unknown or files have faults: one line per name, with the nearest known one, and fault.
        """
        groups = [self.groups[name] for name in dict.fromkeys(names) if name in self.groups]
        known = [*self.entries, *self.groups]
        lines = [
            f"no task or group is called '{name}'{nearest(name, known)}; `harness list tasks` names them all"
            for name in names
            if name not in known
        ]
        wanted = [task for name in names for task in (self.groups[name].members if name in self.groups else (name,))]
        faults = Faults()
        found = [read_task(self.entries[name].file, faults) for name in dict.fromkeys(wanted) if name in self.entries]
        if lines or faults.found:
            raise SpecError("\n".join([*lines, *faults.lines()]))
        return [task for task in found if task is not None], groups


def task_folders(task_paths: Sequence[Path]) -> list[Path]:
    """Return the folders that hold tasks: the packaged ones first, then those given, each once.

    Raises:
        SpecError: A given path is not a folder.
    """
    lines = [
        f"--task-path {path}: expected a folder{'; a task file is named in place of a task' if path.is_file() else ''}"
        for path in task_paths
        if not path.is_dir()
    ]
    if lines:
        raise SpecError("\n".join(lines))
    # If a folder is given in several spellings the first is kept, and messages name its files by that spelling.
    by_place = {path.resolve(): path for path in reversed([packaged_folder(), *task_paths])}
    return list(reversed(by_place.values()))


def index(task_paths: Sequence[Path] = (), *, files: Sequence[Path] = (), stored: Path | None = None) -> Catalog:
    """Return the catalog of the packaged tasks, of every `*.yaml` below `task_paths`, and of `files`.

    A file whose name begins with `_` holds no task: other files include it. A folder `rubrics` holds those of judges.

    Args:
        task_paths: Folders with further task files.
        files: Further task files, without the others of their folders.
        stored: Folder of the task files that a run keeps, in the format of `harness.tasks.stored_files`; they stand for
            the names that neither the packaged tasks nor `task_paths` have.
    Raises:
        SpecError: A path is not a folder, a file has no name for its task, a name is taken twice, or a `groups.yaml` is
            wrong: one line each; or a stored task is wrong.
    """
    faults = Faults()
    found = [file for folder in task_folders(task_paths) for file in sorted(folder.rglob("*.yaml"))]
    # A file that lies below a folder, too, keeps the spelling of the folder.
    files = list(reversed({file.resolve(): file for file in reversed([*found, *files])}.values()))
    entries: dict[str, CatalogEntry] = {}
    for file in files:
        if file.name != GROUPS_FILE and not file.name.startswith("_") and file.parent.name != RUBRICS_FOLDER:
            _enter(file, entries, faults)
    groups: dict[str, GroupSpec] = {}
    for file in files:  # after all tasks, since a group may name those of other folders
        if file.name == GROUPS_FILE:
            _enter_groups(file, entries, groups, faults)
    if faults.found:
        raise faults.error()
    if stored is not None:
        kept_files, kept_groups = read_stored(stored, known=entries.keys() | groups.keys())
        entries |= {name: CatalogEntry(name=name, title="", file=file) for name, file in kept_files.items()}
        groups |= kept_groups
    return Catalog(entries=dict(sorted(entries.items())), groups=dict(sorted(groups.items())))


def split_names(texts: Sequence[str]) -> list[str]:
    """Return the names in texts such as `A,B` and `A B`; the path of an existing file may hold blanks."""
    parts = [part.strip() for text in texts for part in ([text] if Path(text).is_file() else text.split(","))]
    return [name for part in parts for name in ([part] if Path(part).is_file() else part.split())]


def look_up(names: Sequence[str], task_paths: Sequence[Path] = ()) -> tuple[Catalog, tuple[str, ...]]:
    """Return the catalog in which `names` mean something, and the names with that of its task in place of every file.

    Args:
        names: Tasks, groups and task files, one each or as lists such as `A,B` and `A B`.
        task_paths: Folders with further task files.
    Raises:
        SpecError: A file does not exist or is no task file; otherwise as `index`.
    """
    wanted = split_names(names)
    if not wanted:  # an empty variable of a script must not pass for an evaluation of nothing
        raise SpecError("expected at least one task or group, found none; `harness list tasks` names them all")
    files = {name: Path(name) for name in wanted if _is_path(name)}
    lines = [line for name, file in files.items() if (line := _path_problem(name, file))]
    if lines:
        raise SpecError("\n".join(lines))
    catalog = index(task_paths, files=tuple(files.values()))
    by_file = {entry.file.resolve(): entry.name for entry in catalog.entries.values()}
    return catalog, tuple(dict.fromkeys(by_file[files[name].resolve()] if name in files else name for name in wanted))


def _is_path(name: str) -> bool:
    return "/" in name or os.sep in name or name.lower().endswith((".yaml", ".yml"))


def _path_problem(name: str, file: Path) -> str:
    """Return why a path means no task; empty if it is a file that may hold one."""
    if file.is_dir():
        return f"{name}: is a folder; expected a task file, or --task-path {name} and the names of its tasks"
    if not file.is_file():
        return f"{name}: no such task file; expected a YAML file, or the name of a task (`harness list tasks`)"
    if file.name == GROUPS_FILE:
        return f"{name}: holds groups; expected a task file, or --task-path {file.parent} and the name of a group"
    return ""


def check_file(path: Path) -> list[str]:
    """Return the faults of one task file, or of a `groups.yaml` by itself, as `file:line: ...` lines."""
    faults = Faults()
    if path.name == GROUPS_FILE:
        _read_groups(path, faults)
    else:
        read_task(path, faults)
    return faults.lines()


def _enter(file: Path, entries: dict[str, CatalogEntry], faults: Faults) -> None:
    """Add the task of one file to `entries`; a file without a task, or with a name that is taken, is a fault."""
    before = len(faults.found)
    heads = read_heads(file, frozenset({"task", "title"}), faults)
    if "task" not in heads:
        if len(faults.found) == before:
            faults.add(str(file), 1, "task: required key is missing; is this a task file?")
        return
    at = heads["task"]
    if not isinstance(at.value, str):
        faults.add(at.file, at.line, "task: expected text")
        return
    if at.value in entries:
        faults.add(
            at.file, at.line, f"task: the name '{at.value}' is taken by {entries[at.value].file}; choose another"
        )
        return
    title = heads.get("title")
    if title is None:  # it may be inherited
        include = read_heads(file, frozenset({"include"}), faults).get("include")
        base = below(file.parent, str(include.value)) if include else None
        if base is not None and base.is_file():
            title = read_heads(base, frozenset({"title"}), faults).get("title")
    entries[at.value] = CatalogEntry(name=at.value, title=str(title.value) if title else "", file=file)


def _read_groups(file: Path, faults: Faults) -> list[tuple[GroupSpec, Table]]:
    document = read_mapping(file, faults)
    if document is None:
        return []
    groups = Table(document, "", None, faults)
    found: list[tuple[GroupSpec, Table]] = []
    for name in groups.items:
        group = groups.table(name, ("title", "tasks", "combine"))
        members = group.texts("tasks")
        if group.items.get("tasks", document).value == ():
            group.fault("tasks", "expected at least one task")
        combine = group.choice("combine", COMBINES, "none")
        found.append((GroupSpec(name=name, title=group.text("title"), members=members, combine=combine), group))
    return found


def _enter_groups(
    file: Path, entries: Mapping[str, CatalogEntry], groups: dict[str, GroupSpec], faults: Faults
) -> None:
    for group, table in _read_groups(file, faults):
        at = table.node
        if group.name in entries:
            taken = entries[group.name].file
            faults.add(at.file, at.line, f"{group.name}: a group may not have the name of a task ({taken})")
        if group.name in groups:
            faults.add(
                at.file, at.line, f"{group.name}: another {GROUPS_FILE} has a group of this name; choose another"
            )
        for member in group.members:
            if member not in entries:
                table.fault("tasks", f"no task is called '{member}'{nearest(member, list(entries))}")
        groups[group.name] = group

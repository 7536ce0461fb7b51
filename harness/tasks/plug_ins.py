"""The metrics and readers that a task file may name: rows of the tables, or objects in the task's own code."""

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from harness.errors import SpecError, nearest, words_of
from harness.paths import default_cache
from harness.records.codec import sha256_file
from harness.tasks.spec import MetricUse, PlugIn, Release
from harness.tasks.yaml.mapping import one_of

if TYPE_CHECKING:
    from harness.data.releases.reader import Reader
    from harness.metrics.metric import Metric

# Name of the index in the folder of a run's own task files; see `harness.tasks.stored_files`.
STORED_INDEX = "stored_tasks.json"


def remember_code(files: Iterable[Path], cache: Path) -> None:
    """Note that the Python of these files has run on this machine, whose user named it."""
    # A cache that may only be read costs no run: the user names the files of its tasks again.
    with contextlib.suppress(OSError):
        for file in files:
            place = _memory(cache, file)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()


def _memory(cache: Path, file: Path) -> Path:
    return cache / "plug-ins" / sha256_file(file)


def _check_origin(path: Path, folder: Path) -> None:
    """Refuse the Python of a task that a run directory brought along, unless it has run on this machine before.

    A run directory may come from anybody, and to open it must not mean to run it.

    Raises:
        SpecError: It has not.
    """
    stored = next((place for place in (folder, *folder.parents) if (place / STORED_INDEX).is_file()), None)
    if stored is not None and not _memory(default_cache(), path).is_file():
        raise SpecError(
            f"{path}: this Python came with a run and has never run on this machine; if you trust it, copy {folder} "
            "out of the run and name the copy by --task-path"
        )


def is_reference(name: str) -> bool:
    """Return whether `name` means an object outside the tables: `package.module:name` or `file.py:name`."""
    return ":" in name


def load_object(reference: str, folder: Path) -> tuple[object, PlugIn]:
    """Return the object that `reference` names, and where it comes from.

    Args:
        reference: `package.module:name`, or `file.py:name` relative to `folder`.
        folder: The task file's folder.

    Raises:
        SpecError: The file, the module or the name does not exist, the file lies outside of the folder, its code fails
            when imported, or it came with a run directory and has never run on this machine.
    """
    source, _, name = reference.rpartition(":")
    if source.endswith(".py"):
        _check_is_below(folder, source, reference)
        if (folder / source).is_file():
            _check_origin(folder / source, folder.resolve())
        module = _import_file(folder / source, reference)
    else:
        try:
            module = importlib.import_module(source)
        except KeyboardInterrupt:
            raise
        # Whatever its code raises, SystemExit included, is shown to the author of the task without a traceback.
        except BaseException as error:
            raise SpecError(f"'{reference}': cannot import {source}: {words_of(error)}") from error
    if not hasattr(module, name):
        raise SpecError(f"'{reference}': {source} has no '{name}'")
    # The digest of the file is part of the task's digest, so edited code makes another task.
    origin = getattr(module, "__file__", None)
    if origin is None:
        raise SpecError(f"'{reference}': {source} is not a Python file; expected a module with one")
    return getattr(module, name), PlugIn(reference=reference, sha256=sha256_file(Path(origin)))


def _check_is_below(folder: Path, source: str, reference: str) -> None:
    """Refuse a file outside of the task's folder: a task may come from anybody, and names only what comes with it.

    Raises:
        SpecError: The path is absolute, climbs out of the folder, or leads out of it by a link.
    """
    path = Path(source)
    if path.is_absolute() or ".." in path.parts or not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise SpecError(f"'{reference}': expected a Python file below the task's folder {folder}; copy it there")


def _import_file(path: Path, reference: str) -> ModuleType:
    """Import a file under a name made from its bytes, so that an edited file is another module."""
    if not path.is_file():
        raise SpecError(f"'{reference}': expected a Python file at {path}")
    name = f"medground_plug_in_{path.stem}_{sha256_file(path)[:16]}"
    if name in sys.modules and sys.modules[name].__file__ == str(path):
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # before it runs: dataclasses look their own module up
    try:
        specification.loader.exec_module(module)
    except KeyboardInterrupt:
        del sys.modules[name]
        raise
    except BaseException as error:
        del sys.modules[name]
        raise SpecError(f"'{reference}': cannot import {path.name}: {words_of(error)}") from error
    return module


def load_row(reference: str, folder: Path) -> tuple["Metric", PlugIn]:
    """Return the metric row that `reference` names.

    Raises:
        SpecError: It cannot be loaded, or is not a `Metric`.
    """
    from harness.metrics.metric import Metric

    found, plug_in = load_object(reference, folder)
    if not isinstance(found, Metric):
        raise SpecError(f"'{reference}': expected a harness.Metric, got {type(found).__name__}")
    return found, plug_in


def load_metric(use: MetricUse, folder: Path) -> "Metric":
    """Return the row of a task's metric, from the table or from the task's own code.

    Args:
        use: One of `TaskSpec.metrics`.
        folder: `TaskSpec.folder`.

    Raises:
        SpecError: There is no such row, or it has no such parameter; a plug-in is gone or no longer holds a `Metric`.
    """
    from harness.metrics import bind, find

    row = find(use.metric, use.protocol) if use.plug_in is None else load_row(use.plug_in.reference, folder)[0]
    return bind(row, use.parameters, f"{use.metric} ({use.protocol})")


def load_reader(release: Release, folder: Path) -> "Reader":
    """Return the reader of a task's release, from the table or from the task's own code.

    Args:
        release: `TaskSpec.release`.
        folder: `TaskSpec.folder`.

    Raises:
        SpecError: There is no such reader; a plug-in is gone or no longer holds a `Reader`.
    """
    return find_reader(release.reader, folder)[0]


def find_reader(name: str, folder: Path) -> tuple["Reader", PlugIn | None]:
    """Return the reader that `name` means, and its origin if it is a plug-in.

    Raises:
        SpecError: There is no such reader (the message lists those of the table), or the plug-in is not a `Reader`.
    """
    from harness.data.releases import READERS
    from harness.data.releases.reader import Reader

    if not is_reference(name):
        if name not in READERS:
            known = sorted(READERS)
            raise SpecError(f"expected {one_of(known)}, got '{name}'{nearest(name, known)}")
        return READERS[name], None
    found, plug_in = load_object(name, folder)
    if not isinstance(found, Reader):
        raise SpecError(f"'{name}': expected a harness.Reader, got {type(found).__name__}")
    return found, plug_in

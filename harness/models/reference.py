"""Model references: from `baseline:otsu`, `my_model.py:MyModel` or `package.module:Class` to a built adapter."""

import importlib
import inspect
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from harness.errors import HarnessError, ModelError, SpecError, nearest
from harness.records import Adapter, Capabilities, Json
from harness.serial import digest, sha256_file, sha256_text

BUILT_IN: Mapping[str, tuple[str, str]] = {
    "baseline": ("harness.models.baseline:build", "majority, random, empty, oracle, center-box or otsu"),
    "scripted": ("harness.models.scripted:Scripted", "one fixed reply (text=...) or replies by sample id (file=...)"),
    "predictions": ("harness.models.predictions:Predictions", "answers handed in as a JSON lines file"),
}
ENTRY_POINTS = "medground.models"
TAKES = frozenset({"text", "image", "images", "volume", "point", "box", "region", "prior", "target"})
GIVES = frozenset({"text", "nll", "masks", "boxes", "embedding"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelReference:
    """A model as the command line names it, ready to be built in any process.

    Attributes:
        text: The reference as given.
        target: `module:attribute`, or `file:attribute` when `source` is set.
        argument: What stands behind the name of a named model (`otsu`).
        arguments: Of `--model-args`.
        source: The text of the adapter's file, shipped with the reference so every worker runs the same bytes.
    """

    text: str
    target: str
    argument: str | None = None
    arguments: Mapping[str, Json] = field(default_factory=dict)
    source: str | None = None


def parse(text: str, arguments: Mapping[str, Json]) -> ModelReference:
    """Return the reference for `NAME`, `NAME:ARGUMENT`, `path/file.py:Class` or `package.module:Class`.

    Raises:
        SpecError: Nothing has that name, or the file does not exist.
    """
    name, _, rest = text.partition(":")
    if name in BUILT_IN:
        return ModelReference(text=text, target=BUILT_IN[name][0], argument=rest or None, arguments=arguments)
    if match := re.fullmatch(r"(.+\.py):(\w+)", text):
        path = Path(match.group(1))
        if not path.is_file():
            raise SpecError(f"--model {text}: no file {path}; expected path/to/file.py:ClassName")
        target = f"{path.resolve()}:{match.group(2)}"
        return ModelReference(text=text, target=target, arguments=arguments, source=path.read_text(encoding="utf-8"))
    entries = {entry.name: entry.value for entry in metadata.entry_points(group=ENTRY_POINTS)}
    if name in entries:
        return ModelReference(text=text, target=entries[name], argument=rest or None, arguments=arguments)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", text):
        return ModelReference(text=text, target=text, arguments=arguments)
    known = [*BUILT_IN, *entries]
    raise SpecError(
        f"--model {text}: expected one of {', '.join(known)} (`harness list models`), path/file.py:Class or "
        f"package.module:Class{nearest(name, known)}"
    )


def build(reference: ModelReference) -> Adapter:
    """Return the adapter with its arguments, nothing loaded.

    Raises:
        SpecError: The module, class or an argument does not exist.
        ModelError: The class does not follow the Protocol, or its constructor fails.
    """
    factory = _import(reference)
    positional = [] if reference.argument is None else [reference.argument]
    try:
        inspect.signature(factory).bind(*positional, **reference.arguments)
    except TypeError as error:
        accepted = ", ".join(inspect.signature(factory).parameters) or "no arguments"
        raise SpecError(f"--model {reference.text}: {error}; it accepts {accepted}") from error
    try:
        adapter = factory(*positional, **reference.arguments)
    except HarnessError:
        raise
    except Exception as error:
        raise ModelError(f"--model {reference.text}: building it failed: {type(error).__name__}: {error}") from error
    missing = [name for name in ("capabilities", "load", "predict") if not callable(getattr(adapter, name, None))]
    if missing:
        raise ModelError(f"--model {reference.text}: an adapter needs {', '.join(missing)}(); see docs/add-a-model.md")
    return adapter  # type: ignore[no-any-return]


def _import(reference: ModelReference) -> Any:
    place, _, attribute = reference.target.rpartition(":")
    if reference.source is not None:
        module: ModuleType = _module_from_source(Path(place), reference.source)
    else:
        try:
            module = importlib.import_module(place)
        except ImportError as error:
            raise SpecError(f"--model {reference.text}: importing {place} failed: {error}") from error
    if not hasattr(module, attribute):
        public = [name for name, value in vars(module).items() if inspect.isclass(value) and not name.startswith("_")]
        raise SpecError(f"--model {reference.text}: {place} has no '{attribute}'{nearest(attribute, public)}")
    return getattr(module, attribute)


def _module_from_source(path: Path, source: str) -> ModuleType:
    """Run the shipped source as a module of its own; files beside it can be imported where they exist."""
    name = f"medground_adapter_{sha256_text(source)[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    if path.parent.is_dir() and str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        raise ModelError(f"{path}: running the adapter's file failed: {type(error).__name__}: {error}") from error
    return module


def capabilities_of(reference: ModelReference, adapter: Adapter) -> Capabilities:
    """Return the adapter's capabilities after checking them.

    Raises:
        ModelError: It declares something the harness does not know, or takes a target without `per_sample`.
    """
    declared = adapter.capabilities()
    if not isinstance(declared, Capabilities):
        raise ModelError(f"{reference.text}: capabilities() returned {type(declared).__name__}, expected Capabilities")
    for field_name, given, known in (("takes", declared.takes, TAKES), ("gives", declared.gives, GIVES)):
        unknown = sorted(given - known)
        if unknown:
            hint = nearest(unknown[0], sorted(known))
            raise ModelError(f"{reference.text}: capabilities().{field_name}: unknown {', '.join(unknown)}{hint}")
    if declared.takes & {"prior", "target"} and not declared.per_sample:
        raise ModelError(f"{reference.text}: capabilities().takes names prior or target; that needs per_sample=True")
    if declared.max_batch < 1 or declared.max_images < 1:
        raise ModelError(f"{reference.text}: capabilities(): max_batch and max_images must be at least 1")
    return declared


def identity(reference: ModelReference, adapter: Adapter, capabilities: Capabilities) -> dict[str, Json]:
    """Return what decides a model's answers: part of every request key and of `run.json`.

    Execution-only arguments are left out; files named by `weights` count by their bytes, not their path.
    """
    arguments = {name: value for name, value in reference.arguments.items() if name not in capabilities.execution_only}
    weights = {Path(weight).name: _weights_digest(Path(weight)) for weight in capabilities.weights}
    named_files = {str(weight) for weight in capabilities.weights}
    place, _, attribute = reference.target.rpartition(":")
    return {
        "id": f"{Path(place).stem}:{attribute}"
        if reference.source is not None
        else _public_name(reference, named_files),
        "version": str(getattr(adapter, "version", "0")),
        "source_sha256": None if reference.source is None else sha256_text(reference.source),
        "arguments": {name: value for name, value in arguments.items() if str(value) not in named_files},
        "weights": weights,
    }


def _public_name(reference: ModelReference, named_files: set[str]) -> str:
    """Return the reference without a path: a file it names stands in `weights`."""
    name, _, rest = reference.text.partition(":")
    return name if rest in named_files else reference.text


def _weights_digest(path: Path) -> str:
    """Return the digest of a file's bytes, or of the names and bytes of all files below a folder.

    Raises:
        SpecError: There is no such file or folder.
    """
    if path.is_file():
        return sha256_file(path)
    if not path.is_dir():
        raise SpecError(f"no file or folder {path}, which the model names as its weights")
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return digest({file.relative_to(path).as_posix(): sha256_file(file) for file in files})

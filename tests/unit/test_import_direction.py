"""What imports what: no module knows itself through others, Ray stays in one place, adapters stay light."""

import ast
import graphlib
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("harness", "reference_model", "leaderboard")

ADAPTERS = {
    "harness.models.scripted": {"harness.records", "harness.errors", "harness.imaging.frames", "harness.imaging.masks"},
    "harness.models.baselines": {
        "harness.records",
        "harness.errors",
        "harness.imaging.frames",
        "harness.imaging.masks",
    },
    # They check a file that somebody else wrote, and digest the mask files beside it.
    "harness.models.submitted.predictions_file": {
        "harness.records",
        "harness.errors",
        "harness.models.answer_check",
        "harness.models.submitted.prediction_lines",
        "harness.models.submitted.predictions_format",
    },
    "harness.models.submitted.prediction_lines": {
        "harness.records",
        "harness.errors",
        "harness.imaging.mask_files",
        "harness.records.codec",
    },
}


def modules(package: str) -> dict[str, Path]:
    """Return every module of a package of this repository, by dotted name."""
    found = {}
    for path in sorted((REPOSITORY / package).rglob("*.py")):
        parts = path.relative_to(REPOSITORY).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = {name: path for package in PACKAGES for name, path in modules(package).items()}


SOURCES = {name: path.read_text(encoding="utf-8") for name, path in MODULES.items()}


@cache  # six tests read the same 400 modules
def imported(source: str) -> list[tuple[int, str]]:
    """Return the line and the dotted name of every module a source imports; a relative import is `.`."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.append((node.lineno, "."))
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.lineno, reached(f"{node.module}.{alias.name}")) for alias in node.names]
    return found


def reached(name: str) -> str:
    """Return the module that `from a.b import c` reaches: `a.b.c` where that is one of ours, else `a.b`."""
    return name if name in MODULES else name.rpartition(".")[0]


def importers(package: str) -> set[str]:
    """Return our modules that import a package or a part of it."""
    return {
        name
        for name, source in SOURCES.items()
        if any(found.partition(".")[0] == package for _, found in imported(source))
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other(package: str) -> None:
    graph = {name: {found for _, found in imported(SOURCES[name])} - {name, package} for name in modules(package)}
    graphlib.TopologicalSorter(graph).prepare()


def test_imports_are_absolute() -> None:
    assert [name for name, source in SOURCES.items() if "." in {found for _, found in imported(source)}] == []


def test_only_the_ray_engine_imports_ray() -> None:
    engine = "harness.runs.engine"
    assert importers("ray") == {f"{engine}.cluster", f"{engine}.ray_actors", f"{engine}.ray_connection"}


def test_the_harness_imports_neither_of_the_other_packages() -> None:
    assert not (importers("reference_model") | importers("leaderboard")) & set(modules("harness"))


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_import_only_what_a_submitter_would(name: str) -> None:
    ours = {found for _, found in imported(SOURCES[name]) if found.partition(".")[0] == "harness"}
    assert ours <= ADAPTERS[name]

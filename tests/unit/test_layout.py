"""The layout of the repository: packages import one way, no folder is crowded, every module lies in a package."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ORDER = (
    "errors",
    "paths",
    "records",
    "imaging",
    "text",
    "metrics",
    "data",
    "tasks",
    "models",
    "requests",
    "scoring",
    "runs",
    "reports",
    "comparison",
    "exports",
    "evaluation",
    "api",
    "cli",
)


def package(module: str) -> str | None:
    """Return the package of harness that a dotted module name belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "harness" and len(parts) > 1 else None


def backward_imports(module: str, source: str) -> list[str]:
    """Return every import of a module of harness that reaches a package further right in ORDER, wherever it stands."""
    own = package(module)
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            whole = node.module == "harness"
            names = [f"{node.module}.{alias.name}" if whole else node.module for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            other = package(name)
            if own in ORDER and other in ORDER and ORDER.index(other) > ORDER.index(own):
                found.append(f"{module}:{node.lineno} imports {name}")
    return found


def reached(top: str) -> dict[str, set[str]]:
    """Return which modules of harness each module of another package imports."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "harness":
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                found.setdefault(str(path.relative_to(ROOT)), set()).update(names)
    return found


def test_the_reference_model_imports_the_harness_up_to_requests() -> None:
    allowed = ORDER[: ORDER.index("requests") + 1]
    assert {
        f"{path} imports {name}"
        for path, names in reached("reference_model").items()
        for name in names
        if package(name) not in allowed
    } == set()


def test_the_leaderboard_imports_only_what_it_reads_runs_with() -> None:
    allowed = (
        "harness.errors.",
        "harness.paths.",
        "harness.records.",
        "harness.metrics.",
        "harness.tasks.yaml.",
        "harness.scoring.intervals.",
        "harness.comparison.",
        "harness.runs.directory.",
        "harness.exports.",
    )
    assert {
        f"{path} imports {name}"
        for path, names in reached("leaderboard").items()
        for name in names
        if not name.startswith(allowed)
        # Verifying is evaluating again, in one place.
        and not (path == "leaderboard/verify.py" and name.startswith("harness.evaluation.rescore_bundle."))
    } == set()


def test_packages_import_one_way() -> None:
    found = []
    for path in sorted((ROOT / "harness").rglob("*.py")):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found += backward_imports(module, path.read_text(encoding="utf-8"))
    assert found == []


@pytest.mark.parametrize(
    "source",
    ["from harness.cli import main", "import harness.runs.store", "def later():\n    from harness import tasks"],
)
def test_a_backward_import_is_found_wherever_it_stands(source: str) -> None:
    (found,) = backward_imports("harness.imaging.masks", source)
    assert found.startswith("harness.imaging.masks:")


def test_no_folder_is_crowded() -> None:
    for top in ("harness", "reference_model", "leaderboard", "benchmarks"):
        folders = (path for path in (ROOT / top).rglob("*") if path.is_dir() and path.name != "__pycache__")
        for folder in [ROOT / top, *folders]:
            modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            packages = [path for path in folder.iterdir() if path.is_dir() and any(path.glob("*.py"))]
            most = 18 if folder == ROOT / "harness" else 15
            assert len(modules) + len(packages) <= most, folder


def test_every_module_of_harness_lies_in_a_package() -> None:
    loose = {path.stem for path in (ROOT / "harness").glob("*.py")}
    assert loose == {"__init__", "api", "errors", "paths"}


def test_no_module_is_longer_than_400_lines() -> None:
    tops = ("harness", "reference_model", "leaderboard", "benchmarks")
    modules = [path for top in tops for path in (ROOT / top).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in modules}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


def test_tests_that_share_ray_are_run_by_one_worker() -> None:
    from tests.conftest import ON_RAY

    files = (path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__))
    asking = {str(path.relative_to(ROOT)) for path in files if "ray_local" in path.read_text(encoding="utf-8")}
    assert asking == ON_RAY

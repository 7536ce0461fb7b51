"""The layout of the repository: packages import one way, no folder is crowded, every module lies in a package."""

import ast
from pathlib import Path

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

# Imports that still run backwards, as `path imports name`: each is removed by the step that straightens it.
ALLOWED = frozenset(
    (
        "harness/data/manifest.py imports harness.tasks.plug_ins",
        "harness/data/manifest.py imports harness.tasks.spec",
        "harness/scoring/results.py imports harness.runs.cells",
    )
)


def package(module: str) -> str | None:
    """Return the package of harness that a dotted module name belongs to."""
    parts = module.split(".")
    return parts[1] if parts[0] == "harness" and len(parts) > 1 else None


def breaks() -> list[str]:
    """Return every import that reaches a package further right in ORDER, wherever in a file it stands."""
    found = []
    for path in sorted((ROOT / "harness").rglob("*.py")):
        own = package(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [
                    f"{node.module}.{alias.name}" if node.module == "harness" else node.module for alias in node.names
                ]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                other = package(name)
                if own in ORDER and other in ORDER and ORDER.index(other) > ORDER.index(own):
                    found.append(f"{path.relative_to(ROOT)} imports {name}")
    return found


def test_packages_import_one_way() -> None:
    assert [found for found in breaks() if found not in ALLOWED] == []
    assert set(breaks()) >= ALLOWED, "take imports that are straightened out of ALLOWED"

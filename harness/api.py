"""The Python API: the same evaluations as the command line, for notebooks and scripts."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import SpecError
from harness.evaluation import evaluate as evaluation
from harness.evaluation import rescore
from harness.evaluation.outputs import Evaluation
from harness.evaluation.setup import RunSpec

if TYPE_CHECKING:
    import pandas as pd


def evaluate(
    tasks: Sequence[str],
    model: str,
    *,
    data_roots: Sequence[str | Path],
    model_args: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    ray: str = "auto",
    task_paths: Sequence[str | Path] = (),
    max_failures: str = "1%",
) -> Evaluation:
    """Evaluate a model, or finish what is missing of an evaluation; as `harness run`.

    Returns:
        The run directory, the content of `results.json`, and what failed.
    Raises:
        HarnessError: It cannot begin, or cannot go on; what is finished is kept.
    """
    spec = RunSpec(
        tasks=tuple(tasks),
        model=model,
        model_args=model_args or {},
        data_roots=tuple(str(root) for root in data_roots),
        out=None if out is None else Path(out),
        limit=limit,
        seed=seed,
        workers=workers,
        ray=ray,
        task_paths=tuple(Path(path) for path in task_paths),
        max_failures=max_failures,
    )
    return evaluation.evaluate(spec)


def score(run: str | Path, *, protocols: Sequence[str] = (), task_paths: Sequence[str | Path] = ()) -> Evaluation:
    """Score a run directory again; as `harness score RUN_DIR`.

    Raises:
        SpecError: It is no run directory.
    """
    paths = tuple(Path(path) for path in task_paths)
    return rescore.rescore(Path(run), task_paths=paths, protocols=protocols, max_failures="100%")


def load_run(run: str | Path) -> "pd.DataFrame":
    """Return the numbers of a run: one row per row of `results.json`, with its task and the stratum as `key=value`.

    Raises:
        SpecError: The run has no results.
    """
    import pandas as pd

    path = Path(run) / "results.json"
    if not path.is_file():
        raise SpecError(f"{run}: has no results.json; expected a finished run directory")
    results = json.loads(path.read_text(encoding="utf-8"))
    rows = []
    for task, block in results["tasks"].items():
        for row in block["metrics"]:
            stratum = "".join(f"{key}={value}" for key, value in (row["stratum"] or {}).items())
            low, high = row["ci"] or (None, None)
            flat = {key: value for key, value in row.items() if key not in ("stratum", "ci")}
            rows.append({"task": task, **flat, "stratum": stratum or None, "ci_low": low, "ci_high": high})
    return pd.DataFrame(rows)

"""The Python API: the same evaluations as the command line, for notebooks and scripts."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.evaluation import evaluate as evaluation
from harness.evaluation import rescore
from harness.evaluation.outputs import Evaluation
from harness.evaluation.setup import RunSpec
from harness.exports.sample_scores import load_scores
from harness.models.description import display_name
from harness.runs.directory import RunDirectory
from harness.scoring.results import headline_row

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["evaluate", "load_run", "load_scores", "score"]


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
    """Evaluate a model on tasks, or resume an evaluation that was interrupted; the same as `harness run`.

    Args:
        tasks: Names of tasks or groups of tasks.
        model: Model reference: a name, `path/file.py:Class` or `package.module:Class`.
        data_roots: Folders that hold releases, or `phantom[:SEED]` for synthetic patients.
        model_args: Keyword arguments of the model's `__init__`.
        out: The run directory; None means `runs/<model>-<digest>`.
        limit: The most samples per task, where smaller limits nest in larger ones; None evaluates all.
        seed: Seed of the run.
        workers: Number of model copies; None means one per GPU, else 1.
        ray: `auto`, `local`, `off` or the address of a cluster.
        task_paths: Folders with further task files.
        max_failures: `N` or `P%` of the wanted scores that may fail before the evaluation counts as failed.
    Returns:
        The run directory, the content of `results.json`, and the failures.
    Raises:
        HarnessError: The evaluation cannot begin or cannot go on; finished predictions are kept.
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
    """Score the stored predictions of a run again; the same as `harness score RUN_DIR`.

    Args:
        run: The run directory.
        protocols: Score by these protocols only, and leave the run directory as it is; empty means the tasks' own.
        task_paths: Folders with further task files.
    Returns:
        The run directory, the new results, and the failures.
    Raises:
        SpecError: `run` is not a run directory.
    """
    paths = tuple(Path(path) for path in task_paths)
    return rescore.rescore(Path(run), task_paths=paths, protocols=protocols, max_failures="100%")


def load_run(run: str | Path | Sequence[str | Path]) -> "pd.DataFrame":
    """Return the numbers of one run, or of several, as a table.

    Args:
        run: A finished run directory, or several.
    Returns:
        One row per number of `results.json`, with its run directory, model, data and task; `headline` marks the number
        that the task reports first, `over` is the stratum key of a macro mean, `coverage` that of its task, `stratum`
        is `key=value` or None, `ci_low` and `ci_high` are the ends of the confidence interval.
    Raises:
        SpecError: A run has no results.
    """
    import pandas as pd

    rows = []
    for folder in [run] if isinstance(run, str | Path) else run:
        results = RunDirectory(Path(folder)).read_results()
        for task, block in results["tasks"].items():
            headline = headline_row(block)
            for row in block["metrics"]:
                stratum = "".join(f"{key}={value}" for key, value in (row["stratum"] or {}).items())
                low, high = row["ci"] or (None, None)
                flat = {key: value for key, value in row.items() if key not in ("stratum", "ci")}
                rows.append(
                    {
                        "run": str(folder),
                        "model": display_name(results["model"]),
                        "data": results["data"],
                        "task": task,
                        **flat,
                        "over": block["headline"]["over"] if row["mean"] == "macro" else None,
                        "headline": row is headline,
                        "coverage": block["coverage"],
                        "stratum": stratum or None,
                        "ci_low": low,
                        "ci_high": high,
                    }
                )
    return pd.DataFrame(rows)

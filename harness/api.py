"""The Python API: the same evaluations as the command line, for notebooks and scripts."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import SpecError
from harness.evaluation import evaluate as evaluation
from harness.evaluation import rescore
from harness.evaluation.outputs import Evaluation
from harness.evaluation.setup import DEFAULT_MAX_FAILURES, DEFAULT_TIMEOUT, Observer, RunSpec
from harness.exports.sample_scores import load_scores
from harness.models.description import ModelDescription, display_name
from harness.records import Adapter
from harness.runs.directory import RunDirectory
from harness.scoring.results import headline_row

if TYPE_CHECKING:
    import pandas as pd

    from harness.comparison.gating.verdict import GateReport

__all__ = ["evaluate", "gate", "load_run", "load_scores", "score"]


def evaluate(
    tasks: str | Path | Sequence[str | Path],
    model: str | Path | Adapter | type[Adapter],
    *,
    data_roots: str | Path | Sequence[str | Path],
    model_args: Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    gpus_per_worker: float | None = None,
    batch_size: int | Literal["auto"] | None = None,
    ray: str = "auto",
    timeout: float = DEFAULT_TIMEOUT,
    load_timeout: float | None = None,
    task_paths: str | Path | Sequence[str | Path] = (),
    max_failures: str | int = DEFAULT_MAX_FAILURES,
    protocols: str | Sequence[str] = (),
    parameters: Mapping[str, Any] | None = None,
    description: Mapping[str, Any] | None = None,
    send_data_to: str | Sequence[str] = (),
) -> Evaluation:
    """Evaluate a model on tasks, or resume an evaluation that was interrupted; the same as `harness run`.

    News, such as what was found in the data, goes to the logger `harness`, which writes to stderr unless it is set up
    otherwise.

    Args:
        tasks: Names of tasks, groups and task files, one or several; `A,B` are two.
        model: Model reference: a name, `path/file.py:Class` or `package.module:Class`; or an adapter, or its class. An
            interrupted evaluation can be resumed if the class stands in a file and, for an object, its attributes are
            JSON values.
        data_roots: Folders that hold releases, or `phantom[:SEED]` for synthetic patients, one or several.
        model_args: Keyword arguments of the model's `__init__`; none for an object.
        out: The run directory; None means `runs/<model>-<digest>`.
        limit: The most samples per task, where smaller limits nest in larger ones; None evaluates all.
        seed: Seed of the run.
        workers: Number of model copies; None means one per GPU, else 1.
        gpus_per_worker: GPUs of one copy; None means as many as the model asks for.
        batch_size: Requests per batch; `auto` means the model's maximum, None the same but 16 at most.
        ray: `auto`, `local`, `off` or the address of a cluster.
        timeout: Seconds per sample.
        load_timeout: Seconds for loading the model; None means ten times `timeout`, but 30 at least.
        task_paths: Folders with further task files, one or several.
        max_failures: `N` or `P%` of the wanted scores that may fail before the evaluation counts as failed.
        protocols: Score by these protocols only; empty means as the tasks say.
        parameters: Settings of the tasks' metrics, by `metric.parameter`, such as `nsd.tolerance_mm`.
        description: Any of `name`, `url`, `paper`, `params` and `licence` of the model, for tables and reports.
        send_data_to: Hosts that may get the data of tasks whose terms forbid sending them anywhere.
    Returns:
        The run directory, the content of `results.json`, and the failures.
    Raises:
        HarnessError: The evaluation cannot begin or cannot go on; finished predictions are kept.
    """
    unknown = sorted((description or {}).keys() - {item.name for item in fields(ModelDescription)})
    if unknown:
        known = ", ".join(item.name for item in fields(ModelDescription))
        raise SpecError(f"description: expected some of {known}, found '{unknown[0]}'")
    counts: Mapping[str, Any] = {"limit": limit, "workers": workers}
    for name, count in counts.items():
        # By `__index__`, which numpy's integers have too.
        if count is not None and (not hasattr(count, "__index__") or count < 1):
            raise SpecError(f"{name}: expected a whole number of at least 1, or None, found {count!r}")
    spec = RunSpec(
        tasks=_several(tasks),
        model=str(model) if isinstance(model, Path) else model,
        model_args=model_args or {},
        data_roots=_several(data_roots),
        out=None if out is None else Path(out),
        limit=limit,
        seed=seed,
        workers=workers,
        gpus_per_worker=gpus_per_worker,
        batch_size=batch_size,
        ray=ray,
        timeout=timeout,
        load_timeout=load_timeout,
        task_paths=tuple(map(Path, _several(task_paths))),
        max_failures=str(max_failures),
        protocols=_several(protocols),
        parameters=parameters or {},
        description=ModelDescription.read(**(description or {})),
        send_data_to=_several(send_data_to),
    )
    return evaluation.evaluate(spec, Observer(notice=logging.getLogger("harness").warning))


def _several(given: str | Path | Sequence[str | Path]) -> tuple[str, ...]:
    """Return one or several names or paths as texts; a text alone is one, not a sequence of letters."""
    return (str(given),) if isinstance(given, str | Path) else tuple(map(str, given))


def score(
    run: str | Path, *, protocols: str | Sequence[str] = (), task_paths: str | Path | Sequence[str | Path] = ()
) -> Evaluation:
    """Score the stored predictions of a run again; the same as `harness score RUN_DIR`.

    Args:
        run: The run directory.
        protocols: Score by these protocols only, and leave the run directory as it is; empty means the tasks' own.
        task_paths: Folders with further task files, which come before those that the run keeps.
    Returns:
        The run directory, the new results, and the failures.
    Raises:
        SpecError: `run` is not a run directory.
    """
    paths = tuple(map(Path, _several(task_paths)))
    return rescore.rescore(Path(run), task_paths=paths, protocols=_several(protocols), max_failures="100%")


def load_run(run: str | os.PathLike[str] | Sequence[str | os.PathLike[str]]) -> "pd.DataFrame":
    """Return the numbers of one run, or of several, as a table.

    Args:
        run: A finished run directory or what `evaluate` returned, or several.
    Returns:
        One row per number of `results.json`, with its run directory, model, data and task; `headline` marks the number
        that the task reports first, `over` is the stratum key of a macro mean, `coverage` that of its task, `stratum`
        is `key=value` or None, `ci_low` and `ci_high` are the ends of the confidence interval.
    Raises:
        SpecError: A run has no results.
    """
    import pandas as pd

    rows = []
    for folder in [run] if isinstance(run, str | os.PathLike) else run:
        results = RunDirectory(Path(folder)).read_results()
        for task, block in results["tasks"].items():
            headline = headline_row(block)
            for row in block["metrics"]:
                stratum = "".join(f"{key}={value}" for key, value in (row["stratum"] or {}).items())
                low, high = row["ci"] or (None, None)
                flat = {key: value for key, value in row.items() if key not in ("stratum", "ci")}
                rows.append(
                    {
                        "run": os.fspath(folder),
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


def compare(*runs: str | os.PathLike[str], common_samples: bool = False, every_number: bool = False) -> "pd.DataFrame":
    """Return what changed between runs on the same samples, as a table; `harness compare` makes a page of it too.

    Args:
        runs: At least two finished run directories, or what `evaluate` returned; each is compared with the first.
        common_samples: Compare the samples that both have although data digest or task version differ.
        every_number: All numbers of a task, not only its headline with the strata.
    Returns:
        One row per number and run: `a` and `b` are the run directories, `value_a`, `value_b` and `difference` (b - a)
        in the metric's unit, `ci_low` and `ci_high` the ends of the difference's 95 % interval, `p` and `p_adjusted`
        the two-sided p value before and after Holm's correction, `verdict` one of `better`, `worse`,
        `no difference shown` and `not compared`; `stratum` is `key=value` or None.
    Raises:
        SpecError: Fewer than two runs, one that is not finished, or two that cannot be compared.
    """
    import pandas as pd

    from harness.comparison.compare import compare_runs
    from harness.comparison.compared_text import to_json

    rows = []
    found = to_json(compare_runs([Path(run) for run in runs], common_samples=common_samples, every_number=every_number))
    for comparison in found["comparisons"]:
        for task, block in comparison["tasks"].items():
            for number in block["numbers"]:
                stratum = "".join(f"{key}={value}" for key, value in (number["stratum"] or {}).items())
                low, high = number["ci"] or (None, None)
                flat = {key: value for key, value in number.items() if key not in ("stratum", "ci")}
                runs_of = {"a": comparison["a"]["run"], "b": comparison["b"]["run"], "task": task}
                rows.append({**runs_of, **flat, "stratum": stratum or None, "ci_low": low, "ci_high": high})
    return pd.DataFrame(rows)


def gate(
    baseline: str | os.PathLike[str],
    candidate: str | os.PathLike[str],
    policy: str | os.PathLike[str] | None = None,
    *,
    task_paths: str | Path | Sequence[str | Path] = (),
) -> "GateReport":
    """Return whether a run is worse than a baseline; the same as `harness gate`.

    Args:
        baseline: A run directory, what `evaluate` returned, or a file of `harness baseline pin`.
        candidate: The run of the new model.
        policy: A YAML file with the rows to gate; None: the headline of every task of the baseline.
        task_paths: Folders with further task files, one or several, whose names the policy may use.
    Returns:
        The verdict (`pass`, `regression`, `cannot_judge`), its exit code, and one row per number with its test.
    Raises:
        SpecError: A run or file cannot be read, was changed after it was pinned, or the policy is at fault.
    """
    from harness.comparison.gate import gate as judge

    return judge(
        Path(baseline),
        Path(candidate),
        None if policy is None else Path(policy),
        task_paths=tuple(map(Path, _several(task_paths))),
    )

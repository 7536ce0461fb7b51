"""The scores of a finished run by sample, as a table of one row per sample or one row per score, and as CSV."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError, SpecError, listed, nearest
from harness.exports.csv_cells import harmless
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.store import LINES_NAMED

if TYPE_CHECKING:
    import pandas as pd

# Columns before the strata and values of a sample.
FACTS = ("task", "sample_id", "repeat", "status", "cluster")
LONG = ("metric", "protocol", "name", "value", "score_status", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricScores:
    """The scores of a task under one metric and protocol.

    Attributes:
        names: Names of the metric's values.
        rows: `values`, `status` and `failed` by sample id and repetition.
    """

    names: tuple[str, ...]
    rows: Mapping[tuple[str, int], Mapping[str, Any]]

    def values_of(self, row: Mapping[str, Any] | None) -> dict[str, float | None]:
        """Return the values of a row by name, all None if it has none."""
        values = (row and row["values"]) or [None] * len(self.names)
        return dict(zip(self.names, values, strict=True))


def load_scores(run: str | os.PathLike[str], *, task: str | None = None, long: bool = False) -> "pd.DataFrame":
    """Return the scores of a finished run by sample.

    Args:
        run: The run directory, or what `evaluate` returned.
        task: Only this task; None: all tasks of the run.
        long: One row per sample, metric, protocol and named value, in place of one row per sample.
    Returns:
        One row per sample and repetition, in the order of the run's plan, samples that could not be asked included.
        Columns: `task`, `sample_id`, `repeat` (0-based), `status` of the prediction, `cluster`, one text column per
        stratum key, then one float64 column per value: `dice.standard`, or `token_prf.standard.recall` if the metric
        has several. NaN where a sample has no value; a failed or unreadable answer has the metric's worst. With `long`
        the value columns are replaced by `metric`, `protocol`, `name`, `value`, the score's `score_status` and
        `failed`.
    Raises:
        SpecError: The run is not finished, has no scores, or has no such task.
        DataError: A file of the run is damaged.
    """
    import pandas as pd

    directory = RunDirectory(Path(run))
    blocks = directory.read_results()["tasks"]
    if task is not None and task not in blocks:
        raise SpecError(
            f"{directory.path}: has no scored task '{task}'{nearest(task, list(blocks))}, only {', '.join(blocks)}"
        )
    statuses: dict[str, str] = {}
    damaged: list[int] = []
    for number, line in enumerate(directory.read_lines(), 1):
        if line.key is None:
            damaged.append(number)
        else:
            statuses[line.key.hex()] = line.status
    rows: list[dict[str, Any]] = []
    strata: dict[str, None] = {}
    values: dict[str, None] = {}
    for name in [task] if task is not None else list(blocks):
        scored = scores_of_task(directory, name, blocks[name]["metrics"])
        for row in plan_file.read(directory.plan_path(name)):
            sample = row.sample
            # A stratum with the name of a column gets a prefix, so that neither hides the other.
            in_columns = {
                f"stratum.{key}" if key in (*FACTS, *LONG) else key: word for key, word in sample.strata.items()
            }
            strata.update(dict.fromkeys(in_columns))
            status = "data_error" if row.defect is not None else statuses.get(row.key, "not_run")
            if status == "not_run" and damaged:
                raise DataError(
                    f"{directory.predictions_path}: damaged in line {listed(damaged, LINES_NAMED)}, and {sample.id} "
                    "has no other answer; run the same `harness run` command again: it is asked again"
                )
            facts = dict(zip(FACTS, (name, sample.id, row.repeat, status, sample.cluster), strict=True))
            wide = {**facts, **in_columns}
            for (metric, protocol), scores in scored.items():
                found = scores.rows.get((sample.id, row.repeat))
                for value_name, value in scores.values_of(found).items():
                    if long:
                        rows.append(
                            {
                                **facts,
                                **in_columns,
                                "metric": metric,
                                "protocol": protocol,
                                "name": value_name,
                                "value": value,
                                "score_status": "not_scored" if found is None else found["status"],
                                "failed": bool(found and found["failed"]),
                            }
                        )
                    else:
                        column = ".".join(dict.fromkeys((metric, protocol, value_name)))
                        # A metric with one value is named after it: `dice.standard`, not `dice.standard.dice`.
                        values[column] = None
                        wide[column] = value
            if not long:
                rows.append(wide)
    table = pd.DataFrame(rows, columns=[*FACTS, *strata, *(LONG if long else values)])
    return table.astype(dict.fromkeys(["value"] if long else values, "float64"))


def scores_of_task(
    directory: RunDirectory, task: str, numbers: Sequence[Mapping[str, Any]]
) -> dict[tuple[str, str], MetricScores]:
    """Return the scores of a task by metric and protocol.

    Args:
        directory: The run directory.
        task: Name of the task.
        numbers: The rows of the task in `results.json`.
    Raises:
        SpecError: A file of scores is missing.
    """
    import pyarrow.parquet as pq

    # Of the scored rows every value has one without stratum, in the order of the metric's values.
    scored: dict[tuple[str, str], list[str]] = {}
    for number in numbers:
        names = scored.setdefault((number["metric"], number["protocol"]), [])
        if number["name"] not in names:
            names.append(number["name"])
    found = {}
    for (metric, protocol), names in scored.items():
        path = directory.scores_folder / f"{task}.{metric}.{protocol}.parquet"
        if not path.is_file():
            raise SpecError(f"{path}: scores are missing; run `harness score` on the run directory to write them again")
        directory.checks.check(path, f"`harness score {directory.path}` writes it anew")
        rows = pq.read_table(path, columns=["sample_id", "repeat", "values", "status", "failed"]).to_pylist()
        found[metric, protocol] = MetricScores(
            names=tuple(names), rows={(row["sample_id"], row["repeat"]): row for row in rows}
        )
    return found


def as_csv(table: "pd.DataFrame") -> str:
    """Return a table of `load_scores` as CSV; an empty cell is no value, and no cell starts a formula."""
    quoted = table.copy()
    for column in quoted.columns:
        if quoted[column].dtype == object or str(quoted[column].dtype) in ("str", "string"):
            quoted[column] = [harmless(cell) for cell in quoted[column]]
    return str(quoted.to_csv(index=False, lineterminator="\n"))

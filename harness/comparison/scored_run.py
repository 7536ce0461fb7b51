"""What a comparison reads of a run: the blocks of `results.json`, and the scores by sample as columns.

A run directory fills these records through `read_run`; a pinned file fills the same ones.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError, nearest
from harness.metrics import find
from harness.metrics.metric import Floats, Metric, Stats
from harness.models.description import display_name
from harness.runs.directory import RunDirectory
from harness.scoring.results import headline_row
from harness.scoring.score_table import NO_STRATUM

if TYPE_CHECKING:
    import pyarrow as pa

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

# Statuses of a score that is in the mean; the others are counted and left out.
IN_THE_MEAN = ("ok", "unparsed")
# Columns of a file of scores that a comparison needs: the details would take most of the memory.
COLUMNS = ["sample_id", "repeat", "status", "failed", "cluster", "strata", "values", "stats"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScoreColumns:
    """The scores of one metric and protocol, one row per sample and repetition, in any order.

    Attributes:
        sample_ids: pyarrow string array (rows,).
        repeat: int64 (rows,), 0-based.
        cluster: int64 (rows,), each row's place in `cluster_names`.
        cluster_names: The clusters, ascending.
        strata: int64 (rows,), each row's place in `strata_values`.
        strata_values: The combinations of strata that occur, {key: value} each.
        values: float64 (rows, names); NaN for a row that is not in that name's mean. A failed answer has the metric's
            worst value.
        stats: float64 (rows, stats), 0 for a row that is not in the mean; (rows, 0) if they are of no fixed length.
        lists: Each row's stats as they are, if they are of no fixed length; otherwise empty.
        scored: bool (rows,), the status is `ok` or `unparsed`.
        failed: bool (rows,).
    """

    sample_ids: "pa.Array"
    repeat: Ints
    cluster: Ints
    cluster_names: Sequence[str]
    strata: Ints
    strata_values: Sequence[Mapping[str, str]]
    values: Floats
    stats: Floats
    lists: Sequence[Stats]
    scored: Flags
    failed: Flags

    def by_stratum(self) -> dict[str, tuple[list[str], Ints]]:
        """Return stratum key -> (values, sorted; int64 (rows,), each row's place among them)."""
        found: dict[str, tuple[list[str], Ints]] = {}
        for key in sorted({key for combination in self.strata_values for key in combination}):
            names = [combination.get(key, NO_STRATUM) for combination in self.strata_values]
            known = sorted(set(names))
            place = np.asarray([known.index(name) for name in names], dtype=np.int64)
            found[key] = (known, place[self.strata])
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskScores:
    """One task of a run.

    Attributes:
        name: The task.
        block: Its block of `results.json`: version, digests, fallbacks, coverage, counts, headline and metric rows.
        read: Returns the columns of a (metric, protocol); raises SpecError if they are missing.
        find_metric: Returns the table row of a (metric, protocol); None if it is the task's own and cannot be loaded.
    """

    name: str
    block: Mapping[str, Any]
    read: Callable[[str, str], ScoreColumns]
    find_metric: Callable[[str, str], Metric | None]

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        """The rows of `results.json`, one per number."""
        found: Sequence[Mapping[str, Any]] = self.block["metrics"]
        return found

    @property
    def headline(self) -> Mapping[str, Any] | None:
        """The row that is the task's headline; None if that metric was not scored."""
        return headline_row(self.block)

    @property
    def over(self) -> str | None:
        """The stratum key of the task's macro means; None if it has none."""
        key: str | None = self.block["headline"]["over"]
        return key


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRun:
    """A run that is compared.

    Attributes:
        source: The run directory, or the pinned file.
        model: Name of the model, as reports show it.
        data: `real` or `phantom`.
        limited: Whether only some samples of a task were evaluated.
        tasks: The scored tasks by name.
        unsupported: Task -> why the model cannot be asked.
        unavailable: `{task, metric, reason, remedy}` of what could not be scored.
        performance: The content of `performance.json`; empty if there is none.
        directory: The run directory, for prompts and masks; None for a pinned file.
    """

    source: Path
    model: str
    data: str
    limited: bool
    tasks: Mapping[str, TaskScores]
    unsupported: Mapping[str, str]
    unavailable: Sequence[Mapping[str, Any]]
    performance: Mapping[str, Any]
    directory: RunDirectory | None = None


def read_run(path: Path) -> ScoredRun:
    """Return a finished run; the scores of a metric are read when they are asked for.

    Raises:
        SpecError: `path` does not exist, is no run directory, or the run is not finished.
    """
    if not path.exists():
        raise SpecError(f"{path}: does not exist; expected a run directory that `harness run --out` wrote")
    directory = RunDirectory(path)
    if not directory.results_path.is_file():
        directory.read_run()  # says what is wrong with a folder that is no run directory
        raise SpecError(
            f"{path}: has no results.json: the run is not finished; run the same `harness run` command again"
        )
    results = directory.read_results()
    speed = directory.performance_path
    directory.checks.check(speed)
    return ScoredRun(
        source=path,
        model=display_name(results["model"]),
        data=results["data"],
        limited=results["limited"],
        tasks={name: _task_of(directory, name, block) for name, block in results["tasks"].items()},
        unsupported=results["unsupported"],
        unavailable=results["unavailable"],
        performance=json.loads(speed.read_text(encoding="utf-8")) if speed.is_file() else {},
        directory=directory,
    )


def _task_of(directory: RunDirectory, name: str, block: Mapping[str, Any]) -> TaskScores:
    """Return a task whose scores lie in a run directory."""
    names = {(row["metric"], row["protocol"]): 0 for row in block["metrics"]}
    for metric, protocol, _ in {(row["metric"], row["protocol"], row["name"]) for row in block["metrics"]}:
        names[metric, protocol] += 1

    def find_metric(metric: str, protocol: str) -> Metric | None:
        return table_row(metric, protocol) or _own_metric(directory, name, metric, protocol)

    def read(metric: str, protocol: str) -> ScoreColumns:
        path = directory.scores_folder / f"{name}.{metric}.{protocol}.parquet"
        if (metric, protocol) not in names:
            known = [" ".join(pair) for pair in names]
            wanted = f"{metric} {protocol}"
            raise SpecError(
                f"{directory.path}: {name} was not scored by {wanted}{nearest(wanted, known)}; "
                f"it has {', '.join(known)}"
            )
        if not path.is_file():
            raise SpecError(f"{path}: scores are missing; run `harness score` on the run directory to write them again")
        directory.checks.check(path, f"`harness score {directory.path}` writes it anew")
        return read_columns(path, names[metric, protocol], find_metric(metric, protocol))

    return TaskScores(name=name, block=block, read=read, find_metric=find_metric)


def table_row(metric: str, protocol: str) -> Metric | None:
    """Return the row of the table of metrics; None if it has no such row."""
    try:
        return find(metric, protocol)
    except SpecError:
        return None


def _own_metric(directory: RunDirectory, task: str, metric: str, protocol: str) -> Metric | None:
    """Return a metric of the task's own; None if its code is gone, or came with the run and never ran here."""
    from harness.tasks.catalog import index
    from harness.tasks.plug_ins import load_metric

    try:
        ((spec,), _) = index((), stored=directory.tasks_folder).resolve([task])
        use = next(use for use in spec.metrics if (use.metric, use.protocol) == (metric, protocol))
        return load_metric(use, spec.folder)
    except (SpecError, StopIteration, ValueError):
        return None


def read_columns(path: Path, names: int, metric: Metric | None) -> ScoreColumns:
    """Return the columns of one file of scores.

    Args:
        path: As `harness.scoring.score.ScoreFile` writes it.
        names: Number of named values of the metric.
        metric: Its row, which says how many stats a sample has; None: the stats are not read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = COLUMNS if metric is not None and (metric.corpus or metric.stats) else COLUMNS[:-1]
    # Clusters and strata repeat; as dictionaries a million of them are a few distinct texts and a column of numbers.
    table = pq.read_table(path, columns=columns, read_dictionary=["status", "cluster", "strata"])
    table = table.combine_chunks()
    statuses, status = _codes(table["status"])
    clusters, cluster = _codes(table["cluster"])
    strata, stratum = _codes(table["strata"])
    order = np.argsort(np.asarray(clusters, dtype=object), kind="stable") if clusters else np.zeros(0, dtype=np.int64)
    rank = np.empty(len(clusters), dtype=np.int64)
    rank[order] = np.arange(len(clusters))
    scored = np.isin(status, [code for code, name in enumerate(statuses) if name in IN_THE_MEAN])
    pooled = metric is not None and metric.pool is not None
    lists: list[Stats] = []
    stats = np.zeros((len(status), 0))
    if pooled:
        lists = [tuple(row) if row else () for row in table["stats"].to_pylist()]
    elif "stats" in columns and metric is not None:
        stats = np.nan_to_num(_matrix(table["stats"], len(metric.stats)), nan=0.0)
    ids = table["sample_id"]
    return ScoreColumns(
        sample_ids=ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids,
        repeat=table["repeat"].to_numpy().astype(np.int64),
        cluster=rank[cluster] if len(clusters) else cluster,
        cluster_names=[clusters[place] for place in order],
        strata=stratum,
        strata_values=[json.loads(text) for text in strata],
        values=_matrix(table["values"], names),
        stats=stats,
        lists=lists,
        scored=scored,
        failed=table["failed"].to_numpy(),
    )


def _codes(column: "pa.ChunkedArray") -> tuple[list[str], Ints]:
    """Return the distinct texts of a column, and int64 (rows,) with each row's place among them."""
    import pyarrow as pa

    whole = column.unify_dictionaries().combine_chunks()
    if isinstance(whole, pa.ChunkedArray):  # a column without rows
        return [], np.zeros(0, dtype=np.int64)
    return whole.dictionary.to_pylist(), whole.indices.to_numpy(zero_copy_only=False).astype(np.int64)


def _matrix(column: "pa.ChunkedArray", width: int) -> Floats:
    """Return float64 (rows, width) of a column of lists; NaN for a row of any other length, and for a null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        return np.zeros((0, width))
    lengths = pc.list_value_length(whole).to_numpy(zero_copy_only=False)
    full = lengths == width
    found = np.full((len(lengths), width), np.nan)
    flat = whole.flatten().to_numpy(zero_copy_only=False)
    starts = np.cumsum(lengths) - lengths
    for place in range(width):
        found[full, place] = flat[starts[full] + place]
    return found

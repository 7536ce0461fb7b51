"""Which samples of two runs are compared: pairs by sample id and repetition, on the same data and task version."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from harness.comparison.scored_run import Flags, Ints, ScoreColumns, ScoredRun, TaskScores
from harness.errors import SpecError, listed
from harness.metrics.metric import Floats, Stats
from harness.scoring.score_table import NO_STRATUM

# What stands between the id and the repetition of a sample where both make its key; no id holds it.
_BETWEEN = "\x1f"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPair:
    """A task that both runs have.

    Attributes:
        name: The task.
        a, b: The task in either run.
        differences: What differs and forbids a comparison unless it was asked for: data digest, task version.
        notes: What differs and does not forbid it: fallbacks, wording, limits, samples of one run only.
    """

    name: str
    a: TaskScores
    b: TaskScores
    differences: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PairedScores:
    """The scores of one metric and protocol that both runs have, one row per sample and repetition.

    Attributes:
        sample_ids: pyarrow string array (rows,).
        repeat: int64 (rows,).
        cluster: int64 (rows,), rank of the cluster by name among those that occur.
        clusters: Number of clusters.
        strata: Stratum key -> (values, sorted; int64 (rows,), each row's place among them).
        values_a, values_b: float64 (rows, names), NaN for a row that is not in that name's mean.
        stats_a, stats_b: float64 (rows, stats), 0 for a row that is not in the mean; (rows, 0) if there are none.
        lists_a, lists_b: The stats of a metric that pools them as they are; otherwise empty.
        scored_a, scored_b: bool (rows,), the row is in the mean.
        failed_a, failed_b: bool (rows,).
        only_a, only_b: Number of rows that one run alone has.
    """

    sample_ids: Any
    repeat: Ints
    cluster: Ints
    clusters: int
    strata: Mapping[str, tuple[list[str], Ints]]
    values_a: Floats
    values_b: Floats
    stats_a: Floats
    stats_b: Floats
    lists_a: Sequence[Stats]
    lists_b: Sequence[Stats]
    scored_a: Flags
    scored_b: Flags
    failed_a: Flags
    failed_b: Flags
    only_a: int
    only_b: int

    def rows_of(self, stratum: tuple[str, str] | None) -> Ints:
        """Return int64, the rows of a stratum (key, value), none if it has none; all rows for None."""
        if stratum is None:
            return np.arange(len(self.cluster))
        key, value = stratum
        names, places = self.strata.get(key, ([NO_STRATUM], np.zeros(len(self.cluster), dtype=np.int64)))
        return np.flatnonzero(places == names.index(value)) if value in names else np.zeros(0, dtype=np.int64)


def pair_tasks(a: ScoredRun, b: ScoredRun, *, common_samples: bool = False) -> list[TaskPair]:
    """Return the tasks that both runs have, in the order of the first.

    Args:
        a, b: The runs.
        common_samples: Compare the samples that both have although data digest or task version differ.
    Raises:
        SpecError: One run is on synthetic data and the other is not, no task is common, or data digest or task version
            of a common task differ and `common_samples` is not set.
    """
    if a.data != b.data:
        raise SpecError(
            f"{b.source}: is a run on {b.data} data, {a.source} one on {a.data} data; expected both on the same data"
        )
    names = [name for name in a.tasks if name in b.tasks]
    if not names:
        of_a, of_b = (listed(list(run.tasks), 5, "tasks") or "no scored task" for run in (a, b))
        raise SpecError(
            f"{b.source}: has no task in common with {a.source}: found {of_b}, expected some of {of_a}; "
            "evaluate the same tasks with both models"
        )
    pairs = [_pair_task(name, a, b) for name in names]
    refused = [f"{pair.name}: {words}" for pair in pairs for words in pair.differences]
    if refused and not common_samples:
        raise SpecError(
            f"{b.source}: is not comparable with {a.source} as it is: {'; '.join(refused)}. "
            "Evaluate both on the same data, or give --common-samples to compare the samples that both have"
        )
    return pairs


def _pair_task(name: str, run_a: ScoredRun, run_b: ScoredRun) -> TaskPair:
    """Return one common task with what differs between the two runs."""
    a, b = run_a.tasks[name], run_b.tasks[name]
    differences, notes = [], []
    if a.block["data_digest"] != b.block["data_digest"]:
        differences.append(f"data digest {a.block['data_digest'][:12]} against {b.block['data_digest'][:12]}")
    if a.block["version"] != b.block["version"]:
        differences.append(f"task version {a.block['version']} against {b.block['version']}")
    elif a.block["task_digest"] != b.block["task_digest"]:
        notes.append(f"the task file differs within version {a.block['version']}, as a prompt or a list of metrics may")
    if a.block["fallbacks"] != b.block["fallbacks"]:
        shown = (", ".join(block["fallbacks"]) or "none" for block in (a.block, b.block))
        notes.append(f"fallbacks differ: {' against '.join(shown)}")
    if a.block.get("wording") != b.block.get("wording"):
        notes.append(f"wording differs: {a.block.get('wording')} against {b.block.get('wording')}")
    if run_a.limited or run_b.limited:
        notes.append(f"limited by --limit: {a.block['wanted']} samples in A, {b.block['wanted']} in B")
    for block, run in ((a.block, run_a), (b.block, run_b)):
        if block["coverage"] < 1:
            notes.append(f"coverage {block['coverage']:.1%} in {run.source}: the other answers could not be scored")
    return TaskPair(name=name, a=a, b=b, differences=tuple(differences), notes=tuple(notes))


def pair_scores(a: ScoreColumns, b: ScoreColumns) -> PairedScores:
    """Return the rows that both have, in the order of `a`; clusters and strata are those of `a`.

    A sample that one run did not score (its file could not be read, it was not asked) is in neither mean and is counted
    in `only_a` or `only_b`. A failed answer is in the mean with the metric's worst value, as in `results.json`.
    """
    rows_a, rows_b = _common_rows(a, b)
    present, cluster = np.unique(a.cluster[rows_a], return_inverse=True)
    strata: dict[str, tuple[list[str], Ints]] = {}
    for key, (known, place) in a.by_stratum().items():
        used, index = np.unique(place[rows_a], return_inverse=True)
        strata[key] = ([known[code] for code in used], index)
    return PairedScores(
        sample_ids=a.sample_ids if len(rows_a) == len(a.sample_ids) else a.sample_ids.take(_arrow(rows_a)),
        repeat=a.repeat[rows_a],
        cluster=cluster,
        clusters=len(present),
        strata=strata,
        values_a=a.values[rows_a],
        values_b=b.values[rows_b],
        stats_a=a.stats[rows_a],
        stats_b=b.stats[rows_b],
        lists_a=[a.lists[row] for row in rows_a] if a.lists else (),
        lists_b=[b.lists[row] for row in rows_b] if b.lists else (),
        scored_a=a.scored[rows_a],
        scored_b=b.scored[rows_b],
        failed_a=a.failed[rows_a],
        failed_b=b.failed[rows_b],
        only_a=len(a.sample_ids) - len(rows_a),
        only_b=len(b.sample_ids) - len(rows_b),
    )


def _common_rows(a: ScoreColumns, b: ScoreColumns) -> tuple[Ints, Ints]:
    """Return the rows of `a` and of `b` that are the same sample and repetition, ascending in `a`, int64 each."""
    import pyarrow.compute as pc

    if np.array_equal(a.repeat, b.repeat) and a.sample_ids.equals(b.sample_ids):
        same = np.arange(len(a.repeat))
        return same, same
    keys = [columns.sample_ids for columns in (a, b)]
    if a.repeat.any() or b.repeat.any():
        keys = [
            pc.binary_join_element_wise(columns.sample_ids, _arrow(columns.repeat).cast("string"), _BETWEEN)
            for columns in (a, b)
        ]
    found = pc.index_in(keys[0], value_set=keys[1]).fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.flatnonzero(found >= 0)
    return rows, found[rows]


def _arrow(numbers: Ints) -> Any:
    import pyarrow as pa

    return pa.array(numbers)

"""What a comparison on the samples of a run can see: one line per task, for `harness power`."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.comparison.gating.judgement import compare_row
from harness.comparison.gating.policy import NumberRow
from harness.comparison.gating.rows import number_of
from harness.comparison.pairing import pair_scores
from harness.comparison.pinned import read_side
from harness.comparison.power import (
    CHANGED,
    POWER,
    Noise,
    clusters_needed,
    detectable_drop,
    exchanged,
    samples_of,
)
from harness.comparison.scored_run import ScoredRun
from harness.errors import SpecError, nearest


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRow:
    """What one number can show.

    Attributes:
        task, metric, protocol, name, mean: The number.
        value: Its value in the run.
        drop: Drop beyond the tolerance, in the metric's unit, that is caught.
        n, clusters: Samples and patients that catch it with 90 % power.
        has_n, has_clusters: Samples and patients of the run.
        rows: Number of rows of the policy.
        noise: `measured` on two runs, or `assumed`.
        power: Always 0.9.
    """

    task: str
    metric: str
    protocol: str
    name: str
    mean: str
    value: float
    drop: float
    n: int
    clusters: int
    has_n: int
    has_clusters: int
    rows: int
    noise: str
    power: float = POWER


def power_table(
    run: Path,
    row: NumberRow,
    *,
    drop: float | None = None,
    n: int | None = None,
    against: Path | None = None,
    changed: float = CHANGED,
    rows: int = 1,
) -> list[PowerRow]:
    """Return, for every task of a run that has a number, the samples that show a drop or the drop that samples show.

    Args:
        run: A run directory or a pinned file.
        row: The number; an empty task means every task that has it.
        drop: Return how many samples catch this drop; exactly one of `drop` and `n` is given.
        n: Return the smallest drop that this number of samples catches.
        against: A second run on the same samples, on which the noise of the difference is measured; None: it is that of
            a candidate with a share of other answers.
        changed: That share.
        rows: Number of rows of the policy: after Holm, more rows need more samples.
    Raises:
        SpecError: A run cannot be read or has no such number, the noise cannot be known, or no number of samples is
            enough.
    """
    if (drop is None) == (n is None):
        raise SpecError("power: expected one of --drop and --n, to learn the other")
    side = read_side(run).run
    other = None if against is None else read_side(against).run
    found = []
    for task in [row.task] if row.task else list(side.tasks):
        if task not in side.tasks:
            raise SpecError(
                f"{run}: has no scored task '{task}'{nearest(task, list(side.tasks))}, only {', '.join(side.tasks)}"
            )
        line = _of_task(side, other, replace(row, task=task), drop=drop, n=n, changed=changed, rows=rows)
        if line is not None:
            found.append(line)
        elif row.task:
            raise _lacking(side, row, [task])
    if not found:
        raise _lacking(side, row, list(side.tasks))
    return found


def _lacking(run: ScoredRun, row: NumberRow, tasks: Sequence[str]) -> SpecError:
    metrics = list(dict.fromkeys(it["metric"] for task in tasks for it in run.tasks[task].rows))
    hint = nearest(row.metric or "", metrics)
    words = row.title.strip()
    return SpecError(f"{run.source}: no task has {words}{hint}; its metrics are {', '.join(metrics)}")


def _of_task(
    run: ScoredRun,
    other: ScoredRun | None,
    row: NumberRow,
    *,
    drop: float | None,
    n: int | None,
    changed: float,
    rows: int,
) -> PowerRow | None:
    """Return the line of one task; None if it does not have the number."""
    task = run.tasks[row.task]
    stored = number_of(row, task)
    if stored is None:
        return None
    metric, protocol = stored["metric"], stored["protocol"]
    columns = task.read(metric, protocol)
    if other is None:
        paired = exchanged(pair_scores(columns, columns), changed=changed)
    else:
        if row.task not in other.tasks or other.tasks[row.task].block["data_digest"] != task.block["data_digest"]:
            raise SpecError(
                f"{other.source}: --against needs {row.task} on the same data as {run.source}; run it there"
            )
        paired = pair_scores(columns, other.tasks[row.task].read(metric, protocol))
    names = [it["name"] for it in task.rows if (it["metric"], it["protocol"]) == (metric, protocol)]
    tested = compare_row(
        row,
        paired,
        task.find_metric(metric, protocol),
        name=list(dict.fromkeys(names)).index(stored["name"]),
        mean=stored["mean"],
        higher_is_better=stored["higher_is_better"],
        over=task.over,
    )
    noise = tested.noise
    if noise is None or (noise.error == 0 and not noise.changed):
        raise SpecError(
            f"{run.source}: {row.task}: the noise of {stored['name']} is unknown: "
            f"{tested.difference.clusters} patients, and no spread of scores among them; "
            "evaluate more patients, or name two runs that differ by --against"
        )
    clusters, seen = _solve(noise, drop, n, rows)
    return PowerRow(
        task=row.task,
        metric=metric,
        protocol=protocol,
        name=stored["name"],
        mean=stored["mean"],
        value=stored["value"],
        drop=seen,
        n=samples_of(noise, clusters),
        clusters=clusters,
        has_n=noise.samples,
        has_clusters=noise.clusters,
        rows=rows,
        noise="assumed" if other is None else "measured",
    )


def _solve(noise: Noise, drop: float | None, n: int | None, rows: int) -> tuple[int, float]:
    """Return the number of patients and the drop that they catch, of which one is given."""
    if drop is not None:
        return clusters_needed(noise, drop, rows=rows), drop
    assert n is not None
    clusters = int(n * noise.clusters / noise.samples)
    seen = detectable_drop(noise, clusters, rows=rows)
    if seen == float("inf"):
        raise SpecError(f"--n {n}: that is {clusters} patients, which catch no drop with 90 % power; name a larger one")
    return clusters, seen

"""Runs against a first one: every headline and its strata, tested and adjusted, and the samples that moved most."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from harness.comparison.paired import PairedDifference, paired_difference
from harness.comparison.pairing import PairedScores, TaskPair, pair_scores, pair_tasks
from harness.comparison.permutation import holm
from harness.comparison.scored_run import ScoredRun, read_run
from harness.errors import SpecError

MOVED = 10  # samples each way
LEVEL = 0.05  # of an adjusted p value that calls a difference shown
# Most points of a scatter plot along an axis: more cells are smaller than a mark on a phone.
CELLS = 24

CHANGED_COLUMNS = ("a", "b", "task", "sample_id", "repeat", "metric", "protocol", "value_a", "value_b")

Family = Literal["headline", "stratum", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedNumber:
    """One number of two runs.

    Attributes:
        row: The row of `results.json` of the first run, without its value: metric, name, protocol, mean, stratum.
        unit: Of the metric's table row; empty if it is the task's own.
        family: The tests that its p value is adjusted with: all headlines, all strata, or all other numbers, over all
            tasks and runs of the comparison.
        difference: None if the two numbers cannot be compared.
        reason: Why they cannot; empty if they can.
        p_adjusted: By Holm over the family.
        tests: Number of tests of the family.
    """

    row: Mapping[str, Any]
    unit: str
    family: Family
    difference: PairedDifference | None
    reason: str = ""
    p_adjusted: float | None = None
    tests: int = 0

    @property
    def verdict(self) -> str:
        """`better` or `worse` if the adjusted p value is below 5 %, else `no difference shown`."""
        if self.difference is None or self.p_adjusted is None or self.difference.improvement is None:
            return "not compared"
        if self.p_adjusted >= LEVEL or self.difference.improvement == 0:
            return "no difference shown"
        return "better" if self.difference.improvement > 0 else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedSample:
    """A sample whose value moved, by the first value of the task's headline metric."""

    sample_id: str
    repeat: int
    value_a: float
    value_b: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScatterCell:
    """Pairs that lie close to each other in the plane of both values: its centre, and their number."""

    a: float
    b: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedTask:
    """One task of two runs.

    Attributes:
        pair: The task in both, with what differs.
        pairs: Number of samples that both scored under the headline metric; each repetition counts.
        only_a, only_b: Number of samples that one of them alone scored.
        numbers: The headline, then its strata, then other numbers if asked for.
        better, worse: The samples that moved most each way.
        scatter: Values of a against values of b.
    """

    pair: TaskPair
    pairs: int
    only_a: int
    only_b: int
    numbers: tuple[ComparedNumber, ...]
    better: tuple[MovedSample, ...]
    worse: tuple[MovedSample, ...]
    scatter: tuple[ScatterCell, ...]

    @property
    def headline(self) -> ComparedNumber | None:
        """The headline; None if a run lacks it."""
        return next((number for number in self.numbers if number.family == "headline"), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One run against the first.

    Attributes:
        a, b: The first run and the other.
        tasks: Those that both have.
        only_a, only_b: Tasks that one of them alone has.
    """

    a: ScoredRun
    b: ScoredRun
    tasks: tuple[ComparedTask, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]


def compare_runs(
    paths: Sequence[Path], *, common_samples: bool = False, every_number: bool = False
) -> tuple[Comparison, ...]:
    """Return every run against the first.

    Args:
        paths: At least two finished run directories.
        common_samples: Compare the common samples although data digest or task version differ.
        every_number: Compare the other numbers of the whole task too, not only headlines and their strata.
    Raises:
        SpecError: Fewer than two runs, one that is not finished, or two that cannot be compared.
    """
    if len(paths) < 2:
        raise SpecError(f"compare: expected at least two run directories, found {len(paths)}")
    runs = [read_run(path) for path in paths]
    first = runs[0]
    found = [
        Comparison(
            a=first,
            b=other,
            tasks=tuple(
                _compare_task(pair, first, other, every_number)
                for pair in pair_tasks(first, other, common_samples=common_samples)
            ),
            only_a=tuple(name for name in first.tasks if name not in other.tasks),
            only_b=tuple(name for name in other.tasks if name not in first.tasks),
        )
        for other in runs[1:]
    ]
    return _adjusted(found)


def _adjusted(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Return the comparisons with p values adjusted by Holm: a family spans all tasks and all runs."""
    of_family: dict[str, list[float | None]] = {"headline": [], "stratum": [], "other": []}
    for number in _numbers(comparisons):
        of_family[number.family].append(None if number.difference is None else number.difference.p)
    tests = {name: sum(p is not None for p in family) for name, family in of_family.items()}
    after = {name: iter(holm(family)) for name, family in of_family.items()}
    return tuple(
        replace(
            comparison,
            tasks=tuple(
                replace(
                    task,
                    numbers=tuple(
                        replace(number, p_adjusted=next(after[number.family]), tests=tests[number.family])
                        for number in task.numbers
                    ),
                )
                for task in comparison.tasks
            ),
        )
        for comparison in comparisons
    )


def _numbers(comparisons: Sequence[Comparison]) -> Iterator[ComparedNumber]:
    for comparison in comparisons:
        for task in comparison.tasks:
            yield from task.numbers


def _compare_task(pair: TaskPair, a: ScoredRun, b: ScoredRun, every_number: bool) -> ComparedTask:
    """Return one common task compared.

    Raises:
        SpecError: The runs have no sample of the task in common, or scores are missing.
    """
    headline = pair.a.headline or pair.b.headline
    strata = [row for row in pair.a.rows if headline is not None and row["stratum"] and _same_value(row, headline)]
    others = [row for row in pair.a.rows if every_number and not row["stratum"] and row is not headline]
    wanted: list[tuple[Family, Mapping[str, Any]]] = [
        *(("headline", row) for row in [headline] if row is not None),
        *(("stratum", row) for row in strata),
        *(("other", row) for row in others),
    ]
    numbers: list[ComparedNumber] = []
    shown: PairedScores | None = None
    key, scores = ("", ""), None
    for family, row in wanted:
        metric = pair.a.find_metric(row["metric"], row["protocol"])
        number = ComparedNumber(row=row, unit=metric.unit if metric is not None else "", family=family, difference=None)
        reason = _why_not(row, pair, a, b)
        if reason:
            numbers.append(replace(number, reason=reason))
            continue
        # The rows of a metric follow each other, and its scores are read once for all of them.
        if key != (row["metric"], row["protocol"]):
            key = row["metric"], row["protocol"]
            scores = pair_scores(pair.a.read(*key), pair.b.read(*key))
            if not len(scores.repeat):
                raise SpecError(
                    f"{b.source}: {pair.name} has no sample in common with {a.source} ({scores.only_b:,} against "
                    f"{scores.only_a:,}); evaluate both on the same samples, with the same --limit and --seed"
                )
        assert scores is not None
        shown = scores if family == "headline" else shown
        names = list(dict.fromkeys(it["name"] for it in pair.a.rows if (it["metric"], it["protocol"]) == key))
        stratum = next(iter(row["stratum"].items())) if row["stratum"] else None
        try:
            difference = paired_difference(
                scores,
                metric,
                task=pair.name,
                name=names.index(row["name"]),
                mean=row["mean"],
                higher_is_better=row["higher_is_better"],
                over=pair.a.over,
                stratum=stratum,
            )
        except SpecError as error:  # no common sample of a stratum, or no code of a task's own metric
            numbers.append(replace(number, reason=str(error)))
        else:
            numbers.append(replace(number, difference=difference))
    sign = 1.0 if headline is None or headline["higher_is_better"] else -1.0
    better, worse = ((), ()) if shown is None else (_moved(shown, sign), _moved(shown, -sign))
    return ComparedTask(
        pair=pair,
        pairs=0 if shown is None else len(shown.repeat),
        only_a=0 if shown is None else shown.only_a,
        only_b=0 if shown is None else shown.only_b,
        numbers=tuple(numbers),
        better=better,
        worse=worse,
        scatter=() if shown is None else _scatter(shown),
    )


def _same_value(row: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(row[name] == other[name] for name in ("metric", "protocol", "name"))


def _why_not(row: Mapping[str, Any], pair: TaskPair, a: ScoredRun, b: ScoredRun) -> str:
    """Return why a number of the first run has no counterpart in the second; empty if it has one."""
    words = f"{row['metric']} {row['protocol']}"
    for task, run in ((pair.a, a), (pair.b, b)):
        found = [it for it in task.rows if _same_value(it, row)]
        if not found:
            return f"{words} was not scored in {run.source}"
        if not any(it["mean"] == row["mean"] for it in found):
            return f"{words} has no {row['mean']} mean in {run.source}"
    versions = [next(it for it in task.rows if _same_value(it, row)) for task in (pair.a, pair.b)]
    if versions[0]["protocol_version"] != versions[1]["protocol_version"]:
        shown = " against ".join(str(it["protocol_version"]) for it in versions)
        return f"{words} has protocol version {shown}; score both again with `harness score RUN_DIR`"
    for name in ("parameters", "resource", "higher_is_better"):
        if versions[0].get(name) != versions[1].get(name):
            return f"{words} was scored with {name} {versions[0].get(name)} against {versions[1].get(name)}"
    return ""


def _moved(scores: PairedScores, sign: float) -> tuple[MovedSample, ...]:
    """Return the samples that moved most in the direction of `sign`, by the metric's first value, most first."""
    a, b = scores.values_a[:, 0], scores.values_b[:, 0]
    moves = np.nan_to_num(sign * (b - a), nan=0.0)
    most = np.argpartition(-moves, min(MOVED, len(moves)) - 1)[:MOVED] if len(moves) else np.zeros(0, dtype=np.int64)
    # Ties by id, so that the same runs show the same samples; every sample of the last rank takes part in the tie.
    least = moves[most].min() if len(most) else 0.0
    candidates = np.flatnonzero((moves >= least) & (moves > 0))[: 100 * MOVED]
    ids = scores.sample_ids.take(_positions(candidates)).to_pylist()
    ranked = sorted(
        (-moves[row], name, int(scores.repeat[row]), row) for row, name in zip(candidates, ids, strict=True)
    )
    return tuple(
        MovedSample(sample_id=name, repeat=repeat, value_a=float(a[row]), value_b=float(b[row]))
        for _, name, repeat, row in ranked[:MOVED]
    )


def _positions(rows: Any) -> Any:
    import pyarrow as pa

    return pa.array(rows, type=pa.int64())


def _scatter(scores: PairedScores) -> tuple[ScatterCell, ...]:
    """Return the pairs by their cell in a grid of both values; those with a value in one run only are left out."""
    a, b = scores.values_a[:, 0], scores.values_b[:, 0]
    both = np.isfinite(a) & np.isfinite(b)
    if not both.any():
        return ()
    a, b = a[both], b[both]
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    width = (high - low) / (CELLS - 1) or 1.0
    columns, rows = (np.rint((values - low) / width).astype(np.int64) for values in (a, b))
    cells, counts = np.unique(columns * CELLS + rows, return_counts=True)
    return tuple(
        ScatterCell(a=low + width * (cell // CELLS), b=low + width * (cell % CELLS), count=int(count))
        for cell, count in zip(cells.tolist(), counts, strict=True)
    )


def changed_samples(paths: Sequence[Path], *, common_samples: bool = False) -> Iterator[dict[str, Any]]:
    """Yield every sample whose value of its task's headline metric differs between a run and the first.

    Yields:
        A mapping with CHANGED_COLUMNS; a value is None if the run has none for the sample.
    """
    first = read_run(paths[0])
    for path in paths[1:]:
        other = read_run(path)
        for pair in pair_tasks(first, other, common_samples=common_samples):
            headline = pair.a.headline
            if headline is None or _why_not(headline, pair, first, other):
                continue
            scores = pair_scores(*(task.read(headline["metric"], headline["protocol"]) for task in (pair.a, pair.b)))
            a, b = scores.values_a[:, 0], scores.values_b[:, 0]
            rows = np.flatnonzero((a != b) & ~(np.isnan(a) & np.isnan(b)))
            ids = scores.sample_ids.take(_positions(rows)).to_pylist()
            for row, name in zip(rows, ids, strict=True):
                values = (None if np.isnan(value) else float(value) for value in (a[row], b[row]))
                asked = (pair.name, name, int(scores.repeat[row]), headline["metric"], headline["protocol"])
                cells = (str(first.source), str(other.source), *asked, *values)
                yield dict(zip(CHANGED_COLUMNS, cells, strict=True))

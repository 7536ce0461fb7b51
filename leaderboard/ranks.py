"""Ranks as groups: a model's rank is 1 + the number of models that are better on the same samples.

One column of the board at a time, all pairs of models at once. A model is better than another if the paired test of
`harness.comparison`, adjusted by Holm over all pairs of the column, shows it at 5 %. Models between which no difference
is shown share a rank or follow each other closely; the order of values within a rank means nothing.

`harness.comparison.every_pair` says which test that is.
"""

import contextlib
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from harness.comparison.compare import LEVEL
from harness.comparison.every_pair import every_pair
from harness.comparison.paired import Mean, paired_sums
from harness.comparison.pairing import pair_scores
from harness.comparison.permutation import holm
from harness.comparison.scored_run import ScoreColumns, table_row
from harness.errors import DataError, InterruptedRunError
from harness.metrics.metric import Floats, Metric
from harness.records.atomic_files import write_atomically
from harness.scoring.intervals import Estimator
from leaderboard.cells import BoardCell
from leaderboard.entry_file import BoardEntry, EntryBlock, EntryNumber
from leaderboard.entry_parts.scores import read_scores, score_path

# Part of the digest of a cached ranking; raised when the same scores get other ranks.
VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RankedColumn:
    """A column of the board whose models can be ranked: one number of a whole task, on one version of its data.

    Attributes:
        data: `real` or `phantom`.
        place: The task.
        metric, name, protocol, mean, judge, basis: As those of a `BoardCell`.
    """

    data: str
    place: str
    metric: str
    name: str
    protocol: str
    mean: str
    judge: str | None
    basis: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The ranks of one column.

    Attributes:
        ranks: Name of an entry -> its rank, 1 for the best group; best first. Several entries may share a rank.
        without: Name of an entry -> why it has a number but no rank.
        samples: Number of samples that all ranked models answered; each repetition counts.
        clusters: Number of clusters (patients) of these samples.
        tests: Number of pairs that were tested, the family of Holm's correction.
        methods: Number of pairs by test: `mcnemar`, `permutation-exact`, `sign-flip-normal`.
    """

    ranks: Mapping[str, int] = field(default_factory=dict)
    without: Mapping[str, str] = field(default_factory=dict)
    samples: int = 0
    clusters: int = 0
    tests: int = 0
    methods: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Member:
    """A number of a column; `names` are the named values of its metric, in the order of the scores."""

    entry: BoardEntry
    block: EntryBlock
    number: EntryNumber
    names: Sequence[str]


def column_of(cell: BoardCell) -> RankedColumn | None:
    """Return the column of a cell; None for a published number, one of a stratum or group, and an empty cell."""
    if cell.row.entry is None or cell.stratum is not None or not cell.protocol or cell.value is None:
        return None
    return RankedColumn(
        data=cell.data,
        place=cell.place,
        metric=cell.metric,
        name=cell.name,
        protocol=cell.protocol,
        mean=cell.mean,
        judge=cell.judge,
        basis=cell.basis,
    )


def rank_columns(
    entries: Sequence[BoardEntry], *, bounds: Sequence[str] = (), cache: Path | None = None
) -> dict[RankedColumn, Ranking]:
    """Return the ranking of every column of the entries that has a number of a whole task.

    A column in which fewer than two entries have scores of the same samples has a ranking without ranks.

    Args:
        entries: Those that the board shows.
        bounds: Ids of baselines that bound what a model can reach (floor, random, ceiling); they are no models and take
            no part, unless they were submitted.
        cache: A folder, made if it is absent, where rankings are kept by the digest of their scores; None: none are.
    """
    found: dict[RankedColumn, list[_Member]] = {}
    for entry in entries:
        if entry.model in bounds and not entry.submitted:
            continue
        for block in entry.blocks:
            # A group has no scores of its own: its number is a mean of its members'.
            if block.headline is None and block.over == "task":
                continue
            names: dict[tuple[str, str], list[str]] = {}
            for number in block.numbers:
                of = names.setdefault((number.metric, number.protocol), [])
                if number.name not in of:
                    of.append(number.name)
            for number in block.numbers:
                if number.stratum is None and number.value is not None:
                    of = names[number.metric, number.protocol]
                    found.setdefault(_column(entry, block, number), []).append(_Member(entry, block, number, of))
    files = _Files()
    return {column: _rank(column, members, files, cache) for column, members in found.items()}


def _column(entry: BoardEntry, block: EntryBlock, number: EntryNumber) -> RankedColumn:
    version = () if number.protocol_version is None else (f"protocol version {number.protocol_version}",)
    return RankedColumn(
        data=entry.data,
        place=block.name,
        metric=number.metric,
        name=number.name,
        protocol=number.judge[0] if number.judge else number.protocol,
        mean=number.mean,
        judge=number.judge[1] if number.judge else None,
        basis=(*block.basis, *version),
    )


@dataclass(slots=True)
class _Files:
    """The scores of the entries, each file read once for all columns that follow each other."""

    of: tuple[str, str, str] = ("", "", "")
    read: dict[str, ScoreColumns] = field(default_factory=dict)

    def columns(self, path: Path, of: tuple[str, str, str], names: int) -> ScoreColumns:
        if of != self.of:
            self.of, self.read = of, {}
        if str(path) not in self.read:
            self.read[str(path)] = read_scores(path, of[1], of[2], names)
        return self.read[str(path)]


def _rank(column: RankedColumn, members: Sequence[_Member], files: _Files, cache: Path | None) -> Ranking:
    """Return the ranking of one column; from the cache if its scores are those of an earlier build."""
    without: dict[str, str] = {}
    paths: dict[str, Path] = {}
    named = Counter(member.entry.name for member in members)
    for member in members:
        number, name = member.number, member.entry.name
        path = score_path(member.entry.folder, column.place, number.metric, number.protocol)
        if named[name] > 1:
            without[name] = "several entries have its name"
        elif path is None:
            without[name] = "no scores of its samples"
        else:
            paths[name] = path
    if len(paths) < 2:
        return Ranking(without={**without, **dict.fromkeys(paths, "no other model has scores of its samples")})
    chosen = [member for member in members if member.entry.name in paths]
    kept = None
    if cache is not None:
        digests = [[name, hashlib.sha256(path.read_bytes()).hexdigest()] for name, path in paths.items()]
        better = [member.number.higher_is_better for member in chosen]
        overs = [member.block.over for member in chosen]
        parts = json.dumps([VERSION, asdict(column), digests, better, overs, sorted(without.items())])
        kept = cache / f"{hashlib.sha256(parts.encode()).hexdigest()}.json"
        try:
            return Ranking(**json.loads(kept.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            pass  # not there yet, or damaged: it is made again
    ranking = _compute(column, chosen, paths, without, files)
    if kept is not None:
        # The next build makes a ranking again that cannot be kept.
        with contextlib.suppress(OSError, InterruptedRunError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(kept, json.dumps(asdict(ranking)), durable=False)
    return ranking


def _compute(
    column: RankedColumn,
    members: Sequence[_Member],
    paths: Mapping[str, Path],
    without: Mapping[str, str],
    files: _Files,
) -> Ranking:
    without = dict(without)
    read: dict[str, ScoreColumns] = {}
    first = members[0]
    of = (column.place, first.number.metric, first.number.protocol)
    for member in members:
        try:
            read[member.entry.name] = files.columns(paths[member.entry.name], of, len(member.names))
        except DataError as error:
            without[member.entry.name] = str(error)
    same = most_common_samples(read)
    without.update({name: "it was evaluated on other samples than most models" for name in read if name not in same})
    metric = table_row(first.number.metric, first.number.protocol)
    reason = "" if len(same) > 1 else "no other model has scores of its samples"
    if column.mean == "pooled" and (metric is None or metric.pool is not None):
        reason = "its number is no function of sums over samples, so there is no closed form of its test"
    if reason:
        return Ranking(without={**without, **dict.fromkeys(same, reason)})
    over = first.block.over if column.mean == "macro" else None
    sums, estimator, rows = stacked_sums(
        [read[name] for name in same], metric, name=first.names.index(column.name), mean=column.mean, over=over
    )
    values = estimator(sums.sum(axis=1))
    for name in [name for name, value in zip(same, values, strict=True) if not np.isfinite(value)]:
        without[name] = "its scores give no number"
    defined = np.isfinite(values)
    same, sums = [name for name, whole in zip(same, defined, strict=True) if whole], sums[defined]
    if len(same) < 2:
        return Ranking(without={**without, **dict.fromkeys(same, "no other model has scores of its samples")})
    single = column.mean == "micro" and rows == sums.shape[1]
    sign = -1.0 if first.number.higher_is_better is False else 1.0
    tests = every_pair(sums, estimator, sign=sign, single=single)
    adjusted = holm([None if np.isnan(p) else float(p) for p in tests.p])
    shown = np.asarray([p is not None and p < LEVEL for p in adjusted]) & (tests.gain != 0)
    loser = np.where(tests.gain > 0, tests.first, tests.second)[shown]
    ranks = 1 + np.bincount(loser, minlength=len(same))
    order = sorted(range(len(same)), key=lambda place: (ranks[place], -sign * values[defined][place], same[place]))
    return Ranking(
        ranks={same[place]: int(ranks[place]) for place in order},
        without=without,
        samples=rows,
        clusters=sums.shape[1],
        tests=sum(p is not None for p in adjusted),
        methods=dict(sorted(Counter(tests.method.tolist()).items())),
    )


def most_common_samples(scores: Mapping[str, ScoreColumns]) -> list[str]:
    """Return the names of the largest set of runs that scored the same samples of the same clusters, in any order.

    Of two sets of equal size, the one of the first name counts.
    """
    groups: dict[str, list[str]] = {}
    first: tuple[ScoreColumns, str] | None = None
    for name, columns in scores.items():
        if first is not None and _are_in_same_order(first[0], columns):
            digest = first[1]
        else:
            clusters = [columns.cluster_names[place] for place in columns.cluster]
            rows = sorted(zip(columns.sample_ids.to_pylist(), columns.repeat.tolist(), clusters, strict=True))
            digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
            first = first or (columns, digest)
        groups.setdefault(digest, []).append(name)
    return max(groups.values(), key=len, default=[])


def _are_in_same_order(a: ScoreColumns, b: ScoreColumns) -> bool:
    same = np.array_equal(a.repeat, b.repeat) and np.array_equal(a.cluster, b.cluster)
    return same and list(a.cluster_names) == list(b.cluster_names) and bool(a.sample_ids.equals(b.sample_ids))


def stacked_sums(
    scores: Sequence[ScoreColumns], metric: Metric | None, *, name: int, mean: str, over: str | None
) -> tuple[Floats, Estimator, int]:
    """Return the sums by cluster of several runs on the same samples, as one comparison makes them.

    Args:
        scores: At least one run; clusters and strata are those of the first.
        metric: The row of the table; only pooled means need it.
        name: Which of the metric's values.
        mean: `micro`, `macro` or `pooled`.
        over: Stratum key of a macro mean.
    Returns:
        float64 (runs, clusters, k); the estimator, summed columns (..., k) -> numbers (...); the number of rows.
    """
    found = []
    for columns in scores:
        paired = pair_scores(scores[0], columns)
        rows = np.arange(len(paired.cluster))
        found.append(paired_sums(paired, metric, rows, name=name, mean=cast(Mean, mean), over=over))
    return np.stack([sums.b for sums in found]), found[0].estimator, len(rows)

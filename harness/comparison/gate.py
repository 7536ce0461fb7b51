"""The gate: is the candidate worse than the baseline? One verdict per row of the policy, and one exit code."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from harness.comparison.gating.judgement import Judgement, TestedRow, compare_row, judge
from harness.comparison.gating.policy import Policy, headlines_policy, load_policy
from harness.comparison.gating.ratios import ratio_of, verdict_of
from harness.comparison.gating.rows import FoundRow, Obstacle, check_names, find_row
from harness.comparison.gating.verdict import ClusterChange, GateReport, RowVerdict, StratumChange
from harness.comparison.paired import Mean, paired_sums
from harness.comparison.pairing import PairedScores, TaskPair, pair_scores, pair_tasks
from harness.comparison.permutation import PairedSums, holm
from harness.comparison.pinned import GateRun, read_side
from harness.comparison.scored_run import Ints, ScoreColumns
from harness.metrics.metric import Metric
from harness.tasks.catalog import index

# Of the patients that lost most, and of their samples, those that a report names.
MOST_CLUSTERS, MOST_SAMPLES = 5, 3


def gate(baseline: Path, candidate: Path, policy: Path | None = None, *, task_paths: Sequence[Path] = ()) -> GateReport:
    """Return whether a candidate is worse than a baseline.

    Args:
        baseline: A run directory or a pinned file.
        candidate: A run directory or a pinned file.
        policy: A YAML file; None: the headline of every task of the baseline must not get worse.
        task_paths: Folders with further task files, whose names a policy may use.
    Raises:
        SpecError: A run or file cannot be read, was changed after it was pinned, or the policy is at fault.
    """
    read = None if policy is None else load_policy(policy)
    a, b = read_side(baseline), read_side(candidate)
    if read is not None:
        check_names(read, a.run, b.run, list(index(task_paths).entries))
    return judge_runs(a, b, read or headlines_policy(list(a.run.tasks)))


def judge_runs(a: GateRun, b: GateRun, policy: Policy) -> GateReport:
    """Return the verdict on candidate `b` against baseline `a`."""
    same_kind = a.run.data == b.run.data
    common = set(a.run.tasks) & set(b.run.tasks)
    pairs = {}
    if same_kind and common:
        # What differs is noted by row: a gate must say of every task why it cannot be judged.
        pairs = {pair.name: pair for pair in pair_tasks(a.run, b.run, common_samples=True)}
    found = [_resolved(find_row(row, a, b, pairs.get(row.task)), same_kind, a, b) for row in policy.numbers]
    scores = {at: _scores_of(it) for at, it in enumerate(found) if it.comparable and not it.equal}
    tested: dict[int, TestedRow] = {}
    for at, (paired, metric, name) in scores.items():
        tested_row = _tested(found[at], paired, metric, name)
        if tested_row is not None:
            tested[at] = tested_row
    ratios = [ratio_of(row, a, b) for row in policy.measures]
    further = [ratio.p for ratio in ratios]
    family = len(policy.numbers) + len(policy.measures)
    judged = dict(zip(tested, judge(list(tested.values()), further=further, rows=family), strict=True))
    rows = [
        _verdict(it, tested.get(at), judged.get(at), scores.get(at), pairs.get(it.row.task))
        for at, it in enumerate(found)
    ]
    adjusted = holm([*(it.difference.p for it in tested.values()), *further])[len(tested) :]
    rows += [verdict_of(ratio, p, family) for ratio, p in zip(ratios, adjusted, strict=True)]
    notes = []
    new = [name for name in b.run.tasks if name not in a.run.tasks]
    if new:
        notes.append(f"the baseline has no {', '.join(new)}, so nothing there is gated; pin a run that has them")
    if a.run.unsupported:
        notes.append(f"the baseline does not support {', '.join(a.run.unsupported)}, so nothing there is gated")
    return GateReport(baseline=a.run.model, candidate=b.run.model, rows=tuple(rows), notes=tuple(notes))


def _resolved(found: FoundRow, same_kind: bool, a: GateRun, b: GateRun) -> FoundRow:
    """Return a row with the obstacle of runs on other kinds of data."""
    if not same_kind:
        found.comparable = found.equal = False
        words = f"the baseline is a run on {a.run.data} data, the candidate on {b.run.data} data"
        found.obstacles = [Obstacle(words, "run both models on the same data")]
    return found


def _scores_of(found: FoundRow) -> tuple[PairedScores, Metric | None, int]:
    """Return the paired scores of a comparable row, its metric, and the place of its value among the metric's."""
    assert found.tasks is not None
    assert found.a is not None
    metric, protocol = found.a["metric"], found.a["protocol"]
    sides = [task.read(metric, protocol) for task in found.tasks]
    # The candidate knows the metric's code, a pinned file that of our own metrics only.
    table = found.tasks[1].find_metric(metric, protocol) or found.tasks[0].find_metric(metric, protocol)
    names = list(
        dict.fromkeys(
            row["name"] for row in found.tasks[0].rows if (row["metric"], row["protocol"]) == (metric, protocol)
        )
    )
    return pair_scores(*sides), table, names.index(found.a["name"])


def _tested(found: FoundRow, paired: PairedScores, metric: Metric | None, name: int) -> TestedRow | None:
    """Return the row with its test; None, with an obstacle, if there are too few patients or nothing is common."""
    assert found.tasks is not None
    assert found.a is not None
    row, stored = found.row, found.a
    least = f"at least {row.min_clusters} patients, as with a larger --limit, or a task with more of them"
    clusters = _clusters_of(paired, row.stratum)
    if clusters < row.min_clusters:
        words = f"{clusters} patients, fewer than the {row.min_clusters} that a verdict needs"
        found.obstacles.append(
            Obstacle(words, f"{least}: about {_samples_for(paired, row.stratum, row.min_clusters):,} samples")
        )
        return None
    tested = compare_row(
        row,
        paired,
        metric,
        name=name,
        mean=stored["mean"],
        higher_is_better=stored["higher_is_better"],
        over=found.tasks[0].over,
    )
    if tested.difference.clusters < row.min_clusters:
        words = f"{tested.difference.clusters} patients with a value, fewer than the {row.min_clusters} needed"
        found.obstacles.append(Obstacle(words, least))
        return None
    return tested


def _clusters_of(paired: PairedScores, stratum: tuple[str, str] | None) -> int:
    return len(np.unique(paired.cluster[paired.rows_of(stratum)]))


def _samples_for(paired: PairedScores, stratum: tuple[str, str] | None, clusters: int) -> int:
    """Return about how many samples of the whole task hold that many patients of a row."""
    present = max(1, _clusters_of(paired, stratum))
    return -(-len(paired.cluster) * clusters // present)


def _verdict(
    found: FoundRow,
    tested: TestedRow | None,
    judged: Judgement | None,
    scores: tuple[PairedScores, Metric | None, int] | None,
    pair: TaskPair | None,
) -> RowVerdict:
    """Return the verdict of one row of numbers."""
    row, stored = found.row, found.a or {}
    result = RowVerdict(
        title=row.title,
        task=row.task,
        verdict="pass",
        reason="",
        metric=row.metric,
        protocol=row.protocol,
        name=row.name,
        mean=row.mean,
        stratum=row.stratum,
        rule=row.rule,
        higher_is_better=stored.get("higher_is_better", True),
        baseline=stored.get("value"),
        candidate=None if found.b is None else found.b["value"],
        tolerance=row.tolerance,
        detect=row.detect,
        notes=tuple(found.notes),
        place=row.place,
    )
    if found.equal:
        n, clusters = stored["n"], stored["clusters"]
        reason = f"the same answers to the same samples: {n:,} samples of {clusters:,} patients"
        return replace(result, reason=reason, difference=0.0, n=n, clusters=clusters)
    if tested is not None and judged is not None:
        difference = tested.difference
        result = replace(
            result,
            verdict=judged.verdict,
            reason=judged.reason,
            remedy=judged.remedy,
            baseline=difference.value_a,
            candidate=difference.value_b,
            difference=difference.difference,
            interval=difference.ci,
            p=difference.p,
            p_adjusted=judged.p_adjusted,
            detectable=judged.detectable,
            n=difference.n,
            clusters=difference.clusters,
        )
    elif scores is not None:
        # Too few patients for a test; the numbers are shown all the same.
        result = replace(result, n=len(scores[0].cluster), clusters=scores[0].clusters)
    if scores is not None and pair is not None and (result.verdict != "pass" or found.obstacles):
        paired, metric, name = scores
        columns = pair.a.read(stored["metric"], stored["protocol"])
        strata, worst = _where(found, paired, metric, name, columns)
        result = replace(result, strata=strata, worst=worst)
    return _with_counts(found, result)


def _with_counts(found: FoundRow, result: RowVerdict) -> RowVerdict:
    """Return the verdict after obstacles and failed samples; only a regression outranks them."""
    row = found.row
    # Of a stratum row, the failures of that stratum.
    failed = None if found.b is None else found.b["failed"]
    if found.comparable and row.max_failed is not None and failed is not None and failed > row.max_failed:
        words = f"{failed:,} samples failed, more than the {row.max_failed:,} that the policy allows"
        also = f"; {result.reason}" if result.verdict == "regression" else ""
        return replace(result, verdict="regression", reason=words + also, remedy="")
    if not found.obstacles:
        return result
    reasons, remedies = (
        "; ".join(dict.fromkeys(parts))
        for parts in zip(*((it.reason, it.remedy) for it in found.obstacles), strict=True)
    )
    if result.verdict == "regression":
        # What is lost on the samples that both have is lost, whatever else is missing.
        return replace(result, reason=f"{result.reason}; besides, {reasons}")
    if result.verdict == "cannot_judge" and result.reason:
        return replace(result, reason=f"{reasons}; {result.reason}", remedy=f"{remedies}; {result.remedy}")
    return replace(result, verdict="cannot_judge", reason=reasons, remedy=remedies)


def _where(
    found: FoundRow, paired: PairedScores, metric: Metric | None, name: int, columns: ScoreColumns
) -> tuple[tuple[StratumChange, ...], tuple[ClusterChange, ...]]:
    """Return the strata in which the row lost, and the patients that lost most, worst first."""
    assert found.tasks is not None
    assert found.a is not None
    stored = found.a
    sign = 1.0 if stored["higher_is_better"] else -1.0
    rows = paired.rows_of(found.row.stratum)
    if not len(rows):
        return (), ()
    # A ranking of every sample is not taken apart, and a macro mean only stratum by stratum; of both the mean over
    # samples shows where they fell.
    taken_apart = stored["mean"] == "pooled" and metric is not None and metric.pool is None
    mean: Mean = "pooled" if taken_apart else "micro"
    keys = dict.fromkeys(key for it in found.tasks[0].rows for key in it["stratum"] or {})
    strata = []
    for key in keys if found.row.stratum is None else ():
        names, places = paired.strata.get(key, ([], np.zeros(0, dtype=np.int64)))
        for at, value in enumerate(names):
            inside = np.flatnonzero(places == at)
            a, b = _values(paired, metric, inside, name, mean)
            clusters = len(np.unique(paired.cluster[inside]))
            strata.append(
                StratumChange(key=key, value=value, baseline=a, candidate=b, n=len(inside), clusters=clusters)
            )
    lost = [it for it in strata if it.difference is not None and sign * it.difference < 0]
    lost.sort(key=lambda it: sign * (it.difference or 0.0))
    return tuple(lost), _worst(paired, metric, rows, name, mean, sign, columns)


def _values(
    paired: PairedScores, metric: Metric | None, rows: Ints, name: int, mean: Mean
) -> tuple[float | None, float | None]:
    """Return a number of both runs over some of the paired rows; None if it is undefined."""
    sums = paired_sums(paired, metric, rows, name=name, mean=mean)
    a, b = (float(sums.estimator(part.sum(axis=0))) for part in (sums.a, sums.b))
    return (None if np.isnan(a) else a), (None if np.isnan(b) else b)


def _worst(
    paired: PairedScores,
    metric: Metric | None,
    rows: Ints,
    name: int,
    mean: Mean,
    sign: float,
    columns: ScoreColumns,
) -> tuple[ClusterChange, ...]:
    """Return the patients without whom the loss would be smallest, worst first."""
    sums = paired_sums(paired, metric, rows, name=name, mean=mean)
    present = np.unique(paired.cluster[rows])
    gains = _gains_without(sums, sign)
    order = [at for at in np.argsort(gains, kind="stable") if gains[at] < 0][:MOST_CLUSTERS]
    place = {
        key: at for at, key in enumerate(zip(columns.sample_ids.to_pylist(), columns.repeat.tolist(), strict=True))
    }
    ids = paired.sample_ids.to_pylist()
    changes = []
    for at in order:
        own = rows[paired.cluster[rows] == present[at]]
        a, b = paired.values_a[own, name], paired.values_b[own, name]
        gain = sign * (np.nan_to_num(b) - np.nan_to_num(a))
        samples = tuple(
            (
                ids[own[one]],
                None if np.isnan(a[one]) else float(a[one]),
                None if np.isnan(b[one]) else float(b[one]),
            )
            for one in np.argsort(gain, kind="stable")[:MOST_SAMPLES]
            if gain[one] < 0
        )
        row = place[ids[own[0]], int(paired.repeat[own[0]])]
        cluster = columns.cluster_names[int(columns.cluster[row])]
        changes.append(ClusterChange(cluster=cluster, contribution=float(gains[at]), samples=samples))
    return tuple(changes)


def _gains_without(sums: PairedSums, sign: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Return float64 (clusters,): the gain, less the gain without each cluster; negative for one that loses."""
    a, b = sums.a.sum(axis=0), sums.b.sum(axis=0)
    whole = sums.estimator(b) - sums.estimator(a)
    without = sums.estimator(b - sums.b) - sums.estimator(a - sums.a)
    return np.asarray(sign * np.nan_to_num(whole - without))

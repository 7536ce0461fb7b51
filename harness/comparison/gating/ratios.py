"""Speed, memory and cost of a candidate as ratios to those of the baseline."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from harness.comparison.gating.policy import MIN_CLUSTERS, MeasureRow
from harness.comparison.gating.verdict import RowVerdict, Verdict
from harness.comparison.pinned import GateRun
from harness.comparison.power import LEVEL
from harness.metrics.metric import Floats
from harness.scoring.intervals import bootstrap_seed, intervals, standard_error

# What is measured once per run has no interval.
OF_THE_RUN = {"memory": "peak_memory_bytes", "gpu_memory": "peak_gpu_memory_bytes"}
UNITS = {"speed": "s per request", "cost": "per request", "tokens": "tokens per request"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A measure of two runs.

    Attributes:
        row: Of the policy.
        baseline, candidate: The measure per request, or of the run; None if it is unknown.
        ratio: Candidate divided by baseline; None if unknown.
        interval: 95 % interval of the ratio; None for what is measured once.
        p: One-sided p value of a ratio above 1 + tolerance; None if nothing can be tested.
        n, clusters: Requests and patients that both runs have.
        obstacle: Why it cannot be judged, and what would let it; empty if it can.
    """

    row: MeasureRow
    baseline: float | None = None
    candidate: float | None = None
    ratio: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    n: int = 0
    clusters: int = 0
    obstacle: tuple[str, str] | None = None


def ratio_of(row: MeasureRow, a: GateRun, b: GateRun) -> Ratio:
    """Return a measure of the candidate `b` relative to the baseline `a`."""
    if row.measure in OF_THE_RUN:
        values = [side.run.performance.get(OF_THE_RUN[row.measure]) for side in (a, b)]
        if None in values or not values[0]:
            lacking = "baseline" if not values[0] else "candidate"
            return Ratio(row=row, obstacle=(f"the {lacking} holds no {row.measure}", "run it again with this version"))
        return Ratio(row=row, baseline=values[0], candidate=values[1], ratio=values[1] / values[0])
    tasks = [row.task] if row.task is not None else list(a.requests)
    clusters: dict[str, int] = {}
    place: list[int] = []
    pairs: list[tuple[float, float]] = []
    for task in tasks:
        for name, side in (("baseline", a), ("candidate", b)):
            if task not in side.requests:
                return Ratio(row=row, obstacle=(f"the {name} has no task {task}", f"run {task} with the {name}, too"))
            if row.measure not in side.requests[task].measures:
                words = f"the {name} holds no {row.measure} of {task}"
                return Ratio(row=row, obstacle=(words, "gate what both models report"))
        base, candidate = a.requests[task], b.requests[task]
        known = {key: at for at, key in enumerate(candidate.ids)}
        of_a, of_b = base.measures[row.measure], candidate.measures[row.measure]
        for at, key in enumerate(base.ids):
            if key not in known:
                words = f"samples of {task} in the baseline are not in the candidate"
                return Ratio(row=row, obstacle=(words, "finish the candidate"))
            pairs.append((float(of_a[at]), float(of_b[known[key]])))
            place.append(clusters.setdefault(base.clusters[at], len(clusters)))
    both = np.asarray(pairs).reshape(-1, 2)
    defined = np.isfinite(both).all(axis=1)
    return _tested(row, both[defined], np.asarray(place, dtype=np.int64)[defined])


def _tested(row: MeasureRow, both: Floats, cluster: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> Ratio:
    """Return the ratio of the sums of two columns, float64 (rows, 2), with the test by cluster."""
    _, place = np.unique(cluster, return_inverse=True)
    clusters = int(place.max()) + 1 if len(place) else 0
    sums: Floats = np.stack([np.bincount(place, column, minlength=clusters) for column in both.T], axis=1).astype(float)
    total = sums.sum(axis=0)
    if not len(both) or total[0] <= 0:
        if len(both) and total[1] <= 0:
            return Ratio(row=row, baseline=0.0, candidate=0.0, ratio=1.0, n=len(both), clusters=clusters)
        return Ratio(row=row, obstacle=(f"the baseline took no {row.measure}", "gate a model that takes some"))
    ratio = float(total[1] / total[0])
    mean = both.mean(axis=0)
    interval, p = None, None
    if clusters >= 2 and total[1] > 0 and not np.array_equal(both[:, 0], both[:, 1]):

        def log_ratio(sums: Floats) -> Floats:
            parts = np.where(sums > 0, sums, np.nan)
            return np.asarray(np.log(parts[..., 1]) - np.log(parts[..., 0]))

        error = standard_error(sums, log_ratio)
        bounds = intervals(sums, [log_ratio], seed=bootstrap_seed(row.task or "", ("measure", row.measure)))[0].bounds
        interval = None if bounds is None else (math.exp(bounds[0]), math.exp(bounds[1]))
        beyond = math.log(ratio) - math.log1p(row.tolerance)
        p = float(t.sf(beyond / error, clusters - 1)) if error else float(beyond <= 0)
    few = clusters < MIN_CLUSTERS and p is not None
    return Ratio(
        row=row,
        baseline=float(mean[0]),
        candidate=float(mean[1]),
        ratio=ratio,
        interval=interval,
        p=None if few else p,
        n=len(both),
        clusters=clusters,
        obstacle=(f"{clusters} patients, fewer than {MIN_CLUSTERS}", f"evaluate at least {MIN_CLUSTERS} patients")
        if few
        else None,
    )


def verdict_of(found: Ratio, adjusted: float | None, family: int) -> RowVerdict:
    """Return the verdict of a measure; `adjusted` is its p value after Holm over `family` rows."""
    row = found.row
    unit = UNITS.get(row.measure, "bytes")
    verdict: Verdict
    if found.obstacle is not None or found.ratio is None:
        verdict, (reason, remedy) = "cannot_judge", found.obstacle or ("unknown", "run both again")
    else:
        interval = "" if found.interval is None else " [{:.3f}, {:.3f}]".format(*found.interval)
        shown = f"{found.baseline:.4g} -> {found.candidate:.4g} {unit}, a ratio of {found.ratio:.3f}{interval}"
        # Without an interval (memory) the number itself decides.
        worse = found.ratio > 1 + row.tolerance and (adjusted is None or adjusted <= LEVEL)
        verdict = "regression" if worse else "pass"
        words = "is shown" if worse else "is not shown"
        among = f" after Holm over {family} rows" if family > 1 else ""
        p = "" if adjusted is None else f"; p = {adjusted:.2g}{among}"
        reason, remedy = f"a ratio above {1 + row.tolerance:g} {words}: {shown}{p}", ""
    return RowVerdict(
        title=row.title,
        task=row.task,
        verdict=verdict,
        reason=reason,
        remedy=remedy,
        metric=row.measure,
        rule="ratio",
        higher_is_better=False,
        baseline=found.baseline,
        candidate=found.candidate,
        difference=found.ratio,
        interval=found.interval,
        p=found.p,
        p_adjusted=adjusted,
        tolerance=row.tolerance,
        n=found.n,
        clusters=found.clusters,
        place=row.place,
    )

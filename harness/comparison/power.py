"""How many patients show a drop, and which drop a number of patients shows: the power of the gate's one-sided test.

Everything follows from the standard error of the paired difference, which falls with the square root of the number of
patients. It is measured on two runs; of one run alone it is that of a candidate in which a share of the answers is
exchanged for those of other samples.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import binom, chi2, t

from harness.comparison.pairing import PairedScores
from harness.errors import SpecError

POWER, LEVEL = 0.90, 0.05  # of a whole policy
# Share of answers that change between two checkpoints where nothing is known about them.
CHANGED = 0.1
# More patients than any release has; beyond, a drop counts as out of reach.
MOST_CLUSTERS = 100_000_000
# Between the bounds of what a measured standard error may be.
_SURE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much the difference of two runs varies.

    Attributes:
        error: Cluster-robust standard error of the difference.
        clusters: Number of patients on which it was measured, at least 2.
        samples: Number of samples.
        changed: For a 0/1 score of single samples (McNemar's test) the share of pairs that differ; None for others.
        binary: The scores are 0 or 1: a drop then consists of lost answers, which add to the variance.
        tolerance: Part of the drop that the policy does not mind; it adds to the variance, too.
    """

    error: float
    clusters: int
    samples: int
    changed: float | None = None
    binary: bool = False
    tolerance: float = 0.0

    def at(self, clusters: int, drop: float) -> float:
        """Return the standard error with another number of patients and a drop beyond the tolerance."""
        variance = self.error**2
        if self.binary:
            lost = min(1.0, drop + self.tolerance)
            variance += lost * (1 - lost) / self.samples
        return math.sqrt(variance * self.clusters / clusters)


def level_of(rows: int) -> float:
    """Return the level of one row's test in a policy of `rows` rows: the first step of Holm's method."""
    return LEVEL / max(rows, 1)


def power(noise: Noise, drop: float, clusters: int, *, rows: int = 1) -> float:
    """Return the share of comparisons that catch a drop.

    Args:
        noise: Of the difference.
        drop: True drop beyond the tolerance, in the metric's unit, > 0; the tolerance is that of the noise.
        clusters: Number of patients of the comparison.
        rows: Number of rows of the policy.
    """
    if clusters < 2:
        return 0.0
    level = level_of(rows)
    if noise.changed is not None:
        return _mcnemar_power(clusters, noise.changed, drop, level)
    error = noise.at(clusters, drop)
    if error == 0:
        return 1.0
    freedom = clusters - 1
    return float(t.cdf(drop / error - t.ppf(1 - level, freedom), freedom))


def detectable_drop(noise: Noise, clusters: int, *, rows: int = 1) -> float:
    """Return the smallest drop beyond the tolerance that `clusters` patients catch with 90 % power.

    Arguments as `power`. Infinite with fewer than 2 patients, or where a 0/1 score cannot drop that far.
    """
    if clusters < 2:
        return math.inf
    if noise.changed is None and not noise.binary:
        freedom = clusters - 1
        return float((t.ppf(1 - level_of(rows), freedom) + t.ppf(POWER, freedom)) * noise.at(clusters, 0.0))
    low, high = 0.0, 1.0 - (noise.changed or 0.0) / 2 - noise.tolerance
    if high <= 0 or power(noise, high, clusters, rows=rows) < POWER:
        return math.inf
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if power(noise, middle, clusters, rows=rows) >= POWER else (middle, high)
    return high


def clusters_needed(noise: Noise, drop: float, *, rows: int = 1) -> int:
    """Return the smallest number of patients that catches a drop with 90 % power. Arguments as `power`.

    Raises:
        SpecError: The drop is not above 0, or more than 100,000,000 patients would be needed.
    """
    if not drop > 0:
        raise SpecError(f"--drop {drop:g}: expected a number above 0: no number of samples shows a drop of nothing")
    high = 2
    while detectable_drop(noise, high, rows=rows) > drop:
        high *= 2
        if high > MOST_CLUSTERS:
            raise SpecError(f"--drop {drop:g}: more than {MOST_CLUSTERS:,} patients are needed; name a larger drop")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if detectable_drop(noise, middle, rows=rows) <= drop else (middle, high)
    # An exact test loses a little power where one more pair does not yet allow one more loss; the next win it back.
    return high


def samples_of(noise: Noise, clusters: int) -> int:
    """Return the number of samples of `clusters` patients with as many samples each as those that were measured."""
    return math.ceil(clusters * noise.samples / noise.clusters - 1e-9)


def optimistic(noise: Noise) -> Noise:
    """Return the noise at the lower bound of what was measured, with 95 % confidence.

    A comparison is refused for want of power only if even this noise leaves too little: otherwise a comparison with
    just the number of patients that was asked for would be refused every other time.
    """
    freedom = noise.clusters - 1
    scale = math.sqrt(freedom / float(chi2.ppf(_SURE, freedom)))
    changed = None
    if noise.changed is not None:
        changed = float(binom.ppf(1 - _SURE, noise.clusters, noise.changed)) / noise.clusters
    return replace(noise, error=noise.error * scale, changed=changed)


def _mcnemar_power(pairs: int, changed: float, drop: float, level: float) -> float:
    """Return the power of the exact one-sided McNemar test.

    Without a difference half of the pairs that differ are losses; a drop adds losses, so more pairs differ.

    Args:
        pairs: Number of pairs.
        changed: Share of pairs that differ without a drop.
        drop: Additional share of losses.
        level: Of the test.
    """
    differing = min(1.0, changed + drop)
    if differing <= 0:
        return 0.0
    spread = 8 * math.sqrt(pairs * differing * (1 - differing)) + 8
    counts = np.arange(max(0, int(pairs * differing - spread)), min(pairs, int(pairs * differing + spread)) + 1)
    # The most wins with which so many differing pairs still show a drop; -1 if none does.
    most = binom.ppf(level, counts, 0.5)
    most = np.where(binom.cdf(most, counts, 0.5) > level, most - 1, most)
    rejected = binom.cdf(most, counts, (changed / 2) / differing)
    return float(np.sum(binom.pmf(counts, pairs, differing) * rejected))


def exchanged(paired: PairedScores, *, changed: float = CHANGED, seed: int = 0) -> PairedScores:
    """Return a run beside a candidate in which a share of its answers has the scores of other samples.

    Args:
        paired: A run beside itself.
        changed: Share of the samples, in (0, 1].
        seed: Of the draw.
    Raises:
        SpecError: `changed` is no share.
    """
    if not 0 < changed <= 1:
        raise SpecError(f"--changed {changed:g}: expected a share of answers above 0 and up to 1, such as 0.1")
    generator = np.random.Generator(np.random.PCG64(seed))
    # Among the samples with a value: a sample without one, such as a lesion that is absent, keeps having none.
    rows = np.flatnonzero(paired.scored_a)
    source = np.arange(len(paired.scored_a))
    moved = rows[generator.random(len(rows)) < changed]
    source[moved] = generator.choice(rows, size=len(moved)) if len(rows) else moved
    return replace(
        paired,
        values_b=paired.values_a[source],
        stats_b=paired.stats_a[source],
        lists_b=[paired.lists_a[row] for row in source.tolist()] if paired.lists_a else (),
    )

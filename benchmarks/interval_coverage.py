"""How often 95 % intervals contain the true value: a simulation with proportions, Dice, F1, BLEU-4, AP50 and judges.

Every draw is a cohort of patients, each with several samples that are more alike than samples of two patients. Its
interval is computed exactly as in a run, and counts as right if it contains the value of the whole population. With
2,000 draws the share of right intervals is known to about one point (two standard errors).

    python benchmarks/interval_coverage.py [--draws 2000] [--clusters 50] [--sizes 1 2 5 10 20] [--metrics ap50 ...]
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from harness.metrics import find
from harness.metrics.metric import Stats
from harness.scoring import intervals as interval_module
from harness.scoring.agreement import accuracy, alpha, kappa, spearman
from harness.scoring.intervals import Interval, bootstrap_seed, intervals, weight_intervals

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Patients of the population whose value counts as true: its own sampling error is a sixtieth of that of 50 patients.
POPULATION = 200_000


@dataclass(frozen=True)
class Cohort:
    """Simulated samples.

    Attributes:
        stats: The metric's stats of every sample; float64 (samples, stats) if all have equally many.
        patient: int64 (samples,): the patient of every sample, numbered from 0.
    """

    stats: Sequence[Stats] | Floats
    patient: Ints


def patients(generator: np.random.Generator, clusters: int, size: int, spread: float) -> tuple[Ints, Floats]:
    """Return the patient of every sample and the model's skill on that patient in logits, both (clusters * size,).

    Args:
        generator: Source of randomness.
        clusters: Number of patients.
        size: Samples per patient.
        spread: Standard deviation of the skill over patients; it makes samples of one patient alike.
    """
    return np.repeat(np.arange(clusters), size), np.repeat(generator.normal(0, spread, clusters), size)


def proportion(generator: np.random.Generator, clusters: int, size: int) -> Cohort:
    """Return answers of which about seven in ten are right."""
    patient, skill = patients(generator, clusters, size, 0.8)
    hits = generator.random(len(patient)) < expit(1.0 + skill)
    return Cohort(np.column_stack([hits, np.ones(len(patient))]).astype(np.float64), patient)


def dice(generator: np.random.Generator, clusters: int, size: int) -> Cohort:
    """Return Dice values that are mostly high, with one mask in ten missed altogether."""
    patient, skill = patients(generator, clusters, size, 0.6)
    values = expit(1.5 + skill + generator.normal(0, 0.7, len(patient)))
    values[generator.random(len(patient)) < 0.1] = 0.0
    return Cohort(np.column_stack([values, np.ones(len(patient))]), patient)


def pooled_f1(generator: np.random.Generator, clusters: int, size: int) -> Cohort:
    """Return counts of shared, predicted and target words per sample, as `token_prf` pools them."""
    patient, skill = patients(generator, clusters, size, 0.6)
    predicted, target = (1 + generator.poisson(6, len(patient)) for _ in range(2))
    overlap = generator.binomial(np.minimum(predicted, target), expit(0.5 + skill))
    return Cohort(np.column_stack([overlap, predicted, target]).astype(np.float64), patient)


def bleu(generator: np.random.Generator, clusters: int, size: int) -> Cohort:
    """Return matches and totals of the four orders and both lengths per sample, in the order of the stats of `bleu`."""
    patient, skill = patients(generator, clusters, size, 0.5)
    reference = 8 + generator.poisson(12, len(patient))
    # At least four words, so that every sample has a 4-gram.
    length = np.maximum(4, reference + np.round(generator.normal(-1, 3, len(patient))).astype(np.int64))
    matches: list[Ints] = []
    most = length
    for order in range(4):
        totals = length - order
        # An n-gram matches only where its first n - 1 words match, so no order has more matches than the one before.
        most = generator.binomial(np.minimum(most, totals), expit(0.7 + skill - 0.1 * order))
        matches.append(most)
    columns = {"predicted_words": length, "reference_words": reference, "samples": np.ones(len(patient))}
    columns |= {f"matches{order + 1}": matches[order] for order in range(4)}
    columns |= {f"total{order + 1}": length - order for order in range(4)}
    return Cohort(np.column_stack([columns[name] for name in find("bleu").stats]).astype(np.float64), patient)


def detections(generator: np.random.Generator, clusters: int, size: int, *, tied: bool) -> Cohort:
    """Return images with one to three targets, each found or missed, and up to two false masks; `tied`: one score."""
    patient, skill = patients(generator, clusters, size, 0.7)
    stats = []
    for quality in skill:
        targets = int(generator.integers(1, 4))
        found = generator.random(targets) < expit(0.8 + quality)
        hits = [True] * int(found.sum()) + [False] * int(generator.integers(0, 3))
        generator.shuffle(hits)
        scores = [1.0 if tied else float(expit(generator.normal(1.0 if hit else 0.0))) for hit in hits]
        pairs = [number for score, hit in zip(scores, hits, strict=True) for number in (score, float(hit))]
        stats.append((float(targets), *pairs))  # as `ap50` keeps an image: its targets, then score and hit of each mask
    return Cohort(stats, patient)


def ap50_tied(generator: np.random.Generator, clusters: int, size: int) -> Cohort:
    """Return detections that all have the score 1.0, as of models that give none."""
    return detections(generator, clusters, size, tied=True)


def ap50_scored(generator: np.random.Generator, clusters: int, size: int) -> Cohort:
    """Return detections whose scores are mostly higher for hits than for false masks."""
    return detections(generator, clusters, size, tied=False)


def judged(generator: np.random.Generator, clusters: int, size: int) -> Cohort:
    """Return the verdicts of a judge and of a person, 0 to 2 each; both see the quality of an answer with an error."""
    patient, skill = patients(generator, clusters, size, 0.8)
    quality = skill + generator.normal(0, 1.0, len(patient))
    seen = (quality + generator.normal(0, 0.7, len(patient)) for _ in range(2))
    return Cohort(np.column_stack([np.digitize(side, [-0.8, 0.6]) for side in seen]).astype(np.float64), patient)


def agreement(statistic: Callable[[Floats, Floats, Floats], Floats]) -> Callable[[Sequence[Stats], Floats], Floats]:
    """Return a statistic of two raters as numbers (..., 1) of their labels and of weights (..., samples)."""

    def value(stats: Sequence[Stats], weights: Floats) -> Floats:
        judge, person = np.asarray(stats, dtype=np.float64).T
        return statistic(weights, judge, person)[..., np.newaxis]

    return value


def ordinal_alpha(weights: Floats, judge: Floats, person: Floats) -> Floats:
    """Return Krippendorff's alpha of two raters."""
    unit = np.tile(np.arange(len(judge)), 2)
    return alpha(weights, unit, np.concatenate([judge, person]), level="ordinal")


def mean(sums: Floats) -> Floats:
    """Return the mean (...) from sums (..., 2) of values and samples."""
    share: Floats = sums[..., 0] / sums[..., 1]
    return share


def combined(name: str, protocol: str) -> Callable[[Floats], Floats]:
    """Return the first value of a row's `combine`."""
    return lambda sums: find(name, protocol).combine(sums)[..., 0]


def pooled(name: str, protocol: str) -> Callable[[Sequence[Stats], Floats], Floats]:
    """Return a row's `pool`."""

    def value(stats: Sequence[Stats], weights: Floats) -> Floats:
        pool = find(name, protocol).pool
        assert pool is not None
        return pool(stats, weights)

    return value


@dataclass(frozen=True)
class Simulation:
    """A way to draw cohorts, and how their value follows: from sums of stats, or from the stats of all samples."""

    draw: Callable[[np.random.Generator, int, int], Cohort]
    of_sums: Callable[[Floats], Floats] | None = None
    of_all: Callable[[Sequence[Stats], Floats], Floats] | None = None

    def interval(self, cohort: Cohort, seed: int) -> Interval:
        """Return the interval as a run computes it."""
        if self.of_all is not None:
            stats, pool = cohort.stats, self.of_all
            return weight_intervals(cohort.patient, lambda weights: pool(stats, weights)[..., :1], seed=seed)[0]
        assert self.of_sums is not None
        sums = np.stack([np.bincount(cohort.patient, column) for column in np.asarray(cohort.stats).T], axis=1)
        return intervals(sums, [self.of_sums], seed=seed)[0]

    def value(self, cohort: Cohort) -> float:
        """Return the metric's value over the cohort."""
        if self.of_all is not None:
            return float(self.of_all(cohort.stats, np.ones(len(cohort.stats)))[0])
        assert self.of_sums is not None
        return float(self.of_sums(np.asarray(cohort.stats).sum(axis=0)))


@cache
def simulations() -> Mapping[str, Simulation]:
    """Return the simulations by name."""
    return {
        "proportion": Simulation(proportion, of_sums=mean),
        "dice": Simulation(dice, of_sums=mean),
        "f1": Simulation(pooled_f1, of_sums=combined("token_prf", "standard")),
        "bleu4": Simulation(bleu, of_sums=combined("bleu", "standard")),
        "ap50": Simulation(ap50_tied, of_all=pooled("ap50", "glamm")),
        "ap50_scored": Simulation(ap50_scored, of_all=pooled("ap50", "glamm")),
        "judge_accuracy": Simulation(judged, of_all=agreement(accuracy)),
        "judge_kappa": Simulation(judged, of_all=agreement(kappa)),
        "judge_kappa_quadratic": Simulation(judged, of_all=agreement(partial(kappa, weighted="quadratic"))),
        "judge_alpha": Simulation(judged, of_all=agreement(ordinal_alpha)),
        "judge_spearman": Simulation(judged, of_all=agreement(spearman)),
    }


@dataclass(frozen=True)
class Job:
    """One cell of the table."""

    metric: str
    clusters: int
    size: int
    draws: int
    resamples: int


@dataclass(frozen=True)
class Coverage:
    """Shares of the draws whose interval contains the true value, lies above it, lies below it; and the mean width."""

    truth: float
    held: float
    above: float
    below: float
    width: float


def coverage(job: Job) -> Coverage:
    """Draw `job.draws` cohorts and count how often their intervals contain the population's value."""
    # `intervals` has no argument for this; it reads the constant at every call, and each process has its own.
    interval_module.DRAWS = job.resamples
    simulation = simulations()[job.metric]
    # One stream per cell of the table: it depends neither on the other cells asked for nor on the process.
    seed = [job.clusters, job.size, list(simulations()).index(job.metric)]
    generator = np.random.default_rng(seed)
    # One sample per patient: cohorts have equally many samples per patient, so the expected value is the same.
    truth = simulation.value(simulation.draw(generator, POPULATION, 1))
    bounds = []
    for draw in range(job.draws):
        found = simulation.interval(
            simulation.draw(generator, job.clusters, job.size), bootstrap_seed(f"{job.metric} {draw}")
        )
        assert found.bounds is not None, "a cohort of many patients always has an interval"
        bounds.append(found.bounds)
    low, high = np.asarray(bounds).T
    held = (low <= truth) & (truth <= high)
    return Coverage(truth, held.mean(), (low > truth).mean(), (high < truth).mean(), (high - low).mean())


def main() -> None:
    """Simulate every cell and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    # AP is computed again from all samples in every resample; the table in docs/statistics.md has 400 of them for AP50.
    parser.add_argument("--resamples", type=int, default=interval_module.DRAWS, help="Of each bootstrap, as in a run.")
    parser.add_argument("--clusters", type=int, nargs="+", default=[50])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 5, 10, 20])
    parser.add_argument("--metrics", nargs="+", default=list(simulations()), choices=list(simulations()))
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    jobs = [
        Job(metric, clusters, size, options.draws, options.resamples)
        for metric in options.metrics
        for clusters in options.clusters
        for size in options.sizes
    ]
    print("| value | patients | samples each | truth | coverage | too high | too low | mean width |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        for job, found in zip(jobs, pool.map(coverage, jobs), strict=True):
            shares = " | ".join(f"{100 * share:.1f} %" for share in (found.held, found.above, found.below))
            print(f"| {job.metric} | {job.clusters} | {job.size} | {found.truth:.4f} | {shares} | {found.width:.4f} |")


if __name__ == "__main__":
    main()

"""From the paired scores of a policy's rows to verdicts: tests, Holm over the rows, and power."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.comparison.gating.policy import NumberRow
from harness.comparison.gating.verdict import Verdict
from harness.comparison.paired import Mean, PairedDifference, paired_difference
from harness.comparison.pairing import PairedScores
from harness.comparison.permutation import holm
from harness.comparison.power import (
    LEVEL,
    Noise,
    clusters_needed,
    detectable_drop,
    optimistic,
    samples_of,
)
from harness.errors import SpecError
from harness.metrics.metric import Metric


@dataclass(frozen=True, slots=True, kw_only=True)
class TestedRow:
    """One row of the policy with its test.

    Attributes:
        row: Of the policy.
        difference: Candidate minus baseline; its p value is one-sided, small if a drop beyond the tolerance is shown.
        excluded: Margin -> p value, small if a drop of the margin or more is excluded.
        noise: Of the difference; None with fewer than 5 patients.
    """

    row: NumberRow
    difference: PairedDifference
    excluded: Callable[[float], float | None]
    noise: Noise | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What becomes of a row once all are tested.

    Attributes:
        verdict, reason, remedy: As in `RowVerdict`.
        p_adjusted: After Holm over the rows.
        detectable: The drop beyond the tolerance that these samples catch with 90 % power.
    """

    verdict: Verdict
    reason: str
    remedy: str
    p_adjusted: float | None
    detectable: float | None


def compare_row(
    row: NumberRow,
    paired: PairedScores,
    metric: Metric | None,
    *,
    name: int,
    mean: Mean,
    higher_is_better: bool,
    over: str | None = None,
) -> TestedRow:
    """Return a row with the test of a drop beyond its tolerance.

    Args:
        row: Its task, stratum and tolerance count here.
        paired: The scores of the row's metric and protocol, the baseline first.
        metric: Its row of the table; only pooled means need it.
        name: Which of the metric's values.
        mean, higher_is_better, over: Of the number.
    Raises:
        SpecError: No common sample is in the stratum.
    """

    def compare(side: str, margin: float) -> PairedDifference:
        return paired_difference(
            paired,
            metric,
            task=row.task,
            name=name,
            mean=mean,
            higher_is_better=higher_is_better,
            over=over,
            stratum=row.stratum,
            side="worse" if side == "worse" else "better",
            margin=margin,
        )

    difference = compare("worse", row.tolerance)
    values = np.concatenate([paired.values_a[:, name], paired.values_b[:, name]])
    binary = bool(np.isin(values[~np.isnan(values)], (0.0, 1.0)).all())
    return TestedRow(
        row=row,
        difference=difference,
        excluded=lambda margin: compare("better", margin).p,
        noise=noise_of(difference, binary=binary and mean == "micro", tolerance=row.tolerance),
    )


def noise_of(difference: PairedDifference, *, binary: bool = False, tolerance: float = 0.0) -> Noise | None:
    """Return how much a measured difference varies; None with fewer than 5 patients.

    Args:
        difference: As measured.
        binary: The scores are 0 or 1.
        tolerance: Of the row.
    """
    if difference.standard_error is None or difference.clusters < 2:
        return None
    # McNemar's test is exact, so its power can be, too.
    differing = difference.wins + difference.losses
    return Noise(
        error=difference.standard_error,
        clusters=difference.clusters,
        samples=difference.n,
        changed=differing / difference.n if difference.p_method == "mcnemar" and difference.n else None,
        binary=binary,
        tolerance=tolerance,
    )


def judge(
    tested: Sequence[TestedRow], *, further: Sequence[float | None] = (), rows: int | None = None
) -> list[Judgement]:
    """Return the verdict of every row; over all rows together, a false alarm comes in at most 5 % of the gates.

    Args:
        tested: The rows that can be tested.
        further: P values of the policy's other rows, such as speed, which belong to the same family.
        rows: Number of rows of the policy, for power; None: those given.
    """
    adjusted = holm([*(it.difference.p for it in tested), *further])
    family = len(tested) + len(further) if rows is None else rows
    return [_judge(it, p, family) for it, p in zip(tested, adjusted, strict=False)]


def _judge(tested: TestedRow, adjusted: float | None, family: int) -> Judgement:
    """Return the verdict of one row from its adjusted p value."""
    row, difference, noise = tested.row, tested.difference, tested.noise
    if difference.difference is None or adjusted is None or noise is None:
        side = "baseline" if difference.value_a is None else "candidate"
        return Judgement(
            verdict="cannot_judge",
            reason=f"the number has no value in the {side}, or no spread over patients that a test could use",
            remedy="evaluate more samples, or gate another metric or mean",
            p_adjusted=adjusted,
            detectable=None,
        )
    detectable = detectable_drop(noise, noise.clusters, rows=family)
    beyond = f" beyond the tolerance of {row.tolerance:g}" if row.tolerance else ""
    shown = f"{_words(difference)} on {_size(difference)}"

    def verdict(what: Verdict, reason: str, remedy: str = "") -> Judgement:
        return Judgement(verdict=what, reason=reason, remedy=remedy, p_adjusted=adjusted, detectable=detectable)

    if adjusted <= LEVEL:
        among = f" after Holm over {family} rows" if family > 1 else ""
        return verdict("regression", f"a loss{beyond} is shown: {shown}; p = {adjusted:.2g}{among}")
    if row.rule == "non_inferior":
        p = tested.excluded(row.tolerance)
        if p is not None and p <= LEVEL:
            return verdict("pass", f"a loss{beyond} is excluded at 95 %: {shown}")
        # At the difference that was seen, or at none if it was a gain: more samples cannot turn a loss into none.
        gain = difference.improvement or 0.0
        return verdict(
            "cannot_judge",
            f"a loss{beyond} is neither shown nor excluded: {shown}",
            _needs(noise, row.tolerance + min(0.0, gain), 1)
            if row.tolerance + min(0.0, gain) > 0
            else "a larger tolerance, or a candidate that loses less: the loss seen is as large as the tolerance",
        )
    if row.detect is not None and detectable_drop(optimistic(noise), noise.clusters, rows=family) > row.detect:
        p = tested.excluded(row.tolerance + row.detect)
        if p is None or p > LEVEL:
            return verdict(
                "cannot_judge",
                f"no loss{beyond} is shown ({shown}), but these samples catch only one of {detectable:.3g} with 90 % "
                f"power, not the {row.detect:g} that the policy wants to detect",
                _needs(noise, row.detect, family),
            )
    return verdict("pass", f"no loss{beyond} is shown: {shown}; one of {detectable:.3g} is caught with 90 % power")


def _needs(noise: Noise, drop: float, family: int) -> str:
    """Return how many patients and samples would let the row be judged."""
    try:
        clusters = max(clusters_needed(noise, drop, rows=family), noise.clusters + 1)
    except SpecError:
        return f"no number of samples that a release has shows a loss of {drop:.3g}; name a larger one"
    return f"about {clusters:,} patients ({samples_of(noise, clusters):,} samples), or a larger loss to detect"


def _words(difference: PairedDifference) -> str:
    """Return `0.5100 -> 0.4800 (-0.0300 [-0.0400, -0.0200])`."""
    interval = "" if difference.ci is None else " [{:+.4f}, {:+.4f}]".format(*difference.ci)
    return f"{difference.value_a:.4f} -> {difference.value_b:.4f} ({difference.difference:+.4f}{interval})"


def _size(difference: PairedDifference) -> str:
    return f"{difference.n:,} samples of {difference.clusters:,} patients"

"""What a gate found: one verdict per row of the policy, and the one of them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Verdict = Literal["pass", "regression", "cannot_judge"]

EXIT_CODES: Mapping[Verdict, int] = {"pass": 0, "regression": 1, "cannot_judge": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class StratumChange:
    """How a number changed in one stratum of a row; for orientation, not tested.

    Attributes:
        key, value: The stratum.
        baseline, candidate: The number; None if it has no value there.
        n, clusters: Samples and patients that both runs have there.
    """

    key: str
    value: str
    baseline: float | None
    candidate: float | None
    n: int
    clusters: int

    @property
    def difference(self) -> float | None:
        """Candidate minus baseline."""
        return None if self.baseline is None or self.candidate is None else self.candidate - self.baseline


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterChange:
    """How much one patient moved a row's number.

    Attributes:
        cluster: Name of the patient, study or image.
        contribution: The part of the difference that is this patient's, negative if it is part of a loss.
        samples: (sample id, score of the baseline, score of the candidate) of those that lost most, at most three.
    """

    cluster: str
    contribution: float
    samples: tuple[tuple[str, float | None, float | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowVerdict:
    """What became of one row of the policy.

    Attributes:
        title: The row in words.
        task: Its task; None for a measure of the whole run.
        verdict: Whether it passes.
        reason: Why, in one sentence.
        remedy: What would let it be judged; empty unless the verdict is `cannot_judge`.
        metric, protocol, name, mean: The number that was compared; None if none was found, or for a measure.
        stratum: (key, value) of the row; None for all samples.
        rule: `no_worse`, `non_inferior`, or `ratio` for a measure.
        higher_is_better: Direction of the number.
        baseline, candidate: The two numbers, in the metric's own unit.
        difference: Candidate minus baseline; for a measure the ratio of the two.
        interval: 95 % interval of `difference`; None if there is none.
        p, p_adjusted: One-sided p value of a loss beyond the tolerance, and after Holm over the policy's rows.
        tolerance: The acceptable loss.
        detect: The loss beyond it that was to be caught; None if none was named.
        detectable: The loss beyond the tolerance that these samples catch with 90 % power; None if unknown.
        n, clusters: Samples and patients that both runs have.
        strata: The strata of the row in which it lost, worst first.
        worst: The patients that lost most, worst first.
        notes: Remarks, such as differing fallbacks.
        place: `file:line` in the policy; empty without one.
    """

    title: str
    task: str | None
    verdict: Verdict
    reason: str
    remedy: str = ""
    metric: str | None = None
    protocol: str | None = None
    name: str | None = None
    mean: str | None = None
    stratum: tuple[str, str] | None = None
    rule: str = "no_worse"
    higher_is_better: bool = True
    baseline: float | None = None
    candidate: float | None = None
    difference: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_adjusted: float | None = None
    tolerance: float = 0.0
    detect: float | None = None
    detectable: float | None = None
    n: int = 0
    clusters: int = 0
    strata: tuple[StratumChange, ...] = ()
    worst: tuple[ClusterChange, ...] = ()
    notes: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """The verdict of a gate.

    Attributes:
        baseline, candidate: The two runs, as their model is displayed.
        rows: In the order of the policy.
        notes: Remarks about the runs as a whole.
    """

    baseline: str
    candidate: str
    rows: tuple[RowVerdict, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def verdict(self) -> Verdict:
        """A regression that is shown anywhere outranks rows that cannot be judged, which outrank those that pass."""
        found = {row.verdict for row in self.rows}
        if "regression" in found:
            return "regression"
        # A gate that looked at nothing has shown nothing.
        return "cannot_judge" if "cannot_judge" in found or not found else "pass"

    @property
    def exit_code(self) -> int:
        """0 pass, 1 regression, 3 cannot judge."""
        return EXIT_CODES[self.verdict]

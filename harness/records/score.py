"""What a prediction is worth by one metric and protocol."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.records.values import Json

ScoreStatus = Literal["ok", "undefined", "unparsed", "unjudged", "scorer_error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One sample under one metric and protocol.

    Attributes:
        values: One number per name of the metric's table row; empty unless `status` is ok or unparsed.
        stats: The short tuple of floats that the metric's table row names; sums of it give pooled values.
        failed: The worst value stands in for a prediction that failed.
        detail: What the metric says of this sample beyond its numbers: the rule that fired, or what it raised.
    """

    sample_id: str
    repeat: int
    metric: str
    protocol: str
    status: ScoreStatus
    values: tuple[float | None, ...] = ()
    stats: tuple[float, ...] = ()
    failed: bool = False
    detail: Mapping[str, Json] = field(default_factory=dict)
    cluster: str = ""
    strata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number of `results.json`.

    Attributes:
        metric, protocol, protocol_version: The table row it comes from.
        name: The metric's named value (`recall` of `token_prf`).
        stratum: One key and its lower-case value; None for the whole task.
        mean: `micro` (mean over samples), `macro` (unweighted mean over strata) or `pooled` (from summed stats).
        value: Natural, never percent; None when no number exists.
        ci: 95 % interval; None with fewer than 5 clusters.
        ci_method: `bca`, `percentile`, `delta` or `none`.
        n: Samples in the mean, failed ones included.
        clusters: Clusters that were resampled.
        undefined, failed, unparsed: Samples so counted.
        note: Why `value` is None, or what a reader must know.
    """

    metric: str
    name: str
    protocol: str
    protocol_version: int
    higher_is_better: bool
    stratum: Mapping[str, str] | None
    mean: Literal["micro", "macro", "pooled"]
    value: float | None
    ci: tuple[float, float] | None
    ci_method: str
    n: int
    clusters: int
    undefined: int
    failed: int
    unparsed: int
    note: str | None = None

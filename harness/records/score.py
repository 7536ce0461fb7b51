"""Scores of single samples, and the numbers of `results.json` that are made from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.records.values import Json

ScoreStatus = Literal["ok", "undefined", "unparsed", "unjudged", "scorer_error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The score of one sample by one metric under one protocol.

    Attributes:
        sample_id: The sample.
        repeat: 0-based number of the repetition.
        metric: Name of the metric.
        protocol: Name of the protocol, which fixes every detail of the metric.
        status: `undefined` if the metric has no value here, `unparsed` if the reply could not be read, `unjudged` if a
            judge did not answer, `scorer_error` if the metric raised.
        values: One number per named value of the metric; empty unless `status` is `ok` or `unparsed`.
        stats: The sufficient statistics that the metric names; pooled values are computed from their sums.
        failed: The prediction failed, and the worst value stands in for it.
        detail: Details for people to read: the rule that decided, or the error that the metric raised.
        cluster: Cluster of the sample.
        strata: Strata of the sample.
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
        metric: Name of the metric.
        name: Which of the metric's values this is (`recall` of `token_prf`).
        protocol: Name of the protocol.
        protocol_version: Version of the protocol.
        higher_is_better: Direction of the value.
        stratum: One stratum key with its value, in lower case; None for the whole task.
        mean: `micro` (mean over samples), `macro` (unweighted mean over strata) or `pooled` (from summed statistics).
        value: The number in the metric's own unit, never in percent; None if it has no value.
        ci: (low, high) of the 95 % confidence interval; None with fewer than 5 clusters.
        ci_method: `bca`, `percentile`, `delta` or `none`.
        n: Number of samples in the mean, failed ones included.
        clusters: Number of clusters that were resampled.
        undefined: Number of samples without a value.
        failed: Number of samples whose prediction failed.
        unparsed: Number of samples whose reply could not be read.
        note: Why `value` is None, or a caution for its reader.
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

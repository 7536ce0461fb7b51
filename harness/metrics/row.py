"""What a metric is: one row of the table in `harness.metrics`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.records import Prediction, Sample, ScoreStatus

Floats = NDArray[np.float64]
Stats = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one sample is worth before it is combined.

    Attributes:
        status: `ok`, `undefined` (no number exists) or `unparsed` (no answer could be read; scores the worst value).
        stats: The floats that the row's `stats` names; empty when undefined.
        detail: What a person wants to know of this sample: the rule that fired, a threshold.
    """

    status: ScoreStatus
    stats: Stats = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric under one protocol.

    Attributes:
        name: As in task files.
        protocol: `standard`, or the released code whose rules it follows.
        version: Raised by any change that can move a score.
        values: Names of its values; the first is its headline.
        stats: Names of the floats `score` returns per sample.
        line: Which kind of `harness metric` line it reads: `text` or `masks`.
        suits: Values of a task's `gives` that it can score.
        score: (sample, prediction) -> Outcome. Pure.
        combine: Sums of stats, shape (..., len(stats)) -> values, shape (..., len(values)); NaN is undefined. For
            one sample it gives the sample's values, for summed stats the pooled values.
        worst: Stats of a sample whose prediction failed.
        ceiling: The value of `values[0]` that a perfect answer to the sample reaches; None where it is undefined.
        floor: The value of `values[0]` of the worst answer.
        additive: Sums of stats are enough to pool; else the pooled value needs every sample's stats.
        higher_is_better: Direction.
        unit: `share` for [0, 1].
        summary: One sentence for `harness list metrics`.
    """

    name: str
    protocol: str
    version: int
    values: tuple[str, ...]
    stats: tuple[str, ...]
    line: str
    suits: frozenset[str]
    score: Callable[[Sample, Prediction], Outcome]
    combine: Callable[[Floats], Floats]
    worst: Callable[[Sample], Stats]
    ceiling: Callable[[Sample], float | None]
    floor: float = 0.0
    additive: bool = True
    higher_is_better: bool = True
    unit: str = "share"
    summary: str = ""


def sample_values(metric: Metric, stats: Stats) -> tuple[float | None, ...]:
    """Return one sample's values, None where a value is undefined."""
    values = metric.combine(np.asarray(stats, dtype=np.float64))
    return tuple(None if np.isnan(value) else float(value) for value in values)

"""What the worst and the perfect answer of a task reach under a metric: the floor and the ceiling beside its number."""

import hashlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import fsum

from harness.metrics.metric import Metric
from harness.records import Sample

MOST = 1000
"""Samples that floor and ceiling are means of; a ceiling can cost as much as a score."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Means over samples of the row's first value.

    Attributes:
        floor: Of the worst answers; None where even those are undefined.
        ceiling: Of perfect answers; it is below 1 where a protocol never gives 1.
    """

    floor: float | None
    ceiling: float | None


@dataclass(slots=True)
class BoundsSample:
    """At most MOST different samples of a task, those with the smallest sha256 of their id: the same in any order."""

    _kept: list[tuple[int, str]] = field(default_factory=list)
    _samples: dict[str, Sample] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Take one sample; one that is there already changes nothing."""
        if sample.id in self._samples:
            return
        place = (-int.from_bytes(hashlib.sha256(sample.id.encode()).digest()), sample.id)
        if len(self._kept) < MOST:
            heapq.heappush(self._kept, place)
            self._samples[sample.id] = sample
        elif place > self._kept[0]:
            del self._samples[heapq.heapreplace(self._kept, place)[1]]
            self._samples[sample.id] = sample

    def bounds(self, metric: Metric) -> Bounds:
        """Return the floor and the ceiling of `metric` over the samples."""
        samples = [self._samples[name] for _, name in sorted(self._kept)]
        return Bounds(
            _mean(metric.floor(sample) for sample in samples), _mean(metric.ceiling(sample) for sample in samples)
        )


def _mean(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return fsum(found) / len(found) if found else None

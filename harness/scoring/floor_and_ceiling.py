"""The floor and the ceiling of a metric on a task: the means that the worst and the perfect answers reach."""

import hashlib
import heapq
from dataclasses import dataclass, field
from math import fsum

from harness.metrics.metric import Metric
from harness.records import Sample

MOST = 1000  # samples in the means of floor and ceiling; a ceiling can cost as much as a score


@dataclass(frozen=True, slots=True)
class Bounds:
    """Means over samples of the metric's first value.

    Attributes:
        floor: Mean of the worst answers; None if even those are undefined.
        ceiling: Mean of perfect answers; below 1 if the protocol never gives 1.
    """

    floor: float | None
    ceiling: float | None


@dataclass(slots=True)
class BoundsSample:
    """At most MOST different samples of a task: those with the smallest sha256 of their id, the same in any order."""

    _kept: list[tuple[int, str]] = field(default_factory=list)
    _samples: dict[str, Sample] = field(default_factory=dict)

    def add(self, sample: Sample) -> None:
        """Add one sample; adding it again changes nothing."""
        if sample.id in self._samples:
            return
        # Negated, so that the heap's first is the largest hash: the next to give way.
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
        means = []
        for bound in (metric.floor, metric.ceiling):
            values = [value for value in map(bound, samples) if value is not None]
            means.append(fsum(values) / len(values) if values else None)
        return Bounds(*means)

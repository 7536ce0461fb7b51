"""What a train split says before a model has seen anything: the answers and masks that the majority baseline gives."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness import masks
from harness.extract import standard_normalise
from harness.records import Mask, Prior, Sample, Size

GRID = 128
"""Train masks of all sizes are averaged on a grid of GRID x GRID cells over the image."""


@dataclass(slots=True)
class _Surfaces:
    """How often an answer was given, counted without regard to case, and how it is mostly written."""

    counts: Counter[str] = field(default_factory=Counter)
    written: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, answer: str) -> None:
        normal = standard_normalise(answer)
        self.counts[normal] += 1
        self.written.setdefault(normal, Counter())[answer] += 1

    def most_frequent(self) -> str | None:
        """Return the most frequent answer; the first in alphabetical order of equals."""
        if not self.counts:
            return None
        normal = min(self.counts, key=lambda answer: (-self.counts[answer], answer))
        written = self.written[normal]
        return min(written, key=lambda surface: (-written[surface], surface))


@dataclass(slots=True)
class TrainPrior:
    """Counts over a train split.

    Attributes:
        answers: Over all train samples.
        by_question: Over the train samples that ask the same question, compared after normalising.
        mask_sum: Foreground share of each grid cell, summed over train masks; (GRID, GRID).
        masks: Train masks counted.
    """

    answers: _Surfaces = field(default_factory=_Surfaces)
    by_question: dict[str, _Surfaces] = field(default_factory=dict)
    mask_sum: NDArray[np.float64] = field(default_factory=lambda: np.zeros((GRID, GRID)))
    masks: int = 0

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "TrainPrior":
        """Return the counts over `samples`; those that cannot be asked are left out."""
        prior = cls()
        for sample in samples:
            if sample.defect is None:
                prior._add(sample)
        return prior

    def _add(self, sample: Sample) -> None:
        for answer in sample.target.answers[:1]:
            self.answers.add(answer)
            self.by_question.setdefault(standard_normalise(sample.question), _Surfaces()).add(answer)
        found = [entity.mask for entity in sample.target.entities if entity.mask is not None]
        if found and len(found[0].size) == 2:
            self.mask_sum += _on_grid(masks.decode(masks.merge(found)))
            self.masks += 1

    def for_sample(self, sample: Sample) -> Prior:
        """Return what the train split says of one sample, its mask in the frame of the sample's image."""
        same_question = self.by_question.get(standard_normalise(sample.question))
        return Prior(
            answer=self.answers.most_frequent(),
            answer_to_question=same_question.most_frequent() if same_question else None,
            mask=self._mask(sample.media[0].size) if self.masks and sample.media else None,
        )

    def _mask(self, size: Size) -> Mask:
        likely = self.mask_sum / self.masks >= 0.5
        rows, columns = (np.arange(length) * GRID // length for length in size)
        return masks.encode(likely[np.ix_(rows, columns)])


def _on_grid(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mask sampled at the centre of every grid cell, as 0.0 and 1.0."""
    rows, columns = ((np.arange(GRID) * 2 + 1) * length // (2 * GRID) for length in mask.shape)
    return mask[np.ix_(rows, columns)].astype(np.float64)

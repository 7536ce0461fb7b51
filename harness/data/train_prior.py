"""The prior of a train split: the most frequent answers and the mean mask, which the majority baseline answers with."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks
from harness.records import Mask, Prior, Sample, Size
from harness.text.choices.reading import lettered
from harness.text.normalisers import standard_normalise

GRID = 128  # masks of all sizes are averaged on GRID x GRID cells over the image, because images differ in size


@dataclass(slots=True)
class _Answers:
    """The number of times each normalised answer was given, and the spellings it was given in."""

    counts: Counter[str] = field(default_factory=Counter)
    written: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, answer: str) -> None:
        normal = standard_normalise(answer)
        self.counts[normal] += 1
        self.written.setdefault(normal, Counter())[answer] += 1

    def most_frequent(self) -> str | None:
        """Return the most frequent answer in its most frequent spelling; among equals, the first in the alphabet."""
        if not self.counts:
            return None
        return _most_frequent(self.written[_most_frequent(self.counts)])


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda text: (-counts[text], text))


@dataclass(slots=True)
class TrainPrior:
    """The most frequent answers and the mean mask of a train split.

    Attributes:
        answer: The most frequent answer; None if train has no answers.
        by_question: The most frequent answer to each question, by the question's normalised words.
        letters: The number of times that each letter is the right one.
        likely: Boolean (GRID, GRID), true where at least half of the train masks are foreground; None without masks.
    """

    answer: str | None
    by_question: Mapping[str, str | None]
    letters: Mapping[str, int]
    likely: NDArray[np.bool_] | None
    _masks: dict[Size, Mask] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "TrainPrior":
        """Return the prior of samples, leaving out those that cannot be asked and the masks of volumes."""
        answers = _Answers()
        by_question: dict[str, _Answers] = {}
        letters: Counter[str] = Counter()
        foreground, seen = np.zeros((GRID, GRID)), 0
        for sample in samples:
            if sample.defect is not None:
                continue
            for answer in sample.target.answers[:1]:
                answers.add(answer)
                by_question.setdefault(standard_normalise(sample.question), _Answers()).add(answer)
            if sample.target.choice is not None:
                letters[sample.target.choice] += 1
            found = [entity.mask for entity in sample.target.entities if entity.mask is not None]
            if found and len(found[0].size) == 2:
                mask = masks.decode(masks.merge(found))
                # The mask is sampled at the centre of every cell of the grid.
                rows, columns = ((np.arange(GRID) * 2 + 1) * length // (2 * GRID) for length in mask.shape)
                foreground += mask[np.ix_(rows, columns)]
                seen += 1
        return cls(
            answer=answers.most_frequent(),
            by_question={question: counted.most_frequent() for question, counted in by_question.items()},
            letters=letters,
            likely=2 * foreground >= seen if seen else None,
        )

    def for_sample(self, sample: Sample) -> Prior:
        """Return the prior of one sample, with a mask in the frame of the sample's image."""
        size = sample.media[0].size if sample.media else ()
        to_question = self.by_question.get(standard_normalise(sample.question))
        # The letter that is right most often; `max` takes the first of equals, so that it depends on no order of train.
        letters = lettered(sample.choices) if self.letters else {}
        return Prior(
            answer=self.answer,
            answer_to_question=to_question,
            choice=max(letters, key=lambda letter: self.letters.get(letter, 0), default=None),
            choice_to_question=_letter_of(to_question, sample.choices),
            mask=self._mask(size) if len(size) == 2 else None,
        )

    def _mask(self, size: Size) -> Mask | None:
        if self.likely is None:
            return None
        if size not in self._masks:
            rows, columns = (np.arange(length) * GRID // length for length in size)
            # Kept, because a release has many images of few sizes.
            self._masks[size] = masks.encode(self.likely[np.ix_(rows, columns)])
        return self._masks[size]


def _letter_of(answer: str | None, choices: Sequence[str]) -> str | None:
    """Return the letter of the first option that is this answer, or None if no option is."""
    if answer is None:
        return None
    wanted = standard_normalise(answer)
    return next((letter for letter, option in lettered(choices).items() if standard_normalise(option) == wanted), None)

"""What a train split says before a model has seen anything: the answers and masks that the majority baseline gives."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks
from harness.records import Mask, Prior, Sample, Size
from harness.text.choices.reading import lettered
from harness.text.normalisers import standard_normalise

GRID = 128
"""Train masks of all sizes are averaged on a grid of GRID x GRID cells over the image."""


@dataclass(slots=True)
class _Answers:
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
        return _most_frequent(self.written[_most_frequent(self.counts)])


def _most_frequent(counts: Counter[str]) -> str:
    return min(counts, key=lambda text: (-counts[text], text))


@dataclass(slots=True)
class TrainPrior:
    """What a train split says.

    Attributes:
        answer: The most frequent answer; None where train has none.
        by_question: The most frequent answer to each question, by its normalised words.
        letters: How often each letter is the right one.
        likely: (GRID, GRID), true where at least half of the train masks are foreground; None where train has none.
    """

    answer: str | None
    by_question: Mapping[str, str | None]
    letters: Mapping[str, int]
    likely: NDArray[np.bool_] | None
    _masks: dict[Size, Mask] = field(default_factory=dict)

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> "TrainPrior":
        """Return what `samples` say; those that cannot be asked are left out, and so are masks of volumes."""
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
                foreground += _on_grid(masks.decode(masks.merge(found)))
                seen += 1
        return cls(
            answer=answers.most_frequent(),
            by_question={question: counted.most_frequent() for question, counted in by_question.items()},
            letters=letters,
            likely=2 * foreground >= seen if seen else None,
        )

    def for_sample(self, sample: Sample) -> Prior:
        """Return what the train split says of one sample, its mask in the frame of the sample's image."""
        size = sample.media[0].size if sample.media else ()
        to_question = self.by_question.get(standard_normalise(sample.question))
        return Prior(
            answer=self.answer,
            answer_to_question=to_question,
            choice=self._letter(sample.choices),
            choice_to_question=_letter_of(to_question, sample.choices),
            mask=self._mask(size) if len(size) == 2 else None,
        )

    def _letter(self, choices: Sequence[str]) -> str | None:
        """Return which of the options' letters is right most often, the first of equals; None where train has none."""
        own = lettered(choices) if self.letters else {}
        return max(own, key=lambda letter: self.letters.get(letter, 0), default=None)

    def _mask(self, size: Size) -> Mask | None:
        if self.likely is None:
            return None
        if size not in self._masks:
            rows, columns = (np.arange(length) * GRID // length for length in size)
            self._masks[size] = masks.encode(self.likely[np.ix_(rows, columns)])
        return self._masks[size]


def _letter_of(answer: str | None, choices: Sequence[str]) -> str | None:
    """Return the letter of the first option that is this answer; None where none is."""
    if answer is None:
        return None
    wanted = standard_normalise(answer)
    return next((letter for letter, option in lettered(choices).items() if standard_normalise(option) == wanted), None)


def _on_grid(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the mask sampled at the centre of every grid cell."""
    rows, columns = ((np.arange(GRID) * 2 + 1) * length // (2 * GRID) for length in mask.shape)
    return mask[np.ix_(rows, columns)]

"""Mixes sets of questions by ratio into the rows of every step, with several questions about an image in one row."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reference_model.training.data import Example, ExampleSet

Row = tuple[Example, ...]


class Mix:
    """The rows of a stage; the rows of a step depend only on the arguments, so that a stage can be resumed.

    Each row starts with a leading question, whose set is sampled by ratio. Within a set, every question leads once
    before any leads again. Further questions about the same image follow, sampled from all sets by the same ratios.
    """

    def __init__(self, sets: Sequence[ExampleSet], *, steps: int, rows: int, questions: int, seed: int) -> None:
        """Sample the order of leading questions.

        Args:
            sets: At least one set.
            steps: The number of steps of the stage.
            rows: Rows per step, over all processes.
            questions: Most questions per row; with 1, every row holds one question.
            seed: The seed of the order and of the further questions.
        """
        self.sets = tuple(sets)
        self.rows = rows
        self.questions = questions
        self.seed = seed
        self._leads = _leads(sets, steps * rows, seed)
        self._by_image: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, one in enumerate(sets):
            for place, example in enumerate(one.examples):
                self._by_image[example.media_key].append((number, place))

    def step(self, step: int) -> tuple[Row, ...]:
        """Return the rows of a step, counted from 0."""
        return tuple(self._row(index) for index in range(step * self.rows, (step + 1) * self.rows))

    def _row(self, index: int) -> Row:
        number, place = (int(value) for value in self._leads[index])
        lead = self.sets[number].examples[place]
        others = [one for one in self._by_image[lead.media_key] if one != (number, place)]
        wanted = min(self.questions - 1, len(others))
        if wanted == 0:
            return (lead,)
        random = np.random.default_rng([self.seed, index, 1])
        return (lead, *(self.sets[s].examples[p] for s, p in self._drawn(others, wanted, random)))

    def _drawn(self, others: Sequence[tuple[int, int]], wanted: int, random: Generator) -> list[tuple[int, int]]:
        """Sample `wanted` of the questions; the weight of a set is its ratio, shared by its questions."""
        numbers = np.array([number for number, _ in others])
        counts = np.bincount(numbers, minlength=len(self.sets))
        weight = np.array([self.sets[number].ratio for number in numbers]) / counts[numbers]
        picks = random.choice(len(others), size=wanted, replace=False, p=weight / weight.sum())
        return [others[int(pick)] for pick in picks]


def _leads(sets: Sequence[ExampleSet], rows: int, seed: int) -> NDArray[np.int64]:
    """Return int64 (rows, 2): for every row, the set of its leading question and the place of the question there."""
    ratios = np.array([one.ratio for one in sets])
    numbers = np.random.default_rng([seed, 0]).choice(len(sets), size=rows, p=ratios / ratios.sum())
    places = np.zeros(rows, dtype=np.int64)
    for number, one in enumerate(sets):
        led = np.flatnonzero(numbers == number)
        # One seed per epoch, so that the epochs of a longer stage start with the same orders.
        examples, wanted = len(one.examples), len(led)
        epochs = -(-wanted // examples)
        shuffled = [np.random.default_rng([seed, number, epoch, 2]).permutation(examples) for epoch in range(epochs)]
        places[led] = np.concatenate([*shuffled, np.zeros(0, dtype=np.int64)])[:wanted].astype(np.int64)
    return np.stack((numbers, places), axis=1)

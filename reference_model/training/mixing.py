"""Which questions stand in which row of which step: sets mixed by ratio, several questions of an image in one row."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from reference_model.training.data import Example, ExampleSet

Row = tuple[Example, ...]


class Mix:
    """The rows of a stage; those of a step depend on nothing but the arguments, so that a stage can be resumed.

    Every row is led by a question of a set that is drawn by ratio. Within a set every question leads once before any
    leads again. Further questions about the same image follow, drawn by the same ratios from all sets.
    """

    def __init__(self, sets: Sequence[ExampleSet], *, steps: int, rows: int, questions: int, seed: int) -> None:
        """Draw the order of leading questions.

        Args:
            sets: At least one.
            steps: Of the stage.
            rows: Of a step, over all processes.
            questions: Most questions in a row; 1 packs nothing.
            seed: Decides on the order and on what follows a leading question.
        """
        self.sets = tuple(sets)
        self.rows = rows
        self.questions = questions
        self.seed = seed
        self._leads = _leads(sets, steps * rows, seed)
        self._pictures: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, one in enumerate(sets):
            for place, example in enumerate(one.examples):
                self._pictures[example.image_key].append((number, place))

    def step(self, step: int) -> tuple[Row, ...]:
        """Return the rows of a step, counted from 0."""
        return tuple(self._row(index) for index in range(step * self.rows, (step + 1) * self.rows))

    def _row(self, index: int) -> Row:
        number, place = (int(value) for value in self._leads[index])
        lead = self.sets[number].examples[place]
        others = [one for one in self._pictures[lead.image_key] if one != (number, place)]
        wanted = min(self.questions - 1, len(others))
        if wanted == 0:
            return (lead,)
        random = np.random.default_rng([self.seed, index, 1])
        return (lead, *(self.sets[s].examples[p] for s, p in self._drawn(others, wanted, random)))

    def _drawn(self, others: Sequence[tuple[int, int]], wanted: int, random: Generator) -> list[tuple[int, int]]:
        """Return `wanted` of the questions, each set with the weight of its ratio however many it has here."""
        numbers = np.array([number for number, _ in others])
        counts = np.bincount(numbers, minlength=len(self.sets))
        weight = np.array([self.sets[number].ratio for number in numbers]) / counts[numbers]
        picks = random.choice(len(others), size=wanted, replace=False, p=weight / weight.sum())
        return [others[int(pick)] for pick in picks]


def _leads(sets: Sequence[ExampleSet], rows: int, seed: int) -> NDArray[np.int64]:
    """Return (rows, 2): of every row the set that leads it and the place of the leading question in it."""
    ratios = np.array([one.ratio for one in sets])
    numbers = np.random.default_rng([seed, 0]).choice(len(sets), size=rows, p=ratios / ratios.sum())
    places = np.zeros(rows, dtype=np.int64)
    for number, one in enumerate(sets):
        led = np.flatnonzero(numbers == number)
        places[led] = _order(len(one.examples), len(led), seed, number)
    return np.stack((numbers, places), axis=1)


def _order(examples: int, wanted: int, seed: int, number: int) -> NDArray[np.int64]:
    """Return the first `wanted` places of shuffled epochs over a set."""
    epochs = -(-wanted // examples)
    shuffled = [np.random.default_rng([seed, number, epoch, 2]).permutation(examples) for epoch in range(epochs)]
    return np.concatenate([*shuffled, np.zeros(0, dtype=np.int64)])[:wanted].astype(np.int64)

"""No number of ours is improved by failing, repeating, flooding or hedging: (a), (b) and (c) over the table of metrics.

A row that its definition lets gain has a certificate; what exactly is excepted stands in GAINS.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from random import Random

import pytest

from harness.metrics import METRICS, Metric, bind, settle
from harness.records import Score
from harness.scoring.blind_answers import run_number
from harness.scoring.score import score
from tests.support import mutations
from tests.support.mutations import Mutation, Run

OURS = ("standard", "strict-letter", "exact", "nltk", "nltk-stem")
KINDS_OF_LINE: Mapping[str, tuple[str, ...]] = {
    "choice": ("choice",),
    "text": ("text",),
    "masks": ("masks 2-D", "masks 3-D"),
    "instances": ("masks 2-D", "masks 3-D"),
    "grounding": ("masks 2-D", "masks 3-D"),
    "boxes": ("boxes",),
    "retrieval": ("retrieval",),
}
# (metric, protocol) -> the mutations by which its definition lets a run gain; each of these rows has a certificate.
GAINS: Mapping[tuple[str, str], frozenset[str]] = {}


def name_of(row: Metric) -> str:
    return f"{row.name}/{row.protocol}"


def present(row: Metric) -> bool:
    return row.resource is None or row.resource.missing(row.bound) is None


BOUND = [bind(row, {}, "defaults") for row in METRICS]
# A judge's row scores the words of the judge, which are no answer of a model.
ROWS = [row for row in BOUND if row.protocol in OURS and row.line != "judge" and present(row)]
NLL = next(row for row in BOUND if row.protocol == "omnimedvqa-prefix")


def scores_of(row: Metric, run: Run) -> list[Score | None]:
    settled = settle(row, run.pairs)
    return [score(settled, sample, 0, prediction) for sample, prediction in run.pairs]


def gain(row: Metric, after: float | None, before: float | None) -> float:
    """Return how much better `after` is; a number that is lost is no gain."""
    if after is None:
        return 0.0
    if before is None:
        return 0.0 if after == row.range[0 if row.higher_is_better else 1] else float(row.higher_is_better)
    return after - before if row.higher_is_better else before - after


def mutate(row: Metric, kind: str, random: Random) -> Iterator[tuple[str, int, bool, Run, Run]]:
    """Yield mutations of one run: name, answers changed, whether the run gained, and the run before and after."""
    run = mutations.run(kind, random)
    before = scores_of(row, run)
    number = run_number(row, before)
    everywhere = range(len(run.pairs))
    for name, mutation in {**mutations.FAILING, **mutations.BROKEN, **mutations.REPEATED}.items():
        some = random.sample(everywhere, random.randint(1, len(run.pairs)))
        changed = run.mutated(mutation, some, random)
        yield name, len(some), gain(row, run_number(row, scores_of(row, changed)), number) > 1e-9, run, changed
    silent = Run(tuple((sample, mutations.silent(prediction)) for sample, prediction in run.pairs))
    for name, mutation in mutations.FLOODING[kind].items():
        if name.startswith("200") and random.random() > 0.1:
            continue  # hundreds of masks cost as much as a hundred other mutations
        seed = random.random()
        changed = run.mutated(mutation, everywhere, Random(seed))
        alone = scores_of(row, silent.mutated(mutation, everywhere, Random(seed)))
        after = scores_of(row, changed)
        yield (
            name,
            len(run.pairs),
            _turned(row, before, after, alone) or _above(row, number, after, alone),
            run,
            changed,
        )


def _turned(row: Metric, before: list[Score | None], after: list[Score | None], alone: list[Score | None]) -> bool:
    """Return whether an answer without credit has become worth more than what was added to it is by itself."""
    if row.rivals or row.corpus:
        return False
    for old, new, added in zip(before, after, alone, strict=True):
        values = [item.values[0] if item and item.values else None for item in (old, new, added)]
        if (
            values[0] == row.range[0]
            and row.higher_is_better
            and gain(row, values[1], max(values[2] or 0.0, 0.0)) > 1e-9
        ):
            return True
    return False


def _above(row: Metric, number: float | None, after: list[Score | None], alone: list[Score | None]) -> bool:
    """Return whether a run is worth more than it was and than what was added to its answers is by itself."""
    return min(gain(row, run_number(row, after), other) for other in (number, run_number(row, alone))) > 1e-9

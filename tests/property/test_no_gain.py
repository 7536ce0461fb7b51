"""No number of ours is improved by failing, repeating, flooding or hedging: (a), (b) and (c) over the table of metrics.

A row that its definition lets gain has a certificate; what exactly is excepted stands in GAINS.
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import NamedTuple

import pytest

from harness.metrics import METRICS, Metric, bind, settle
from harness.records import Score
from harness.scoring.blind_answers import run_number
from harness.scoring.score import score
from tests.support import mutations
from tests.support.mutations import Run

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
FAILING = frozenset({*mutations.FAILING, *mutations.BROKEN})
OVERLAP = frozenset({*mutations.REPEATED, "hedged"})
FLOODED = frozenset({"200 tiles", "200 boxes"})
# (metric, protocol) -> the mutations by which its definition lets a run gain; each of these rows has a certificate.
GAINS: Mapping[tuple[str, str], frozenset[str]] = {
    ("token_prf", "standard"): OVERLAP,
    ("bleu", "standard"): OVERLAP | FAILING,
    ("rouge", "standard"): OVERLAP,
    ("meteor", "nltk"): OVERLAP,
    ("meteor", "nltk-stem"): OVERLAP,
    ("cider", "standard"): OVERLAP,
    # A reply that names nothing is right where the answer names nothing, and has no value.
    ("clinical_entity_f1", "standard"): frozenset({"broken", "hedged"}),
    ("ciou", "standard"): frozenset(mutations.BROKEN),
    ("panoptic_quality", "standard"): FAILING,
    ("hallucination", "standard"): frozenset(mutations.BROKEN) | FLOODED,
    ("phrase_grounding_pointing_game", "standard"): FLOODED,
    ("retrieval", "standard"): FAILING,
}
MUTATIONS_FAST, MUTATIONS_SLOW = 20_000, 1_000_000
SURFACES = ("nsd", "hd95")  # masks between two others can join their boundaries


class Change(NamedTuple):
    """A mutation of a run: its name, the number of answers that it changed, and whether the run gained by it."""

    name: str
    answers: int
    gained: bool
    before: Run
    after: Run


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


def gain(row: Metric, after: float | None, before: float | None) -> bool:
    """Return whether `after` is better than `before`; a number that is lost or found is no gain."""
    if after is None or before is None:
        return False
    return (after - before if row.higher_is_better else before - after) > 1e-9


def changes(row: Metric, kind: str, random: Random) -> Iterator[Change]:
    """Yield every mutation of one run."""
    run = mutations.run(kind, random)
    before = scores_of(row, run)
    number = run_number(row, before)
    everywhere = range(len(run.pairs))
    for name, mutation in {**mutations.FAILING, **mutations.BROKEN, **mutations.REPEATED}.items():
        some = random.sample(everywhere, random.randint(1, len(run.pairs)))
        changed = run.mutated(mutation, some, random)
        yield Change(name, len(some), gain(row, run_number(row, scores_of(row, changed)), number), run, changed)
    silent = Run(tuple((sample, mutations.silent(prediction)) for sample, prediction in run.pairs))
    for name, mutation in mutations.FLOODING[kind].items():
        # Hundreds of masks cost as much as a hundred other mutations.
        if name in FLOODED and (random.random() > 0.05 or row.name in SURFACES):
            continue
        seed = random.random()
        changed = run.mutated(mutation, everywhere, Random(seed))
        alone = scores_of(row, silent.mutated(mutation, everywhere, Random(seed)))
        after = scores_of(row, changed)
        gained = turned(row, before, after, alone)
        if name != "200 boxes" or kind == "boxes":  # these leave parts of an image free, where luck could add up
            best = [number, run_number(row, alone)]
            gained |= all(value is None or gain(row, run_number(row, after), value) for value in best) and any(
                value is not None for value in best
            )
        yield Change(name, len(run.pairs), gained, run, changed)


def turned(
    row: Metric, before: Sequence[Score | None], after: Sequence[Score | None], alone: Sequence[Score | None]
) -> bool:
    """Return whether an answer without credit is worth more than what was added to it is by itself."""
    if row.rivals or row.corpus or not row.higher_is_better:
        return False
    for scores in zip(before, after, alone, strict=True):
        old, new, added = (item.values[0] if item and item.values else None for item in scores)
        if old == row.range[0] and gain(row, new, old if added is None else max(old, added)):
            return True
    return False


def gained_by(row: Metric, kind: str, answers: int, seed: int) -> tuple[int, list[Change]]:
    """Return how many answers were changed, at least `answers`, and the changes that no certificate explains."""
    found, done, random = [], 0, Random(f"{name_of(row)} {kind} {seed}")
    allowed = GAINS.get((row.name, row.protocol), frozenset())
    while done < answers:
        for change in changes(row, kind, random):
            done += change.answers
            if change.gained and change.name not in allowed:
                found.append(change)
    return done, found


CASES = [(row, kind) for row in [*ROWS, NLL] for kind in KINDS_OF_LINE[row.line]]
# Scoring masks takes several times as long as scoring words.
SHARES = [1 if kind.startswith("masks") else 5 for _, kind in CASES]


def share_of(total: int, share: int) -> int:
    """Return the answers of one case, rounded up; METEOR with WordNet may be left out of the sum."""
    return -(-total * share // (sum(SHARES) - max(SHARES)))


def refuse_gain(row: Metric, kind: str, answers: int, seed: int) -> int:
    """Return how many answers were changed; a gain that no certificate explains is an error that shows the run."""
    done, found = gained_by(row, kind, answers, seed)
    shown = [(change.name, *change.before.pairs, *change.after.pairs) for change in found[:1]]
    assert not found, (name_of(row), kind, shown)
    return done


def test_failing_repeating_flooding_and_hedging_gain_nothing() -> None:
    # To read WordNet takes longer than all other rows together.
    cases = [(*case, share) for case, share in zip(CASES, SHARES, strict=True) if case[0].protocol != "nltk"]
    assert sum(refuse_gain(row, kind, share_of(MUTATIONS_FAST, share), 1) for row, kind, share in cases) >= 20_000


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("row", "kind", "share"),
    [pytest.param(*case, share, id=f"{name_of(case[0])}/{case[1]}") for case, share in zip(CASES, SHARES, strict=True)],
)
def test_a_million_mutations_gain_nothing(row: Metric, kind: str, share: int) -> None:
    answers = share_of(MUTATIONS_SLOW, share)
    assert refuse_gain(row, kind, answers, 2) >= answers


def test_the_cases_of_the_slow_test_are_a_million() -> None:
    assert sum(share_of(MUTATIONS_SLOW, share) for share in SHARES) >= 1_000_000


# METEOR with WordNet takes seconds to read it.
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name[1] == "nltk")) for name in GAINS], ids="/".join
)
def test_what_a_definition_lets_gain_does_gain_and_has_a_certificate(name: tuple[str, str]) -> None:
    row = next(row for row in BOUND if (row.name, row.protocol) == name)
    assert row.certificate
    if not present(row):
        pytest.skip(f"{row.resource and row.resource.name} is missing")
    random = Random(1)
    for _ in range(3000):
        for kind in KINDS_OF_LINE[row.line]:
            if any(change.gained and change.name in GAINS[name] for change in changes(row, kind, random)):
                return
    pytest.fail(f"{name}: no gain was found: the exception is not needed")

"""How far a judge agrees with people, with intervals over clusters, and what moves it that should not."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError, listed
from harness.evaluation.judging.labels import GRADES, OUTCOMES, Label, grade_of, rank_of
from harness.metrics.answers.judge_replies import MIDDLE
from harness.records import Json
from harness.scoring.agreement import (
    Ints,
    Level,
    accuracy,
    alpha,
    difference_of_means,
    kappa,
    mean_difference,
    spearman,
)
from harness.scoring.intervals import FEWEST_CLUSTERS, Floats, bootstrap_seed, weight_intervals

Statistic = Callable[[Floats], Floats]  # weights of the answers, (..., answers), -> (...); NaN is undefined
Place = tuple[str, str, int]  # task, sample, repetition of the model's answer
SEED = "judge calibration"
IDS_NAMED = 3
# Why a statistic has no value though there are answers.
UNDEFINED: Mapping[str, str] = {
    "kappa": "both sides give every answer the same label, so nothing is expected by chance",
    "alpha": "all labels are equal, so nothing is expected by chance",
    "spearman": "one side gives every answer the same label",
    "correlation": "all answers have one length, or all errors are equal",
    "longer_minus_shorter": "no answer is longer than the median",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """One statistic.

    Attributes:
        value: None if it is undefined.
        ci: 95 % interval over clusters; None if there is none.
        ci_method: As in `results.json`.
        note: Why there is no value or no interval; empty if there are both.
    """

    value: float | None
    ci: tuple[float, float] | None = None
    ci_method: str = "none"
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """A judge beside people who labelled the same answers.

    Attributes:
        kind: What the people gave: `verdict` (correct, partly, incorrect), `winner` (win, tie, loss) or `score`.
        n: Answers that both judged.
        clusters: Patients among them.
        unjudged: Labelled answers that the judge was asked about without a judgement.
        not_asked: Labelled answers that the judge was not asked about, such as those of failed predictions.
        no_consensus: Answers whose raters have no most frequent verdict; they are left out.
        raters: Number of raters.
        agreement: By the name of the statistic.
        between_raters: Between the raters, and of the judge with each, on all answers with several; empty without.
        bias: Mean error in points, and the errors against length and position.
    """

    kind: str
    n: int
    clusters: int
    unjudged: int
    not_asked: int
    no_consensus: int
    raters: int
    agreement: Mapping[str, Number]
    between_raters: Mapping[str, Number] = field(default_factory=dict)
    bias: Mapping[str, Number] = field(default_factory=dict)


def calibrate(judged: Sequence[Label], labels: Sequence[Label], *, unjudged: Sequence[Place] = ()) -> Calibration:
    """Return the agreement of a judge with the people behind `labels`.

    Several raters of one answer count as one: their most frequent verdict, or the mean of their scores. Verdicts are
    compared as labels and, for the weighted statistics, by their order; scores by their distance, and for accuracy and
    plain kappa by the verdict that they stand for (below 10, 10 to below 90, from 90).

    Args:
        judged: The judge's, with the cluster and length of each answer; of pairs one for each order.
        labels: The people's: all verdicts, all winners or all scores.
        unjudged: Answers that the judge was asked about without a judgement.
    Raises:
        DataError: No answer has both, or a label could be of several tasks.
    """
    by_judge: dict[Place, list[Label]] = {}
    for one in judged:
        by_judge.setdefault((one.task, one.sample_id, one.repeat), []).append(one)
    tasks: dict[str, set[str]] = {}
    for task, sample, _ in (*by_judge, *unjudged):
        tasks.setdefault(sample, set()).add(task)
    by_people: dict[Place, list[Label]] = {}
    for label in labels:
        known = tasks.get(label.sample_id, set())
        if len(known) > 1 and not label.task:
            raise DataError(
                f"label in line {label.line}: '{label.sample_id}' is a sample of {listed(sorted(known), IDS_NAMED)}; "
                "name the task of each label in the column 'task'"
            )
        task = label.task or next(iter(known), "")
        by_people.setdefault((task, label.sample_id, label.repeat), []).append(label)
    pairs = {
        place: (_one(by_judge[place], people[0]), _consensus(people))
        for place, people in by_people.items()
        if place in by_judge
    }
    compared = [(place, one, other) for place, (one, other) in sorted(pairs.items()) if one and other]
    if not compared:
        labelled, there = [place[1] for place in by_people], sorted({sample for _, sample, _ in by_judge})
        raise DataError(
            f"none of the {len(labelled)} labelled answers ({listed(labelled, IDS_NAMED)}) can be compared with a "
            f"judgement; judged are {listed(there, IDS_NAMED) or 'none'}"
        )
    places, mine, theirs = (list(column) for column in zip(*compared, strict=True))
    kind = "score" if labels[0].score is not None else "verdict" if labels[0].verdict in GRADES else "winner"
    found = _numbers(
        {
            "agreement": _agreement(kind, mine, theirs),
            "bias": _bias(mine, theirs, [by_judge[place] for place in places]),
        },
        mine,
    )
    # Answers without a consensus are those on which raters differ: left out here, raters would seem to agree.
    shared = [(one, by_people[place]) for place, (one, _) in sorted(pairs.items()) if one and len(by_people[place]) > 1]
    between = _between_raters(kind, [one for one, _ in shared], [people for _, people in shared])
    if between:
        found |= _numbers({"between_raters": between}, [one for one, _ in shared])
    return Calibration(
        kind=kind,
        n=len(compared),
        clusters=len({_cluster(one) for one in mine}),
        unjudged=len((by_people.keys() & set(unjudged)) - by_judge.keys())
        + sum(mine is None for mine, _ in pairs.values()),
        not_asked=len(by_people.keys() - by_judge.keys() - set(unjudged)),
        no_consensus=sum(theirs is None for _, theirs in pairs.values()),
        raters=len({label.rater for label in labels}),
        agreement=found["agreement"],
        between_raters=found.get("between_raters", {}),
        bias=found["bias"],
    )


def _cluster(label: Label) -> str:
    return label.cluster or f"{label.task}\0{label.sample_id}"  # a sample of no known patient is its own


def _one(judged: Sequence[Label], like: Label) -> Label | None:
    """Return the judgements of one answer as one label of the kind of `like`; None if one of the two orders is missing.

    A pair needs both orders, for a judge that only likes the first answer would win and lose at once.
    """
    points = fsum(label.points for label in judged) / len(judged)
    if any(label.order for label in judged) and {label.order for label in judged} != {"first", "second"}:
        return None
    if like.verdict in OUTCOMES:
        verdict = OUTCOMES[1 + (points > MIDDLE) - (points < MIDDLE)]
    else:
        verdict = judged[0].verdict if judged[0].verdict in GRADES else grade_of(points)
    return replace(judged[0], verdict=verdict, score=points)


def _consensus(people: Sequence[Label]) -> Label | None:
    """Return the raters' labels of one answer as one; None if two verdicts are equally frequent."""
    if people[0].score is not None:
        score = fsum(label.score or 0.0 for label in people) / len(people)
        return replace(people[0], score=score, verdict=grade_of(score))
    (first, count), *others = Counter(label.verdict for label in people).most_common(2)
    return None if others and others[0][1] == count else replace(people[0], verdict=first)


def _agreement(kind: str, mine: Sequence[Label], theirs: Sequence[Label]) -> dict[str, Statistic | str]:
    ranks = [np.asarray([float(rank_of(label.verdict)) for label in side]) for side in (mine, theirs)]
    points = [np.asarray([label.points for label in side]) for side in (mine, theirs)]
    scale = points if kind == "score" else ranks
    unit = np.tile(np.arange(len(mine)), 2)
    nominal, ordered = np.concatenate(ranks), np.concatenate(scale)
    found: dict[str, Statistic | str] = {
        "accuracy": lambda weights: accuracy(weights, *ranks),
        "kappa": lambda weights: kappa(weights, *ranks),
        "kappa_linear": lambda weights: kappa(weights, *scale, weighted="linear"),
        "kappa_quadratic": lambda weights: kappa(weights, *scale, weighted="quadratic"),
        "alpha_nominal": lambda weights: alpha(weights, unit, nominal, level="nominal"),
        "alpha_ordinal": lambda weights: alpha(weights, unit, ordered, level="ordinal"),
        "spearman": lambda weights: spearman(weights, points[0], scale[1]),
    }
    if kind == "score":
        found["alpha_interval"] = lambda weights: alpha(weights, unit, ordered, level="interval")
    return found


def _between_raters(kind: str, mine: Sequence[Label], raters: Sequence[Sequence[Label]]) -> dict[str, Statistic | str]:
    """Return what raters agree on among themselves, and the judge with each of them, on answers with several raters."""
    if not raters:
        return {}
    unit: Ints = np.asarray([index for index, group in enumerate(raters) for _ in group])
    every = [label for group in raters for label in group]
    verdicts = [[_verdict(label) for label in group] for group in raters]
    value = np.asarray([label.points if kind == "score" else float(rank_of(label.verdict)) for label in every])
    # Mean over the pairs of raters of one answer, and over its raters: the judge stands where one more rater would.
    alike = np.asarray(
        [sum(words.count(word) - 1 for word in words) / (len(words) * (len(words) - 1)) for words in verdicts]
    )
    with_judge = np.asarray(
        [words.count(label.verdict) / len(words) for words, label in zip(verdicts, mine, strict=True)]
    )
    zeros = np.zeros(len(mine))
    level: Level = "interval" if kind == "score" else "ordinal"
    return {
        "accuracy": lambda weights: mean_difference(weights, alike, zeros),
        "accuracy_of_judge_with_each": lambda weights: mean_difference(weights, with_judge, zeros),
        f"alpha_{level}": lambda weights: alpha(weights, unit, value, level=level),
    }


def _verdict(label: Label) -> str:
    return grade_of(label.score) if label.score is not None else label.verdict


def _bias(
    mine: Sequence[Label], theirs: Sequence[Label], judged: Sequence[Sequence[Label]]
) -> dict[str, Statistic | str]:
    """Return what moves the judge's errors; a text says why something cannot be known."""
    errors = np.asarray([one.points - other.points for one, other in zip(mine, theirs, strict=True)])
    zeros = np.zeros(len(errors))
    found: dict[str, Statistic | str] = {"mean_error": lambda weights: mean_difference(weights, errors, zeros)}
    lengths = [label.length for label in mine]
    if any(length is None for length in lengths):
        found["length_correlation"] = found["longer_minus_shorter"] = "the lengths of the answers are not known"
    else:
        length = np.asarray(lengths, dtype=np.float64)
        upper: NDArray[np.bool_] = length > np.median(length)
        found["length_correlation"] = lambda weights: spearman(weights, errors, length)
        found["longer_minus_shorter"] = lambda weights: difference_of_means(weights, errors, upper)
    if any(label.order for label in judged[0]):
        orders = [{label.order: label.points for label in group} for group in judged]
        flipped = np.asarray([float(pair["first"] != pair["second"]) for pair in orders])
        # The judge's points are those of this run's answer; seen from the place they are those of the first answer.
        first = np.asarray([(pair["first"] + 100.0 - pair["second"]) / 200.0 for pair in orders])
        found["flip_rate"] = lambda weights: mean_difference(weights, flipped, zeros)
        found["first_preferred"] = lambda weights: mean_difference(weights, first, zeros)
    return found


def _numbers(
    statistics: Mapping[str, Mapping[str, Statistic | str]], answers: Sequence[Label]
) -> dict[str, dict[str, Number]]:
    """Return the value and interval of every statistic, all from the same draws of the clusters of the answers."""
    names = {name: index for index, name in enumerate(sorted({_cluster(answer) for answer in answers}))}
    cluster = np.asarray([names[_cluster(answer)] for answer in answers])
    named = [
        (part, name, it) for part, some in statistics.items() for name, it in some.items() if not isinstance(it, str)
    ]

    def estimate(weights: Floats) -> Floats:
        return np.stack([statistic(weights) for _, _, statistic in named], axis=-1)

    values = estimate(np.ones(len(cluster)))
    intervals = weight_intervals(cluster, estimate, seed=bootstrap_seed(SEED))
    found: dict[str, dict[str, Number]] = {
        part: {name: Number(value=None, note=it) for name, it in some.items() if isinstance(it, str)}
        for part, some in statistics.items()
    }
    few = len(names) < FEWEST_CLUSTERS
    for (part, name, _), value, interval in zip(named, values.tolist(), intervals, strict=True):
        if not isfinite(value):
            reasons = [words for head, words in UNDEFINED.items() if name.startswith(head) or name.endswith(head)]
            found[part][name] = Number(value=None, note=reasons[0] if reasons else "there is no answer to compare")
            continue
        note = ""
        if interval.bounds is None:
            note = f"fewer than {FEWEST_CLUSTERS} patients" if few else "undefined in most draws of patients"
        found[part][name] = Number(value=value, ci=interval.bounds, ci_method=interval.method, note=note)
    return found


def to_json(calibration: Calibration) -> dict[str, Json]:
    """Return a calibration as `calibration.json` holds it."""

    def numbers(some: Mapping[str, Number]) -> dict[str, Json]:
        return {
            name: {
                "value": number.value,
                "ci": None if number.ci is None else list(number.ci),
                "ci_method": number.ci_method,
                **({"note": number.note} if number.note else {}),
            }
            for name, number in some.items()
        }

    counts = ("kind", "n", "clusters", "unjudged", "not_asked", "no_consensus", "raters")
    return {
        **{name: getattr(calibration, name) for name in counts},
        "agreement": numbers(calibration.agreement),
        "between_raters": numbers(calibration.between_raters),
        "bias": numbers(calibration.bias),
    }


def summary_of(
    entries: Sequence[Mapping[str, Any]], protocol: str, about: Mapping[str, Json]
) -> dict[str, Json] | None:
    """Return what stands as `calibration` beside a judged number; None if its judge was not compared with people.

    Args:
        entries: The calibrations of the run.
        protocol: Column of the judge or panel.
        about: What stands beside the number; a calibration of another version of the prompt or rubric is none of it.
    """
    same = ("rubric_version", "prompt_version", "against", "digest")
    for entry in entries:
        if entry["protocol"] == protocol and all(entry.get(name) == about.get(name) for name in same):
            agreement, mean_error = entry["agreement"], entry["bias"].get("mean_error", {})
            level = "alpha_interval" if "alpha_interval" in agreement else "alpha_ordinal"
            return {
                "labels": entry["labels"],
                "kind": entry["kind"],
                "n": entry["n"],
                "clusters": entry["clusters"],
                "accuracy": agreement["accuracy"]["value"],
                "accuracy_ci": agreement["accuracy"]["ci"],
                "kappa": agreement["kappa"]["value"],
                "kappa_ci": agreement["kappa"]["ci"],
                "kappa_quadratic": agreement["kappa_quadratic"]["value"],
                "alpha": agreement[level]["value"],
                "alpha_ci": agreement[level]["ci"],
                "alpha_level": level.removeprefix("alpha_"),
                "spearman": agreement["spearman"]["value"],
                "mean_error": mean_error.get("value"),
            }
    return None

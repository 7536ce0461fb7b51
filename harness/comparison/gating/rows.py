"""What a row of a policy means in two runs, and what stands in the way of judging it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.comparison.gating.policy import MeasureRow, NumberRow, Policy
from harness.comparison.pairing import TaskPair
from harness.comparison.pinned import GateRun
from harness.comparison.scored_run import ScoredRun, TaskScores
from harness.errors import HarnessError, nearest, together
from harness.metrics import METRICS


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why a row is not a pass, whatever its numbers say, and what would let it be judged."""

    reason: str
    remedy: str


@dataclass(slots=True, kw_only=True)
class FoundRow:
    """A row of the policy in both runs.

    Attributes:
        row: With metric, protocol, name and mean filled in, if the number was found.
        a, b: The row of `results.json` in the baseline and in the candidate; None if it has none.
        tasks: The task of both runs; None if one lacks it.
        equal: Both runs gave the same answers to the same samples of the same data.
        comparable: The scores may be paired at all.
        obstacles: In the order in which they were found.
        notes: What differs and does not matter.
    """

    row: NumberRow
    a: Mapping[str, Any] | None = None
    b: Mapping[str, Any] | None = None
    tasks: tuple[TaskScores, TaskScores] | None = None
    equal: bool = False
    comparable: bool = False
    obstacles: list[Obstacle] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_row(row: NumberRow, a: GateRun, b: GateRun, pair: TaskPair | None) -> FoundRow:
    """Return a row of the policy in both runs, with everything that stands in the way of a pass.

    Args:
        row: Of the policy.
        a, b: Baseline and candidate.
        pair: The row's task, with what differs between the two; None if a run lacks it.
    """
    found = FoundRow(row=row)
    for side, run in (("baseline", a.run), ("candidate", b.run)):
        if row.task not in run.tasks:
            found.obstacles.append(_missing_task(row.task, side, run))
    if pair is None:
        return found
    found.tasks = (pair.a, pair.b)
    found.notes += pair.notes
    found.a, found.b = number_of(row, pair.a), None
    if found.a is None:
        found.obstacles.append(_missing_number(row, "baseline", a.run))
        return found
    key = ("metric", "name", "protocol", "mean", "stratum")
    found.b = next((it for it in pair.b.rows if all(it[name] == found.a[name] for name in key)), None)
    found.row = replace(row, **{name: found.a[name] for name in ("metric", "name", "protocol", "mean")})
    if found.b is None:
        found.obstacles.append(_missing_number(found.row, "candidate", b.run))
        return found
    for words in pair.differences:
        found.obstacles.append(
            Obstacle(
                f"{words}: scores on other data say nothing about the model",
                "run both models on the same data and tasks",
            )
        )
    versions = [it["protocol_version"] for it in (found.a, found.b)]
    if versions[0] != versions[1]:
        found.obstacles.append(
            Obstacle(
                f"protocol {found.row.protocol} has version {versions[0]} in the baseline, {versions[1]} in the "
                "candidate",
                "score both with one version of medground: harness score RUN, then pin again",
            )
        )
    settings = [it.get("parameters") for it in (found.a, found.b)]
    if settings[0] != settings[1]:
        found.obstacles.append(
            Obstacle(
                f"the metric's parameters are {settings[0]} in the baseline, {settings[1]} in the candidate",
                "score both with the same --param",
            )
        )
    if found.a["higher_is_better"] != found.b["higher_is_better"]:
        found.obstacles.append(Obstacle("the metric changed its direction", "score both with one version of medground"))
    found.comparable = not found.obstacles
    if not found.comparable:
        return found
    requests = [side.requests[row.task] for side in (a, b)]
    found.equal = requests[0].answers == requests[1].answers and requests[0].ids == requests[1].ids
    if not found.equal:
        _check_counts(found, row, len(set(requests[0].ids) - set(requests[1].ids)))
    return found


def number_of(row: NumberRow, task: TaskScores) -> Mapping[str, Any] | None:
    """Return the row of `results.json` that a row of the policy means; None if the task has none."""
    headline = task.headline
    stratum = None if row.stratum is None else dict([row.stratum])
    if row.metric is None and headline is None:
        return None
    metric = row.metric or (headline or {})["metric"]
    rows = [it for it in task.rows if it["metric"] == metric and it["stratum"] == stratum]
    own = task.block["headline"]
    protocols = list(dict.fromkeys(it["protocol"] for it in rows))
    # As in the headline where it has this metric; else the standard; else the first of the task.
    wanted = (
        [row.protocol] if row.protocol else [own["protocol"]] if own["metric"] == metric else ["standard", *protocols]
    )
    for protocol in wanted:
        chosen = [it for it in rows if it["protocol"] == protocol and (row.name is None or it["name"] == row.name)]
        mean = row.mean or (own["mean"] if (own["metric"], own["protocol"]) == (metric, protocol) else None)
        exact = [it for it in chosen if it["mean"] == mean]
        # Strata have one mean each, so that of a macro headline is not among them.
        if exact or (chosen and row.mean is None):
            return (exact or chosen)[0]
    return None


def _check_counts(found: FoundRow, row: NumberRow, missing: int) -> None:
    """Note fewer samples or less coverage in the candidate than in the baseline."""
    assert found.tasks is not None
    assert found.a is not None
    assert found.b is not None
    blocks = [task.block for task in found.tasks]
    finish = "finish the candidate: the same `harness run` command, without a smaller --limit"
    if missing:
        found.obstacles.append(Obstacle(f"{missing:,} samples of the baseline are not in the candidate", finish))
    # A looser threshold cannot buy back what the baseline has: what is left out might be what was lost.
    least = max(blocks[0]["coverage"], row.required_coverage or 0.0)
    if blocks[1]["coverage"] < least - 1e-12:
        found.obstacles.append(
            Obstacle(
                f"coverage {blocks[1]['coverage']:.1%} of the candidate is below {least:.1%}",
                f"{finish}, and see to samples without a score (data_error, unjudged, scorer_error)",
            )
        )
    a, b = found.a, found.b
    fewer = a["n"] - b["n"]
    if fewer <= 0 or missing:
        return
    undefined = b["undefined"] - a["undefined"]
    table = found.tasks[1].find_metric(a["metric"], a["protocol"])
    # Nothing found where there is nothing to find takes a sample out of the mean rightly. A protocol that leaves out
    # samples in which something is missed would let a model gain by missing more.
    rightly = table is not None and table.empty.prediction != "undefined"
    if fewer > max(0, undefined) or not rightly:
        found.obstacles.append(
            Obstacle(
                f"the mean has {b['n']:,} samples in the candidate, {a['n']:,} in the baseline",
                finish
                if fewer > max(0, undefined)
                else f"gate a protocol that counts every sample, not {a['protocol']}",
            )
        )


def _missing_task(task: str, side: str, run: ScoredRun) -> Obstacle:
    if task in run.unsupported:
        return Obstacle(f"the {side} does not support {task}: {run.unsupported[task]}", "gate a task that both support")
    for item in run.unavailable:
        if item["task"] == task and item["metric"] is None:
            return Obstacle(f"the {side} has no {task}: {item['reason']}", str(item["remedy"]))
    return Obstacle(f"the {side} has no task {task}", f"run {task} with the {side}, too")


def _missing_number(row: NumberRow, side: str, run: ScoredRun) -> Obstacle:
    name = row.title.removeprefix(f"{row.task} ")
    for item in run.unavailable:
        if item["task"] == row.task and item["metric"] is not None and item["metric"] == row.metric:
            return Obstacle(f"the {side} has no {name} of {row.task}: {item['reason']}", str(item["remedy"]))
    return Obstacle(
        f"the {side} has no {name} of {row.task}",
        f"score it: harness score RUN, with the metric in the task file of {row.task} and without --protocol",
    )


def check_names(policy: Policy, a: ScoredRun, b: ScoredRun, known_tasks: Sequence[str]) -> None:
    """Check that what a policy names exists somewhere: a misspelt row must not look like a metric that vanished.

    Args:
        policy: The policy.
        a, b: Baseline and candidate.
        known_tasks: Names of all tasks at hand.
    Raises:
        SpecError: One line `file:line: ...` per fault.
    """
    rows: list[NumberRow | MeasureRow] = [*policy.numbers, *policy.measures]
    faults = [
        f"{row.place}: {fault}" if row.place else fault
        for row in rows
        for fault in _name_faults(row, a, b, known_tasks)
    ]
    if faults:
        error: HarnessError = together(faults)
        raise error


def _name_faults(row: NumberRow | MeasureRow, a: ScoredRun, b: ScoredRun, known_tasks: Sequence[str]) -> list[str]:
    """Return what is wrong with the names of a row, in the order of its keys."""
    if row.task is None:
        return []
    tasks = list(dict.fromkeys([*a.tasks, *b.tasks, *a.unsupported, *b.unsupported]))
    if row.task not in (*tasks, *known_tasks):
        hint = nearest(row.task, [*tasks, *known_tasks])
        return [f"task: neither run has a task '{row.task}'{hint}; they have {', '.join(tasks)}"]
    if isinstance(row, MeasureRow):
        return []
    rows = [it for run in (a, b) if row.task in run.tasks for it in run.tasks[row.task].rows]
    found = []
    metrics = {metric.name for metric in METRICS} | {it["metric"] for it in rows}
    if row.metric is not None and row.metric not in metrics:
        found.append(f"metric: there is no metric '{row.metric}'{nearest(row.metric, sorted(metrics))}")
    elif row.metric is not None:
        protocols = {it.protocol for it in METRICS if it.name == row.metric}
        protocols |= {it["protocol"] for it in rows if it["metric"] == row.metric}
        names = {name for it in METRICS if it.name == row.metric for name in it.values}
        names |= {it["name"] for it in rows if it["metric"] == row.metric}
        for key, value, known in (("protocol", row.protocol, protocols), ("name", row.name, names)):
            if value is not None and value not in known:
                hint = nearest(value, sorted(known)) or f"; it has {', '.join(sorted(known))}"
                found.append(f"{key}: {row.metric} has no {key} '{value}'{hint}")
    if row.stratum is not None and rows:
        strata = sorted({f"{key}={value}" for it in rows for key, value in (it["stratum"] or {}).items()})
        wanted = f"{row.stratum[0]}={row.stratum[1]}"
        if wanted not in strata:
            hint = nearest(wanted, strata) or f"; it has {', '.join(strata) or 'none'}"
            found.append(f"stratum: neither run has {wanted} in {row.task}{hint}")
    return found

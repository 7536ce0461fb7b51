"""The blocks of `results.json`: tallies, rows, headlines and groups."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from pathlib import Path
from typing import Any

from harness.metrics.metric import Metric
from harness.records import PREDICTION_STATUSES, Json, Result, Score
from harness.scoring.aggregate import aggregate
from harness.tasks.spec import GroupSpec, TaskSpec

SCHEMA = 1
# Statuses of an answer that is scored as it stands; a truncated one is scored like any other.
ANSWERED = frozenset({"ok", "truncated"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A sample without a usable answer, for the report and the terminal.

    Attributes:
        task, sample_id, status: Whose answer it is, and what became of it.
        message: Type and message of the error; empty for an answer that is empty or refused.
        traceback: Where the model raised it; empty if it raised nothing.
    """

    task: str
    sample_id: str
    status: str
    message: str
    traceback: str = ""


@dataclass(slots=True)
class Tally:
    """Counts of the outcomes of one cell's samples.

    Attributes:
        counts: Predictions by status, and `not_run`.
        unscored: Per metric and protocol, the number of scores that are `unjudged` or `scorer_error`.
        failures: The first of the samples that failed.
        answered: Answers that can be scored; an empty one where there is nothing to find is among them.
        present: Samples in which there is something to find.
    """

    counts: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    present: int = 0
    unscored: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def count(self, status: str, *, absent: bool) -> None:
        """Count one sample; `absent` says that there is nothing to find in it."""
        self.counts[status] += 1
        self.present += not absent
        self.answered += status in ANSWERED or (absent and status == "empty")

    @property
    def silent(self) -> bool:
        """Whether the model was asked and gave no answer at all to anything that has one."""
        given = sum(self.counts[status] for status in ANSWERED)
        return given == 0 and self.present > 0 and self.counts["empty"] + self.counts["refused"] > 0

    def coverage(self, wanted: int) -> float:
        """Return 1 - (data_error + not run + the worst metric's unjudged and scorer_error) / wanted."""
        # Predictions that failed are in the mean, at the worst value, so they cost no coverage.
        lost = self.counts["data_error"] + self.counts["not_run"] + max(self.unscored.values(), default=0)
        return 1.0 - lost / wanted if wanted else 1.0


def aggregate_metric(task: TaskSpec, metric: Metric, scores: Iterable[Score] | Path) -> list[Result]:
    """Return the rows of one metric of a task, with the means and strata that the task asks for; see `aggregate`."""
    headline = task.headline
    return aggregate(
        task.task,
        metric,
        scores,
        strata=task.strata,
        macro_over=headline.over,
        pooled=headline.mean == "pooled",
        # Dice and its kin leave out a sample where target and prediction are both empty, so the mean over all samples
        # is over other samples for another model; over those with something to find it is not.
        implied=("presence",) if task.gives == "masks" else (),
    )


def task_block(
    task: TaskSpec,
    tally: Tally,
    rows: Sequence[Mapping[str, Json]],
    *,
    samples: int,
    fallbacks: Sequence[str],
    data_digest: str,
    wording: str | None,
) -> dict[str, Json]:
    """Return the block of one task in `results.json`.

    Args:
        task: The task.
        tally: The outcomes of its samples.
        rows: Its rows, one per number.
        samples: Number of samples that take part.
        fallbacks: The fallbacks that the model needed, as `name: value`.
        data_digest: sha256 of the manifest.
        wording: Name of the words that the task was asked in; None if it has only one wording.
    """
    wanted = samples * task.repeats
    order = [*PREDICTION_STATUSES, "not_run"]
    return {
        "title": task.title,
        "version": task.version,
        "task_digest": task.digest,
        "data_digest": data_digest,
        "fallbacks": list(fallbacks),
        **({} if wording is None else {"wording": wording}),
        "wanted": wanted,
        "answered": tally.answered,
        "coverage": tally.coverage(wanted),
        "counts": {status: tally.counts[status] for status in order if tally.counts[status]},
        "headline": {
            "metric": task.headline.metric,
            "protocol": task.headline.protocol,
            "mean": task.headline.mean,
            "over": task.headline.over,
        },
        "metrics": [dict(row) for row in rows],
    }


def headline_row(block: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the row of a task's block that is its headline; None if that metric was not scored."""
    headline = block["headline"]
    for row in block["metrics"]:
        same = (row["metric"], row["protocol"], row["mean"]) == (
            headline["metric"],
            headline["protocol"],
            headline["mean"],
        )
        if same and row["stratum"] is None:
            found: dict[str, Any] = row
            return found
    return None


def combine_group(group: GroupSpec, tasks: Sequence[TaskSpec], blocks: Mapping[str, Any]) -> dict[str, Json]:
    """Return a group's block; `macro` is the unweighted mean of its members' headlines, null if one is missing."""
    result: dict[str, Json] = {"combine": group.combine, "members": list(group.members), "metrics": []}
    if group.combine == "none":
        return result
    headlines = {(task.headline.metric, task.headline.protocol) for task in tasks if task.task in group.members}
    for metric, protocol in sorted(headlines):
        rows = [headline_row(blocks[name]) if name in blocks else None for name in group.members]
        values = [
            row["value"] for row in rows if row is not None and (row["metric"], row["protocol"]) == (metric, protocol)
        ]
        # A mean over some of the members would be higher or lower by which of them are missing.
        whole = len(values) == len(group.members) and all(value is not None for value in values)
        result["metrics"].append(
            {
                "metric": metric,
                "name": rows[0]["name"] if rows[0] is not None else metric,
                "protocol": protocol,
                "mean": "macro",
                "value": fsum(values) / len(values) if whole else None,
                "members_with_value": sum(value is not None for value in values),
            }
        )
    return result

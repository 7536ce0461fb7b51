"""The files in which the process beside the model leaves its scores, one per row group of a plan."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.metrics.metric import Metric
from harness.records import Json, Score
from harness.runs.plan_file import ROWS_PER_GROUP
from harness.scoring.parallel import Asked
from harness.scoring.score import score

# Of one row: each metric's score by `metric_name`; None if the release is at fault, so that there is no score.
Known = Mapping[str, Mapping[str, Json] | None]


def metric_name(metric: Metric) -> str:
    """Return what a score depends on beside its sample and its prediction."""
    return json.dumps([metric.name, metric.protocol, metric.version, dict(metric.bound)], sort_keys=True, default=repr)


def spool_path(folder: Path, task: str, group: int) -> Path:
    """Return the file of one row group of a task's plan."""
    return folder / f"{task}.{group}.jsonl"


def spool_line(row: int, metrics: Iterable[Metric], scores: Iterable[Score | None]) -> str:
    """Return the line of one row of a row group; what JSON does not know becomes text, as in the files of scores."""
    found = {
        metric_name(metric): None
        if one is None
        else {
            "status": one.status,
            "values": one.values,
            "stats": one.stats,
            "failed": one.failed,
            "detail": dict(one.detail),
        }
        for metric, one in zip(metrics, scores, strict=True)
    }
    return json.dumps([row, found], default=repr) + "\n"


@dataclass(slots=True)
class SpooledScores:
    """The scores that were computed beside the model.

    Attributes:
        folder: Of the files.
    """

    folder: Path
    _group: tuple[str, int] | None = None
    _rows: dict[int, Known] = field(default_factory=dict)

    def count(self, task: str) -> int:
        """Return how many rows of a task have scores."""
        return sum(path.read_bytes().count(b"\n") for path in self.folder.glob(f"{task}.*.jsonl"))

    def scored(
        self, task: str, metrics: Sequence[Metric], asked: Iterable[tuple[int, Asked]]
    ) -> Iterator[tuple[Asked, list[Score | None]]]:
        """Yield every prediction with its scores, as `score_all` does; what has none yet is scored now.

        Args:
            task: Name of the task.
            metrics: Its metrics.
            asked: Each prediction with the 0-based number of its row in the plan, ascending.
        """
        names = [metric_name(metric) for metric in metrics]
        for number, one in asked:
            known = self._of(task, *divmod(number, ROWS_PER_GROUP))
            yield (
                one,
                [
                    _restored(metric, one, known[name]) if name in known else score(metric, *one)
                    for name, metric in zip(names, metrics, strict=True)
                ],
            )

    def _of(self, task: str, group: int, row: int) -> Known:
        """Return what is known of a row; one row group is in memory at a time."""
        if self._group != (task, group):
            self._group, self._rows = (task, group), {}
            path = spool_path(self.folder, task, group)
            for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
                try:
                    place, found = json.loads(line)
                except ValueError:  # the process was ended within a line
                    continue
                self._rows[place] = found
        return self._rows.get(row, {})


def _restored(metric: Metric, asked: Asked, found: Mapping[str, Json] | None) -> Score | None:
    if found is None:
        return None
    sample, repeat, _ = asked
    return Score(
        sample_id=sample.id,
        repeat=repeat,
        metric=metric.name,
        protocol=metric.protocol,
        status=found["status"],
        values=tuple(found["values"]),
        stats=tuple(found["stats"]),
        failed=found["failed"],
        detail=found["detail"],
        cluster=sample.cluster,
        strata=sample.strata,
    )

"""The process itself: `python -m harness.runs.scored_ahead RUN_DIR FOLDER [PROTOCOL ...]`.

It reads lines `KEY OFFSET` of finished requests from its standard input, scores each, and writes the scores to FOLDER.
At the end of its input it stops after the sample at hand.
"""

import json
import os
import queue
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.metrics.metric import Metric
from harness.records.codec import sample_from_json
from harness.runs import plan_file
from harness.runs.directory import RunDirectory
from harness.runs.scored_ahead.spool import spool_line, spool_path
from harness.scoring.availability import usable_metrics
from harness.scoring.score import readable, score
from harness.tasks.catalog import index
from harness.tasks.overrides import with_parameters, with_protocols
from harness.tasks.spec import TaskSpec

# Row groups of the plan in memory: requests finish about in the order of the plan.
GROUPS_KEPT = 8
# Added to the niceness: the model comes first.
NICENESS = 10
# Resources that are cheap to hold twice; a language model for BERTScore is not.
CHEAP = frozenset({"wordnet"})


@dataclass(slots=True)
class _Group:
    """A row group of a task's plan: its rows as (repeat, JSON of the sample), and the rows of each key."""

    task: TaskSpec
    number: int
    rows: Sequence[tuple[int, str]]
    by_key: dict[str, list[int]] = field(default_factory=dict)


class _Scorer:
    """Scores finished requests of a run."""

    def __init__(self, run: Path, folder: Path, protocols: Sequence[str]) -> None:
        self.directory, self.folder = RunDirectory(run), folder
        record = self.directory.read_run()
        tasks, _ = index((), stored=self.directory.tasks_folder).resolve(record["requested"])
        tasks = with_parameters([with_protocols(task, protocols) for task in tasks], record["parameters"])
        self.tasks = [task for task in tasks if self.directory.plan_path(task.task).exists()]
        self.metrics = {task.task: _metrics(task) for task in self.tasks}
        self.unread = self._groups()
        self.kept: deque[_Group] = deque(maxlen=GROUPS_KEPT)
        self.predictions = self.directory.predictions_path.open("rb")

    def _groups(self) -> Iterator[_Group]:
        for task in self.tasks:
            for number, rows in enumerate(plan_file.sample_groups(self.directory.plan_path(task.task))):
                group = _Group(task, number, [(repeat, sample) for repeat, _, sample in rows])
                for row, (_, key, _) in enumerate(rows):
                    group.by_key.setdefault(key, []).append(row)
                yield group

    def take(self, key: str, offset: int) -> None:
        """Score the rows of a finished request, in the first row group that holds it."""
        group = next((one for one in self.kept if key in one.by_key), None)
        while group is None:
            following = next(self.unread, None)
            if following is None:  # of a row group that is no longer in memory
                return
            self.kept.append(following)
            group = following if key in following.by_key else None
        rows, metrics = group.by_key.pop(key), self.metrics[group.task.task]
        if not metrics:
            return
        self.predictions.seek(offset)
        prediction = self.directory.read_prediction(self.predictions.readline())
        with spool_path(self.folder, group.task.task, group.number).open("a", encoding="utf-8") as file:
            for row in rows:
                repeat, text = group.rows[row]
                pair = readable(sample_from_json(json.loads(text)), prediction, group.task.grammar)
                scores = [score(metric, pair[0], repeat, pair[1]) for metric in metrics]
                file.write(spool_line(row, metrics, scores))


def _metrics(task: TaskSpec) -> list[Metric]:
    """Return the metrics that need one sample alone and no large resource."""
    return [
        row.metric
        for row in usable_metrics(task).rows
        if row.metric.prepare is None and (row.metric.resource is None or row.metric.resource.name in CHEAP)
    ]


def main() -> None:
    """Score what is read from standard input."""
    os.nice(NICENESS)
    scorer = _Scorer(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    ended = threading.Event()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        ended.set()
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    while not ended.is_set():
        key, _, offset = lines.get().partition(" ")
        if offset and not ended.is_set():
            scorer.take(key, int(offset))


if __name__ == "__main__":
    main()

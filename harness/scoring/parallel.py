"""Scoring of many predictions under many metrics: in this process, or on all cores if that saves time."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from harness.records import Prediction, Sample, Score
from harness.scoring.availability import UsableMetric
from harness.scoring.score import score
from harness.tasks.plug_ins import load_metric
from harness.tasks.spec import MetricUse

Asked = tuple[Sample, int, Prediction]  # a sample, the 0-based number of its repetition, the prediction

CHUNK = 128  # predictions that are scored in one go
# Least seconds that the metrics take for one prediction: to send it to another process and its scores back takes about
# a tenth of a millisecond.
WORTH_EACH = 0.0005
WORTH_SECONDS = 15.0  # least work left for which other processes are started, which takes some two seconds


def score_all(
    rows: Sequence[UsableMetric], asked: Iterable[Asked], count: int, folder: Path, *, cores: int | None = None
) -> Iterator[tuple[Asked, list[Score | None]]]:
    """Yield every prediction, in the order given, with its score under every row; the scores do not depend on cores.

    The first chunk is scored here and timed; the rest goes to a pool if it would take longer than `WORTH_SECONDS`, and
    each prediction longer than `WORTH_EACH`.

    Args:
        rows: The metrics.
        asked: Read as it is needed.
        count: How many there are.
        folder: Folder of the task, for its own metrics.
        cores: Number of processes; None: as many as this process may use.
    """
    remaining = iter(asked)
    first = list(islice(remaining, CHUNK))
    started = time.perf_counter()
    scored = [[score(row.metric, *one) for row in rows] for one in first]
    spent = time.perf_counter() - started
    yield from zip(first, scored, strict=True)
    each = spent / max(1, len(first))
    left = each * (count - len(first)) if each >= WORTH_EACH else 0.0
    if left >= WORTH_SECONDS and not cores:
        from joblib import cpu_count

        cores = int(cpu_count())  # it respects CPU affinity and the limits of containers
    if left >= WORTH_SECONDS and cores and cores > 1:
        yield from _on_all_cores(rows, remaining, folder, cores)
    else:
        for one in remaining:
            yield one, [score(row.metric, *one) for row in rows]


def _on_all_cores(
    rows: Sequence[UsableMetric], remaining: Iterator[Asked], folder: Path, cores: int
) -> Iterator[tuple[Asked, list[Score | None]]]:
    from joblib import Parallel, delayed

    uses = tuple(row.use for row in rows if row.use is not None)
    sent: list[list[Asked]] = []

    def jobs() -> Iterator[Any]:
        while chunk := list(islice(remaining, CHUNK)):
            sent.append(chunk)
            yield delayed(_score_chunk)(uses, folder, chunk)

    # Results come in the order sent, and only three chunks per process are read ahead: a cell need not fit in memory.
    parallel: Callable[..., Iterator[list[list[Score | None]]]] = Parallel(
        n_jobs=cores, return_as="generator", pre_dispatch="3*n_jobs", batch_size=1
    )
    for theirs in parallel(jobs()):
        for one, scores in zip(sent.pop(0), theirs, strict=True):
            found = iter(scores)
            yield one, [score(row.metric, *one) if row.use is None else next(found) for row in rows]


def _score_chunk(uses: Sequence[MetricUse], folder: Path, chunk: Sequence[Asked]) -> list[list[Score | None]]:
    """Score a chunk in another process, which loads the metrics by name."""
    metrics = [load_metric(use, folder) for use in uses]
    return [[score(metric, *asked) for metric in metrics] for asked in chunk]

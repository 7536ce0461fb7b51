"""Scores many predictions under many metrics: in this process, or on all cores where that is worth starting them."""

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

Asked = tuple[Sample, int, Prediction]
"""A sample, the number of its repetition and the prediction."""

CHUNK = 128
"""Predictions that are scored in one go."""
WORTH_SECONDS = 15.0
"""Work that is left from which on other processes are started; they need some two seconds to begin."""


def score_all(
    rows: Sequence[UsableMetric], asked: Iterable[Asked], count: int, folder: Path, *, cores: int | None = None
) -> Iterator[tuple[Asked, list[Score | None]]]:
    """Yield every prediction, in the order given, with its score under every row; the scores do not depend on cores.

    The first chunk is scored here and timed; what is left goes to a pool where it would take longer than
    `WORTH_SECONDS`.

    Args:
        rows: The metrics.
        asked: Read as it is needed.
        count: How many there are.
        folder: Of the task, for its own metrics.
        cores: Processes; None: as many as this one may use.
    """
    chunks = _chunks(asked)
    first = next(chunks, [])
    started = time.perf_counter()
    scored = [_scored(rows, one) for one in first]
    spent = time.perf_counter() - started
    yield from zip(first, scored, strict=True)
    left = spent / max(1, len(first)) * (count - len(first))
    cores = cores or (_cores() if left >= WORTH_SECONDS else 1)
    if cores > 1 and left >= WORTH_SECONDS:
        yield from _on_all_cores(rows, chunks, folder, cores)
    else:
        yield from ((one, _scored(rows, one)) for chunk in chunks for one in chunk)


def _chunks(asked: Iterable[Asked]) -> Iterator[list[Asked]]:
    remaining = iter(asked)
    while chunk := list(islice(remaining, CHUNK)):
        yield chunk


def _cores() -> int:
    from joblib import cpu_count

    return int(cpu_count())


def _scored(rows: Sequence[UsableMetric], asked: Asked) -> list[Score | None]:
    sample, repeat, prediction = asked
    return [score(row.metric, sample, repeat, prediction) for row in rows]


def _on_all_cores(
    rows: Sequence[UsableMetric], chunks: Iterable[list[Asked]], folder: Path, cores: int
) -> Iterator[tuple[Asked, list[Score | None]]]:
    from joblib import Parallel, delayed

    uses = tuple(row.use for row in rows if row.use is not None)
    sent: list[list[Asked]] = []

    def jobs() -> Iterator[Any]:
        for chunk in chunks:
            sent.append(chunk)
            yield delayed(_score_chunk)(uses, folder, chunk)

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

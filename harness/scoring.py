"""Sample + prediction -> score; pure: no network, no GPU."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.metrics.row import Metric, sample_values
from harness.records import FAILED, Prediction, Sample, Score

ROWS_PER_GROUP = 65536


def score(metric: Metric, sample: Sample, repeat: int, prediction: Prediction) -> Score | None:
    """Return one sample's score under one metric, or None where the release itself is at fault.

    A prediction that failed scores the metric's worst value; where there is nothing to find, saying nothing is an
    answer like any other. A metric that raises gives `scorer_error`.
    """
    if prediction.status == "data_error":
        return None
    right_to_be_silent = prediction.status == "empty" and sample.target.absent
    if prediction.status in FAILED and not right_to_be_silent:
        return _score(metric, sample, repeat, "ok", metric.worst(sample), failed=True)
    try:
        outcome = metric.score(sample, prediction)
    except (HarnessError, ValueError, TypeError, ArithmeticError, LookupError):
        return _score(metric, sample, repeat, "scorer_error", ())
    if outcome.status == "unparsed":
        return _score(metric, sample, repeat, "unparsed", outcome.stats or metric.worst(sample), failed=True)
    return _score(metric, sample, repeat, outcome.status, outcome.stats)


def _score(
    metric: Metric, sample: Sample, repeat: int, status: Any, stats: Sequence[float], *, failed: bool = False
) -> Score:
    counted = status in ("ok", "unparsed")
    return Score(
        sample_id=sample.id,
        repeat=repeat,
        metric=metric.name,
        protocol=metric.protocol,
        status=status,
        values=sample_values(metric, tuple(stats)) if counted else (),
        stats=tuple(stats) if counted else (),
        failed=failed,
        cluster=sample.cluster,
        strata=sample.strata,
    )


class ScoreFile:
    """Writes the scores of one task under one metric and protocol as parquet, a row group at a time."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa = pa
        self._schema = pa.schema(
            [
                ("sample_id", pa.string()),
                ("repeat", pa.int32()),
                ("status", pa.string()),
                ("failed", pa.bool_()),
                ("cluster", pa.string()),
                ("strata", pa.string()),
                ("values", pa.list_(pa.float64())),
                ("stats", pa.list_(pa.float64())),
            ]
        )
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[Score] = []

    def add(self, row: Score) -> None:
        """Take one score."""
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        columns = {name: [getattr(row, name) for row in rows] for name in self._schema.names if name != "strata"}
        columns["strata"] = [json.dumps(dict(row.strata), sort_keys=True, ensure_ascii=False) for row in rows]
        for name in ("values", "stats"):
            columns[name] = [list(getattr(row, name)) for row in rows]
        self._writer.write_table(self._pa.table(columns, schema=self._schema))


def read_scores(path: Path, metric: Metric) -> Iterator[Score]:
    """Yield the scores of one file that `ScoreFile` wrote."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for row in batch.to_pylist():
                yield Score(
                    sample_id=row["sample_id"],
                    repeat=row["repeat"],
                    metric=metric.name,
                    protocol=metric.protocol,
                    status=row["status"],
                    values=tuple(row["values"]),
                    stats=tuple(row["stats"]),
                    failed=row["failed"],
                    cluster=row["cluster"],
                    strata=json.loads(row["strata"]),
                )


def score_files(folder: Path, task: str, metrics: Iterable[Metric]) -> dict[tuple[str, str], Path]:
    """Return where the scores of each metric and protocol of a task stand."""
    return {(row.name, row.protocol): folder / f"{task}.{row.name}.{row.protocol}.parquet" for row in metrics}

"""Sample + prediction -> score; pure: no network, no GPU."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.metrics.row import Metric, Stats, sample_values
from harness.records import FAILED, Prediction, Sample, Score, ScoreStatus

ROWS_PER_GROUP = 65536


def score(metric: Metric, sample: Sample, repeat: int, prediction: Prediction) -> Score | None:
    """Return one sample's score under one metric, or None where the release itself is at fault.

    A prediction that failed gets the metric's worst value, with two exceptions. Where there is nothing to find, an
    empty prediction is an answer like any other. Where the metric has no value for a perfect answer either, as for a
    sample without a reference, the score is `undefined`; but a crash is never the right way to find nothing.
    """
    if prediction.status == "data_error":
        return None
    nothing_to_find = sample.target.absent
    if prediction.status in FAILED and not (nothing_to_find and prediction.status == "empty"):
        if not nothing_to_find and metric.ceiling(sample) is None:
            return _score(metric, sample, repeat, "undefined")
        return _worst(metric, sample, repeat, "ok")
    try:
        outcome = metric.score(sample, prediction)
    except Exception:  # noqa: BLE001 - a metric may be a task's own code; one sample must not end a run
        return _score(metric, sample, repeat, "scorer_error")
    if outcome.status == "unparsed":
        return _worst(metric, sample, repeat, "unparsed", outcome.stats)
    return _score(metric, sample, repeat, outcome.status, outcome.stats)


def _worst(metric: Metric, sample: Sample, repeat: int, status: ScoreStatus, stats: Stats = ()) -> Score:
    """Return the score of a prediction that failed; `undefined` where even the worst answer has no value."""
    stats = stats or metric.worst(sample)
    if sample_values(metric, stats)[0] is None:
        return _score(metric, sample, repeat, "undefined")
    return _score(metric, sample, repeat, status, stats, failed=True)


def _score(
    metric: Metric, sample: Sample, repeat: int, status: ScoreStatus, stats: Stats = (), *, failed: bool = False
) -> Score:
    counted = status in ("ok", "unparsed")
    return Score(
        sample_id=sample.id,
        repeat=repeat,
        metric=metric.name,
        protocol=metric.protocol,
        status=status,
        values=sample_values(metric, stats) if counted else (),
        stats=stats if counted else (),
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

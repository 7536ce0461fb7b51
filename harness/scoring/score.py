"""Sample + prediction -> score; pure: no network, no GPU."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from harness.errors import words_of
from harness.metrics.metric import Metric, Outcome, Pair, sample_values
from harness.records import FAILED, Json, Prediction, Sample, Score, Target
from harness.text.grounded_text import fill_entities, plain_text

ROWS_PER_GROUP = 65536  # scores that are kept in memory before they are written


def readable(sample: Sample, prediction: Prediction, grammar: str) -> Pair:
    """Return the pair as it is scored: tags become entities if the model gave none, and are taken out of all words.

    Pixels that the sample ignores are taken out of the predicted masks first.

    Args:
        sample: The sample.
        prediction: The model's prediction for it.
        grammar: Of the task; with `none` words and entities are returned as they are.
    """
    if sample.target.ignore is not None:
        # Imported here, because numpy should load only where masks are compared.
        from harness.metrics.masks.mask_pairs import without_ignored

        prediction = without_ignored(sample, prediction)
    if grammar == "none":
        return sample, prediction
    named = fill_entities(prediction, grammar)
    words = None if named.text is None else plain_text(named.text, grammar)
    answers = tuple(plain_text(answer, grammar) for answer in sample.target.answers)
    return replace(sample, target=replace(sample.target, answers=answers)), replace(named, text=words)


def score(metric: Metric, sample: Sample, repeat: int, prediction: Prediction) -> Score | None:
    """Return one sample's score under one metric, or None if the release itself is at fault.

    A prediction that failed gets the metric's worst value, with two exceptions. If there is nothing to find, an empty
    prediction is an answer like any other. If not even the worst answer has a value, as for a sample without a
    reference, the score is `undefined`; but a crash is never the right way to find nothing.

    Args:
        metric: The metric, with its parameters bound.
        sample: The sample with its target.
        repeat: 0-based number of the repetition.
        prediction: The model's prediction, as `readable` returns it.
    """
    if prediction.status == "data_error":
        return None
    nothing_to_find, failed = sample.target.absent, False
    values: tuple[float | None, ...] = ()
    try:
        # No number may be improved by failing: a failed prediction stays in the mean, at the worst value.
        if prediction.status in FAILED and not (nothing_to_find and prediction.status == "empty"):
            # A target that is an empty mask has no ceiling, yet a wrong answer to it counts, so a crash must as well.
            failed = nothing_to_find or metric.ceiling(sample) is not None or sample.target != Target()
            outcome = Outcome("ok", metric.worst(sample)) if failed else Outcome("undefined")
        elif metric.line == "judge":
            outcome = Outcome("unjudged", detail={"reason": "no judge was asked"})
        else:
            outcome = metric.score(sample, prediction)
            if outcome.status == "unparsed":
                failed = True
                outcome = replace(outcome, stats=outcome.stats or metric.worst(sample))
        counted = outcome.status in ("ok", "unparsed")
        if counted:
            outcome = replace(outcome, stats=tuple(map(float, outcome.stats)))
            values = sample_values(metric, outcome.stats)
        if failed and values and values[0] is None:  # even the worst answer has no value
            outcome, counted, failed = replace(outcome, status="undefined"), False, False
    except KeyboardInterrupt:
        raise
    # A metric may be a task's own code; one sample must not end a run, and none by `sys.exit` or a class of its own.
    except BaseException as error:  # noqa: BLE001
        outcome = Outcome("scorer_error", detail={"error": words_of(error)})
        counted = failed = False
    return Score(
        sample_id=sample.id,
        repeat=repeat,
        metric=metric.name,
        protocol=metric.protocol,
        status=outcome.status,
        values=values if counted else (),
        stats=outcome.stats if counted else (),
        failed=failed,
        detail=outcome.detail,
        cluster=sample.cluster,
        strata=sample.strata,
    )


class ScoreFile:
    """Writes the scores of one task under one metric and protocol as parquet, a row group at a time."""

    def __init__(self, path: Path) -> None:
        # Imported here and not above: `harness --help` and the lists must not wait for it.
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
                ("detail", pa.string()),
                ("values", pa.list_(pa.float64())),
                ("stats", pa.list_(pa.float64())),
            ]
        )
        # Opened by Python and not by pyarrow, so that tests of crashes see what is written.
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
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
        self._file.close()

    def _flush(self) -> None:
        rows, self._rows = self._rows, []
        columns = {name: [getattr(row, name) for row in rows] for name in self._schema.names}
        # As JSON text, since their keys differ from task to task and a parquet schema is fixed.
        for name in ("strata", "detail"):
            columns[name] = [_as_text(value) for value in columns[name]]
        for name in ("values", "stats"):
            columns[name] = [list(getattr(row, name)) for row in rows]
        self._writer.write_table(self._pa.table(columns, schema=self._schema))


# `repr` of what JSON does not know: the details of a task's own metric may hold any object.
_TEXT = json.JSONEncoder(sort_keys=True, ensure_ascii=False, default=repr)


def _as_text(value: Mapping[str, Json]) -> str:
    """Return strata or details as JSON text."""
    # Text alone, because to a cache true and 1 are the same.
    if all(type(item) is str for item in value.values()):
        return _text_of_words(tuple(value.items()))
    return _TEXT.encode(dict(value))


# A release has few different strata, and a metric few rules.
@lru_cache(maxsize=1 << 12)
def _text_of_words(items: tuple[tuple[str, str], ...]) -> str:
    return _TEXT.encode(dict(items))


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
                    detail=json.loads(row["detail"]),
                )


def score_files(folder: Path, task: str, metrics: Iterable[Metric]) -> dict[tuple[str, str], Path]:
    """Return the path of the scores of each metric and protocol of a task."""
    return {(row.name, row.protocol): folder / f"{task}.{row.name}.{row.protocol}.parquet" for row in metrics}

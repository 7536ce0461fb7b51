"""`harness metric`: JSON lines in, JSON lines out, to try a metric on pairs of one's own."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum
from typing import Any

import numpy as np

from harness import masks
from harness.errors import DataError, SpecError
from harness.metrics import Metric, find, sample_values
from harness.records import Entity, Json, Mask, Prediction, Sample, Target


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line of output.

    Attributes:
        value: What is written.
        readable: Whether the input line could be read.
    """

    value: dict[str, Json]
    readable: bool = True


@dataclass(slots=True)
class _Corpus:
    """What `--aggregate` sums up, in the order of the lines."""

    metric: Metric
    values: dict[str, list[float]] = field(default_factory=dict)
    n: int = 0
    undefined: int = 0

    def add(self, values: Mapping[str, float | None], *, undefined: bool) -> None:
        self.undefined += undefined
        if undefined:
            return
        self.n += 1
        for name, value in values.items():
            if value is not None:
                self.values.setdefault(name, []).append(value)

    def line(self) -> OutputLine:
        means = {
            name: fsum(self.values[name]) / len(self.values[name]) if self.values.get(name) else None
            for name in self.metric.values
        }
        return OutputLine({"aggregate": {"n": self.n, "undefined": self.undefined, "values": means}})


def run(
    lines: Iterable[bytes], name: str, protocol: str | None, params: Sequence[str], *, aggregate: bool
) -> Iterator[OutputLine]:
    """Yield one output line per input line, and the corpus's line at the end when `aggregate`.

    Raises:
        SpecError: The metric, its protocol or a parameter does not exist.
    """
    metric = find(name, protocol)
    if params:
        raise SpecError(f"--param {params[0]}: {metric.name} ({metric.protocol}) has no parameters")
    return _run(lines, metric, aggregate)


def _run(lines: Iterable[bytes], metric: Metric, aggregate: bool) -> Iterator[OutputLine]:
    corpus = _Corpus(metric)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            sample, prediction = _read(line, number, metric)
        except DataError as error:
            nothing = {"value": None, "status": "error", "values": {}, "detail": {"error": str(error)}}
            yield OutputLine(nothing, readable=False)
            continue
        yield OutputLine(_score(metric, sample, prediction, corpus, number))
    if aggregate:
        yield corpus.line()


def _score(metric: Metric, sample: Sample, prediction: Prediction, corpus: _Corpus, number: int) -> dict[str, Json]:
    try:
        outcome = metric.score(sample, prediction)
    except (DataError, ValueError) as error:
        detail = {"error": f"line {number}: {error}"}
        return {"value": None, "status": "error", "values": dict.fromkeys(metric.values), "detail": detail}
    counted = outcome.status in ("ok", "unparsed")
    stats = outcome.stats or metric.worst(sample)
    found = sample_values(metric, stats) if counted else (None,) * len(metric.values)
    values = dict(zip(metric.values, found, strict=True))
    corpus.add(values, undefined=not counted)
    return {"value": found[0], "status": outcome.status, "values": values, "detail": dict(outcome.detail)}


def _read(line: bytes, number: int, metric: Metric) -> tuple[Sample, Prediction]:
    """Return the pair of one line.

    Raises:
        DataError: It is not JSON, or a field is missing or of another kind.
    """
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"line {number}: expected a JSON object: {error}") from error
    if not isinstance(value, dict) or "prediction" not in value or "target" not in value:
        raise DataError(f'line {number}: expected an object with "prediction" and "target"')
    return _READERS[metric.line](value, number)


def _read_text(value: Mapping[str, Json], number: int) -> tuple[Sample, Prediction]:
    target = value["target"] if isinstance(value["target"], list) else [value["target"]]
    for name, texts in (("prediction", [value["prediction"]]), ("target", target)):
        if not texts or not all(isinstance(text, str) for text in texts):
            raise DataError(f"line {number}: {name}: expected text{' or a list of texts' if name == 'target' else ''}")
    sample = Sample(id=str(number), target=Target(answers=tuple(target)))
    return sample, Prediction(key="", status="ok", text=value["prediction"])


def _read_masks(value: Mapping[str, Json], number: int) -> tuple[Sample, Prediction]:
    prediction = _mask(value["prediction"], f"line {number}: prediction")
    target = _mask(value["target"], f"line {number}: target")
    masks.check_size(prediction, target.size, f"line {number}")
    sample = Sample(id=str(number), target=Target(entities=(Entity(name="target", mask=target),)))
    return sample, Prediction(key="", status="ok", masks=(prediction,))


def _mask(value: Any, where: str) -> Mask:
    if isinstance(value, list) and any(
        isinstance(number, float) for number in np.ravel(np.asarray(value, dtype=object))
    ):
        raise DataError(f"{where}: expected 0 and 1; this protocol takes no probabilities")
    return masks.from_json(value, where=where)


_READERS = {"text": _read_text, "masks": _read_masks}

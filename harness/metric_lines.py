"""`harness metric`: JSON lines in, JSON lines out, to try a metric on pairs of one's own."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import fsum

from harness import masks
from harness.errors import DataError, SpecError
from harness.metrics import Metric, find, sample_values
from harness.records import Entity, Json, Prediction, Sample, Target


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
            values = dict.fromkeys(metric.values)
            nothing = {"value": None, "status": "error", "values": values, "detail": {"error": str(error)}}
            yield OutputLine(nothing, readable=False)
            continue
        yield OutputLine(_score(metric, sample, prediction, corpus))
    if aggregate:
        yield corpus.line()


def _score(metric: Metric, sample: Sample, prediction: Prediction, corpus: _Corpus) -> dict[str, Json]:
    outcome = metric.score(sample, prediction)
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
        value = json.loads(line.strip())
    except json.JSONDecodeError as error:
        raise DataError(f"line {number}: expected a JSON object: {error.msg}, column {error.colno}") from error
    except (UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"line {number}: expected a JSON object: {error}") from error
    if not isinstance(value, dict) or "prediction" not in value or "target" not in value:
        found = ", ".join(map(repr, value)) if isinstance(value, dict) else type(value).__name__
        raise DataError(f'line {number}: expected an object with "prediction" and "target", found {found or "no key"}')
    return _READERS[metric.line](value, number)


def _read_text(value: Mapping[str, Json], number: int) -> tuple[Sample, Prediction]:
    reply, target = value["prediction"], value["target"]
    if not isinstance(reply, str):
        raise DataError(f"line {number}: prediction: expected text, found {type(reply).__name__}")
    answers = target if isinstance(target, list) else [target]
    if not answers or not all(isinstance(answer, str) for answer in answers):
        raise DataError(f"line {number}: target: expected text or a list of texts, found {target!r:.80}")
    return Sample(id=str(number), target=Target(answers=tuple(answers))), Prediction(key="", status="ok", text=reply)


def _read_masks(value: Mapping[str, Json], number: int) -> tuple[Sample, Prediction]:
    prediction = masks.from_json(value["prediction"], where=f"line {number}: prediction")
    target = masks.from_json(value["target"], where=f"line {number}: target")
    if prediction.size != target.size:
        raise DataError(f"line {number}: prediction is {prediction.size}, target is {target.size}; expected one size")
    sample = Sample(id=str(number), target=Target(entities=(Entity(name="target", mask=target),)))
    return sample, Prediction(key="", status="ok", masks=(prediction,))


_READERS = {"text": _read_text, "masks": _read_masks}

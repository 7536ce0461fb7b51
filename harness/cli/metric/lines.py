"""`harness metric`: JSON lines in, JSON lines out, to try a metric on pairs of your own."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum

import numpy as np

from harness.cli.metric.input import parse, read_pair, similarity
from harness.errors import DataError, SpecError
from harness.metrics import Metric, Outcome, bind, find, sample_values, settle
from harness.metrics.metric import Pair, Stats
from harness.metrics.reports.library_check import find_check
from harness.metrics.retrieval import matrix_outcome
from harness.records import Json
from harness.tasks.overrides import read_parameters

# Statuses of outcomes that are in the mean.
COUNTED = ("ok", "unparsed")


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line of output.

    Attributes:
        value: The JSON object that is written.
        readable: Whether the input line could be read.
    """

    value: dict[str, Json]
    readable: bool = True


@dataclass(slots=True)
class _Corpus:
    """The values that `--aggregate` sums up, in the order of the lines."""

    metric: Metric
    values: dict[str, list[float]] = field(default_factory=dict)
    stats: list[Stats] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    undefined: int = 0

    def add(self, outcome: Outcome, values: Mapping[str, float | None]) -> None:
        if self.metric.report is not None:
            self.outcomes.append(outcome)
        if outcome.status not in COUNTED:
            self.undefined += 1
            return
        self.stats.append(outcome.stats)
        for name, value in values.items():
            if value is not None:
                self.values.setdefault(name, []).append(value)

    def line(self) -> OutputLine:
        """Return the last line: means over the lines, or pooled values for a metric of a whole corpus."""
        values: dict[str, Json] = dict.fromkeys(self.metric.values)
        if not self.metric.corpus:
            values.update({name: fsum(column) / len(column) for name, column in self.values.items()})
        elif self.stats:
            if self.metric.pool is not None:
                pooled = self.metric.pool(self.stats, np.ones(len(self.stats)))
            else:
                # `fsum`, here and above, rounds once, so the order of the lines does not change a digit.
                pooled = self.metric.combine(np.asarray([fsum(column) for column in zip(*self.stats, strict=True)]))
            found = [None if np.isnan(value) else float(value) for value in pooled]
            values = dict(zip(self.metric.values, found, strict=True))
        if self.metric.report is not None:
            values.update(self.metric.report(self.outcomes))
        return OutputLine({"aggregate": {"n": len(self.stats), "undefined": self.undefined, "values": values}})


@dataclass(frozen=True, slots=True)
class Agreement:
    """The result of `--check`.

    Attributes:
        library: Name and version of the library that defines the metric.
        checked: Number of lines that could be read.
        different: `line N` -> both results as text, for the lines on which they differ.
    """

    library: str
    checked: int
    different: Mapping[str, str]

    def messages(self) -> list[str]:
        """Return one message for each line that differs, and one for all lines."""
        each = [f"{where}: {text}" for where, text in self.different.items()]
        if not self.checked:
            return [f"--check: no line could be compared with {self.library}"]
        if each:
            return [*each, f"--check: {len(each)} of {self.checked} lines differ from {self.library}"]
        return [f"--check: all {self.checked} lines equal {self.library}"]


def compare(lines: Iterable[bytes], name: str, protocol: str | None, params: Sequence[str]) -> Agreement:
    """Return where the metric differs from the library that defines it; lines that cannot be read are left out.

    Raises:
        SpecError: As `run`, or no library can check this metric here.
    """
    metric = _metric(name, protocol, params)
    check = find_check(metric)
    read = [_pair(line, where, metric) for where, line in _numbered(lines)]
    pairs = [pair for pair in read if not isinstance(pair, DataError)]
    differences = zip(pairs, check.differences(metric, pairs), strict=True)
    return Agreement(check.library, len(pairs), {pair[0].id: text for pair, text in differences if text is not None})


def run(
    lines: Iterable[bytes], name: str, protocol: str | None, params: Sequence[str], *, aggregate: bool
) -> Iterator[OutputLine]:
    """Yield one output line per input line, and with `aggregate` a last line for the corpus.

    The last line holds means over the lines, or pooled values for a metric of a whole corpus. A metric whose scores
    depend on the other lines, or that scores many at once, sees all lines before the first is answered.

    Raises:
        SpecError: The metric, its protocol or a parameter does not exist, or a resource that the metric needs is
            missing.
    """
    # Not a generator itself: a wrong name is refused when `run` is called, before the first line is read.
    return _run(lines, _metric(name, protocol, params), aggregate)


def _metric(name: str, protocol: str | None, params: Sequence[str]) -> Metric:
    metric = bind(find(name, protocol), read_parameters(params), "--param")
    if metric.resource is not None and (missing := metric.resource.missing(metric.bound)) is not None:
        raise SpecError(f"{metric.name} ({metric.protocol}): {missing.reason}; {missing.remedy}")
    return metric


def _numbered(lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    return ((f"line {number}", line) for number, line in enumerate(lines, 1) if line.strip())


def _run(lines: Iterable[bytes], metric: Metric, aggregate: bool) -> Iterator[OutputLine]:
    corpus = _Corpus(metric)
    read = _of_matrices if metric.line == "retrieval" else _of_pairs
    for outcome in read(_numbered(lines), metric):
        if isinstance(outcome, DataError):
            values = dict.fromkeys(metric.values)
            detail = {"error": str(outcome)}
            yield OutputLine({"value": None, "status": "error", "values": values, "detail": detail}, readable=False)
        else:
            yield _scored(outcome, metric, corpus)
    if aggregate:
        yield corpus.line()


def _of_matrices(lines: Iterable[tuple[str, bytes]], metric: Metric) -> Iterator[Outcome | DataError]:
    """Yield the outcome of each line, which is a corpus of its own, or the error if it could not be read."""
    for where, line in lines:
        try:
            yield matrix_outcome(metric, similarity(parse(line, where, metric.line), where), where)
        except DataError as error:
            yield error


def _of_pairs(lines: Iterable[tuple[str, bytes]], metric: Metric) -> Iterator[Outcome | DataError]:
    """Yield the outcome of each line, or the error if it could not be read or scored."""
    pairs: Iterator[Pair | DataError] = (_pair(line, where, metric) for where, line in lines)
    if metric.prepare is not None:
        read = list(pairs)
        pairs = iter(read)
        metric = settle(metric, [pair for pair in read if not isinstance(pair, DataError)])
    for pair in pairs:
        if isinstance(pair, DataError):
            yield pair
            continue
        try:
            outcome = metric.score(*pair)
            if not outcome.stats and outcome.status == "unparsed":
                # A reply that could not be read counts with the worst value.
                outcome = replace(outcome, stats=metric.worst(pair[0]))
            yield outcome
        except DataError as error:
            yield error


def _pair(line: bytes, where: str, metric: Metric) -> Pair | DataError:
    try:
        return read_pair(parse(line, where, metric.line), where, metric.line)
    except DataError as error:
        return error


def _scored(outcome: Outcome, metric: Metric, corpus: _Corpus) -> OutputLine:
    found = sample_values(metric, outcome.stats) if outcome.status in COUNTED else (None,) * len(metric.values)
    values = dict(zip(metric.values, found, strict=True))
    corpus.add(outcome, values)
    detail = dict(outcome.detail)
    # An infinite distance counts in a corpus, and yet it is no number.
    status = "undefined" if outcome.status == "ok" and found[0] is None else outcome.status
    return OutputLine({"value": found[0], "status": status, "values": values, "detail": detail})

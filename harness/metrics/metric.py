"""The data model of metrics: a `Metric` is one row of the table in `harness.metrics`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from inspect import signature
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.errors import SpecError, nearest
from harness.records import Json, Prediction, Sample, ScoreStatus

# Longer lists are detections of an image, no two of which are alike.
MOST_STATS_CACHED = 8

Floats = NDArray[np.float64]
Stats = tuple[float, ...]
Pair = tuple[Sample, Prediction]
EmptyCase = float | Literal["worst", "undefined", "unparsed", "unjudged", "varies"] | None

LineKind = Literal[
    "text",
    "choice",
    "masks",
    "soft_masks",
    "label_maps",
    "grounding",
    "instances",
    "detections",
    "boxes",
    "sized_boxes",
    "retrieval",
    "judge",
]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The score of one sample before it is combined with others.

    Attributes:
        status: `ok`, `undefined` (no number exists), `unparsed` (no answer could be read; scores the worst value) or
            `unjudged` (the judge's reply holds no score; out of the mean).
        stats: The floats that the row's `stats` names; empty if undefined or unjudged.
        detail: Facts about this sample for a reader: the rule that fired, a threshold.
    """

    status: ScoreStatus
    stats: Stats = ()
    detail: Mapping[str, Any] = field(default_factory=dict)


_KINDS: Mapping[type, str] = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A setting of a row that a task or `--param` may change.

    Attributes:
        name: As in `--param name=value`.
        default: The value if none is given; a given value must have the same type.
        summary: One sentence with unit and range.
        choices: The admissible values; empty if every value of the type is admissible.
        above: The value must be greater than this; None if every number is admissible.
        least: The value must not be less than this; None as above.
    """

    name: str
    default: str | float | bool
    summary: str
    choices: tuple[str | float, ...] = ()
    above: float | None = None
    least: float | None = None

    def read(self, value: Json, where: str) -> str | float | bool:
        """Return `value` if the parameter can have it; a whole number becomes a float if a float is expected.

        Args:
            value: As read from a task file or `--param`.
            where: Begins the message of an error.
        Raises:
            SpecError: The value is of another type, not among the choices or out of range.
        """
        # `type`, not `isinstance`: True is an int and would otherwise pass for a number.
        value = float(value) if type(self.default) is float and type(value) is int else value
        if not isinstance(value, str | int | float) or type(value) is not type(self.default):
            raise SpecError(f"{where}: {self.name}: expected {_KINDS[type(self.default)]}, got {value!r}")
        if self.choices and value not in self.choices:
            raise SpecError(f"{where}: {self.name}: expected {', '.join(map(str, self.choices))}, got {value!r}")
        if self.above is not None and not (isinstance(value, int | float) and value > self.above):
            raise SpecError(f"{where}: {self.name}: expected a number above {self.above:g}, got {value!r}")
        if self.least is not None and not (isinstance(value, int | float) and value >= self.least):
            raise SpecError(f"{where}: {self.name}: expected a number of {self.least:g} or more, got {value!r}")
        return value


@dataclass(frozen=True, slots=True)
class Missing:
    """The reason why a row cannot be computed on this machine, and the remedy."""

    reason: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A thing outside the package that a row needs: a word net, a model, a program.

    Attributes:
        name: `wordnet`, `bert-score model`, `java`.
        missing: Parameters -> what is missing; None if nothing is. It must be cheap and load nothing.
        describe: Parameters -> the facts written beside the number: version, digest, layers.
        stand_in: Protocol of the same metric that is scored, and named, in its place if it is missing; None if the
            metric is then unavailable.
    """

    name: str
    missing: Callable[[Mapping[str, Json]], Missing | None]
    describe: Callable[[Mapping[str, Json]], Mapping[str, Json]]
    stand_in: str | None = None


@dataclass(frozen=True, slots=True)
class EmptyCases:
    """The headline value `values[0]` if a side of one sample is empty: no text, option, mask with a pixel, or box.

    A number is that value. `undefined`: there is no value. `unparsed`: nothing could be read, so it is the worst value.
    `unjudged`: the sample is out of the mean. `worst`: the worst value, which depends on the sample. `varies`: see the
    note. None: the case cannot occur.

    Attributes:
        prediction: The prediction is empty and the target is not.
        target: The target is empty and the prediction is not.
        both: Both sides are empty.
        note: A remark for the reader of these three.
    """

    prediction: EmptyCase = None
    target: EmptyCase = None
    both: EmptyCase = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric under one protocol.

    Attributes:
        name: As in task files.
        protocol: `standard`, or the released code whose rules it follows.
        version: Raised by any change that can move a score.
        values: Names of its values; the first is its headline.
        stats: Names of the floats that `score` returns per sample; if `pool` is set, the list may be longer.
        line: Kind of `harness metric` line that it reads.
        suits: Values of a task's `gives` that it can score.
        score: (sample, prediction, **parameters) -> Outcome. Pure. For a judge's metric the text of the prediction is
            the judge's reply.
        combine: Sums of stats, float64 (..., len(stats)) -> values, float64 (..., len(values)); NaN is undefined. For
            one sample it gives the sample's values, for summed stats the pooled values.
        worst: Stats of a sample whose prediction failed; it may take parameters by name.
        ceiling: The value of `values[0]` that a perfect answer to the sample reaches; None if it is undefined. It may
            take parameters by name.
        each: As `combine`, for the values of one sample, if they differ from those of a corpus of one.
        corpus: Whether the number belongs to all samples together, which are pooled and never averaged.
        pool: For numbers that sums of stats cannot give: (stats of every sample in id order, weights of the samples,
            float64 (..., samples)) -> values, float64 (..., len(values)). `combine` then sees one sample only.
        prepare: For scores that depend on the other samples: reads all pairs once and returns `score`.
        report: For `harness metric --aggregate` alone: outcomes of the lines in their order -> what the package that
            defines the protocol reports in place of the values, or beside them: a value of a corpus without a defined
            line, the values by class of label maps.
        rivals: Whether the other samples are what a sample is ranked against, so that its score over some of the
            samples is another number, and a better one, than over all.
        parameters: The settings that a task may change.
        bound: Their values in this row.
        resource: The thing outside the package that the row needs; None if it needs nothing.
        higher_is_better: Direction of the headline value.
        unit: `share` for [0, 1], `mm`, `ml`, `points`.
        caveat: A warning that must be shown beside every number of the row; None if there is none.
        certificate: How an answer that does not look, or fails, gains under the rule, as a sentence; None if no such
            answer is known. The best of them and its score stand in `harness.metrics.certificates`.
        summary: One sentence for `harness list metrics`.
        formula: How the value follows from prediction and target, in a line or two.
        range: Least and greatest value of `values[0]`; None if there is no upper bound.
        empty: The values of an empty prediction, an empty target, and both.
        source: The paper or repository that defines it.
    """

    name: str
    protocol: str
    version: int
    values: tuple[str, ...]
    stats: tuple[str, ...]
    line: LineKind
    suits: frozenset[str]
    score: Callable[..., Outcome]
    combine: Callable[[Floats], Floats]
    worst: Callable[[Sample], Stats]
    ceiling: Callable[[Sample], float | None]
    each: Callable[[Floats], Floats] | None = None
    corpus: bool = False
    pool: Callable[[Sequence[Stats], Floats], Floats] | None = None
    prepare: Callable[..., Callable[[Sample, Prediction], Outcome]] | None = None
    report: Callable[[Sequence[Outcome]], Mapping[str, Json]] | None = None
    rivals: bool = False
    parameters: tuple[Parameter, ...] = ()
    bound: Mapping[str, Json] = field(default_factory=dict)
    resource: Resource | None = None
    higher_is_better: bool = True
    unit: str = "share"
    caveat: str | None = None
    certificate: str | None = None
    summary: str = ""
    formula: str = ""
    range: tuple[float, float | None] = (0.0, 1.0)
    empty: EmptyCases = EmptyCases()
    source: str = ""

    def floor(self, sample: Sample) -> float | None:
        """Return the headline value of the worst answer to a sample; None if it is undefined."""
        return sample_values(self, self.worst(sample))[0]


def bind(metric: Metric, values: Mapping[str, Json], where: str) -> Metric:
    """Return the row with its parameters set; those that `values` does not name get their defaults.

    Args:
        metric: A row of the table.
        values: Parameters by name.
        where: Begins the message of an error.
    Raises:
        SpecError: The row has no such parameter, or the parameter cannot have this value.
    """
    known = {parameter.name: parameter for parameter in metric.parameters}
    for name in values:
        if name not in known:
            expected = f"expected {', '.join(known)}" if known else f"{metric.name} ({metric.protocol}) has none"
            raise SpecError(f"{where}: no parameter '{name}': {expected}{nearest(name, list(known))}")
    if not known:
        return metric
    bound = {name: known[name].read(values.get(name, known[name].default), where) for name in known}
    return replace(
        metric,
        score=partial(metric.score, **bound),
        prepare=None if metric.prepare is None else partial(metric.prepare, **bound),
        worst=_with_named(metric.worst, bound),
        ceiling=_with_named(metric.ceiling, bound),
        bound=bound,
    )


def _with_named(function: Callable[..., Any], bound: Mapping[str, Json]) -> Callable[..., Any]:
    """Return `function` with those of the bound parameters set that it accepts by name."""
    # `worst` and `ceiling` of most rows do not depend on parameters, so they need not accept all of them.
    taken = signature(function).parameters
    return partial(function, **{name: value for name, value in bound.items() if name in taken})


def settle(metric: Metric, pairs: Iterable[Pair]) -> Metric:
    """Return the row ready to score a corpus; only rows whose scores depend on other samples read `pairs`, once."""
    return metric if metric.prepare is None else replace(metric, score=metric.prepare(pairs), prepare=None)


def sample_values(metric: Metric, stats: Stats) -> tuple[float | None, ...]:
    """Return the values of one sample from its stats; an undefined value is None."""
    combine = metric.each or metric.combine
    # A task's own metric may combine by an object that has no hash.
    cached = len(stats) <= MOST_STATS_CACHED and combine.__hash__ is not None
    return _combined(combine, stats) if cached else _combined.__wrapped__(combine, stats)


# Right or wrong answers have the same two or three stats for a million samples, and numpy takes microseconds for each.
@lru_cache(maxsize=1 << 12)
def _combined(combine: Callable[[Floats], Floats], stats: Stats) -> tuple[float | None, ...]:
    return tuple(None if np.isnan(value) else float(value) for value in combine(np.asarray(stats, dtype=np.float64)))

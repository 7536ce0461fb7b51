"""The rows of a metric, written as a family: the fields that all protocols share, then each protocol.

A `Protocol` is one row of the table without the fields that it shares with its siblings; a `Family` holds those and
makes the rows. Both have the fields of `Metric`, where each is described.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from harness.metrics.metric import EmptyCases, Floats, LineKind, Metric, Outcome, Parameter, Resource, Stats
from harness.records import Json, Prediction, Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fields:
    """The fields that a protocol and a family may both set.

    None leaves a field to the family, then to the default of `Metric`.
    """

    # None can mean "not set" because it is the default of every field of `Metric` that may be None.

    values: tuple[str, ...] | None = None
    stats: tuple[str, ...] | None = None
    line: LineKind | None = None
    suits: frozenset[str] | None = None
    score: Callable[..., Outcome] | None = None
    combine: Callable[[Floats], Floats] | None = None
    worst: Callable[..., Stats] | None = None
    ceiling: Callable[..., float | None] | None = None
    each: Callable[[Floats], Floats] | None = None
    corpus: bool | None = None
    pool: Callable[[Sequence[Stats], Floats], Floats] | None = None
    prepare: Callable[..., Callable[[Sample, Prediction], Outcome]] | None = None
    report: Callable[[Sequence[Outcome]], Mapping[str, Json]] | None = None
    rivals: bool | None = None
    parameters: tuple[Parameter, ...] | None = None
    resource: Resource | None = None
    higher_is_better: bool | None = None
    unit: str | None = None
    caveat: str | None = None
    certificate: str | None = None
    summary: str | None = None
    formula: str | None = None
    range: tuple[float, float | None] | None = None
    empty: EmptyCases | None = None
    source: str | None = None

    def given(self) -> dict[str, Any]:
        """Return the fields of `Metric` that are set here."""
        found = ((field.name, getattr(self, field.name)) for field in fields(_Fields))
        return {name: value for name, value in found if value is not None}


@dataclass(frozen=True, slots=True)
class Protocol(_Fields):
    """One row of the table.

    Attributes:
        name: `standard`, or the released code whose rules it follows.
        version: Raised by any change that can move a score.
    """

    name: str
    version: int = field(kw_only=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family(_Fields):
    """What all protocols of one metric share, and the protocols in the order of the table.

    Attributes:
        name: As in task files; also the name of the only value, unless `values` says otherwise.
        protocols: At least one.
    """

    name: str
    protocols: tuple[Protocol, ...]

    def rows(self) -> tuple[Metric, ...]:
        """Return one `Metric` per protocol."""
        return tuple(self.row(protocol) for protocol in self.protocols)

    def row(self, protocol: Protocol) -> Metric:
        """Return the row of one protocol, which need not be among `protocols`: another module may add its own."""
        fields_of_row = {"values": (self.name,)} | self.given() | protocol.given()
        return Metric(name=self.name, protocol=protocol.name, version=protocol.version, **fields_of_row)

"""A family gives one row per protocol: what the protocol says, else what the family says, else the default."""

from dataclasses import fields

import pytest

from harness.metrics import METRICS
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Floats, Metric, Outcome, Stats
from harness.records import Prediction, Sample


def score(_sample: Sample, _prediction: Prediction) -> Outcome:
    return Outcome("ok", (1.0, 2.0))


def combine(sums: Floats) -> Floats:
    return sums[..., :1]


def worst(_sample: Sample) -> Stats:
    return (0.0, 2.0)


def ceiling(_sample: Sample) -> float | None:
    return 1.0


FAMILY = Family(
    name="length",
    stats=("parts", "whole"),
    line="text",
    suits=frozenset({"text"}),
    score=score,
    combine=combine,
    worst=worst,
    ceiling=ceiling,
    corpus=True,
    range=(0.0, None),
    empty=EmptyCases(prediction=0.0),
    protocols=(
        Protocol("standard", version=1, source="ours"),
        Protocol("released", version=3, stats=("one", "two"), corpus=False, empty=EmptyCases(both=1.0)),
    ),
)


def test_rows_are_the_protocols_in_order_with_what_the_family_says() -> None:
    standard, released = FAMILY.rows()
    assert [(row.name, row.protocol, row.version) for row in (standard, released)] == [
        ("length", "standard", 1),
        ("length", "released", 3),
    ]
    assert (standard.stats, standard.corpus, standard.range, standard.source) == (
        ("parts", "whole"),
        True,
        (0.0, None),
        "ours",
    )
    assert (standard.score, standard.combine, standard.worst, standard.ceiling) == (score, combine, worst, ceiling)


def test_a_protocol_has_the_last_word_even_where_it_says_false() -> None:
    released = FAMILY.rows()[1]
    assert (released.stats, released.corpus, released.empty) == (("one", "two"), False, EmptyCases(both=1.0))


def test_what_neither_says_has_the_default_of_a_row() -> None:
    row = FAMILY.rows()[0]
    defaults = {field.name: field.default for field in fields(Metric)}
    for name in ("each", "pool", "prepare", "parameters", "resource", "higher_is_better", "unit", "caveat", "summary"):
        assert getattr(row, name) == defaults[name], name


def test_the_only_value_is_named_as_the_metric_unless_values_are_named() -> None:
    assert FAMILY.rows()[0].values == ("length",)
    assert FAMILY.row(Protocol("two", version=1, values=("first", "second"))).values == ("first", "second")


def test_another_module_may_add_a_protocol_of_its_own() -> None:
    row = FAMILY.row(Protocol("elsewhere", version=2))
    assert (row.name, row.protocol, row.version, row.stats) == ("length", "elsewhere", 2, ("parts", "whole"))
    assert [row.protocol for row in FAMILY.rows()] == ["standard", "released"]


def test_a_row_that_lacks_what_every_row_needs_is_refused() -> None:
    with pytest.raises(TypeError, match="'score'"):
        Family(name="empty", protocols=(Protocol("standard", version=1),)).rows()


@pytest.mark.parametrize("kind", [Family, Protocol])
def test_every_field_of_a_row_can_be_said_in_either_place(kind: type[Family | Protocol]) -> None:
    said_by_name_and_bind = {"name", "protocol", "version", "bound"}
    assert {field.name for field in fields(Metric)} - said_by_name_and_bind <= {field.name for field in fields(kind)}


def test_no_metric_has_a_protocol_twice() -> None:
    rows = [(row.name, row.protocol) for row in METRICS]
    assert len(set(rows)) == len(rows)

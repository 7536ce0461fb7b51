"""Metrics that this machine cannot compute: named with a remedy, and replaced if a protocol stands in."""

from dataclasses import replace
from pathlib import Path

import pytest

import harness.metrics
from harness.metrics.metric import Metric, Missing, Outcome, Resource
from harness.scoring.availability import usable_metrics
from harness.tasks.spec import Headline, MetricUse, Release, TaskSpec


def row(protocol: str, resource: Resource | None = None) -> Metric:
    return Metric(
        name="meteor",
        protocol=protocol,
        version=1,
        values=("meteor",),
        stats=("meteor",),
        line="text",
        suits=frozenset({"text"}),
        score=lambda _sample, _prediction: Outcome("ok", (1.0,)),
        combine=lambda sums: sums,
        worst=lambda _: (0.0,),
        ceiling=lambda _: 1.0,
        resource=resource,
    )


def needs(missing: Missing | None, stand_in: str | None = None) -> Resource:
    return Resource(name="wordnet", missing=lambda _: missing, describe=lambda _: {}, stand_in=stand_in)


GONE = Missing("no word net", "install it")
ROWS = {
    "plain": row("plain"),
    "there": row("there", needs(None)),
    "gone": row("gone", needs(GONE)),
    "replaced": row("replaced", needs(GONE, "plain")),
}


@pytest.fixture(autouse=True)
def _rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness.metrics, "METRICS", tuple(ROWS.values()))


def task(*protocols: str) -> TaskSpec:
    return TaskSpec(
        task="t",
        dataset="t",
        version=1,
        title="T",
        release=Release(reader="r"),
        gives="text",
        prompt="p",
        metrics=tuple(MetricUse(metric="meteor", protocol=protocol) for protocol in protocols),
        headline=Headline(metric="meteor"),
        file=Path("t.yaml"),
    )


def test_metrics_with_all_they_need_come_in_the_tasks_order() -> None:
    found = usable_metrics(task("there", "plain"))
    assert [metric.protocol for metric in found.metrics] == ["there", "plain"]
    assert [used.use for used in found.rows] == list(task("there", "plain").metrics)
    assert found.missing == []


def test_a_metric_without_its_resource_is_left_out_with_a_reason_and_a_remedy() -> None:
    found = usable_metrics(task("gone", "plain"))
    assert [metric.protocol for metric in found.metrics] == ["plain"]
    (missing,) = found.missing
    assert (missing.metric, missing.reason, missing.remedy) == ("meteor", "meteor (gone): no word net", "install it")


def test_a_stand_in_is_scored_under_its_own_name_and_said_to_be_one() -> None:
    found = usable_metrics(task("replaced"))
    assert [(used.metric.protocol, used.use) for used in found.rows] == [
        ("plain", MetricUse(metric="meteor", protocol="plain"))
    ]
    assert found.missing[0].reason == "meteor (replaced): no word net; scored by protocol plain instead"


@pytest.mark.parametrize("order", [("replaced", "plain"), ("plain", "replaced")])
def test_a_stand_in_that_the_task_has_already_is_not_scored_twice(order: tuple[str, ...]) -> None:
    found = usable_metrics(task(*order))
    assert [metric.protocol for metric in found.metrics] == ["plain"]
    assert len(found.missing) == 1


def test_the_resource_is_asked_with_the_tasks_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    resource = Resource(name="w", missing=lambda bound: asked.append(dict(bound)), describe=lambda _: {})
    monkeypatch.setattr(harness.metrics, "METRICS", (replace(ROWS["plain"], resource=resource),))
    assert usable_metrics(task("plain")).missing == []
    assert asked == [{}]

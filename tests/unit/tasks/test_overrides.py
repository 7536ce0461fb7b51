"""`--protocol` and `--param`: other rules for a task's metrics, and what is refused."""

from dataclasses import replace

import pytest

from harness.errors import SpecError
from harness.records import Json
from harness.tasks.catalog import index
from harness.tasks.overrides import read_parameters, with_parameters, with_protocols
from harness.tasks.spec import MetricUse, TaskSpec


@pytest.fixture(scope="module")
def task() -> TaskSpec:
    found = index().load("samed2d_seg")
    return replace(found, metrics=(*found.metrics, MetricUse(metric="nsd")))


def test_values_are_json_where_they_parse() -> None:
    assert read_parameters(["nsd.tolerance_mm=2", "bertscore.model=some/folder", "x.y=true"]) == {
        "nsd.tolerance_mm": 2,
        "bertscore.model": "some/folder",
        "x.y": True,
    }


@pytest.mark.parametrize(
    ("texts", "message"),
    [(["nsd"], "--param nsd: expected name=value"), (["a=1", "a=2"], "--param a=2: 'a' is given twice")],
)
def test_a_malformed_parameter_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_parameters(texts)


def test_a_parameter_reaches_the_metric_that_has_it_and_no_other(task: TaskSpec) -> None:
    (changed,) = with_parameters([task], {"nsd.tolerance_mm": 2})
    assert [use.parameters for use in changed.metrics if use.metric == "nsd"] == [{"tolerance_mm": 2}]
    assert all(not use.parameters for use in changed.metrics if use.metric != "nsd")
    assert changed.digest != task.digest


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"nsd.tolerance": 2}, r"--param nsd\.tolerance: the metric 'nsd' has no .*, it has nsd\.tolerance_mm \(did"),
        ({"dice.tol": 2}, r"--param dice\.tol: the metric 'dice' has no such parameter, it has none$"),
        ({"bleu.n": 2}, r"--param bleu\.n: none of these tasks has the metric 'bleu'; they have .*dice"),
        ({"tolerance_mm": 2}, r"--param tolerance_mm: expected METRIC\.NAME=VALUE, such as nsd\.tolerance_mm=2"),
        ({"nsd.tolerance_mm": -1}, r"--param nsd: tolerance_mm: expected a number above"),
    ],
)
def test_an_unknown_or_wrong_parameter_is_refused(task: TaskSpec, parameters: dict[str, Json], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        with_parameters([task], parameters)


def test_a_headline_that_becomes_a_corpus_metric_is_pooled(task: TaskSpec) -> None:
    text = replace(
        index().load("vqa_rad"),
        metrics=(MetricUse(metric="bleu", protocol="m3d"),),
        headline=replace(task.headline, metric="bleu", protocol="m3d", mean="micro", over=None),
    )
    assert with_protocols(text, ["standard"]).headline.mean == "pooled"
    assert with_protocols(with_protocols(text, ["standard"]), ["m3d"]).headline.mean == "micro"

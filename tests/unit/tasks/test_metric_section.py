"""The metrics and the headline of a task: what is filled in, and what does not go together."""

from dataclasses import replace
from pathlib import Path

import pytest

import harness.metrics
from harness.tasks.task_file import load_task
from tests.unit.tasks.task_cases import GOOD, changed, faults, write

pytestmark = pytest.mark.usefixtures("small_tables")

HEADLINE = "headline: {metric: dice, mean: macro, over: modality}"


def with_headline(headline: str) -> str:
    return changed(HEADLINE, f"headline: {headline}")


@pytest.fixture
def _corpus(small_tables: None, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG001 - the order matters
    """Make the Dice of medplib a number of the whole corpus."""
    rows = [replace(row, corpus=row.protocol == "medplib") for row in harness.metrics.METRICS]
    monkeypatch.setattr(harness.metrics, "METRICS", tuple(rows))


def test_a_metric_without_standard_is_used_under_its_first_protocol(tmp_path: Path) -> None:
    text = (
        GOOD.replace("gives: masks", "gives: text")
        .replace("  - {metric: dice}\n  - {metric: dice, protocol: medplib}", "  - {metric: recall}")
        .replace(HEADLINE, "headline: {metric: recall}")
    )
    task = load_task(write(tmp_path, text))
    assert [(use.metric, use.protocol) for use in task.metrics] == [("recall", "ranked")]
    assert (task.headline.protocol, task.headline.mean, task.headline.over) == ("ranked", "micro", None)


def test_another_mean_may_have_the_macro_mean_beside_it_if_it_is_written_out(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, with_headline("{metric: dice, mean: micro, over: class}")))
    assert (task.headline.mean, task.headline.over) == ("micro", "class")


@pytest.mark.usefixtures("_corpus")
def test_the_headline_of_a_corpus_metric_is_pooled_and_never_micro(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, with_headline("{metric: dice, protocol: medplib}")))
    assert task.headline.mean == "pooled"
    assert load_task(write(tmp_path, with_headline("{metric: dice}"))).headline.mean == "micro"
    assert faults(write(tmp_path, with_headline("{metric: dice, protocol: medplib, mean: micro}"))) == [
        "t.yaml:11: headline.mean: 'dice' is a number of the whole corpus; expected 'pooled' or 'macro', got 'micro'"
    ]


def test_strata_that_cannot_be_read_are_not_blamed_on_the_headline(tmp_path: Path) -> None:
    assert faults(write(tmp_path, changed("[modality, class]", "3"))) == [
        "t.yaml:12: strata: expected a list, got the number 3"
    ]


@pytest.mark.parametrize(
    ("params", "fault"),
    [
        ("{edge: [1]}", "params.edge: expected one value, got a list"),
        ("{edge: 1}", "params: "),
    ],
)
def test_a_parameter_that_a_metric_does_not_have_is_a_fault(tmp_path: Path, params: str, fault: str) -> None:
    text = changed("{metric: dice}", f"{{metric: dice, params: {params}}}")
    assert faults(write(tmp_path, text))[0].startswith(f"t.yaml:9: metrics[0].{fault}")

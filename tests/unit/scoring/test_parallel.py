"""Scores are the same on one core and on several, and come in the order of the predictions."""

from pathlib import Path

import pytest

from harness.metrics import bind, find, settle
from harness.scoring import parallel
from harness.scoring.availability import UsableMetric
from harness.scoring.parallel import Asked, score_all
from harness.tasks.spec import MetricUse
from tests.support.metric_cases import pairs


def rows() -> list[UsableMetric]:
    uses = [
        MetricUse(metric="token_prf"),
        MetricUse(metric="bleu", protocol="m3d"),
        MetricUse(metric="vqa_accuracy", protocol="medplib"),
    ]
    found = [UsableMetric(bind(find(use.metric, use.protocol), use.parameters, "test"), use) for use in uses]
    return [*found, UsableMetric(settle(find("cider"), pairs("text")), None)]


def asked(count: int) -> list[Asked]:
    cases = pairs("text")
    return [(cases[place % len(cases)][0], place, cases[place % len(cases)][1]) for place in range(count)]


def test_several_cores_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "CHUNK", 10)
    here = list(score_all(rows(), asked(95), 95, Path(), cores=1))
    monkeypatch.setattr(parallel, "WORTH_SECONDS", 0.0)
    there = list(score_all(rows(), iter(asked(95)), 95, Path(), cores=2))
    assert there == here
    assert [one[1] for one, _ in there] == list(range(95))
    assert [score.metric for score in there[-1][1] if score] == ["token_prf", "bleu", "vqa_accuracy", "cider"]


def test_little_work_stays_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "_on_all_cores", None)
    assert len(list(score_all(rows(), asked(300), 300, Path(), cores=2))) == 300


@pytest.mark.parametrize("count", [0, 1])
def test_a_cell_with_next_to_nothing_is_scored(count: int) -> None:
    assert len(list(score_all(rows(), asked(count), count, Path()))) == count

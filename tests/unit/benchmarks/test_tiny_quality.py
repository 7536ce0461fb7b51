"""Targets of the tiny model, and the shares of its experts."""

from pathlib import Path

import pytest

from benchmarks.tiny_quality import LAST_STAGE, TARGETS, Reached, expert_shares
from reference_model.training.log import LoggedStep


def test_shares_are_taken_over_all_steps_and_layers(tmp_path: Path) -> None:
    steps = [
        LoggedStep(step=0, learning_rate=0.1, losses={}, tokens=((6, 2), (1, 7)), dropped=(0, 0)),
        LoggedStep(step=1, learning_rate=0.1, losses={}, tokens=((0, 8), (5, 3)), dropped=(0, 0)),
    ]
    (tmp_path / LAST_STAGE).mkdir()
    (tmp_path / LAST_STAGE / "log.jsonl").write_text("".join(step.line() for step in steps))
    assert expert_shares(tmp_path) == pytest.approx([12 / 32, 20 / 32])


@pytest.mark.parametrize(("value", "missed"), [(0.84, True), (0.85, False), (0.86, False)])
def test_a_value_below_its_target_is_missed(value: float, missed: bool) -> None:
    target = TARGETS["tiny"][0]
    reached = Reached(
        title=target.title,
        task=target.task,
        metric=target.name,
        protocol=target.protocol,
        value=value,
        low=0.0,
        high=1.0,
        n=10,
        target=target.least,
    )
    assert reached.missed is missed


@pytest.mark.parametrize(("over", "missed"), [((0.1, 0.01, 0.2), False), ((0.1, 0.0, 0.2), True), (None, True)])
def test_a_number_that_is_not_above_the_baseline_is_missed(
    over: tuple[float, float, float] | None, missed: bool
) -> None:
    reached = Reached(
        title="BLEU-1",
        task="t",
        metric="bleu1",
        protocol="m3d",
        value=0.9,
        low=0.8,
        high=1.0,
        n=10,
        target=None,
        over=over,
    )
    assert reached.missed is missed

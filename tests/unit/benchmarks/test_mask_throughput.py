"""The contestants of the mask benchmark agree, and the fastest of their turns counts."""

import numpy as np
import pytest

from benchmarks import mask_throughput
from benchmarks.mask_throughput import dense_fastest, dense_from_stored, dense_usual, fastest, from_stored, pair


def test_all_ways_give_the_same_dice_and_iou() -> None:
    made = pair(np.random.default_rng(1))
    expected = dense_usual(made.prediction, made.target)
    assert 0.5 < expected[0] < 1
    for found in (
        dense_fastest(made.prediction, made.target),
        dense_from_stored(made.stored),
        from_stored(made.stored),
    ):
        assert found == pytest.approx(expected, rel=1e-12)


def test_contestants_take_turns_and_the_fastest_repeat_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    calls: list[str] = []
    costs = {"a": iter([5.0, 1.0, 3.0]), "b": iter([2.0, 4.0, 6.0])}

    def work(name: str) -> None:
        nonlocal clock
        calls.append(name)
        clock += next(costs[name])

    monkeypatch.setattr(mask_throughput.time, "perf_counter", lambda: clock)
    assert fastest([lambda: work("a"), lambda: work("b")], 3) == [1.0, 2.0]
    assert calls == ["a", "b"] * 3

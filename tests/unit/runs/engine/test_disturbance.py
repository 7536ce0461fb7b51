"""Faults that `harness chaos` plants: they follow from seed and keys, and no answer is lost twice."""

import os
import time
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.runs.engine.disturbance import EXIT_DROPPED, Disturbance


def test_a_call_waits_as_long_as_seed_and_keys_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    first = Disturbance(seed=1, delay=2.0, drop=0.0, marks=str(tmp_path))
    for disturbance in (first, Disturbance.from_text(first.to_text())):
        disturbance.wait(["a", "b"])
    Disturbance(seed=2, delay=2.0, drop=0.0, marks=str(tmp_path)).wait(["a", "b"])
    assert waited[0] == waited[1] != waited[2]
    assert all(0 <= seconds < 2 for seconds in waited)


def test_no_answer_is_lost_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ends: list[int] = []
    monkeypatch.setattr(os, "_exit", ends.append)
    always = Disturbance(seed=1, delay=0.0, drop=1.0, marks=str(tmp_path / "marks"))
    always.drop_answers([])
    assert ends == []
    for keys in (["a", "b"], ["a"], ["b"], ["c"]):
        always.drop_answers(keys)
    assert ends == [EXIT_DROPPED, EXIT_DROPPED]
    assert sorted(path.name for path in (tmp_path / "marks").iterdir()) == ["a", "b", "c"]
    Disturbance(seed=1, delay=0.0, drop=0.0, marks=str(tmp_path)).drop_answers(["d"])
    assert len(ends) == 2


def test_a_share_of_the_calls_is_lost(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ends: list[int] = []
    monkeypatch.setattr(os, "_exit", ends.append)
    third = Disturbance(seed=5, delay=0.0, drop=1 / 3, marks=str(tmp_path))
    for number in range(300):
        third.drop_answers([f"{number}"])
    assert 70 < len(ends) < 130


@pytest.mark.parametrize("text", ["{}", "no", '{"seed": "x", "delay": 0, "drop": 0, "marks": ""}'])
def test_other_words_are_refused(text: str) -> None:
    with pytest.raises(SpecError, match=r"--disturb .*: expected what `harness chaos` gives \("):
        Disturbance.from_text(text)

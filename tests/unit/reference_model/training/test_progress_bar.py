"""What a training shows: a bar on a terminal, a line now and then elsewhere, nothing but in the first process."""

from dataclasses import replace

import pytest
from rich.console import Console

from reference_model.training.progress_bar import TrainingBar
from reference_model.training.recipe import Stage
from reference_model.training.recipe_files import load_recipe

LOSSES = {"language": 0.5, "bce": 0.25, "dice": 0.125, "focal": 3.0}


@pytest.fixture
def stage() -> Stage:
    return replace(load_recipe("medplib-tiny").stage(3), losses={"language": 1.0, "bce": 2.0, "focal": 0.0})


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_without_a_terminal_a_line_is_printed_now_and_then(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with TrainingBar(clock=clock) as bar:
        bar.notice("reading")
        for step in range(1, 101):
            clock.now += 4
            bar.show(stage, step, 100, LOSSES)
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "reading"
    assert told[1] == "stage 3: 8/100, 6:08 left, language 0.500 bce 0.250"
    assert told[-1] == "stage 3: 100/100 language 0.500 bce 0.250"
    assert len(told) == 2 + 100 // 8


def test_the_time_left_counts_from_where_a_stage_goes_on(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    with TrainingBar(clock=clock) as bar:
        for step in (81, 82):
            clock.now += 31
            bar.show(stage, step, 84, LOSSES)
    assert [line.partition(" language")[0] for line in capsys.readouterr().err.splitlines()] == [
        "stage 3: 81/84",
        "stage 3: 82/84, 1:02 left,",
    ]


def test_a_terminal_gets_a_bar_that_fits_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = Console(force_terminal=True, width=80, record=True, quiet=False, stderr=True)
    monkeypatch.setattr("reference_model.training.progress_bar.Console", lambda **_: recorded)
    with TrainingBar() as bar:
        bar.show(stage, 41, 400, LOSSES)
        bar.show(stage, 42, 400, LOSSES)
    (line,) = {line.rstrip() for line in recorded.export_text().splitlines() if "400" in line and "42" in line}
    assert line.startswith("stage 3 ")
    assert "42/400" in line
    assert line.endswith("language 0.500 bce 0.250")


def test_a_process_that_is_not_the_first_shows_nothing(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBar(shown=False) as bar:
        bar.notice("reading")
        bar.show(stage, 1, 1, LOSSES)
    assert capsys.readouterr().err == ""

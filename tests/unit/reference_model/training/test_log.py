"""What a stage writes down: the log holds what it was told, mends itself when a stage goes on, and faults are named."""

import json
from pathlib import Path

import pytest

from harness.errors import DataError
from reference_model.training.log import LOG, STAGE, LoggedStep, StageNote, StepLog, read_log, read_note, write_note

NOTE = StageNote(
    recipe="medplib-tiny", stage=4, title="Adaption", seed=7, steps=9, losses={"language": 1.0}, experts=(3, 2)
)


def logged(step: int) -> LoggedStep:
    return LoggedStep(step=step, learning_rate=0.5, losses={"language": 1.5}, tokens=((3, 4),), dropped=(1,), seconds=2)


def test_steps_are_read_as_they_were_written(tmp_path: Path) -> None:
    steps = [logged(0), LoggedStep(step=1, learning_rate=0.25, losses={"bce": 0.5}, seconds=0.25)]
    with StepLog(tmp_path / "stage-4", 0) as log:
        for step in steps:
            log.write(step)
        assert read_log(tmp_path / "stage-4") == steps
        log.sync()
    second = json.loads((tmp_path / "stage-4" / LOG).read_text().splitlines()[1])
    assert second == {"step": 1, "learning_rate": 0.25, "losses": {"bce": 0.5}, "seconds": 0.25}


def test_a_log_that_goes_on_forgets_what_came_after_the_state(tmp_path: Path) -> None:
    with StepLog(tmp_path, 0) as log:
        for step in range(3):
            log.write(logged(step))
    with (tmp_path / LOG).open("a") as file:
        file.write(logged(3).line()[:20])
    with StepLog(tmp_path, 2) as log:
        log.write(logged(2))
    assert [step.step for step in read_log(tmp_path)] == [0, 1, 2]


def test_a_process_that_does_not_write_leaves_no_file(tmp_path: Path) -> None:
    with StepLog(tmp_path, 0, written=False) as log:
        log.write(logged(0))
        log.sync()
    assert list(tmp_path.iterdir()) == []


def test_what_a_stage_is_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_note(tmp_path / "stage-4", NOTE)
    assert read_note(tmp_path / "stage-4") == NOTE


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, r"stage.json: cannot be read: No such file or directory; a stage writes it when it begins"),
        ("{", r"stage.json: expected recipe, title, seed, steps and losses of a stage, found Expecting"),
        ('{"schema": 2}', r"stage.json: expected recipe, .* of a stage, found another schema"),
        ('{"schema": 1, "experts": []}', r"stage.json: expected recipe, .* found .*missing"),
    ],
)
def test_a_note_that_is_not_one_is_named(tmp_path: Path, content: str | None, fault: str) -> None:
    if content is not None:
        (tmp_path / STAGE).write_text(content)
    with pytest.raises(DataError, match=fault):
        read_note(tmp_path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, r"log.jsonl: cannot be read: .*No such file"),
        ("", r"log.jsonl: expected one line a step, found none; no step of the stage is done yet"),
        (
            logged(0).line() + logged(1).line()[:30],
            r"log.jsonl:2: expected the line of a step, found '{\"step\": 1, .*mends it",
        ),
        ('{"step": 0}\n', r"log.jsonl:1: expected the line of a step, found '{\"step\": 0}'"),
        ("[]\n", r"log.jsonl:1: expected the line of a step, found '\[\]'"),
    ],
)
def test_a_log_that_is_not_one_is_named(tmp_path: Path, content: str | None, fault: str) -> None:
    if content is not None:
        (tmp_path / LOG).write_text(content)
    with pytest.raises(DataError, match=fault):
        read_log(tmp_path)

"""A run of stages: it says what each stage is, clears away what a kill left, and prepares what its stages read."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import SpecError
from reference_model.config import ModelConfig
from reference_model.distributed.processes import Processes
from reference_model.training import stages
from reference_model.training.data import SetSpec
from reference_model.training.log import StageNote, read_log, read_note
from reference_model.training.recipe import Recipe
from tests.unit.reference_model.small_training import Killed, Noted, small_recipe, small_run

# The sets of stage III.
MASKS = {"mecovqa_g", "samed2d_seg", "samed2d_seg_box"}


@pytest.fixture(scope="module")
def recipe(config: ModelConfig, drawn: Path) -> Recipe:
    return small_recipe(config, drawn)


def test_a_stage_says_what_it_is_and_clears_away_half_a_state(recipe: Recipe, tmp_path: Path) -> None:
    half = tmp_path / "out/stage-0/.step-000007.partial"
    half.mkdir(parents=True)
    (half / "trained.safetensors").write_bytes(b"torn")
    small_run(recipe, tmp_path / "out", tmp_path, steps=2).stages([0])
    assert not half.exists()
    stage = recipe.stage(0)
    assert read_note(tmp_path / "out/stage-0") == StageNote(
        recipe="medplib-tiny", stage=0, title=stage.title, seed=recipe.seed, steps=2, losses=stage.losses
    )
    assert [step.step for step in read_log(tmp_path / "out/stage-0")] == [0, 1]


def test_a_training_that_is_refused_leaves_the_note_of_the_other(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        small_run(recipe, tmp_path / "out", tmp_path, save_seconds=0.0, watcher=Killed(0, 2)).stages([0])
    with pytest.raises(SpecError, match="step-000001: was left by a training with another seed; go on with the same"):
        small_run(replace(recipe, seed=7), tmp_path / "out", tmp_path).stages([0])
    assert read_note(tmp_path / "out/stage-0").seed == recipe.seed


@pytest.mark.parametrize(("numbers", "tasks"), [([3], MASKS), ([1, 3], {"mecovqa_c", "vqa_rad", *MASKS})])
def test_what_the_stages_read_is_prepared_ahead(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, numbers: list[int], tasks: set[str]
) -> None:
    prepared: list[SetSpec] = []
    monkeypatch.setattr(stages, "prepare_ahead", lambda wanted, *_: prepared.extend(wanted))
    with pytest.raises(SpecError, match="expected the model of stage"):
        small_run(recipe, tmp_path / "out", tmp_path).stages(numbers)
    assert {one.task for one in prepared} == tasks
    assert len(prepared) == len({(one.task, one.ratio) for one in prepared})


def test_a_stage_that_makes_words_prepares_the_sets_of_all_stages(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[SetSpec] = []
    monkeypatch.setattr(stages, "prepare_ahead", lambda wanted, *_: prepared.extend(wanted))
    small_run(recipe, tmp_path / "out", tmp_path, steps=1).stages([0])
    assert {one.task for one in prepared} == {one.task for stage in recipe.stages for one in stage.data}


def test_processes_that_are_not_first_wait_until_the_first_has_prepared(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    monkeypatch.setattr(Processes, "wait", lambda one: order.append(f"{one.number} waits"))
    monkeypatch.setattr(stages, "prepare_ahead", lambda *_: order.append("prepares"))
    for number in (0, 1):
        processes = Processes(number=number, count=2)
        run = small_run(recipe, tmp_path / "out", tmp_path, processes=processes, notice=Noted())
        run.stages([])
    assert order == ["prepares", "0 waits", "1 waits", "prepares"]

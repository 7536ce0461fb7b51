"""M3D's arms: what each trains, from what, and what they share."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchmarks.ablations.__main__ import ablations_of, arguments, circumstances_of, study_of
from benchmarks.ablations.arms import Job, jobs_of
from benchmarks.ablations.m3d import ARMS, FULL, STUDY, TOWER, printed_means
from benchmarks.ablations.plan import plan
from benchmarks.ablations.runs import Ablations, Piece, check_settings, lend
from harness.errors import SpecError
from leaderboard.published.printed import load_published
from reference_model.checkpoints.checkpoint import About, write_about
from reference_model.config import VolumeModelConfig
from reference_model.modeling.build import build_model
from reference_model.training.recipe import Recipe
from reference_model.training.recipe_files import load_recipe

RECIPE: Recipe = load_recipe("m3d-lamed-tiny")
JOBS: dict[str, Job] = {job.name: job for job in jobs_of(RECIPE, ARMS)}


def test_arms_share_stage_0_and_what_they_train_alike() -> None:
    assert set(JOBS) - {arm.name for arm in ARMS} == {
        "stages-0",
        "stages-01",
        "stages-01-sequence",
        "stages-01-linear",
        "stages-01-scratch",
    }
    assert {name: dict(job.needs) for name, job in JOBS.items() if job.arm} == {
        "full": {1: "stages-01"},
        "sequence": {1: "stages-01-sequence"},
        "without-1": {0: "stages-0"},
        "linear": {1: "stages-01-linear"},
        "scratch": {1: "stages-01-scratch"},
        "locked": {1: "stages-01"},
    }
    # The names of folders do not depend on which other arms there are.
    for arm in ARMS[1:]:
        for job in jobs_of(RECIPE, [FULL, arm]):
            assert job == JOBS[job.name]


def test_the_full_arm_is_the_recipe_on_the_data_of_the_measured_tasks() -> None:
    parents, *later = jobs_of(RECIPE, [FULL])
    assert parents.stage == RECIPE.stage(0)
    for job in later:
        expected = RECIPE.stage(job.stage.number)
        kept = tuple(one for one in expected.data if one.task in STUDY.tasks)
        assert job.stage == replace(expected, data=kept)
        assert job.config == RECIPE.config
    assert len({one.task for one in later[-1].stage.data}) == 4


def test_the_tower_begins_with_the_weights_of_m3d_clip_unless_it_is_random() -> None:
    starts = {name: job.stage.start for name, job in JOBS.items()}
    copies = {TOWER: "clip.vision"}
    assert starts["stages-01"].copies == starts["stages-01-linear"].copies == copies
    assert (starts["without-1"].base, starts["without-1"].copies) == (0, copies)
    assert not starts["stages-01-scratch"].copies
    assert not starts["full"].copies


def test_a_frozen_tower_is_not_trained_in_stage_2() -> None:
    full, locked = JOBS["full"].stage, JOBS["locked"].stage
    assert set(full.trains) - set(locked.trains) == set(full.muon) - set(locked.muon) == {TOWER}
    assert replace(locked, trains=full.trains, muon=full.muon) == full


def test_the_perceiver_of_an_arm_is_that_of_its_stages_after_stage_0() -> None:
    perceivers = {
        name: (job.config.perceiver.pooling, job.config.perceiver.layers)
        for name, job in JOBS.items()
        if isinstance(job.config, VolumeModelConfig)
    }
    own = {"sequence": ("sequence", 2), "linear": ("spatial", 1)}
    assert perceivers == {name: own.get(name.removeprefix("stages-01-"), ("spatial", 2)) for name in JOBS}


def test_a_model_that_lacks_modules_is_lent_without_them(tmp_path: Path) -> None:
    job = JOBS["stages-01-linear"]
    given, lent = (
        {name for name in build_model(config).state_dict() if name.startswith("perceiver.")}
        for config in (RECIPE.config, job.config)
    )
    model = tmp_path / "model"
    model.mkdir()
    save_file({name: torch.ones(2) for name in (*given, "vision.norm.bias")}, model / "model.safetensors")
    lend(model, tmp_path / "lent", job.config, job.lacks)
    assert set(load_file(tmp_path / "lent" / "model.safetensors")) == lent | {"vision.norm.bias"}
    assert lent < given
    assert json.loads((tmp_path / "lent" / "config.json").read_text())["perceiver"]["layers"] == 1


def test_every_printed_setting_is_an_arm_and_stage_1_alone_is_not_printed() -> None:
    assert sorted(name for arm in ARMS for name in arm.paper) == sorted(printed_means(load_published()))
    assert [arm.name for arm in ARMS if not arm.paper] == ["without-1"]


def asked(*words: str) -> Ablations:
    return ablations_of(arguments().parse_args(["--recipe", "m3d-lamed-tiny", *words]))


def test_arms_are_chosen_by_name_and_always_with_the_full_model() -> None:
    assert [arm.name for arm in asked("--arms", "without-1", "sequence").arms] == ["full", "sequence", "without-1"]
    assert asked().arms == ARMS
    with pytest.raises(
        SpecError, match=r"--arms: expected some of full, sequence, .*, got 'seqence' .did you mean 'sequence'"
    ):
        asked("--arms", "seqence")


def test_all_seeds_may_start_from_one_stage_0(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected the model of stage 0; run --stage 0"):
        asked("--parents", str(tmp_path))
    model = tmp_path / "stage-0" / "model"
    model.mkdir(parents=True)
    write_about(model, About(config=load_recipe("medplib-tiny").config, experts=False))
    with pytest.raises(SpecError, match="expected stage 0 of m3d-lamed-tiny, found a model with other numbers"):
        asked("--parents", str(tmp_path))
    write_about(model, About(config=RECIPE.config, experts=False))
    (model / "model.safetensors").write_text("weights")
    ablations = replace(asked("--parents", str(tmp_path), "--seeds", "2"), out=tmp_path / "out")
    first = [piece for piece in ablations.pieces() if piece.job.name == "stages-0"]
    assert all(piece.is_finished for piece in first)
    assert {piece.model for piece in first} == {model}
    assert "stages-0 " not in plan(ablations, study_of(RECIPE), None)
    check_settings(ablations)
    with pytest.raises(SpecError, match="was begun with parents"):
        check_settings(replace(ablations, parents=None))


def test_the_page_names_recipe_arms_and_parents() -> None:
    ablations = replace(asked("--arms", "locked", "--share", "0.1"), parents=Path("somewhere"))
    session = {"started": "2026-01-02T03", "python": "3.11", "jobs": 2}
    session |= {"hardware": {"cpus": 2}, "packages": {"torch": "2"}}
    made = circumstances_of(ablations, [session], 1.0)
    assert made.command == (
        "python -m benchmarks.ablations --recipe m3d-lamed-tiny --seeds 3 --share 0.1 --arms full locked "
        "--parents RECIPE_RUN --jobs 2 --data-root phantom:0"
    )


def test_pieces_travel_to_other_processes() -> None:
    import pickle

    piece = asked().pieces()[-1]
    again: Piece = pickle.loads(pickle.dumps(piece))
    assert again == piece


def test_a_recipe_of_another_architecture_has_no_arms() -> None:
    other: Any = SimpleNamespace(name="other-tiny")
    with pytest.raises(SpecError, match="--recipe mine: expected a recipe of MedPLIB or M3D-LaMed, found one of other"):
        study_of(replace(RECIPE, name="mine", config=other))

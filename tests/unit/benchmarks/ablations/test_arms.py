"""MedPLIB's arms: what each trains, from what, and what they share."""

from benchmarks.ablations.arms import Job, jobs_of
from benchmarks.ablations.medplib import ARMS, FULL, printed_means
from leaderboard.published.printed import load_published
from reference_model.training.recipe import Recipe
from reference_model.training.recipe_files import load_recipe

RECIPE: Recipe = load_recipe("medplib-tiny")
JOBS: dict[str, Job] = {job.name: job for job in jobs_of(RECIPE, ARMS)}
SHARED = ["stages-0", "stages-01", "stages-012", "stages-0123", "stages-013"]


def test_the_full_arm_is_the_recipe() -> None:
    chain = jobs_of(RECIPE, [FULL])
    assert [job.stage for job in chain] == list(RECIPE.stages)
    assert {job.config for job in chain} == {RECIPE.config}
    assert chain[-1].needs == {2: "stages-012", 3: "stages-0123"}


def test_what_arms_share_is_trained_once_and_before_they_need_it() -> None:
    names = [job.name for job in jobs_of(RECIPE, ARMS)]
    assert sorted(names) == sorted([*SHARED, *(arm.name for arm in ARMS)])
    for place, name in enumerate(names):
        assert set(JOBS[name].needs.values()) <= set(names[:place])
    assert [name for name in names if JOBS[name].arm is None] == SHARED[:3] + SHARED[3:]


def test_a_stage_that_is_left_out_is_stood_in_for_by_the_one_before_it() -> None:
    starts = {name: JOBS[name].stage.start for name in ("only-4", "without-2-3", "without-3", "without-2")}
    assert {name: (start.base, start.experts) for name, start in starts.items()} == {
        "only-4": (0, (0, 0)),
        "without-2-3": (1, (1, 1)),
        "without-3": (2, (2, 2)),
        "without-2": (1, (3, 1)),
    }
    assert dict(starts["without-2"].parts) == {"projector": 3, "mask_decoder": 3}
    assert dict(starts["without-3"].parts) == {"projector": 2, "mask_decoder": 2}
    assert JOBS["stages-013"].stage.start.base == 1
    assert JOBS["without-2"].needs == {1: "stages-01", 3: "stages-013"}


def test_all_but_the_start_of_a_stage_is_the_recipes() -> None:
    for job in JOBS.values():
        expected = RECIPE.stage(job.stage.number)
        assert (job.stage.data, job.stage.steps, job.stage.lora) == (expected.data, expected.steps, expected.lora)


def test_without_experts_the_last_stage_goes_on_with_the_dense_model_and_has_no_router() -> None:
    stage, full = JOBS["no-experts"].stage, RECIPE.stages[-1]
    assert (stage.start.base, stage.start.experts, stage.start.parts) == (2, (), full.start.parts)
    assert [name for name in full.trains if name not in stage.trains] == ["language.layers.*.mlp.router"]
    assert set(full.losses) - set(stage.losses) == {"balance"}


def test_capacity_and_choices_change_the_model_and_not_its_evaluation() -> None:
    moe = {name: JOBS[name].config.moe for name in ("full", "capacity-1", "capacity-2", "top-2")}
    assert {name: (one.capacity_train, one.top_k) for name, one in moe.items()} == {
        "full": (1.5, 1),
        "capacity-1": (1.0, 1),
        "capacity-2": (2.0, 1),
        "top-2": (2.0, 2),
    }
    assert {one.capacity_evaluation for one in moe.values()} == {RECIPE.config.moe.capacity_evaluation}


def test_every_arm_stands_in_the_paper_and_every_setting_of_the_paper_is_an_arm() -> None:
    named = [name for arm in ARMS for name in arm.paper]
    assert sorted(named) == sorted(printed_means(load_published()))

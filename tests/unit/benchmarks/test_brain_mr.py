"""Brain MR: which patients are learnt from and which are kept back, and the comparison of their scores."""

import json
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from benchmarks.ablations.paired_scores import ClusterSums, read_sums
from benchmarks.brain_mr.__main__ import DICE, OURS, RECIPE, TASK, TASK_PATH, outcomes, table
from harness.tasks.catalog import index
from harness.tasks.spec import TaskSpec
from reference_model.training.recipe import Recipe
from reference_model.training.recipe_files import load_recipe
from tests.unit.benchmarks.scores import write_scores


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe(str(RECIPE))


@pytest.fixture(scope="module")
def task() -> TaskSpec:
    return index((TASK_PATH,)).load(TASK)


def test_no_patient_is_both_learnt_from_and_evaluated_on(recipe: Recipe, task: TaskSpec) -> None:
    learnt = {case for stage in recipe.stages for one in stage.data for case in one.where["case"]}
    kept_back = set(task.release.where["case"])
    assert (len(learnt), len(kept_back)) == (20, 8)
    assert not learnt & kept_back
    assert all(set(one.where["case"]) == learnt for stage in recipe.stages for one in stage.data)


def test_the_patients_kept_back_are_the_first_by_digest_of_their_names(recipe: Recipe, task: TaskSpec) -> None:
    cases = [*recipe.stages[0].data[0].where["case"], *task.release.where["case"]]
    by_digest = sorted(cases, key=lambda case: sha256(case.encode()).hexdigest())
    assert sorted(task.release.where["case"]) == sorted(by_digest[:8])


def test_the_patients_are_all_that_the_release_shows_in_mr(recipe: Recipe, task: TaskSpec, test_data: Path) -> None:
    listing = test_data / "samed2d_mini" / "SAMed2Dv1" / "SAMed2D_v1.json"
    names = [path.split("/")[-1].split("--") for path in json.loads(listing.read_text(encoding="utf-8"))]
    found = {name[2] for name in names if name[0].startswith("mr_")}
    assert {*recipe.stages[0].data[0].where["case"], *task.release.where["case"]} == found


def test_what_is_asked_is_what_was_learnt(recipe: Recipe, task: TaskSpec) -> None:
    learnt = index().load(recipe.stages[0].data[0].task)
    assert (task.prompt, task.dataset, task.oracle) == (learnt.prompt, learnt.dataset, learnt.oracle)


def test_differences_are_paired_by_patient(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).uniform(0.4, 1.0, size=12)
    for run, lower in (("ours", 0.0), ("other", 0.3)):
        values = {f"p{place // 2}/{place}": float(value) - lower for place, value in enumerate(drawn)}
        write_scores(tmp_path / run, DICE, values, {})
    ours, other = outcomes([OURS, "other"], read_sums([tmp_path / "ours", tmp_path / "other"], DICE))
    assert ours.value == pytest.approx(drawn.mean())
    assert other.behind == pytest.approx(0.3)
    assert other.behind_interval.bounds == pytest.approx((0.3, 0.3))
    assert ours.interval.bounds is not None
    assert ours.interval.bounds[0] < ours.value < ours.interval.bounds[1]


def test_the_table_shows_the_fine_tuned_model_first_and_no_difference_to_itself() -> None:
    sums = np.zeros((2, 6, 1, 2))
    sums[0, :, 0] = (0.5, 1.0)
    sums[1, :, 0] = (0.25, 1.0)
    found = outcomes([OURS, "other"], ClusterSums(clusters=tuple("abcdef"), sums=sums))
    lines = table(found, 6, 6).splitlines()
    assert lines[0] == "6 slices of 6 patients; intervals of 95 % over patients."
    assert lines[-2] == "| fine-tuned | 0.500 [0.500, 0.500] |  |"
    assert lines[-1] == "| other | 0.250 [0.250, 0.250] | +0.250 [+0.250, +0.250] |"

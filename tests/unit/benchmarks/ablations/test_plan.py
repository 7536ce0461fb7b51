"""The plan of the ablations: trainings, steps and minutes."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.ablations.medplib import STUDY
from benchmarks.ablations.plan import plan, step_seconds
from benchmarks.ablations.runs import Ablations
from harness.errors import SpecError
from reference_model.training.recipe_files import load_recipe


def test_the_plan_counts_shared_trainings_once_and_takes_times_from_logs(ablations: Ablations, tmp_path: Path) -> None:
    for number in range(5):
        log = tmp_path / "logs" / f"stage-{number}" / "log.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text('{"seconds": 1.0}\n{"seconds": 3.0}\n')
    assert step_seconds(ablations.recipe, tmp_path / "logs") == dict.fromkeys(range(5), 2.0)
    text = plan(ablations, STUDY, tmp_path / "logs")
    assert text.count("stages-") == 5
    steps = round(0.25 * (ablations.recipe.stage(1).steps or 0))
    assert f"{'stages-01':<18}{1:>6}{steps:>8}" in text
    (tmp_path / "logs" / "stage-3" / "log.jsonl").unlink()
    with pytest.raises(SpecError, match=r"expected logs of every stage of medplib-tiny, found none of 3"):
        plan(ablations, STUDY, tmp_path / "logs")


def test_the_plan_of_a_recipe_in_epochs_is_refused(ablations: Ablations) -> None:
    with pytest.raises(SpecError, match="--plan: stage 1 counts epochs, not steps"):
        plan(replace(ablations, recipe=load_recipe("medplib-7b")), STUDY, None)

"""The tiny recipe still learns as it did: a few steps of every stage give the losses that are recorded.

`python -m tests.e2e.test_reference_tiny` records them again, after a change of the recipe that is meant.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from harness.paths import default_cache
from reference_model.training.log import read_log
from reference_model.training.loop import Silent
from reference_model.training.recipe_files import load_recipe
from reference_model.training.stages import StagedTraining

RECORDED = Path(__file__).parents[1] / "golden" / "tiny_training.json"
STEPS = 6
TOLERANCE = 0.05
"""Of a loss: processors round 16-bit sums in different orders."""


def losses_of_a_few_steps(out: Path, cache: Path) -> dict[str, dict[str, float]]:
    """Return the losses of the last of a few steps, by stage."""
    recipe = replace(load_recipe("medplib-tiny"), data_roots=("phantom:1001",))
    run = StagedTraining(recipe=recipe, out=out, cache=cache, steps=STEPS, notice=lambda _: None, watcher=Silent())
    run.stages([stage.number for stage in recipe.stages])
    found = {}
    for stage in recipe.stages:
        last = read_log(out / f"stage-{stage.number}")[-1].losses
        found[str(stage.number)] = {name: last[name] for name in stage.losses}
    return found


def test_a_few_steps_from_scratch_give_the_recorded_losses(tmp_path: Path) -> None:
    found = losses_of_a_few_steps(tmp_path, default_cache())
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))
    assert found.keys() == recorded.keys()
    for stage, losses in recorded.items():
        assert found[stage] == pytest.approx(losses, rel=TOLERANCE, abs=0.01), f"stage {stage}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        losses = losses_of_a_few_steps(Path(folder), default_cache())
    RECORDED.write_text(json.dumps(losses, indent=1) + "\n", encoding="utf-8")

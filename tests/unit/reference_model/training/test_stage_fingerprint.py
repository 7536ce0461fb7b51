"""The weights of a stage depend on the data of every split that it is trained on."""

from dataclasses import replace
from pathlib import Path

import pytest

from reference_model.config import ModelConfig
from reference_model.training.data import ExampleSet
from reference_model.training.stage_fingerprint import stage_settings
from tests.unit.reference_model.small_training import small_recipe


@pytest.mark.parametrize("changed", [0, 1])
def test_each_of_two_splits_of_a_task_counts(config: ModelConfig, drawn: Path, changed: int) -> None:
    recipe = small_recipe(config, drawn)
    sets = [ExampleSet(task="vqa_rad", ratio=1.0, examples=(), digests=(digest,)) for digest in ("train", "test")]
    others = [replace(one, digests=("other",)) if place == changed else one for place, one in enumerate(sets)]
    first, second = (stage_settings(recipe, recipe.stage(0), data, {}, steps=2, parts=1) for data in (sets, others))
    assert first["data"] == {"vqa_rad": ["train", "test"]}
    assert {key for key in first if first[key] != second[key]} == {"data"}

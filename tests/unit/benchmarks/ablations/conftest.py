"""Ablations of the tiny recipe in an empty folder."""

from pathlib import Path

import pytest

from benchmarks.ablations.medplib import ARMS, STUDY
from benchmarks.ablations.runs import Ablations
from reference_model.training.recipe_files import load_recipe


@pytest.fixture
def ablations(tmp_path: Path) -> Ablations:
    """Return all arms with two seeds, none of them trained."""
    return Ablations(
        recipe=load_recipe("medplib-tiny"), arms=ARMS, tasks=STUDY.tasks, seeds=(1, 2), share=0.25,
        data_root="phantom:0", limit=None, cache=tmp_path / "cache", out=tmp_path / "out",
    )  # fmt: skip

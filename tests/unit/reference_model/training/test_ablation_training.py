"""The ablations from the first training to the numbers, on a model of a few thousand parameters."""

from pathlib import Path

import pytest

from benchmarks.ablations.medplib import ARMS, FULL, STUDY
from benchmarks.ablations.runs import Ablations, work_off
from benchmarks.ablations.statistics import numbers_of
from reference_model.checkpoints.checkpoint import load_about
from reference_model.config import ModelConfig
from tests.unit.reference_model.small_training import small_recipe

CHOSEN = (FULL, *(arm for arm in ARMS if arm.name in ("no-experts", "only-4", "top-2")))


@pytest.mark.slow
def test_arms_are_trained_evaluated_and_compared_and_gone_on_with(
    config: ModelConfig, drawn: Path, tmp_path: Path
) -> None:
    told: list[str] = []
    ablations = Ablations(
        recipe=small_recipe(config, drawn, steps=2), arms=CHOSEN, tasks=STUDY.tasks, seeds=(42,), share=1.0,
        data_root=str(drawn), limit=8, cache=tmp_path / "cache", out=tmp_path / "out",
    )  # fmt: skip
    work_off(ablations, processes=2, tell=told.append)
    assert len(told) == 8
    assert told[-1].endswith("(8 of 8)")
    found = {piece.job.name: load_about(piece.model) for piece in ablations.pieces()}
    assert {name for name, about in found.items() if about.experts} == {"full", "only-4", "top-2"}
    assert (found["full"].config.moe.top_k, found["top-2"].config.moe.top_k) == (1, 2)
    assert set(found["only-4"].origin["settings"]["start"]) > {"base", "expert 0", "expert 1"}
    found_numbers = numbers_of(ablations.out, CHOSEN, (42,), measured=STUDY.numbers, full=FULL)
    assert [one.arm for one in found_numbers] == list(CHOSEN)
    work_off(ablations, processes=2, tell=told.append)
    assert len(told) == 8

"""The loop: it learns, moves only what it should, and goes on after a kill with the losses it would have had."""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import nn

from harness.errors import ModelError, SpecError
from harness.imaging import masks
from harness.records import Region
from reference_model.checkpoints.checkpoint import load_about, load_model
from reference_model.cli import main
from reference_model.config import ModelConfig
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.build import build_model
from reference_model.stage0.objective import Stage0Objective
from reference_model.training.collating.images import Collator, EncoderImages
from reference_model.training.data import Example
from reference_model.training.handover import choose_trained
from reference_model.training.loop import Course, Silent, train
from reference_model.training.objectives import Grounding, Measured
from reference_model.training.recipe_files import STAGES as STAGE_FILES
from reference_model.training.recipe_files import load_recipe
from tests.unit.reference_model.small_training import (
    Comparing,
    Killed,
    Learnt,
    Noted,
    Same,
    example,
    example_set,
    small_recipe,
    small_run,
)

STAGES = [stage.number for stage in load_recipe("medplib-tiny").stages]


def logs(out: Path) -> list[dict[str, Any]]:
    """Return the lines of all stages' logs without their times."""
    lines = [json.loads(line) for n in STAGES for line in (out / f"stage-{n}/log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "seconds"} for line in lines]


def test_all_stages_run_and_leave_a_model_and_a_log(trained_out: Path) -> None:
    model, about = load_model(trained_out / "stage-4" / "model")
    assert about.experts
    assert about.origin["stage"] == 4
    asked = {"vqa_rad", "mecovqa_r", "mecovqa_c", "omnimedvqa_letter"}
    assert set(about.origin["settings"]["data"]) == asked | {"mecovqa_g", "samed2d_seg", "samed2d_seg_box"}
    assert not any("lora" in name for name in model.state_dict())
    last = logs(trained_out)[-1]
    assert [sum(layer) > 0 and len(layer) == 2 for layer in last["tokens"]] == [True, True]
    assert sorted(path.name for path in (trained_out / "stage-4").iterdir()) == ["log.jsonl", "model", "stage.json"]
    assert set(last) == {"step", "learning_rate", "losses", "tokens", "dropped"}


def test_frozen_parameters_do_not_move_and_trained_ones_do(trained_out: Path) -> None:
    recipe = load_recipe("medplib-tiny")
    for number in STAGES[1:]:
        stage = recipe.stage(number)
        before = load_model(trained_out / f"stage-{stage.start.base}" / "model")[0].state_dict()
        after = load_model(trained_out / f"stage-{number}" / "model")[0]
        moved = {name for name, value in after.state_dict().items() if not torch.equal(before.get(name, value), value)}
        chosen = set(choose_trained(after, stage.trains, None))
        targets = () if stage.lora is None else stage.lora.targets
        adapted = {name for name in moved if name.split(".")[-2] in targets}
        assert not [name for name in moved - chosen - adapted if not name.startswith(tuple(stage.start.parts))]
        assert not {name for name in moved if name.startswith(("vision", "pixel_encoder"))}
        assert moved & chosen


def test_a_run_that_is_killed_goes_on_with_the_same_losses(
    trained_out: Path, config: ModelConfig, drawn: Path, tmp_path: Path
) -> None:
    recipe, out = small_recipe(config, drawn), tmp_path / "out"
    for number in (2, 3):
        shutil.copytree(trained_out / f"stage-{number}", out / f"stage-{number}")
    for stop in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            small_run(recipe, out, tmp_path, save_seconds=0.0, watcher=Killed(4, stop)).stages([4])
    assert not (out / "stage-4" / "model").exists()
    small_run(recipe, out, tmp_path).stages([4])
    whole, resumed = ((folder / "stage-4/log.jsonl").read_text().splitlines() for folder in (trained_out, out))
    assert [json.loads(line)["losses"] for line in resumed] == [json.loads(line)["losses"] for line in whole]
    first, second = (load_model(folder / "stage-4" / "model")[0].state_dict() for folder in (trained_out, out))
    assert all(torch.equal(first[name], value) for name, value in second.items())


def test_a_finished_stage_is_not_run_again_nor_mixed_with_another(
    trained_out: Path, config: ModelConfig, drawn: Path, tmp_path: Path
) -> None:
    notice = Noted()
    recipe = small_recipe(config, drawn)
    small_run(recipe, trained_out, tmp_path, notice=notice).stages([1])
    assert notice.lines == ["stage 1: finished before"]
    with pytest.raises(SpecError, match="model: was trained with another seed; choose another --out"):
        small_run(replace(recipe, seed=1), trained_out, tmp_path).stages([1])


def test_a_first_stage_without_a_model_to_go_on_with_is_refused(
    config: ModelConfig, drawn: Path, tmp_path: Path
) -> None:
    recipe = small_recipe(config, drawn, start=replace(load_recipe("medplib-7b").stage(1).start))
    with pytest.raises(
        SpecError, match=r"stage 1 of medplib-tiny goes on with a model .*; name its folder with --start"
    ):
        small_run(recipe, tmp_path / "out", tmp_path).stages([1])


def block(place: int) -> np.ndarray:
    """Return one of eight masks, as coarse as the decoder's cells."""
    mask = np.zeros((16, 16), dtype=bool)
    row, column = divmod(place % 4, 2)
    mask[8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = True
    return mask if place < 4 else ~mask


NAMES = ("liver", "spleen", "is", "this", "the", "yes", "no", "and")


def eight(kind: str) -> list[Example]:
    """Return eight questions about eight pictures."""
    found = []
    for place, name in enumerate(NAMES):
        fields: dict[str, Any] = {"question": "what is this?", "answer": f"the {name} and the {name}."}
        if kind == "grounding":
            fields = {"question": f"where is the {name}?", "answer": "<SEG>", "mask": block(place), "name": name}
        if kind == "region":
            fields |= {"question": "what is <region></region>?", "prompts": (Region(mask=masks.encode(block(place))),)}
        found.append(example(place, size=(16, 16), **fields))
    return found


def overfit(
    number: int, kind: str, config: ModelConfig, tokenizer: WordTokenizer, out: Path, *, rate: float = 0.02
) -> Comparing:
    """Learn eight samples until all losses of a stage are low; weights begin ten times as large as usual."""
    stage = replace(load_recipe("medplib-tiny").stage(number), learning_rate=rate, batch=8, rows=8)
    model = build_model(config, experts=bool(stage.start.experts))
    for parameter in model.language.parameters():
        parameter.data.mul_(10 if parameter.ndim > 1 else 1)
    trained = choose_trained(model, stage.trains, stage.lora)
    collator = Collator(config=config, tokenizer=tokenizer, images=EncoderImages(config))
    objective = (Stage0Objective if stage.objective == "parents" else Grounding)(model, collator, stage.losses)
    for module in objective.modules_trained_beside().values():
        trained |= dict(module.named_parameters())
    mix = Same([example_set("x", eight(kind))], steps=1, rows=8, questions=1, seed=0)
    course, comparing = Course(stage=stage, steps=400, warm_up=5, seed=0, save_seconds=1e9), Comparing()
    with suppress(Learnt):
        train(objective, mix, trained, course, folder=out, settings={}, watcher=comparing)
    return comparing


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (0, "words"),
        (0, "grounding"),
        (2, "region"),
        pytest.param(3, "grounding", marks=pytest.mark.slow),
        (4, "grounding"),
    ],
)
def test_eight_samples_are_learnt_by_heart(
    number: int, kind: str, config: ModelConfig, tokenizer: WordTokenizer, tmp_path: Path
) -> None:
    comparing = overfit(number, kind, config, tokenizer, tmp_path)
    for name in load_recipe("medplib-tiny").stage(number).losses:
        first, last = comparing.first[name], comparing.last[name]
        assert name == "balance" or last <= 0.05 * first, f"{name}: {first} -> {last}"


def test_a_loss_that_is_no_number_ends_the_stage(config: ModelConfig, tokenizer: WordTokenizer, tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=r"stage 3, step \d: expected finite losses, got language .*lower the learning"
    ):
        overfit(3, "grounding", config, tokenizer, tmp_path, rate=1e30)


class Nothing:
    """Rows that hold nothing of what is trained."""

    def __init__(self) -> None:
        self.model: Any = nn.Linear(2, 2)

    def measure(self, rows: Any, random: Any, *, drop_seed: int, progress: float) -> Measured:  # noqa: ARG002
        return Measured(total=torch.zeros(()), losses={"language": 0.0})

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        return {}


def test_rows_that_hold_nothing_to_learn_leave_the_weights_as_they_are(tmp_path: Path) -> None:
    objective = Nothing()
    before = objective.model.weight.detach().clone()
    stage = replace(load_recipe("medplib-tiny").stage(0), batch=8, rows=8)
    mix = Same([example_set("x", eight("words"))], steps=2, rows=8, questions=1, seed=0)
    course = Course(stage=stage, steps=2, warm_up=0, seed=0)
    trained = dict(objective.model.named_parameters())
    train(objective, mix, trained, course, folder=tmp_path, settings={}, watcher=Silent())
    assert torch.equal(objective.model.weight, before)


@pytest.mark.parametrize(("schedule", "middle"), [("linear", 0.5), ("cosine", 0.5)])
def test_the_learning_rate_rises_and_falls_to_nothing(schedule: Any, middle: float) -> None:
    stage = replace(load_recipe("medplib-7b").stage(3), schedule=schedule, learning_rate=1.0)
    rates = [Course(stage=stage, steps=110, warm_up=10, seed=0).learning_rate(step) for step in range(111)]
    assert rates[0] == rates[110] == 0
    assert rates[5] == 0.5
    assert rates[10] == 1
    assert rates[60] == pytest.approx(middle)
    assert rates[109] < 0.02


def test_the_command_trains_a_stage_and_names_what_is_wrong(drawn: Path, tmp_path: Path) -> None:
    call = ["train", "--recipe", "medplib-tiny", "--out", str(tmp_path / "out"), "--data-root", str(drawn)]
    result = CliRunner().invoke(main, [*call, "--stage", "1"])
    assert result.exit_code == 2
    assert "expected the model of stage 0; run --stage 0 on the same --out first" in result.stderr
    assert CliRunner().invoke(main, [*call, "--stage", "one"]).exit_code == 2


def test_the_command_prints_where_the_model_is(drawn: Path, tmp_path: Path) -> None:
    shutil.copytree(STAGE_FILES / "medplib-tiny", tmp_path / "recipe")
    first = tmp_path / "recipe" / "0.yaml"
    first.write_text(first.read_text().replace("batch: 20", "batch: 2"))
    out = tmp_path / "out"
    call = ["train", "--recipe", str(tmp_path / "recipe" / "recipe.yaml"), "--out", str(out), "--data-root", str(drawn)]
    result = CliRunner().invoke(main, [*call, "--stage", "0", "--steps", "1"], catch_exceptions=False)
    assert result.stdout == f"{out / 'stage-0' / 'model'}\n"
    assert "stage 0: 1/1 language" in result.stderr
    assert load_about(out / "stage-0" / "model").origin["settings"]["steps"] == 1

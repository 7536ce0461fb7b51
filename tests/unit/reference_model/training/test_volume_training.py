"""Models that read volumes in training: what each stage moves, starts from, learns by heart, and resumes."""

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
from torch import nn

from harness.data.phantoms.writers.m3d_refseg import write_m3d_volumes
from harness.data.phantoms.writers.m3d_vqa import write_m3d_family
from harness.data.roots import data_roots
from harness.errors import SpecError
from harness.imaging import masks
from harness.records import Box
from reference_model.checkpoints.checkpoint import About, load_model, save_model
from reference_model.config import VolumeModelConfig
from reference_model.inputs.conversation import SpecialTokens
from reference_model.inputs.tokenizers import WordTokenizer, words_of
from reference_model.modeling.m3d_model import VolumeGroundingModel
from reference_model.stage0.volume_parents import VolumeParents, build_untrained_volume_model
from reference_model.training.collating.volumes import PreparedVolumes, VolumeCollator
from reference_model.training.data import ExampleSet, SetSpec, read_sets
from reference_model.training.handover import choose_trained, hand_over, stage_folder
from reference_model.training.loop import Course, Silent, train
from reference_model.training.mixing import Row
from reference_model.training.objectives import Grounding, Objective
from reference_model.training.recipe import Recipe, Start
from reference_model.training.recipe_files import load_recipe
from tests.unit.reference_model.small_training import Comparing, Killed, Learnt, Noted, Same, example_set, small_run
from tests.unit.reference_model.small_volumes import (
    REPORT,
    TOKENIZER,
    cube,
    small_config,
    small_model,
    volume_example,
)

TINY = load_recipe("m3d-lamed-tiny")
ROWS: tuple[Row, ...] = tuple(
    (
        volume_example(number, answer=REPORT),
        *(
            volume_example(number, question="Mark the liver.", answer="It is [SEG].", name=name, mask=cube(start))
            for name, start in (("liver", 0), ("spleen", 2), ("cyst", 4))
        ),
    )
    for number in range(4)
)
# SegVol's first mask counts, so that no loss reads the other three or the estimates of IoU; nothing runs its branch for
# masks, and no prompt of ours is a point outside.
UNREAD = (
    "segvol.mask_decoder.iou_prediction_head",
    *(f"segvol.mask_decoder.output_hypernetworks_mlps.{number}" for number in (1, 2, 3)),
    "segvol.prompt_encoder.mask_downscaling",
    "segvol.prompt_encoder.point_embeddings.0",
)
# Only stage 0 prompts with points and boxes.
POINTS_AND_BOXES = ("segvol.prompt_encoder.point_embeddings", "segvol.prompt_encoder.not_a_point_embed")


def collator(config: VolumeModelConfig) -> VolumeCollator:
    return VolumeCollator(config=config, tokenizer=TOKENIZER, volumes=PreparedVolumes(config))


def objective_of(number: int, model: VolumeGroundingModel, config: VolumeModelConfig) -> Objective:
    stage = TINY.stage(number)
    if stage.objective == "parents":
        return VolumeParents(model, collator(config), stage.losses, text_tokenizer=TOKENIZER)
    return Grounding(model, collator(config), stage.losses)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_stage_reaches_all_it_trains_and_nothing_else(number: int, volume_config: VolumeModelConfig) -> None:
    stage = TINY.stage(number)
    model = build_untrained_volume_model(volume_config)
    objective = objective_of(number, model, volume_config)
    trained = choose_trained(model, stage.trains, stage.lora)
    for name, parameter in trained.items():
        if "lora_B" in name:  # at its first zeros, no gradient reaches the other factor
            nn.init.normal_(parameter, std=0.1)
    objective.measure(ROWS, np.random.default_rng(0), drop_seed=0, progress=0.0).total.backward()  # type: ignore[no-untyped-call]
    reached = {
        name for name, one in model.named_parameters() if one.grad is not None and bool(one.grad.abs().max() > 0)
    }
    unread = UNREAD if number == 0 else (*UNREAD, *POINTS_AND_BOXES)
    assert {name for name in trained if not name.startswith(unread)} == reached
    beside = [parameter for one in objective.modules_trained_beside().values() for parameter in one.parameters()]
    assert len(beside) == (4 if number == 0 else 0)
    assert all(parameter.grad is not None for parameter in beside)


def overfit(config: VolumeModelConfig, folder: Path, steps: int) -> Comparing:
    """Learn a sentence and a mask of each of two volumes in the last stage, until all losses are low."""
    stage = replace(TINY.stage(2), learning_rate=0.01, batch=4, rows=4)
    model = small_model(config)
    trained = choose_trained(model, stage.trains, stage.lora)
    samples = [
        volume_example(number, **fields)
        for number, (word, start) in enumerate((("liver", 0), ("spleen", 4)))
        for fields in ({"answer": f"the {word}."}, {"question": "Where is it?", "answer": "[SEG]", "mask": cube(start)})
    ]
    mix = Same([example_set("x", samples)], steps=1, rows=4, questions=1, seed=0)
    course, comparing = Course(stage=stage, steps=steps, warm_up=5, seed=0, save_seconds=1e9), Comparing()
    with suppress(Learnt):
        train(
            Grounding(model, collator(config), stage.losses), mix, trained, course,
            folder=folder, settings={}, watcher=comparing,
        )  # fmt: skip
    return comparing


def test_words_and_masks_of_two_volumes_begin_to_be_learnt(volume_config: VolumeModelConfig, tmp_path: Path) -> None:
    comparing = overfit(volume_config, tmp_path, steps=20)
    for name in ("language", "bce"):
        assert comparing.last[name] <= 0.8 * comparing.first[name], f"{name}: {comparing.last[name]}"


@pytest.mark.slow
def test_words_and_masks_of_two_volumes_are_learnt_by_heart(volume_config: VolumeModelConfig, tmp_path: Path) -> None:
    comparing = overfit(volume_config, tmp_path, steps=400)
    for name in ("language", "bce", "dice"):
        assert comparing.last[name] <= 0.05 * comparing.first[name], f"{name}: {comparing.last[name]}"


@pytest.fixture
def out(volume_config: VolumeModelConfig, tmp_path: Path) -> Path:
    about = About(config=volume_config, words=TOKENIZER.words, experts=False)
    save_model(stage_folder(tmp_path, 0) / "model", small_model(volume_config), about)
    return tmp_path


def test_a_module_begins_with_the_weights_of_another_and_goes_its_own_way(out: Path) -> None:
    base = stage_folder(out, 0) / "model"
    plain = hand_over(base, out, Start(base=0))[0]
    model = hand_over(base, out, TINY.stage(1).start)[0]
    assert isinstance(plain, VolumeGroundingModel)
    assert isinstance(model, VolumeGroundingModel)
    for name, value in model.vision.state_dict().items():
        assert torch.equal(value, plain.clip.vision.state_dict()[name])
    weight, given = model.vision.blocks[0].get_submodule("mlp.linear1").weight, plain.vision.blocks[0]
    assert not torch.equal(weight, given.get_submodule("mlp.linear1").weight)
    assert torch.equal(model.language.lm_head.weight, plain.language.lm_head.weight)
    with torch.no_grad():
        model.vision.norm.weight.fill_(7.0)
    assert not torch.equal(model.clip.vision.norm.weight, model.vision.norm.weight)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"copies": {"visoin": "clip.vision"}}, "start.copies: expected modules of m3d-lamed-tiny, got 'visoin'"),
        ({"copies": {"vision": "clip.tower"}}, "start.copies: expected modules of m3d-lamed-tiny, got 'clip.tower'"),
        (
            {"copies": {"vision": "perceiver"}},
            "start.copies: expected a module with the weights of 'vision', got 'perceiver'",
        ),
        (
            {"copies": {"vision": "segvol.image_encoder"}},
            "start.copies: expected a module with the weights of 'vision', got 'segvol.image_encoder'",
        ),
        (
            {"experts": (0,)},
            "start.experts: expected a model with experts, found m3d-lamed-tiny, which has none",
        ),
    ],
)
def test_what_a_stage_cannot_start_from_is_named(start: Mapping[str, Any], message: str, out: Path) -> None:
    with pytest.raises(SpecError, match=f"^{message}$"):
        hand_over(stage_folder(out, 0) / "model", out, Start(base=0, **start))


@pytest.fixture(scope="module")
def drawn_volumes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data root with the volumes of eight synthetic patients of each of the two families."""
    root = tmp_path_factory.mktemp("volumes")
    write_m3d_family(root, 3, patients=8)
    write_m3d_volumes(root, 3, patients=8)
    return root


def read(root: Path, cache: Path, *tasks: str) -> dict[str, ExampleSet]:
    # As in the release, only test asks for what a volume does not show.
    wanted = [SetSpec(task=task, split="test" if task == "m3d_res" else "train") for task in tasks]
    return {one.task: one for one in read_sets(wanted, [data_roots([str(root)], cache)], cache, Noted(), "volume")}


@pytest.mark.slow
def test_questions_about_volumes_are_learnt_with_the_answers_of_m3d(drawn_volumes: Path, tmp_path: Path) -> None:
    tasks = ("m3d_report_generation", "m3d_closed_vqa", "m3d_res", "m3d_rec", "m3d_reg", "m3d_refseg")
    sets = read(drawn_volumes, tmp_path, *tasks)
    for example in sets["m3d_res"].examples:
        # A sentence without a mask answers for what a volume does not show.
        assert (example.mask is None) == ("[SEG]" not in example.answer)
        assert example.mask is None or masks.area(example.mask) > 0
    assert {example.mask is None for example in sets["m3d_res"].examples} == {True, False}
    assert all(example.mask is not None for example in sets["m3d_refseg"].examples)
    for example in sets["m3d_reg"].examples:
        assert [type(prompt) for prompt in example.prompts] == [Box]
        assert example.question.count("<box>") == 1
    assert any("[0." in example.answer for example in sets["m3d_rec"].examples)
    # What a tiny model is to say returns as it was.
    answers = [example.answer for one in sets.values() for example in one.examples]
    tokenizer = WordTokenizer(words_of(answers, exact=True), special=SpecialTokens.m3d(600), exact=True)
    written = {answer.replace("<bx_start>", "").replace("<bx_end>", "") for answer in answers}
    assert {text for text in written if tokenizer.decode(tokenizer.encode(text)) != text} == set()


def recipe(root: Path) -> Recipe:
    """Return the tiny recipe for a small model, over some of its sets."""
    kept = ("m3d_report_generation", "m3d_closed_vqa", "m3d_semantic_segmentation", "m3d_rec")
    stages = tuple(
        replace(
            stage, batch=4, rows=4, questions=3, augmentation=stage.number == 2,
            data=tuple(one for one in stage.data if one.task in kept and one.split == "train"),
        )
        for stage in TINY.stages
    )  # fmt: skip
    plain = small_config()
    config = replace(
        plain,
        prompt=replace(plain.prompt, base_vocabulary=400),
        clip=replace(plain.clip, vocabulary=404),
    )
    return replace(TINY, config=config, data_roots=(str(root),), stages=stages, precision="fp32")


@pytest.mark.slow
def test_all_stages_run_and_a_killed_one_goes_on_to_the_same_weights(drawn_volumes: Path, tmp_path: Path) -> None:
    mine, whole, resumed = recipe(drawn_volumes), tmp_path / "whole", tmp_path / "resumed"
    small_run(mine, whole, tmp_path / "cache").stages([0, 1, 2])
    for number in (0, 1):
        shutil.copytree(stage_folder(whole, number), stage_folder(resumed, number))
    with pytest.raises(KeyboardInterrupt):
        small_run(mine, resumed, tmp_path / "cache", save_seconds=0.0, watcher=Killed(2, 2)).stages([2])
    assert not (stage_folder(resumed, 2) / "model").exists()
    small_run(mine, resumed, tmp_path / "cache").stages([2])
    logs = [(stage_folder(out, 2) / "log.jsonl").read_text().splitlines() for out in (whole, resumed)]
    first, second = ([json.loads(line)["losses"] for line in log] for log in logs)
    assert first == second
    assert len(first) == 3
    states = [load_model(stage_folder(out, 2) / "model")[0].state_dict() for out in (whole, resumed)]
    assert all(torch.equal(states[0][name], value) for name, value in states[1].items())
    stages = [load_model(stage_folder(whole, number) / "model")[0].state_dict() for number in (0, 1, 2)]
    assert torch.equal(stages[1]["vision.norm.weight"], stages[0]["clip.vision.norm.weight"])
    for number, stage in ((1, mine.stage(1)), (2, mine.stage(2))):
        moved = {name.partition(".")[0] for name, value in stages[number].items()
                 if not torch.equal(value, stages[number - 1][name])}  # fmt: skip
        copied = set(stage.start.copies)
        assert moved - copied == {one.partition(".")[0] for one in stage.trains} - copied
        assert not any("lora" in name for name in stages[number])


def test_a_run_of_the_trained_objective_takes_no_step_without_something_to_learn(
    volume_config: VolumeModelConfig, tmp_path: Path
) -> None:
    stage = replace(TINY.stage(0), losses={"clip": 1.0}, trains=("clip",), batch=2, rows=2)
    model = small_model(volume_config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    trained = choose_trained(model, stage.trains, None)
    objective = VolumeParents(model, collator(volume_config), stage.losses, text_tokenizer=TOKENIZER)
    mix = Same([example_set("x", [volume_example(0), volume_example(1)])], steps=2, rows=2, questions=1, seed=0)
    course = Course(stage=stage, steps=2, warm_up=0, seed=0)
    train(objective, mix, trained, course, folder=tmp_path, settings={}, watcher=Silent())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

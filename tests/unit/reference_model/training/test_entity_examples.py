"""Questions whose answers bind entities to masks: read from the harness's tasks, collated, and learnt."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.data.phantoms.writers.mimoseg import write_mimoseg
from harness.data.roots import data_roots
from harness.imaging import masks
from harness.records import MediaPart, Request, TextPart, Turn
from harness.requests.build import build_request
from reference_model.adapter import Reference
from reference_model.inference.predictor import Predictor
from reference_model.inputs.conversation import PROMPT_PAIR, REGION, SEG
from reference_model.stage0.objective import Stage0Objective
from reference_model.training import data
from reference_model.training.data import Example, SetSpec, read_sets
from reference_model.training.losses import LossWeights
from reference_model.training.recipe import LOSSES
from reference_model.training.recipe_files import load_recipe
from tests.unit.reference_model.small_entities import (
    ABOUT_BOTH,
    ABOUT_BOX,
    ABOUT_POINT,
    LIVER,
    PLAIN,
    SPLEEN,
    TOKENIZER,
    collator,
    small_config,
    small_model,
    without_aligner,
)
from tests.unit.reference_model.small_training import Noted, small_run

CONFIG = small_config()
WEIGHTS = dict.fromkeys(LOSSES["image", "parents"], 1.0)


def test_a_row_has_the_masks_of_its_tokens_and_the_places_of_its_prompts() -> None:
    rows = ((ABOUT_BOTH, ABOUT_BOX), (ABOUT_POINT, PLAIN))
    batch = collator(CONFIG).batch(rows, np.random.default_rng(0))
    seg = TOKENIZER.special.id(SEG)
    assert (batch.ids_BT == seg).sum(dim=1).tolist() == [3, 1]
    for found, wanted in zip(batch.masks, ((LIVER, SPLEEN, SPLEEN), (LIVER,)), strict=True):
        np.testing.assert_array_equal(found.numpy().astype(bool), np.stack(wanted))
    assert batch.prompt_kind_N is not None
    assert batch.prompt_kind_N.tolist() == [2, 3, 1]
    assert int((batch.ids_BT == REGION).sum()) == 3


def test_a_truncated_question_loses_the_masks_and_places_behind_the_cut() -> None:
    config = replace(CONFIG, prompt=replace(CONFIG.prompt, max_length=24))
    batch = collator(config).batch(((ABOUT_BOTH,),), np.random.default_rng(0))
    assert [len(one) for one in batch.masks] == [1]
    config = replace(CONFIG, prompt=replace(CONFIG.prompt, max_length=11))
    batch = collator(config).batch(((ABOUT_BOX,),), np.random.default_rng(0))
    assert batch.prompt_kind_N is not None
    assert batch.prompt_kind_N.tolist() == [2]


@pytest.fixture(scope="module")
def mimoseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mimoseg")
    write_mimoseg(folder, seed=0, patients=8)
    return folder


def test_every_perspective_of_mimoseg_gives_answers_with_a_mask_for_each_token(mimoseg: Path, tmp_path: Path) -> None:
    notice = Noted()
    specs = [SetSpec(task=f"mimoseg_p{number}") for number in (2, 3)]
    boxes, words = read_sets(specs, [data_roots([str(mimoseg)], tmp_path)], tmp_path, notice)
    for one in (boxes, words):
        for example in one.examples:
            assert example.answer.count(SEG) == len(example.named_masks)
            assert all(f"<p>{name}{SEG}</p>" in example.answer for name, _ in example.named_masks)
            assert all(masks.area(mask) for _, mask in example.named_masks)
    assert all(example.question.count(PROMPT_PAIR) == len(example.prompts) == 1 for example in boxes.examples)
    assert max(len(example.named_masks) for example in words.examples) > 1


def test_an_answer_with_another_number_of_tokens_than_masks_is_left_out(
    mimoseg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notice = Noted()
    asked = iter((True,))

    def one_more(*given: Any, **fields: Any) -> Request:
        made = build_request(*given, **fields)
        return replace(made, oracle=f"{made.oracle} {SEG}") if next(asked, False) else made

    monkeypatch.setattr(data, "build_request", one_more)
    read_sets([SetSpec(task="mimoseg_p2")], [data_roots([str(mimoseg)], tmp_path)], tmp_path, notice)
    reason = "mimoseg_p2: 1 samples are not learnt from: its answer has not one <SEG> a mask; the first is mimoseg/"
    assert [line.startswith(reason) for line in notice.lines].count(True) == 1


@pytest.mark.parametrize("aligned", [True, False])
def test_stage_0_teaches_the_aligner_what_prompts_mark(aligned: bool) -> None:
    config = CONFIG if aligned else without_aligner(CONFIG)
    parents = Stage0Objective(small_model(config, scale=1.0), collator(config), WEIGHTS)
    rows = ((ABOUT_BOTH, ABOUT_BOX), (ABOUT_POINT, PLAIN))
    made = parents.measure(rows, np.random.default_rng(0), drop_seed=0, progress=0.0)
    made.total.backward()  # type: ignore[no-untyped-call]
    assert (made.losses["prompt"] > 0) == aligned
    assert all(made.losses[name] > 0 for name in ("language", "region", "cell", "pixel", "bce", "dice"))
    heard = {
        name.partition(".")[0]
        for name, one in parents.model.named_parameters()
        if one.grad is not None and bool(one.grad.abs().max() > 0)
    }
    own = {"connector", "prompt_encoder", "aligner"} if aligned else set()
    assert heard == {"vision", "language", "pixel_encoder", "mask_decoder"} | own


@pytest.mark.slow
def test_entities_of_two_images_are_learnt_with_their_masks() -> None:
    model = small_model(CONFIG, scale=1.0).train()
    examples: Sequence[Example] = (ABOUT_BOTH, ABOUT_BOX, ABOUT_POINT)
    batch = collator(CONFIG).batch([(one,) for one in examples], np.random.default_rng(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    for _ in range(300):
        optimizer.zero_grad()
        LossWeights(dice=2.0).total(model(batch).losses).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    predictor = Predictor(model=model.eval(), config=CONFIG, tokenizer=TOKENIZER, threshold=0.5, device="cpu")
    requests = [
        Request(
            messages=(
                Turn(
                    role="user",
                    parts=(MediaPart(media=one.media), TextPart(text=one.question.replace(PROMPT_PAIR, "<box>"))),
                ),
            ),
            visual_prompts=one.prompts,
            decoding={"max_new_tokens": 24, "temperature": 0},
            key=str(number),
        )
        for number, one in enumerate(examples)
    ]
    for one, answer in zip(examples, predictor.answer(requests), strict=True):
        assert answer.text == one.answer.lower().replace("<seg>", SEG)
        assert [entity.name for entity in answer.entities] == [name for name, _ in one.named_masks]
        assert [entity.mask for entity in answer.entities] == list(range(len(answer.masks)))
        for found, (_, mask) in zip(answer.masks, one.named_masks, strict=True):
            wanted = masks.decode(mask)
            dice = 2 * np.logical_and(found, wanted).sum() / (np.asarray(found).sum() + wanted.sum())
            assert dice > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mimo-tiny", "mimo-tiny-without-aligner"])
def test_all_stages_of_the_recipe_run_and_their_model_answers(
    name: str, mimoseg: Path, drawn: Path, tmp_path: Path
) -> None:
    recipe = load_recipe(name)
    config = small_config() if name == "mimo-tiny" else without_aligner(small_config())
    config = replace(config, prompt=replace(config.prompt, base_vocabulary=512))
    stages = tuple(replace(stage, batch=4, rows=4, questions=3) for stage in recipe.stages)
    recipe = replace(recipe, config=config, stages=stages, data_roots=(str(mimoseg), str(drawn)), precision="fp32")
    small_run(recipe, tmp_path / "out", tmp_path / "cache", steps=2).stages([0, 1, 2])
    adapter = Reference(str(tmp_path / "out" / "stage-2" / "model"))
    adapter.load("cpu")
    turn = Turn(role="user", parts=(MediaPart(media=PLAIN.media), TextPart(text="What is in <box>?")))
    request = Request(
        messages=(turn,), visual_prompts=ABOUT_BOX.prompts, decoding={"max_new_tokens": 4, "temperature": 0}, key="k"
    )
    assert adapter.predict([request])[0].error is None

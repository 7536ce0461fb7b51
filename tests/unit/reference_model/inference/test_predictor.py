"""From requests to answers: how tokens are picked, and what the masks of an answer become."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.records import MediaPart, Request, TextPart, Turn
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.config import ModelConfig
from reference_model.inference import predictor
from reference_model.inference.generation import Reply, Sampling
from reference_model.inference.predictor import Predictor, load_predictor
from reference_model.inference.sampling import MAX_NEW_TOKENS
from reference_model.inputs.batch import Batch
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.model import Masks, PixelGroundingModel
from tests.unit.reference_model.conftest import WORDS
from tests.unit.reference_model.small_training import example

SIZE = (20, 24)


def request(**fields: Any) -> Request:
    shown = MediaPart(media=example(size=SIZE).media)
    turn = Turn(role="user", parts=(shown, TextPart(text="where is the liver?")))
    return Request(messages=(turn,), visual_prompts=(), key="k", **fields)


@pytest.fixture
def own(model: PixelGroundingModel, config: ModelConfig, tokenizer: WordTokenizer) -> Predictor:
    return Predictor(model=model, config=config, tokenizer=tokenizer, threshold=0.5, device="cpu")


class Generator:
    """Stands in for `generate`: keeps how it is called, and gives the same reply to every row."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.sampling: list[Sampling] = []

    def __call__(self, model: Any, batch: Batch, images: Any, *, sampling: Sampling, **_: Any) -> tuple[Reply, ...]:  # noqa: ARG002
        self.sampling.append(sampling)
        self.positions = batch.ids_BT.shape[1]
        return (self.reply,) * len(batch.ids_BT)


def replying(monkeypatch: pytest.MonkeyPatch, logits_MHW: torch.Tensor, ids: tuple[int, ...] = ()) -> Generator:
    masks = Masks(logits_MHW=logits_MHW, iou_M=torch.zeros(len(logits_MHW)))
    generator = Generator(Reply(ids=ids, finished=True, masks=masks))
    monkeypatch.setattr(predictor, "generate", generator)
    return generator


def test_a_task_decides_how_tokens_are_picked_and_room_for_them_is_limited(
    own: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = replying(monkeypatch, torch.zeros((0, *SIZE)))
    own.answer([request()])
    own.answer([request(decoding={"max_new_tokens": 7, "temperature": 0.5, "top_p": 0.9})])
    own.answer([request(decoding={"max_new_tokens": 10**6})])
    plain, chosen, long = generator.sampling
    assert (plain.max_new_tokens, plain.temperature, plain.top_p) == (MAX_NEW_TOKENS, 0.0, 1.0)
    assert (chosen.max_new_tokens, chosen.temperature, chosen.top_p) == (7, 0.5, 0.9)
    assert long.max_new_tokens == own.config.language.max_positions - generator.positions


def test_every_repeat_and_seed_of_a_request_is_drawn_by_another_seed(
    own: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = replying(monkeypatch, torch.zeros((0, *SIZE)))
    for fields in ({}, {}, {"repeat": 1}, {"seed": 1}):
        own.answer([request(**fields)])
    seeds = [sampling.seed for sampling in generator.sampling]
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3


def test_masks_get_scores_and_boxes_and_stand_for_an_answer_without_words(
    own: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    logits_MHW = torch.full((2, *SIZE), -5.0)
    logits_MHW[0, 3:5, 2:9] = 2.0
    replying(monkeypatch, logits_MHW)
    (answer,) = own.answer([request(wants=("masks", "boxes"))])
    assert answer.text == "<SEG> <SEG>"
    assert [int(np.asarray(mask).sum()) for mask in answer.masks] == [14, 0]
    assert answer.mask_scores == pytest.approx((float(torch.tensor(2.0).sigmoid()), 0.0))
    assert [box.corners for box in answer.boxes] == [(2, 3, 9, 5)]
    assert own.answer([request(wants=("masks",))])[0].boxes == ()
    assert [int(mask.sum()) for mask in replace(own, threshold=0.9).answer([request()])[0].masks] == [0, 0]


def test_a_model_is_loaded_with_its_own_threshold_or_another(
    model: PixelGroundingModel, config: ModelConfig, tmp_path: Path
) -> None:
    save_model(tmp_path / "model", model, About(config=config, words=WORDS, experts=True))
    assert load_predictor(tmp_path / "model", "cpu").threshold == config.mask_decoder.threshold
    found = load_predictor(tmp_path / "model", "cpu", threshold=0.25)
    assert found.threshold == 0.25
    assert not found.model.training

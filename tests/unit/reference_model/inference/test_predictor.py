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
from reference_model.inputs import conversation
from reference_model.inputs.batch import Batch, pad
from reference_model.inputs.conversation import IGNORE
from reference_model.inputs.images import for_vision_tower
from reference_model.inputs.requests import grids
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.model import Masks, PixelGroundingModel
from tests.unit.reference_model.conftest import WORDS
from tests.unit.reference_model.small_training import example

SIZE = (20, 24)


def request(question: str = "where is the liver?", **fields: Any) -> Request:
    shown = MediaPart(media=example(size=SIZE).media)
    turn = Turn(role="user", parts=(shown, TextPart(text=question)))
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


def likelihood(own: Predictor, asked: Request, answer: str) -> float:
    """Return the log likelihood of an answer, in one forward pass without a cache."""
    prompt = own.config.prompt
    turn = conversation.Turn(asked.prompt, answer)
    encoded = conversation.encode_conversation(
        [turn], own.tokenizer, system=prompt.system, max_length=prompt.max_length
    )
    ids_BT, valid_BT, labels_BT = pad([conversation.expand_image(encoded, own.config.vision.tokens)], side="right")
    pixels = asked.images[0].image()
    vision_B3SS = for_vision_tower(pixels, own.config.vision.image_size)[None]
    with torch.no_grad():
        batch = Batch(
            ids_BT=ids_BT, valid_BT=valid_BT, labels_BT=labels_BT, vision_B3SS=vision_B3SS, sizes=(SIZE,),
            grid_RGG=grids([], own.config.vision.cells),
        )  # fmt: skip
        x_BTD = own.model.embed(batch, own.model.vision(vision_B3SS))
        log_TV = own.model.language.logits(own.model.language(x_BTD, valid_BK=valid_BT).hidden_BTD[0]).log_softmax(-1)
    return sum(float(log_TV[at - 1, label]) for at, label in enumerate(labels_BT[0].tolist()) if label != IGNORE)


def test_of_offered_letters_the_one_whose_words_are_likeliest_is_the_answer(own: Predictor) -> None:
    prompt = replace(own.config.prompt, options="scored")
    scored = replace(own, config=replace(own.config, prompt=prompt))
    words = ("yes", "no", "the liver")
    lettered = request("which one?\nA. yes\nB. no\nC. the liver\nletter only", choices=("A", "B", "C"))
    in_full = request("which one?", choices=words)
    answers = scored.answer([lettered, request(), in_full])
    found = [likelihood(own, lettered, answer) for answer in words]
    assert answers[0].text == "ABC"[int(np.argmax(found))]
    assert answers[2].text == words[int(np.argmax([likelihood(own, in_full, answer) for answer in words]))]
    # A question without options is written, as without the setting.
    assert answers[1].text == own.answer([request()])[0].text
    assert [answer.status for answer in answers] == ["ok", own.answer([request()])[0].status, "ok"]


def test_options_are_written_unless_the_configuration_says_otherwise(
    own: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    replying(monkeypatch, torch.zeros((0, *SIZE)), ids=tuple(own.tokenizer.encode("liver")))
    (answer,) = own.answer([request(choices=("A", "B"))])
    assert answer.text == "liver"

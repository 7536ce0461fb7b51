"""MIMO's answers: entities bound to masks, prompts by point and box, batched as alone, and the harness's own check."""

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from harness.cli import main
from harness.imaging import masks
from harness.models.answer_check import to_prediction
from harness.records import MediaPart, PredictedEntity, Region, Request, TextPart, Turn
from reference_model.adapter import Reference
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.inference.predictor import entities_in
from reference_model.inference.segmenter import SamMed2d
from tests.unit.reference_model.small_entities import BOX, LIVER, POINT, TOKENIZER, small_config, small_model
from tests.unit.reference_model.small_training import example


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = small_config()
    found = tmp_path_factory.mktemp("mimo") / "model"
    save_model(found, small_model(config), About(config=config, words=TOKENIZER.words, experts=False))
    return found


@pytest.fixture
def adapter(folder: Path) -> Reference:
    found = Reference(str(folder))
    found.load("cpu")
    return found


def request(words: str, *prompts: Any, picture: int = 0, **fields: Any) -> Request:
    turn = Turn(role="user", parts=(MediaPart(media=example(picture).media), TextPart(text=words)))
    fields = {"decoding": {"max_new_tokens": 8, "temperature": 0}, "key": f"k{picture}"} | fields
    return Request(messages=(turn,), visual_prompts=prompts, **fields)


REQUESTS = (
    request("what is in this image?"),
    request("what is in <box>?", BOX, picture=1),
    request("where is <point> and <box>?", POINT, BOX, picture=1),
    request("what is it?", POINT, picture=2, wants=("text", "masks", "boxes")),
)


def test_it_takes_points_and_boxes_and_no_regions(adapter: Reference) -> None:
    found = adapter.capabilities()
    assert found.takes == {"text", "image", "point", "box"}
    assert found.gives == {"text", "masks", "boxes"}
    answer = adapter.predict([request("what is <region>?", Region(mask=masks.encode(LIVER)))])[0]
    assert answer.error is not None
    assert answer.error.message == (
        "visual prompt: expected points or a box, which are all that MIMO takes, found a region"
    )


def test_a_batch_answers_as_each_request_alone(adapter: Reference) -> None:
    together = adapter.predict(REQUESTS)
    alone = [adapter.predict([one])[0] for one in REQUESTS]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in together}) > 1
    assert all(to_prediction(one, answer, 0.1).error is None for one, answer in zip(REQUESTS, together, strict=True))


def test_every_entity_has_the_mask_of_its_token(adapter: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    assert adapter._answering is not None
    answering = adapter._answering
    said = iter([*TOKENIZER.encode("the <p>liver<SEG></p> and the <p>spleen<SEG></p>."), TOKENIZER.end_id])

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(*hidden.shape[:-1], TOKENIZER.special.total)
        found[..., next(said)] = 1
        return found

    monkeypatch.setattr(answering.model.language, "logits", logits)
    answer = adapter.predict([request("what?", decoding={"max_new_tokens": 20}, wants=("text", "masks", "boxes"))])[0]
    assert answer.text == "the <p>liver<SEG></p> and the <p>spleen<SEG></p>."
    assert list(answer.entities) == [
        PredictedEntity(name="liver", span=(7, 12), mask=0),
        PredictedEntity(name="spleen", span=(33, 39), mask=1),
    ]
    assert [mask.shape for mask in answer.masks] == [(20, 24)] * 2
    assert to_prediction(REQUESTS[0], answer, 0.1).error is None


def test_entities_without_or_with_several_masks() -> None:
    assert entities_in("the <p>liver</p> and <p>spleen<SEG></p>") == (
        PredictedEntity(name="liver", span=(7, 12), mask=None),
        PredictedEntity(name="spleen", span=(24, 30), mask=0),
    )
    assert entities_in("the <p>kidney<SEG><SEG></p>") == ()
    assert entities_in("nothing") == ()


@pytest.mark.slow
def test_the_harness_accepts_the_adapter(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    done = CliRunner().invoke(main, ["check-adapter", f"reference:{folder}"])
    assert done.exit_code == 0, done.output


def test_a_segmenter_of_images_reads_the_two_parts_for_masks(folder: Path) -> None:
    segmenter = SamMed2d(str(folder))
    segmenter.load("cpu")
    found = segmenter.predict([request("", BOX, POINT, wants=("masks",))])[0]
    assert found.error is None
    assert [mask.shape for mask in found.masks] == [(20, 24)] * 2

"""The model at the harness's door: text, masks, boxes; regions, boxes and points; batched as alone."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import SpecError
from harness.imaging import masks
from harness.models.answer_check import to_prediction
from harness.records import Box, MediaPart, Points, Region, Request, TextPart, Turn
from reference_model.adapter import SHIPPED, Reference
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.config import ModelConfig
from reference_model.modeling.model import PixelGroundingModel
from tests.unit.reference_model.conftest import WORDS
from tests.unit.reference_model.small_training import example

MASK = np.zeros((20, 24), dtype=bool)
MASK[2:9, 3:15] = True


@pytest.fixture
def folder(config: ModelConfig, model: PixelGroundingModel, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", model, About(config=config, words=WORDS, experts=True))
    return tmp_path / "model"


@pytest.fixture
def adapter(folder: Path) -> Reference:
    found = Reference(str(folder))
    found.load("cpu")
    return found


def request(words: str, *prompts: Any, picture: int = 0, size: tuple[int, int] = (20, 24), **fields: Any) -> Request:
    shown = MediaPart(media=example(picture, size=size).media)
    turn = Turn(role="user", parts=(shown, TextPart(text=words)))
    fields = {"decoding": {"max_new_tokens": 6, "temperature": 0}, "key": f"k{picture}"} | fields
    return Request(messages=(turn,), visual_prompts=prompts, **fields)


REQUESTS = (
    request("what is this?"),
    request("what is <region>?", Region(mask=masks.encode(MASK)), picture=1),
    request(
        "where is <box> and <point>?", Box(corners=(1, 2, 9, 9)), Points(points=((3.0, 4.0),), labels=(1,)), picture=2
    ),
    request("where is the liver?", picture=3, size=(16, 30), wants=("masks",)),
)


def always(adapter: Reference, *tokens: int) -> None:
    """Make the model say these tokens, then end."""
    assert adapter._answering is not None
    head = adapter._answering.model.language.lm_head
    said = iter([*tokens, adapter._answering.tokenizer.end_id])
    vocabulary = head.out_features

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(*hidden.shape[:-1], vocabulary)
        found[..., next(said)] = 1
        return found

    adapter._answering.model.language.logits = logits  # type: ignore[method-assign,assignment]


def test_a_batch_answers_as_each_request_alone(adapter: Reference) -> None:
    together = adapter.predict(REQUESTS)
    alone = [adapter.predict([one])[0] for one in REQUESTS]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert all(answer.error is None for answer in together)
    assert len({answer.text for answer in together}) > 1


def test_every_answer_is_one_the_harness_accepts(adapter: Reference) -> None:
    for one, answer in zip(REQUESTS, adapter.predict(REQUESTS), strict=True):
        prediction = to_prediction(one, answer, 0.1)
        assert prediction.error is None
        assert prediction.rendered is not None
        assert prediction.rendered.startswith("user :") or prediction.rendered.startswith("user:")


def test_a_mask_for_each_seg_in_the_frame_of_the_image(adapter: Reference) -> None:
    assert adapter._answering is not None
    seg = adapter._answering.model.seg_id
    always(adapter, seg, seg)
    answer = adapter.predict([replace(REQUESTS[3], wants=("masks", "boxes"))])[0]
    assert answer.text == "<SEG> <SEG>"
    assert [(mask.shape, mask.dtype) for mask in answer.masks] == [((16, 30), np.bool_)] * 2
    assert len(answer.mask_scores) == 2
    assert len(answer.boxes) == sum(mask.any() for mask in answer.masks)
    assert answer.status == "ok"


def test_an_answer_that_does_not_end_is_truncated(adapter: Reference) -> None:
    assert adapter._answering is not None
    word = adapter._answering.tokenizer.encode("liver")[0]
    always(adapter, *[word] * 9)
    answer = adapter.predict([REQUESTS[0]])[0]
    assert answer.status == "truncated"
    assert answer.text == " ".join(["liver"] * 6)


def test_what_cannot_be_answered_is_an_error_and_the_others_stand(adapter: Reference) -> None:
    outside = request("what is <box>?", Box(corners=(50, 50, 60, 60)), picture=4)
    wordless = replace(REQUESTS[0], messages=(Turn(role="user", parts=(TextPart(text="hello"),)),))
    answers = adapter.predict([REQUESTS[0], outside, wordless, replace(REQUESTS[0], kind="nll")])
    assert answers[0].error is None
    told = [answer.error.message for answer in answers[1:] if answer.error is not None]
    assert "box" in told[0].lower()
    assert told[1:] == [
        "this reference model is asked about one image, found nothing",
        "this reference model can generate; it was asked to nll",
    ]


def test_a_lower_threshold_marks_more(folder: Path) -> None:
    areas = []
    for threshold in (0.01, 0.99):
        adapter = Reference(str(folder), threshold=threshold)
        adapter.load("cpu")
        assert adapter._answering is not None
        always(adapter, adapter._answering.model.seg_id)
        areas.append(int(adapter.predict([REQUESTS[3]])[0].masks[0].sum()))
    assert areas[0] > areas[1]


@pytest.mark.parametrize("dtype", ["bf16", "float16"])
def test_half_the_precision_gives_nearly_the_same_masks(adapter: Reference, folder: Path, dtype: str) -> None:
    half = Reference(str(folder), dtype=dtype)
    half.load("cpu")
    assert all(answer.error is None for answer in half.predict(REQUESTS))
    found = []
    for one in (adapter, half):
        assert one._answering is not None
        always(one, one._answering.model.seg_id)
        found.append(one.predict([REQUESTS[3]])[0].masks[0])
    assert np.mean(found[0] == found[1]) > 0.9


def test_what_it_is_called_with_is_checked(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(
        SpecError,
        match=rf"^reference:.*: expected one of {', '.join(SHIPPED)}, or the folder of a model, found no .*safetensors",
    ):
        Reference(str(tmp_path))
    with pytest.raises(
        SpecError, match=r"^reference:m3d-tny: .* \(did you mean 'm3d-tiny'\?\); `reference-model train`"
    ):
        Reference("m3d-tny")
    with pytest.raises(SpecError, match="threshold: expected a probability between 0 and 1, got 2"):
        Reference(str(folder), threshold=2)
    with pytest.raises(SpecError, match=r"dtype: expected one of fp32, bf16, fp16, .*, got 'int8'"):
        Reference(str(folder), dtype="int8")


def test_saying_what_it_can_costs_no_heavy_import(folder: Path) -> None:
    code = (
        "import sys; from reference_model.adapter import Reference; "
        f"Reference({str(folder)!r}).capabilities(); print('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_model_whose_packages_are_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(
        SpecError, match=r"^reference:tiny: needs torch, not installed; pip install 'medground\[models\]'$"
    ):
        Reference()

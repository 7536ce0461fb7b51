"""A model of volumes behind the adapter: what it takes and gives, and what it refuses request by request."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.models.answer_check import to_prediction
from harness.records import Box, MediaPart, Points, TextPart, Turn
from reference_model.adapter import Reference
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.config import VolumeModelConfig
from reference_model.inference.segmenter import SamMed2d
from tests.unit.reference_model.small_training import example
from tests.unit.reference_model.small_volumes import TEXTS, TOKENIZER, embed_request, small_model, volume_request

REQUESTS = (
    volume_request("What is this?"),
    volume_request("What is <box>?", 1, visual_prompts=(Box(corners=(0, 0, 0, 4, 8, 8)),), size=(12, 20, 30)),
    embed_request(2, candidates=(TEXTS[0],)),
    volume_request("Where is it?", 3, wants=("masks",)),
    embed_request(0, candidates=(TEXTS[1],)),
)


@pytest.fixture(scope="module")
def folder(volume_config: VolumeModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("m3d") / "model"
    save_model(path, small_model(volume_config), About(config=volume_config, words=TOKENIZER.words, experts=False))
    return path


@pytest.fixture(scope="module")
def adapter(folder: Path) -> Reference:
    torch.set_num_threads(1)
    found = Reference(str(folder))
    found.load("cpu")
    return found


def test_it_reads_one_volume_with_boxes_and_gives_words_masks_boxes_and_vectors(folder: Path) -> None:
    found = Reference(str(folder)).capabilities()
    assert found.takes == {"text", "volume", "box"}
    assert found.gives == {"text", "masks", "boxes", "embedding"}
    assert found.weights == (str(folder),)


def test_questions_and_vectors_mixed_in_a_batch_are_answered_as_each_alone(adapter: Reference) -> None:
    together = adapter.predict(REQUESTS)
    assert [answer.error for answer in together] == [None] * 5
    for request, answer in zip(REQUESTS, together, strict=True):
        (alone,) = adapter.predict([request])
        assert alone.text == answer.text
        for one, other in zip(alone.masks, answer.masks, strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(alone.embedding, answer.embedding, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
        prediction = to_prediction(request, answer, 0.1)
        assert prediction.error is None
    assert [bool(answer.embedding) for answer in together] == [False, False, True, False, True]


def test_what_cannot_be_answered_is_an_error_and_the_others_are_answered(adapter: Reference) -> None:
    volume, image = REQUESTS[0].messages[0].parts[0], MediaPart(media=example().media)
    asked = [
        REQUESTS[0],
        replace(REQUESTS[0], messages=(Turn(role="user", parts=(volume, volume, TextPart(text="hello"))),)),
        replace(REQUESTS[0], messages=(Turn(role="user", parts=(image, TextPart(text="hello"))),)),
        replace(REQUESTS[0], messages=(Turn(role="user", parts=(TextPart(text="hello"),)),)),
        replace(REQUESTS[0], kind="nll"),
        embed_request(2),
        replace(REQUESTS[0], visual_prompts=(Points(points=((1.0, 1.0),), labels=(1,)),)),
        REQUESTS[2],
    ]
    answers = adapter.predict(asked)
    assert [answers[0].error, answers[-1].error] == [None, None]
    assert [answer.error.message for answer in answers[1:-1] if answer.error is not None] == [
        "this reference model is asked about one volume, found volume, volume",
        "this reference model is asked about one volume, found image",
        "this reference model is asked about one volume, found nothing",
        "this reference model can generate and embed; it was asked to nll",
        "this reference model embeds a volume beside a text, found no candidate",
        "visual prompt: expected boxes about a volume, found Points",
    ]


def test_a_segmenter_of_images_refuses_the_folder(folder: Path) -> None:
    segmenter = SamMed2d(str(folder))
    with pytest.raises(DataError, match="expected a model that segments images, found m3d-lamed-tiny, which reads vol"):
        segmenter.load("cpu")

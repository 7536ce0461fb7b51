"""HuatuoGPT-Vision behind the adapter: several images a request, batched as alone, and what it refuses."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import DataError
from harness.models.answer_check import to_prediction
from reference_model.adapter import Reference
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.inference.llava_predictor import LlavaPredictor
from reference_model.inference.segmenter import SamMed2d
from reference_model.inputs.conversation import IGNORE
from tests.unit.reference_model.small_llava import (
    LETTERED,
    TOKENIZER,
    about,
    collator,
    request,
    small_config,
    small_model,
)

REQUESTS = (
    request(1, "What is this?"),
    request("Which?\nA. ", 1, "B. ", 2, "Reply."),
    request(1, "Is it A or B?"),
    request(1, 2, 3, "What is this?"),
    request(2, LETTERED, choices=("A", "B")),
)


def stored(folder: Path, **prompt: Any) -> Path:
    config = small_config(**prompt)
    save_model(folder / "model", small_model(config), About(config=config, words=TOKENIZER.words, experts=False))
    return folder / "model"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stored(tmp_path_factory.mktemp("huatuo"), max_images=3)


def opened(folder: Path, **arguments: Any) -> Reference:
    found = Reference(str(folder), **arguments)
    found.load("cpu")
    return found


def texts(adapter: Reference, *requests: Any) -> list[str]:
    return [answer.text for answer in adapter.predict(requests)]


def test_it_reads_several_images_and_gives_words(folder: Path) -> None:
    found = Reference(str(folder)).capabilities()
    assert (found.takes, found.gives, found.max_images) == ({"text", "image", "images"}, {"text"}, 3)


def test_a_batch_answers_as_each_request_alone(folder: Path) -> None:
    adapter = opened(folder)
    together = adapter.predict(REQUESTS)
    assert [answer.text for answer in together] == [texts(adapter, one)[0] for one in REQUESTS]
    assert len({answer.text for answer in together}) > 2
    for one, answer in zip(REQUESTS, together, strict=True):
        assert to_prediction(one, answer, 0.1).error is None
        assert answer.masks == ()


def test_images_are_read_once_for_all_questions_about_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, read = opened(folder), []
    assert isinstance(adapter._answering, LlavaPredictor)
    tower = adapter._answering.model.vision
    forward = tower.forward
    monkeypatch.setattr(tower, "forward", lambda images: read.append(len(images)) or forward(images))
    adapter.predict(REQUESTS)
    assert sorted(read) == [1, 1, 2, 3]  # image 1 alone, image 2 alone, the pair, the three
    adapter.predict([REQUESTS[3], REQUESTS[0]])
    assert len(read) == 4


def test_the_order_of_images_counts(folder: Path) -> None:
    adapter = opened(folder)
    assert isinstance(adapter._answering, LlavaPredictor)
    seen = adapter._answering.seen
    handles = request(1, 2, "").images
    one, other = seen.of([handles, handles[::-1]])
    assert torch.equal(one.vision_N3SS, other.vision_N3SS.flip(0))
    assert seen.of([handles])[0] is one


def test_options_may_be_chosen_by_the_likelihood_of_their_words(tmp_path: Path) -> None:
    adapter = opened(stored(tmp_path, options="scored"))
    assert isinstance(adapter._answering, LlavaPredictor)
    model, config = adapter._answering.model, adapter._answering.config
    likelihoods = []
    for words in ("the liver", "the spleen"):
        row = (about(2, question=LETTERED, answer=words),)
        encoded = collator(config).batch([row], np.random.default_rng(0))
        with torch.no_grad():
            loss = model(replace(encoded, weight_BT=None)).losses.language
        likelihoods.append(-float(loss) * int((encoded.labels_BT != IGNORE).sum()))
    wanted = "AB"[likelihoods.index(max(likelihoods))]
    asked = [REQUESTS[4], REQUESTS[0], replace(REQUESTS[4], choices=("B", "A"))]
    found = texts(adapter, *asked)
    assert [found[0], found[2]] == [wanted, wanted]
    assert found[1] == texts(adapter, REQUESTS[0])[0]


def test_lower_precision_answers(folder: Path) -> None:
    (answer,) = opened(folder, dtype="bf16").predict([REQUESTS[1]])
    assert answer.error is None


def test_what_cannot_be_answered_is_an_error_and_the_others_are_answered(folder: Path) -> None:
    adapter = opened(folder)
    asked = [REQUESTS[0], request("What is this?"), request(1, 2, 3, 4, "What?"), replace(REQUESTS[0], kind="embed")]
    answers = adapter.predict(asked)
    assert answers[0].error is None
    assert [answer.error.message for answer in answers[1:] if answer.error is not None] == [
        "this reference model is asked about one to 3 images, found nothing",
        "this reference model is asked about one to 3 images, found image, image, image, image",
        "this reference model can generate; it was asked to embed",
    ]


def test_a_segmenter_of_images_refuses_the_folder(folder: Path) -> None:
    model = SamMed2d(str(folder))
    with pytest.raises(DataError, match="a model that segments images, found huatuo-vision-tiny, which gives words"):
        model.load("cpu")

"""Answers about volumes: alone as in a batch, masks on the volume's own grid, boxes in its voxels."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from harness.errors import ModelError
from harness.records import Box, Request
from reference_model.checkpoints.checkpoint import About
from reference_model.config import VolumeModelConfig, VolumePromptConfig
from reference_model.inference.generation import Prompts, Sampling, VolumeReply, generate_about_volumes
from reference_model.inference.seen_media import SeenVolume
from reference_model.inference.volume_predictor import VolumePredictor
from reference_model.inputs.batch import VolumeBatch, pad
from reference_model.inputs.conversation import IGNORE, VOLUME_SEG, Encoded, encode_about_volume
from reference_model.inputs.volume_boxes import box_text
from reference_model.inputs.volumes import prepare_volume
from reference_model.modeling.m3d_model import VolumeGroundingModel, mask_states
from tests.unit.reference_model.small_volumes import (
    REPORT,
    SIZE,
    TEXTS,
    TOKENIZER,
    embed_request,
    small_model,
    volume_example,
    volume_request,
)

SEG = TOKENIZER.special.id(VOLUME_SEG)
END = TOKENIZER.end_id
OTHER_SIZE = (12, 20, 30)
QUESTIONS = ("What is this?", "Where is the spleen, and where is the liver?", "Is it normal?")
WILD = Sampling(max_new_tokens=40, temperature=3.0, seed=0)


@pytest.fixture
def predictor(volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig) -> VolumePredictor:
    about = About(config=volume_config, words=TOKENIZER.words, experts=False)
    return VolumePredictor.of(volume_model, about, "cpu", threshold=None)


def batch(config: VolumeModelConfig, *numbers: int, answers: Sequence[Sequence[int]] = ()) -> VolumeBatch:
    """Return questions about volumes of noise, padded on the left; with answers, read to their end."""
    encoded = [
        encode_about_volume(QUESTIONS[number], None, TOKENIZER, positions=config.volume_tokens, max_length=99)
        for number in numbers
    ]
    whole = [
        Encoded((*one.ids, *answer), (IGNORE,) * (len(one.ids) + len(answer)))
        for one, answer in zip(encoded, answers or [()] * len(encoded), strict=True)
    ]
    ids_BT, valid_BT, labels_BT = pad(whole, side="left")
    media = [volume_example(number).media for number in numbers]
    made = [prepare_volume(one, size=SIZE, preprocessing="standard")[0] for one in media]
    none = torch.zeros(0, dtype=torch.long)
    return VolumeBatch(
        ids_BT=ids_BT, valid_BT=valid_BT, labels_BT=labels_BT, volume_B1DHW=torch.stack(made),
        mask_row_M=none, mask_segment_M=none, mask_MDHW=torch.zeros(0, *SIZE),
    )  # fmt: skip


def generate(
    model: VolumeGroundingModel, config: VolumeModelConfig, *numbers: int, sampling: Sampling = WILD
) -> tuple[VolumeReply, ...]:
    made = batch(config, *numbers)
    rows = [
        Encoded(tuple(ids_T[valid_T].tolist()), (IGNORE,) * int(valid_T.sum()))
        for ids_T, valid_T in zip(made.ids_BT, made.valid_BT, strict=True)
    ]
    prompts = Prompts.of(rows)
    made = replace(made, ids_BT=prompts.ids_BT, valid_BT=prompts.valid_BT, labels_BT=prompts.labels_BT)
    prepared = [prepare_volume(volume_example(number).media, size=SIZE, preprocessing="standard") for number in numbers]
    return generate_about_volumes(
        model,
        made,
        [SeenVolume(volume_1DHW=volume_1DHW, frame=frame) for volume_1DHW, frame in prepared],
        shared=prompts.shared,
        stop_ids=(END,),
        sampling=sampling,
    )


def says(predictor: VolumePredictor, *tokens: int) -> None:
    """Make the model say these tokens, then end."""
    said = iter([*tokens, END])

    def logits(hidden: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(*hidden.shape[:-1], TOKENIZER.special.total)
        found[..., next(said)] = 1
        return found

    predictor.model.language.logits = logits  # type: ignore[method-assign,assignment]


def test_a_batch_answers_as_each_question_alone_and_its_masks_are_those_of_training(
    volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig
) -> None:
    plain = volume_model.language.logits

    def eager(hidden: torch.Tensor) -> torch.Tensor:
        """Make `[SEG]` as likely as the likeliest word, so that it is said whatever the weights."""
        found = plain(hidden).clone()
        found[..., SEG] = found.amax(dim=-1)
        return found

    volume_model.language.logits = eager  # type: ignore[method-assign]
    together = generate(volume_model, volume_config, 0, 1, 2)
    assert len({reply.ids for reply in together}) == 3
    marked = [number for number, reply in enumerate(together) if reply.logits_DHW is not None]
    assert marked == [number for number, reply in enumerate(together) if SEG in reply.ids]
    assert marked
    for number, reply in enumerate(together):
        (alone,) = generate(volume_model, volume_config, number)
        assert (alone.ids, alone.finished) == (reply.ids, reply.finished)
        if reply.logits_DHW is None:
            continue
        torch.testing.assert_close(alone.logits_DHW, reply.logits_DHW, atol=1e-3, rtol=1e-3)
        read = batch(volume_config, number, answers=[reply.ids])
        zero = torch.zeros(1, dtype=torch.long)
        read = replace(read, mask_row_M=zero, mask_segment_M=zero)
        hidden_BTD = volume_model.language(volume_model.embed(read), valid_BK=read.valid_BT).hidden_BTD
        logits_MDHW = volume_model.masks(mask_states(hidden_BTD, read, SEG), zero, read.volume_B1DHW)
        torch.testing.assert_close(logits_MDHW[0].detach(), reply.logits_DHW, atol=1e-3, rtol=1e-3)


def test_a_model_in_training_is_refused(volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig) -> None:
    with pytest.raises(ModelError, match=r"expected a model in evaluation mode; call model.eval\(\) first"):
        generate(volume_model.train(), volume_config, 0)


def test_a_volume_is_read_once_for_all_questions_about_it(
    predictor: VolumePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [volume_request(words, 4) for words in QUESTIONS]
    apart = [replace(predictor).answer([one])[0].text for one in requests]
    reads = []
    plain = predictor.model.vision.forward
    monkeypatch.setattr(predictor.model.vision, "forward", lambda volume: (reads.append(volume), plain(volume))[1])
    together = [answer.text for answer in predictor.answer(requests)]
    assert [answer.text for answer in predictor.answer(requests)] == together == apart
    assert len(reads) == 1


def test_requests_in_a_batch_are_answered_as_alone(predictor: VolumePredictor) -> None:
    requests = [volume_request(words, number) for number, words in enumerate(QUESTIONS)]
    requests[1] = volume_request(QUESTIONS[1], 1, size=OTHER_SIZE)
    together = predictor.answer(requests)
    assert [answer.text for answer in together] == [predictor.answer([one])[0].text for one in requests]
    assert len({answer.text for answer in together}) > 1
    assert together[0].rendered == "What is this?"
    assert together[0].usage["prompt_tokens"] == 1 + 8 + 4


def test_vectors_in_a_batch_are_those_of_each_alone(predictor: VolumePredictor) -> None:
    requests = [embed_request(number, candidates=(TEXTS[number // 2],)) for number in range(3)]
    together = predictor.answer(requests)
    for request, answer in zip(requests, together, strict=True):
        (alone,) = predictor.answer([request])
        for one, other in zip(answer.embedding, alone.embedding, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
            assert np.linalg.norm(one) == pytest.approx(1.0, abs=1e-5)
    volumes, texts = zip(*(answer.embedding for answer in together), strict=True)
    np.testing.assert_array_equal(texts[0], texts[1])
    assert not np.allclose(texts[0], texts[2])
    assert not np.allclose(volumes[0], volumes[1])


def test_one_mask_of_all_tokens_comes_back_on_the_volumes_own_grid(predictor: VolumePredictor) -> None:
    states = []
    forward = predictor.model.masks

    def spied(state_MD: torch.Tensor, row_M: torch.Tensor, volume_B1DHW: torch.Tensor) -> torch.Tensor:
        states.append(state_MD)
        return forward(state_MD, row_M, volume_B1DHW)

    predictor.model.masks = spied  # type: ignore[method-assign]
    says(predictor, SEG, *TOKENIZER.encode("and"), SEG)
    request = volume_request("Where is it?", 5, size=OTHER_SIZE, wants=("masks",))
    (answer,) = predictor.answer([request])
    assert answer.text == "[SEG] and [SEG]"
    assert answer.status == "ok"
    assert len(states[0]) == len(answer.masks) == len(answer.mask_scores) == 1
    assert (answer.masks[0].shape, answer.masks[0].dtype) == (OTHER_SIZE, np.bool_)
    volume_1DHW, frame = prepare_volume(request.volumes[0], size=SIZE, preprocessing="standard")
    logits_1DHW = forward(states[0].clone(), torch.zeros(1, dtype=torch.long), volume_1DHW[None]).detach()
    probability_DHW = frame.mask_to_source(logits_1DHW[0].sigmoid()).numpy()
    np.testing.assert_array_equal(answer.masks[0], probability_DHW > 0.5)
    says(predictor, SEG, *TOKENIZER.encode("and"), SEG)
    low = replace(predictor, threshold=float(np.median(probability_DHW)))
    (answer,) = low.answer([request])
    assert 0 < answer.masks[0].sum() < answer.masks[0].size
    assert answer.mask_scores[0] == pytest.approx(probability_DHW[answer.masks[0]].mean(), rel=1e-5)


def test_an_answer_that_refuses_a_mask_gives_an_empty_one_where_masks_are_wanted(predictor: VolumePredictor) -> None:
    word = TOKENIZER.encode("No")[0]
    says(predictor, word)
    (answer,) = predictor.answer([volume_request("Where is it?", 5, size=OTHER_SIZE, wants=("masks",))])
    assert (answer.text, answer.mask_scores) == ("No", (0.0,))
    assert [(mask.shape, mask.dtype, mask.any()) for mask in answer.masks] == [(OTHER_SIZE, np.bool_, np.False_)]
    says(predictor, word)
    assert predictor.answer([volume_request("Where is it?")])[0].masks == ()


def test_a_released_model_gives_no_mask_for_a_first_token(volume_config: VolumeModelConfig) -> None:
    for released in (True, False):
        config = replace(volume_config, released=released)
        about = About(config=config, words=TOKENIZER.words, experts=False)
        predictor = VolumePredictor.of(small_model(config), about, "cpu", threshold=1e-9)
        says(predictor, SEG)
        (answer,) = predictor.answer([volume_request("Where is it?", wants=("masks",))])
        assert answer.masks[0].any() != released


def test_boxes_are_read_on_the_grid_and_given_in_voxels_of_the_volume(predictor: VolumePredictor) -> None:
    size = (16, 32, 32)  # two voxels a cell
    box = Box(corners=(2.0, 4.0, 4.0, 4.0, 8.0, 16.0))
    said = TOKENIZER.encode(f"It is at {box_text(box, SIZE, wrapped=True)}")
    doubled = Box(corners=tuple(2 * corner for corner in box.corners))
    says(predictor, *said)
    request = volume_request("Where is it?", size=size, wants=("boxes",), decoding={"max_new_tokens": 64})
    (answer,) = predictor.answer([request])
    assert answer.text == f"It is at {box_text(doubled, size)}"
    assert answer.boxes == (doubled,)
    says(predictor, *said)
    assert predictor.answer([replace(request, wants=("text",))])[0].boxes == ()


def test_boxes_of_a_question_are_written_on_the_grid(predictor: VolumePredictor) -> None:
    corners = (4.0, 8.0, 8.0, 8.0, 16.0, 32.0)
    request = volume_request("What is <box>?", size=(16, 32, 32), visual_prompts=(Box(corners=corners),))
    (answer,) = predictor.answer([request])
    assert answer.rendered == "What is [0.25, 0.25, 0.25, 0.375, 0.438, 0.938]?"


def test_an_answer_that_does_not_end_is_truncated(predictor: VolumePredictor) -> None:
    says(predictor, *TOKENIZER.encode("the liver") * 9)
    (answer,) = predictor.answer([volume_request("What is this?")])
    assert (answer.status, answer.text) == ("truncated", "the liver the liver the liver")
    assert answer.usage["answer_tokens"] == 6


def test_the_threshold_is_that_of_the_configuration_or_anothers(
    volume_model: VolumeGroundingModel, volume_config: VolumeModelConfig
) -> None:
    about = About(config=volume_config, words=TOKENIZER.words, experts=False)
    found = [VolumePredictor.of(volume_model, about, "cpu", threshold=one).threshold for one in (None, 0.25)]
    assert found == [volume_config.mask_decoder.threshold, 0.25]


def test_a_question_that_fills_the_length_still_gets_an_answer(predictor: VolumePredictor) -> None:
    request: Request = volume_request(" ".join([REPORT] * 9))
    (answer,) = predictor.answer([request])
    assert answer.usage["prompt_tokens"] == predictor.config.prompt.max_length


def likelihood(predictor: VolumePredictor, number: int, words: str, answer: str) -> float:
    """Return the log likelihood of an answer by one plain pass over the whole conversation."""
    config, model = predictor.config, predictor.model
    encoded = encode_about_volume(words, answer, TOKENIZER, positions=config.volume_tokens, max_length=99)
    ids_BT, valid_BT, labels_BT = pad([encoded], side="right")
    volume_1DHW, _ = prepare_volume(volume_example(number).media, size=SIZE, preprocessing="standard")
    none = torch.zeros(0, dtype=torch.long)
    made = VolumeBatch(
        ids_BT=ids_BT, valid_BT=valid_BT, labels_BT=labels_BT, volume_B1DHW=volume_1DHW[None],
        mask_row_M=none, mask_segment_M=none, mask_MDHW=torch.zeros(0, *SIZE),
    )  # fmt: skip
    with torch.no_grad():
        hidden_BTD = model.language(model.embed(made), valid_BK=valid_BT).hidden_BTD
        log_TV = model.language.logits(hidden_BTD[0]).log_softmax(dim=-1)
    return sum(float(log_TV[at - 1, label]) for at, label in enumerate(labels_BT[0].tolist()) if label != IGNORE)


def test_the_likeliest_of_the_offered_replies_is_the_answer_also_in_a_batch(predictor: VolumePredictor) -> None:
    scored = replace(predictor.config, prompt=replace(predictor.config.prompt, options="scored"))
    predictor = replace(predictor, config=scored)
    offers = [("A. liver", "B. spleen", "C. the spleen is small"), ("A. the rest is normal", "B. liver")]
    requests = [volume_request(QUESTIONS[number], number, choices=choices) for number, choices in enumerate(offers)] + [
        volume_request(QUESTIONS[2], 1)
    ]
    answers = predictor.answer(requests)
    for number, choices in enumerate(offers):
        found = [likelihood(predictor, number, QUESTIONS[number], choice) for choice in choices]
        assert answers[number].text == choices[int(np.argmax(found))]
        assert answers[number].status == "ok"
    # A question without options is answered word by word, as alone.
    assert answers[2].text == predictor.answer(requests[2:])[0].text


def test_options_are_written_unless_the_configuration_says_otherwise(predictor: VolumePredictor) -> None:
    as_released = VolumePromptConfig(base_vocabulary=80, max_length=96)
    predictor = replace(predictor, config=replace(predictor.config, prompt=as_released))
    says(predictor, *TOKENIZER.encode("liver"))
    (answer,) = predictor.answer([volume_request(QUESTIONS[0], choices=("A. spleen", "B. the rest"))])
    assert answer.text == "liver"

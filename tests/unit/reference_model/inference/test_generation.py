"""Answers are the same alone and in a batch, and their masks those of the same words read in training."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from harness.errors import ModelError
from reference_model.inference.generation import Reply, Sampling, generate
from reference_model.inputs.batch import pad
from reference_model.inputs.conversation import IGNORE, Encoded, Turn
from reference_model.modeling.model import PixelGroundingModel

TURNS = (
    Turn("what is <region></region> ?"),
    Turn("where is the liver and where is the spleen?"),
    Turn("is this the liver?"),
)
SIZES = ((20, 20), (12, 30), (25, 10))
WILD = Sampling(max_new_tokens=40, temperature=3.0, seed=4)
END = 2


def answer(model: PixelGroundingModel, make: Any, sampling: Sampling = WILD, **options: Any) -> tuple[Reply, ...]:
    return generate(model, make(*TURNS, sizes=SIZES, side="left", **options), stop_ids=(END,), sampling=sampling)


def test_a_left_padded_batch_answers_as_each_question_alone(model: PixelGroundingModel, make: Any) -> None:
    for sampling in (WILD, Sampling(max_new_tokens=12)):
        together = answer(model, make, sampling)
        assert len({reply.ids for reply in together}) > 1
        for row, reply in enumerate(together):
            (alone,) = answer(model, make, sampling, only=row)
            assert (alone.ids, alone.finished) == (reply.ids, reply.finished)
            torch.testing.assert_close(alone.masks.logits_MHW, reply.masks.logits_MHW, atol=1e-3, rtol=1e-3)


def test_every_seg_gives_a_mask_at_the_size_of_its_image(model: PixelGroundingModel, make: Any) -> None:
    replies = answer(model, make)
    counts = [reply.ids.count(model.seg_id) for reply in replies]
    assert max(counts) >= 2
    assert [tuple(reply.masks.logits_MHW.shape) for reply in replies] == [
        (count, *size) for count, size in zip(counts, SIZES, strict=True)
    ]


def test_masks_are_those_of_the_same_words_in_training(model: PixelGroundingModel, make: Any) -> None:
    for row in range(3):
        prompt = make(*TURNS, sizes=SIZES, side="left", only=row)
        (reply,) = answer(model, make, only=row)
        ids = (*prompt.ids_BT[0].tolist(), *reply.ids)
        ids_BT, valid_BT, labels_BT = pad([Encoded(ids, (IGNORE,) * len(ids))], side="right")
        read = model(replace(prompt, ids_BT=ids_BT, valid_BT=valid_BT, labels_BT=labels_BT))
        torch.testing.assert_close(read.masks[0].logits_MHW, reply.masks.logits_MHW, atol=1e-3, rtol=1e-3)


def test_the_likeliest_token_is_that_of_the_whole_sequence(model: PixelGroundingModel, make: Any) -> None:
    prompt = make(*TURNS, sizes=SIZES, side="left", only=1)
    (reply,) = answer(model, make, Sampling(max_new_tokens=8), only=1)
    for written in range(len(reply.ids)):
        ids = (*prompt.ids_BT[0].tolist(), *reply.ids[:written])
        ids_BT, valid_BT, _ = pad([Encoded(ids, ids)], side="right")
        x_BTD = model.embed(replace(prompt, ids_BT=ids_BT))
        hidden = model.language(x_BTD, valid_BK=valid_BT).hidden_BTD[0, -1]
        assert int(model.language.logits(hidden).argmax()) == reply.ids[written]


def test_an_answer_ends_at_its_end_token_or_is_cut_off(model: PixelGroundingModel, make: Any) -> None:
    replies = answer(model, make, replace(WILD, max_new_tokens=60))
    assert any(reply.finished for reply in replies)
    for reply in replies:
        assert END not in reply.ids
        assert reply.finished == (len(reply.ids) < 60)
    assert all(not reply.finished for reply in answer(model, make, replace(WILD, max_new_tokens=1)))
    first = replies[0].ids[0]
    stopped = generate(model, make(TURNS[0], sizes=SIZES[:1], side="left"), stop_ids=(first,), sampling=WILD)
    assert (stopped[0].ids, stopped[0].finished) == ((), True)


def test_a_seed_decides_a_drawn_answer_and_top_p_narrows_it(model: PixelGroundingModel, make: Any) -> None:
    first, again, other = (answer(model, make, replace(WILD, seed=seed))[0].ids for seed in (1, 1, 2))
    assert first == again != other
    greedy = answer(model, make, Sampling(max_new_tokens=6))
    narrow = answer(model, make, Sampling(max_new_tokens=6, temperature=1.0, top_p=1e-6))
    assert [reply.ids for reply in narrow] == [reply.ids for reply in greedy]


def test_masks_are_left_out_where_no_pixels_are_given(model: PixelGroundingModel, make: Any) -> None:
    batch = replace(make(*TURNS, sizes=SIZES, side="left"), pixels_B3SS=None)
    replies = generate(model, batch, stop_ids=(END,), sampling=WILD)
    assert [reply.ids for reply in replies] == [reply.ids for reply in answer(model, make)]
    assert [len(reply.masks.logits_MHW) for reply in replies] == [0, 0, 0]


def test_what_would_make_answers_depend_on_the_batch_is_refused(model: PixelGroundingModel, make: Any) -> None:
    with pytest.raises(ModelError, match="expected padding on the left, found a row that ends in padding"):
        generate(model, make(*TURNS, sizes=SIZES), stop_ids=(END,), sampling=WILD)
    model.train()
    with pytest.raises(ModelError, match=r"expected a model in evaluation mode; call model.eval\(\) first"):
        answer(model, make)

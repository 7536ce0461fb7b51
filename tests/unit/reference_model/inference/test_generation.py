"""Answers are the same alone and in a batch, and their masks those of the same words read in training."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import ModelError
from reference_model.inference.generation import Prompts, Reply, Sampling, generate
from reference_model.inference.seen_media import SeenImage
from reference_model.inputs.batch import Batch, pad
from reference_model.inputs.conversation import IGNORE, IMAGE, Encoded, Turn
from reference_model.modeling.model import PixelGroundingModel

TURNS = (
    Turn("what is <region></region> ?"),
    Turn("where is the liver and where is the spleen?"),
    Turn("is this the liver?"),
)
SIZES = ((20, 20), (12, 30), (25, 10))
WILD = Sampling(max_new_tokens=40, temperature=3.0, seed=4)
END = 2


def seen(batch: Batch, sizes: tuple[tuple[int, int], ...] = SIZES) -> list[SeenImage]:
    """Return the images of a batch that `make` made for `sizes`."""
    random = np.random.default_rng(0)
    pixels = [random.integers(0, 255, (*size, 3), dtype=np.uint8) for size in sizes]
    kept = [pixels[sizes.index(size)] for size in batch.sizes]
    return [
        SeenImage(image_HW3=one, vision_N3SS=vision[None]) for one, vision in zip(kept, batch.vision_B3SS, strict=True)
    ]


def answer_about(
    model: PixelGroundingModel,
    batch: Batch,
    images: list[SeenImage],
    sampling: Sampling = WILD,
    stop_ids: tuple[int, ...] = (END,),
) -> tuple[Reply, ...]:
    rows = [
        Encoded(tuple(ids_T[valid_T].tolist()), (IGNORE,) * int(valid_T.sum()))
        for ids_T, valid_T in zip(batch.ids_BT, batch.valid_BT, strict=True)
    ]
    prompts = Prompts.of(rows)
    asked = replace(batch, ids_BT=prompts.ids_BT, valid_BT=prompts.valid_BT, labels_BT=prompts.labels_BT)
    return generate(model, asked, images, shared=prompts.shared, stop_ids=stop_ids, sampling=sampling)


def answer(model: PixelGroundingModel, make: Any, sampling: Sampling = WILD, **options: Any) -> tuple[Reply, ...]:
    batch = make(*TURNS, sizes=SIZES, side="left", **options)
    return answer_about(model, batch, seen(batch), sampling)


def test_a_batch_answers_as_each_question_alone(model: PixelGroundingModel, make: Any) -> None:
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
    batch = make(TURNS[0], sizes=SIZES[:1], side="left")
    stopped = answer_about(model, batch, seen(batch), stop_ids=(first,))
    assert (stopped[0].ids, stopped[0].finished) == ((), True)


def test_a_seed_decides_a_drawn_answer_and_top_p_narrows_it(model: PixelGroundingModel, make: Any) -> None:
    first, again, other = (answer(model, make, replace(WILD, seed=seed))[0].ids for seed in (1, 1, 2))
    assert first == again != other
    greedy = answer(model, make, Sampling(max_new_tokens=6))
    narrow = answer(model, make, Sampling(max_new_tokens=6, temperature=1.0, top_p=1e-6))
    assert [reply.ids for reply in narrow] == [reply.ids for reply in greedy]


def test_an_image_is_read_once_and_answers_do_not_tell(
    model: PixelGroundingModel, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = ((20, 20),) * 3
    batch = make(*TURNS, sizes=sizes, side="left")
    batch = replace(batch, vision_B3SS=batch.vision_B3SS[:1].expand(3, -1, -1, -1))
    calls = {"vision": 0, "pixel_encoder": 0}
    for part in calls:
        whole = getattr(model, part)
        plain = whole.forward

        def counted(*given: Any, part: str = part, plain: Any = plain) -> Any:
            calls[part] += 1
            return plain(*given)

        monkeypatch.setattr(whole, "forward", counted)
    apart = answer_about(model, batch, seen(batch, sizes), stop_ids=())
    marked = sum(model.seg_id in reply.ids for reply in apart)
    assert marked > 1
    assert calls == {"vision": 3, "pixel_encoder": marked}
    one = seen(batch, sizes)[0]
    together = answer_about(model, batch, [one] * 3, stop_ids=())
    again = answer_about(model, batch, [one] * 3, stop_ids=())
    assert calls == {"vision": 4, "pixel_encoder": marked + 1}
    for found in (together, again):
        assert [reply.ids for reply in found] == [reply.ids for reply in apart]
        for reply, other in zip(found, apart, strict=True):
            assert torch.equal(reply.masks.logits_MHW, other.masks.logits_MHW)


def test_prompts_share_what_is_before_the_question() -> None:
    rows = [Encoded((1, IMAGE, IMAGE, 5, 6), (IGNORE,) * 5), Encoded((1, IMAGE, IMAGE, 7), (IGNORE,) * 4)]
    prompts = Prompts.of(rows)
    assert prompts.shared == 3
    assert prompts.ids_BT.tolist() == [[1, IMAGE, IMAGE, 5, 6], [1, IMAGE, IMAGE, 0, 7]]
    assert prompts.valid_BT.tolist() == [[True] * 5, [True, True, True, False, True]]
    for ids in ((2, IMAGE, IMAGE, 7), (1, IMAGE, IMAGE), (1, IMAGE, IMAGE, 7, IMAGE)):
        with pytest.raises(ModelError, match=r"row 1: expected the words of the first row, an image and a question"):
            Prompts.of([rows[0], Encoded(ids, ids)])
    with pytest.raises(ModelError, match=r"row 0: .* found 0 image positions among 2; is max_length too short\?"):
        Prompts.of([Encoded((1, 2), (IGNORE,) * 2)])


def test_a_model_that_trains_does_not_answer(model: PixelGroundingModel, make: Any) -> None:
    model.train()
    with pytest.raises(ModelError, match=r"expected a model in evaluation mode; call model.eval\(\) first"):
        answer(model, make)

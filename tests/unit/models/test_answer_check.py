"""What an adapter may return, and what is said of what it may not."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError, ModelError
from harness.imaging import mask_files, masks, soft_masks
from harness.models.answer_check import batch_length_error, checked, failed, to_prediction
from harness.records import (
    Answer,
    Box,
    Crop,
    Entity,
    ErrorInfo,
    Mask,
    Media,
    MediaPart,
    PredictedEntity,
    Request,
    TextPart,
    Turn,
)
from harness.records.codec import canonical, to_json

IMAGE = Media(path="a.png", sha256="0" * 64, size=(4, 6))
VOLUME = Media(path="a.nii.gz", sha256="0" * 64, kind="volume", size=(2, 4, 6))


def request(*wants: str, media: Media | None = IMAGE, candidates: tuple[str, ...] = ()) -> Request:
    parts = (TextPart(text="Where?"),) if media is None else (MediaPart(media=media), TextPart(text="Where?"))
    return Request(key="k", wants=wants or ("text",), messages=(Turn(role="user", parts=parts),), candidates=candidates)


def message(answer: Answer, asked: Request | None = None) -> str:
    prediction = to_prediction(asked or request("masks"), answer, 0.5)
    assert prediction.status == "model_error"
    assert prediction.seconds == 0.5
    assert prediction.error is not None
    return prediction.error.message


def test_arrays_are_encoded_and_numpy_numbers_become_plain_ones() -> None:
    found = np.zeros((4, 6), dtype=bool)
    found[1:3, 2:5] = True
    answer = Answer(
        text="the <SEG>",
        masks=[found],
        mask_scores=np.array([0.5], dtype=np.float32),
        boxes=[Box(corners=tuple(np.array([2, 1, 5, 3])))],
        entities=[PredictedEntity(name="liver", span=(np.int64(0), np.int64(3)), mask=np.int64(0))],  # type: ignore[arg-type]
        usage={"tokens": np.int64(7), "share": np.float32(0.5), "words": 3},
    )
    prediction = to_prediction(request("masks"), answer, 0.25)
    assert prediction.status == "ok"
    assert prediction.masks == (masks.encode(found),)
    assert prediction.entities == (PredictedEntity(name="liver", span=(0, 3), mask=0),)
    assert canonical(to_json(prediction)) == (
        '{"boxes":[{"corners":[2.0,1.0,5.0,3.0]}],"entities":[{"mask":0,"name":"liver","span":[0,3]}],"key":"k",'
        f'"mask_scores":[0.5],"masks":[{canonical(mask_files.to_json(masks.encode(found)))}],"seconds":0.25,'
        '"status":"ok","text":"the <SEG>","usage":{"share":0.5,"tokens":7.0,"words":3}}'
    )


def test_volumes_take_masks_and_boxes_of_three_axes() -> None:
    box = Box(corners=(0, 1, 1, 2, 3, 3))
    answer = Answer(masks=(np.ones((2, 4, 6), dtype=bool),), boxes=(box,))
    prediction = checked(request("masks", media=VOLUME), answer)
    assert prediction.masks[0].size == (2, 4, 6)
    assert prediction.boxes == (box,)


@pytest.mark.parametrize(
    ("wants", "answer", "status"),
    [
        (("text",), Answer(text="yes"), "ok"),
        (("text",), Answer(choice="A"), "ok"),
        (("text",), Answer(text="yes", status="truncated"), "truncated"),
        (("text",), Answer(text="", status="truncated"), "empty"),
        (("text",), Answer(text="I cannot", status="refused"), "refused"),
        (("text",), Answer(status="refused"), "refused"),
        (("text",), Answer(text=" \n"), "empty"),
        (("text",), Answer(masks=(masks.full((4, 6)),)), "empty"),
        (("masks",), Answer(text="there is nothing"), "empty"),
        (("masks",), Answer(masks=(masks.empty((4, 6)),)), "ok"),
        (("text", "masks"), Answer(text="no lesion"), "ok"),
        (("boxes",), Answer(boxes=(Box(corners=(0, 0, 1, 1)),)), "ok"),
        (("boxes",), Answer(text="[0, 0, 1, 1]"), "ok"),
        (("boxes",), Answer(text=" "), "empty"),
        (("nll",), Answer(nll=(0.5, 1.0)), "ok"),
        (("embedding",), Answer(embedding=((1.0, 0.0), (0.0, 1.0))), "ok"),
        (("embedding",), Answer(), "empty"),
    ],
)
def test_status_follows_what_was_asked_for(wants: tuple[str, ...], answer: Answer, status: str) -> None:
    assert to_prediction(request(*wants, candidates=("a", "b")), answer, 0.0).status == status


def test_token_counts_are_carried_as_plain_integers() -> None:
    answer = Answer(nll=(0.5, 1.0), nll_tokens=np.array([3, 2]))  # type: ignore[arg-type]
    prediction = to_prediction(request("nll", candidates=("a", "b")), answer, 0.0)
    assert prediction.nll_tokens == (3, 2)
    assert canonical(to_json(prediction)).count('"nll_tokens":[3,2]') == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (
            Answer(masks=(np.zeros((6, 4), dtype=bool),)),
            "masks[0]: predicted mask is (6, 4), image is (4, 6) as (H, W); the adapter may have swapped the axes",
        ),
        (
            Answer(masks=(masks.full((4, 6)), masks.full((3, 3)))),
            "masks[1]: predicted mask is (3, 3), image is (4, 6) as (H, W); masks must lie in the frame of the "
            "original image",
        ),
        (
            Answer(masks=(np.full((4, 6), np.nan),)),
            "masks[0]: expected bool or 0/1 integers, found float64 with 24 NaN; threshold it first",
        ),
        (
            Answer(masks=np.zeros((4, 6), dtype=bool)),  # type: ignore[arg-type]
            "masks[0]: expected an array (H, W) or (D, H, W), found shape (6,)",
        ),
        (Answer(masks=None), "masks: expected a list, found NoneType"),  # type: ignore[arg-type]
        (Answer(masks=(Mask(size=(4, 6), counts="zz"),)), "masks[0]: counts: expected the characters '0' to 'o'"),
        (Answer(masks=(Mask(size=(4, 6), counts="1"),)), "masks[0]: counts: expected runs that sum to 4 x 6 = 24"),
        (
            Answer(masks=([[0, 1], [1]],)),
            "masks[0]: expected a boolean array (H, W) or (D, H, W), found list: setting an array element",
        ),
        (
            Answer(masks=(masks.full((4, 6)),), mask_scores=(1.0, 0.5)),
            "mask_scores: expected one per mask (1), found 2",
        ),
        (Answer(mask_scores=(float("nan"),)), "mask_scores[0]: expected a finite number, found nan"),
        (Answer(mask_scores=("1",)), "mask_scores[0]: expected a finite number, found '1'"),  # type: ignore[arg-type]
        (Answer(mask_scores=(10**400,)), "mask_scores[0]: expected a finite number, found 1000"),
        (Answer(nll=(1.0,)), "nll: expected one per candidate (2), found 1"),
        (
            Answer(nll=(1.0, 2.0), nll_tokens=(3,)),
            "nll_tokens: expected one per number in nll (2), found 1",
        ),
        (
            Answer(nll=(1.0, 2.0), nll_tokens=(3, 0)),
            "nll_tokens[1]: expected a whole number of at least 1, found 0",
        ),
        (
            Answer(nll=(1.0, 2.0), nll_tokens=(3, 1.5)),  # type: ignore[arg-type]
            "nll_tokens[1]: expected a whole number of at least 1, found 1.5",
        ),
        (Answer(nll=(float("inf"), 0.0)), "nll[0]: expected a finite number, found inf"),
        (Answer(boxes=((0, 0, 1, 1),)), "boxes[0]: expected Box(corners=...) with 4 numbers, found (0, 0, 1, 1)"),  # type: ignore[arg-type]
        (Answer(boxes=(Box(corners=(0,) * 6),)), "boxes[0]: expected Box(corners=...) with 4 numbers, found Box("),
        (
            Answer(boxes=(Box(corners=(0, 0, float("nan"), 1)),)),
            "boxes[0].corners[2]: expected a finite number, found nan",
        ),
        (
            Answer(embedding=((1.0,),)),
            "embedding: expected one image and one text vector of one length, found lengths 1",
        ),
        (
            Answer(embedding=((1.0,), (1.0, 2.0))),
            "embedding: expected one image and one text vector of one length, found lengths 1, 2",
        ),
        (
            Answer(embedding=((1.0,), (1.0,), (1.0,))),
            "embedding: expected one image and one text vector of one length, found lengths 1, 1, 1",
        ),
        (Answer(embedding=((1.0, float("nan")), (1.0, 2.0))), "embedding[0][1]: expected a finite number, found nan"),
        (Answer(text=3), "text: expected text or None, found int"),  # type: ignore[arg-type]
        (Answer(text="a\ud800"), "text: expected Unicode text, found half of a surrogate pair at character 1"),
        (Answer(choice=b"A"), "choice: expected text or None, found bytes"),  # type: ignore[arg-type]
        (Answer(rendered=["<s>"]), "rendered: expected text or None, found list"),  # type: ignore[arg-type]
        (
            Answer(entities=("liver",)),  # type: ignore[arg-type]
            "entities[0]: expected harness.PredictedEntity(name=..., mask=INDEX), found str",
        ),
        (
            Answer(entities=(Entity(name="liver"),)),  # type: ignore[arg-type]
            "entities[0]: expected harness.PredictedEntity(name=..., mask=INDEX), found Entity; an Entity is a part of "
            "a target",
        ),
        (Answer(entities=(PredictedEntity(name=None),)), "entities[0].name: expected text, found None"),  # type: ignore[arg-type]
        (
            Answer(entities=(PredictedEntity(name="liver", mask=0),)),
            "entities[0].mask: expected None or an index into the 0 masks, found 0",
        ),
        (
            Answer(masks=(masks.full((4, 6)),), entities=(PredictedEntity(name="liver", mask=True),)),
            "entities[0].mask: expected None or an index into the 1 masks, found True",
        ),
        (
            Answer(entities=(PredictedEntity(name="liver", span=(3, 1)),)),
            "entities[0].span: expected (start, end) in the answer's text, found (3, 1)",
        ),
        (Answer(usage=5), "usage: expected a mapping from names to numbers, found int"),  # type: ignore[arg-type]
        (Answer(usage={"tokens": "7"}), "usage['tokens']: expected a finite number, found '7'"),  # type: ignore[dict-item]
        (Answer(status="fine"), "status: expected ok, truncated or refused, found 'fine'"),  # type: ignore[arg-type]
        (Answer(error="oops"), "error: expected ErrorInfo, found 'oops'"),  # type: ignore[arg-type]
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_an_answer_that_breaks_the_protocol_says_where_and_what(answer: Answer, expected: str) -> None:
    assert message(answer, request("masks", candidates=("a", "b"))).startswith(expected)


def test_something_else_than_an_answer_is_named() -> None:
    prediction = to_prediction(request(), "yes", 0.0)
    assert prediction.error == ErrorInfo(
        type="ModelError", message="predict() returned str for a request, expected Answer"
    )


def test_checked_raises_what_to_prediction_records() -> None:
    with pytest.raises(DataError, match=r"masks\[0\]: predicted mask is \(6, 4\)"):
        checked(request("masks"), Answer(masks=(masks.full((6, 4)),)))
    with pytest.raises(ModelError, match="nll: expected one per candidate"):
        checked(request("nll"), Answer(nll=(1.0,)))


def test_without_an_image_masks_may_have_any_size() -> None:
    assert checked(request("masks", media=None), Answer(masks=(masks.full((9, 9)),))).masks[0].size == (9, 9)


@pytest.mark.parametrize(("kind", "status"), [("Timeout", "timeout"), ("ValueError", "model_error")])
def test_an_error_of_one_request_is_its_own(kind: str, status: str) -> None:
    error = ErrorInfo(type=kind, message="too long", traceback="...")
    prediction = to_prediction(request(), Answer(text="ignored", error=error), 2.0)
    assert (prediction.status, prediction.text, prediction.error) == (status, None, error)


def test_an_error_message_can_always_be_written() -> None:
    broken: Any = ErrorInfo(type="ValueError", message="half \ud800", traceback=None)  # type: ignore[arg-type]
    prediction = failed("k", "model_error", broken)
    assert prediction.error == ErrorInfo(type="ValueError", message="half \\ud800", traceback="None")
    canonical(to_json(prediction)).encode()


def test_a_batch_of_another_length_is_named() -> None:
    error = batch_length_error(3, [Answer()])
    assert error.message == "predict() returned 1 answers for 3 requests; expected one per request, in order"


# --- answers about a crop

CROP = Crop(corners=(2, 1, 5, 3), original=(4, 6))
CROPPED = Media(path="a.png", sha256="0" * 64, size=(2, 3), crop=CROP)


def test_masks_and_boxes_of_a_crop_are_stored_in_the_frame_of_the_original_image() -> None:
    found = np.array([[True, False, True], [False, True, False]])
    answer = Answer(
        masks=[found, masks.full((2, 3))], mask_scores=[0.5, 1.0], boxes=[Box(corners=(0, 0.5, 3, 2))], text="<SEG>"
    )
    prediction = checked(request("masks", media=CROPPED), answer)
    dense = masks.decode(prediction.masks[0])
    np.testing.assert_array_equal(dense[1:3, 2:5], found)
    assert (dense.shape, dense.sum()) == ((4, 6), found.sum())
    assert prediction.masks[1] == masks.from_box(Box(corners=(2, 1, 5, 3)), (4, 6))
    assert prediction.boxes == (Box(corners=(2.0, 1.5, 5.0, 3.0)),)


def test_a_mask_of_the_whole_image_is_refused_where_a_crop_was_shown() -> None:
    assert message(Answer(masks=[masks.full((4, 6))]), request("masks", media=CROPPED)) == (
        "masks[0]: predicted mask is (4, 6), which is the whole image; the crop that the model was shown is (2, 3) as "
        "(H, W); masks must lie in the frame of what .image() returns"
    )


def test_a_box_of_a_crop_is_checked_before_it_is_moved() -> None:
    asked = request("boxes", media=CROPPED)
    assert message(Answer(boxes=[Box(corners=(0, 0, float("nan"), 1))]), asked) == (
        "boxes[0].corners[2]: expected a finite number, found nan"
    )


SHADED = np.linspace(0, 1, 24).reshape(4, 6)


def test_probabilities_are_stored_and_their_masks_lie_above_one_half() -> None:
    prediction = to_prediction(request("masks"), Answer(soft_masks=[SHADED, SHADED.astype(np.float32)]), 0.5)
    assert prediction.status == "ok"
    assert prediction.masks == (masks.encode(SHADED > 0.5),) * 2
    assert prediction.soft_masks == (soft_masks.encode(SHADED), soft_masks.encode(SHADED.astype(np.float32)))


def test_masks_given_with_probabilities_are_the_models_own() -> None:
    prediction = to_prediction(request("masks"), Answer(masks=[SHADED > 0.2], soft_masks=[SHADED]), 0.5)
    assert prediction.masks == (masks.encode(SHADED > 0.2),)
    assert len(prediction.soft_masks) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(soft_masks=[SHADED.T]), "soft_masks[0]: predicted soft mask is (6, 4), image is (4, 6) as (H, W); the"),
        (Answer(soft_masks=[SHADED * np.nan]), "soft_masks[0]: expected probabilities, found 24 NaN or infinite"),
        (
            Answer(soft_masks=[SHADED, SHADED * 3]),
            "soft_masks[1]: expected probabilities in [0, 1], found 0 to 3; apply",
        ),
        (Answer(soft_masks=[SHADED > 0.5]), "soft_masks[0]: expected floating-point probabilities, found bool"),
        (Answer(soft_masks=[[[0.5], [0.5, 0.5]]]), "soft_masks[0]: expected an array of probabilities (H, W) or"),
        (Answer(masks=[SHADED > 0.5] * 2, soft_masks=[SHADED]), "soft_masks: expected one per mask (2) or no masks,"),
    ],
)
def test_values_that_are_not_probabilities_are_a_model_error(answer: Answer, expected: str) -> None:
    assert message(answer).startswith(expected)


def test_probabilities_of_a_crop_are_moved_to_the_original_image() -> None:
    crop = Crop(corners=(2, 1, 8, 5), original=(10, 9))
    prediction = to_prediction(request("masks", media=replace(IMAGE, crop=crop)), Answer(soft_masks=[SHADED]), 0.5)
    whole = np.zeros((10, 9))
    whole[1:5, 2:8] = SHADED
    (soft,) = prediction.soft_masks
    np.testing.assert_allclose(soft_masks.decode(soft), whole, atol=1e-9)
    assert prediction.masks == (masks.encode(whole > 0.5),)


def test_what_a_failed_request_cost_is_kept() -> None:
    error = ErrorInfo(type="Status500", message="down")
    assert to_prediction(request(), Answer(error=error, usage={"retries": 3}), 0.0).usage == {"retries": 3}
    broken = to_prediction(request(), Answer(error=error, usage={"retries": "3"}), 0.0)  # type: ignore[dict-item]
    assert (broken.usage, broken.error) == ({}, error)


@pytest.mark.parametrize(
    ("field", "of"), [("text", lambda text: Answer(text=text)), ("choice", lambda text: Answer(text="1", choice=text))]
)
def test_a_reply_that_no_text_metric_could_read_in_time_is_refused(
    monkeypatch: pytest.MonkeyPatch, field: str, of: Callable[[str], Answer]
) -> None:
    monkeypatch.setattr("harness.models.answer_check.MOST_TEXT", 5)
    assert checked(request("text"), of("12345")).status == "ok"
    with pytest.raises(ModelError, match=f"^{field}: expected at most 5 characters, found 6$"):
        checked(request("text"), of("123456"))

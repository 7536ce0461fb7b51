"""From words to typed answers in a run: what is added, what stays, and what a model is said to give."""

from typing import Any

import numpy as np
import pytest

from harness.errors import SpecError
from harness.imaging import masks
from harness.metrics import find
from harness.models.answer_check import to_prediction
from harness.models.resolve import ModelReference, build, capabilities_of, identity
from harness.records import (
    Answer,
    Box,
    Capabilities,
    Crop,
    ErrorInfo,
    Json,
    Media,
    MediaPart,
    Prediction,
    Request,
    Sample,
    Target,
    Turn,
)
from harness.records.codec import prediction_from_json, to_json
from harness.text.dialects.reply_reader import ReplyReader
from harness.text.dialects.typed_answers import public_arguments, reader_of, reply_arguments, typed, with_reader

BARE = ReplyReader.of("bare", "pixels")
PHRASES = ReplyReader.of("seg_phrase", "none")
BOXES = ReplyReader.of("json", "pixels")


def asked(*wants: str, size: tuple[int, ...] = (10, 20), crop: Crop | None = None) -> Request:
    media = Media(path="a", sha256="0" * 64, kind="image" if len(size) == 2 else "volume", size=size, crop=crop)
    return Request(key="k", wants=wants, messages=(Turn(role="user", parts=(MediaPart(media=media),)),))


def stored(reader: ReplyReader, answer: Answer, *wants: str, crop: Crop | None = None) -> Prediction:
    request = asked(*wants, crop=crop)
    prediction = to_prediction(request, typed(reader, request, answer), 0.0)
    assert prediction_from_json(to_json(prediction)) == prediction
    return prediction


def test_the_text_stays_and_the_boxes_are_in_pixels() -> None:
    found = stored(BARE, Answer(text="It is at [1, 2, 3, 4]."), "boxes")
    assert (found.text, found.boxes) == ("It is at [1, 2, 3, 4].", (Box(corners=(1, 2, 3, 4)),))
    assert found.read_as == "bare in pixels (version 1)"


def test_boxes_and_points_of_a_crop_are_placed_in_the_original() -> None:
    crop = Crop(corners=(5, 7, 25, 17), original=(30, 40))
    found = stored(BOXES, Answer(text='{"box": [1, 2, 3, 4], "point": [1, 2]}'), "boxes", crop=crop)
    assert (found.boxes, found.points) == ((Box(corners=(6, 9, 8, 11)),), ((6, 9),))


def test_an_unread_reply_is_unparsed_and_no_other_reader_finds_a_box_in_it() -> None:
    sample = Sample(id="a", target=Target(boxes=(Box(corners=(1, 2, 3, 4)),)))
    row = find("rec_iou", "standard")
    text = "(1, 2), (3, 4)"
    assert row.score(sample, stored(BARE, Answer(text=text), "boxes")).status == "unparsed"
    assert row.score(sample, Prediction(key="k", status="ok", text=text)).stats == (1.0, 1.0)
    released = find("rec_iou", "m3d")  # sees the raw text
    reply = "[0, 0, 0, 1, 1, 1]"
    volume = Sample(id="a", target=Target(answers=(reply,)))
    request = asked("boxes", size=(4, 4, 4))
    unread = to_prediction(request, typed(ReplyReader.of("points", "unit"), request, Answer(text=reply)), 0.0)
    assert released.score(volume, unread).status == "ok"


def test_what_the_model_gives_itself_stays() -> None:
    mine = Box(corners=(0, 0, 1, 1))
    mask = np.ones((10, 20), dtype=bool)
    answer = Answer(text='{"box": [1, 2, 3, 4], "polygon": [1, 1, 5, 1, 5, 5]}', boxes=[mine], masks=[mask])
    found = stored(BOXES, answer, "boxes", "masks")
    assert (found.boxes, found.masks) == ((mine,), (masks.encode(mask),))


def test_phrases_name_the_masks_that_the_model_gives() -> None:
    planes = [np.ones((10, 20), dtype=bool), np.zeros((10, 20), dtype=bool)]
    text = "<p> liver </p> [SEG] and <p> spleen </p> [SEG]"
    found = stored(PHRASES, Answer(text=text, masks=planes), "text", "masks")
    assert [(entity.name, entity.mask) for entity in found.entities] == [("liver", 0), ("spleen", 1)]
    assert text[slice(*(found.entities[1].span or (0, 0)))] == "spleen"
    # A mask too few: nothing tells which phrase it belongs to.
    assert stored(PHRASES, Answer(text=text, masks=planes[:1]), "text", "masks").entities == ()


def test_a_stated_none_is_a_mask_without_foreground_and_an_unread_reply_is_empty() -> None:
    found = stored(BOXES, Answer(text="[]"), "masks")
    assert (found.status, found.masks) == ("ok", (masks.empty((10, 20)),))
    assert stored(BOXES, Answer(text="nothing"), "masks").status == "empty"


@pytest.mark.parametrize(
    "answer",
    [None, "text", Answer(), Answer(text="[1, 2, 3, 4]", error=ErrorInfo(type="A", message="b")), Answer(text=3)],  # type: ignore[arg-type]
)
def test_what_is_no_answer_in_words_is_left_to_the_check(answer: Any) -> None:
    assert typed(BARE, asked("boxes"), answer) is answer


def test_a_task_that_asks_for_words_alone_gets_them() -> None:
    answer = Answer(text="[1, 2, 3, 4]")
    assert typed(BARE, asked("text"), answer) is answer
    assert typed(BARE, Request(key="k", wants=("boxes",)), answer) is answer


def test_a_frame_without_meaning_for_the_image_is_an_error_of_the_answer() -> None:
    request = asked("boxes", size=(2, 3, 4))
    found = to_prediction(request, typed(ReplyReader.of("bare", "resized"), request, Answer(text="[1]")), 0.0)
    assert found.status == "model_error"
    assert found.error is not None
    assert found.error.message == "frame resized: is for images (H, W), found 3 axes; volumes have unit or pixels"


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(1, 2, 3)], "points[0]: expected 2 numbers, x first, found (1, 2, 3)"),
        ([(1, float("nan"))], "points[0][1]: expected a finite number, found nan"),
    ],
)
def test_points_are_checked(points: Any, message: str) -> None:
    found = to_prediction(asked("boxes"), Answer(text="a", points=points), 0.0)
    assert found.error is not None
    assert found.error.message == message


# --- what is declared


class Talker:
    """A model that answers in words, in the dialect that it declares."""

    def __init__(self, *, reply_format: Json = None, gives: str = "text") -> None:
        self.reply_format, self.gives = reply_format, gives

    def capabilities(self) -> Capabilities:
        return Capabilities(gives=frozenset({self.gives}), reply=self.reply_format or {})

    def load(self, device: str) -> None: ...

    def predict(self, requests: Any) -> list[Answer]:
        return [Answer(text="[1, 2, 3, 4]") for _ in requests]


class OwnReply(Talker):
    """A model with an argument of its own that happens to be named `reply`."""

    def __init__(self, *, reply: str) -> None:
        super().__init__()
        self.text = reply


def reference(kind: type, **arguments: Json) -> ModelReference:
    return ModelReference(text="t.py:T", target="t:T", arguments=arguments, given=kind, given_sha256="0")


def test_the_dialect_is_declared_for_any_model_and_is_part_of_its_identity() -> None:
    model = reference(Talker, reply="coco", frame="pixels")
    capabilities = capabilities_of(model, build(model))
    assert capabilities.gives == {"text", "boxes", "masks"}
    found = identity(model, build(model), capabilities)
    assert found["reply"] == {"dialect": "coco", "version": 1, "frame": {"name": "pixels", "version": 1}}
    assert found["arguments"] == {"reply": "coco", "frame": "pixels"}
    plain = reference(Talker)
    assert "reply" not in identity(plain, build(plain), capabilities_of(plain, build(plain)))


def test_an_adapter_declares_it_and_the_user_counts_more() -> None:
    mine: Json = {"dialect": "qwen3_vl", "frame": "per_mille"}
    model = reference(Talker, reply_format=mine)
    capabilities = capabilities_of(model, build(model))
    assert "boxes" in capabilities.gives
    assert identity(model, build(model), capabilities)["reply"]["dialect"] == "qwen3_vl"
    other = reference(Talker, reply_format=mine, reply="bare", frame="unit")
    assert identity(other, build(other), capabilities_of(other, build(other)))["reply"]["dialect"] == "bare"


def test_a_model_keeps_an_argument_of_that_name() -> None:
    model = reference(OwnReply, reply="yes")
    adapter = build(model)
    assert adapter.text == "yes"  # type: ignore[attr-defined]
    assert capabilities_of(model, adapter).gives == {"text"}
    assert reply_arguments(OwnReply, {"reply": "yes"}) == {}
    assert reply_arguments(Talker, {"frame": 3}) == {}
    assert reply_arguments(3, {"reply": "bare"}) == {"reply": "bare"}


def test_a_model_without_words_gives_nothing_to_read() -> None:
    capabilities = Capabilities(gives=frozenset({"masks"}))
    assert with_reader(capabilities, BARE) == with_reader(capabilities, None) == capabilities
    assert with_reader(Capabilities(), PHRASES).gives == {"text"}


def test_wrong_declarations_name_their_place() -> None:
    with pytest.raises(SpecError, match=r"^--model-args: reply: expected a dialect, .* got 'bear' \(did you mean"):
        reader_of("m", {"reply": "bear", "frame": "unit"}, Capabilities())
    with pytest.raises(SpecError, match=r"^--model m: capabilities\(\).reply: bare writes numbers"):
        reader_of("m", {}, Capabilities(reply={"dialect": "bare"}))
    model = reference(Talker, reply_format=["bare"])
    with pytest.raises(Exception, match=r"capabilities\(\).reply: expected a mapping with dialect and frame"):
        capabilities_of(model, build(model))


def test_a_folder_stands_in_records_by_its_name() -> None:
    arguments: dict[str, Json] = {"reply": "mask_files", "frame_args": {"folder": "/home/me/masks"}}
    assert public_arguments(arguments)["frame_args"] == {"folder": "masks"}
    assert public_arguments({"frame_args": {"folder": "/a/b"}}) == {"frame_args": {"folder": "/a/b"}}

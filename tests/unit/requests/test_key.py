"""The key of a request: all that can change an answer is in it, and nothing else."""

from dataclasses import fields, replace
from typing import Any

import pytest

from harness.records import (
    Crop,
    Media,
    MediaPart,
    Overlay,
    Prior,
    Request,
    Target,
    TextPart,
    Turn,
)
from harness.requests.key import request_key
from tests.unit.requests.request_cases import BOX, IMAGE, REGION, build, model, sample, task

REQUEST = Request(
    messages=(Turn(role="user", parts=(MediaPart(media=replace(IMAGE, window=(0, 100))), TextPart(text="Left?"))),),
    visual_prompts=(BOX,),
    decoding={"max_new_tokens": 8},
)
IDENTITY = {"id": "m", "version": "1", "source_sha256": None, "arguments": {"a": 1}, "weights": ["0"]}
CHANGES: dict[str, Any] = {
    "kind": "nll",
    "wants": ("masks",),
    "messages": (Turn(role="user", parts=(MediaPart(media=IMAGE), TextPart(text="Right?"))),),
    "visual_prompts": (),
    "candidates": ("a",),
    "choices": ("A", "B"),
    "one_by_one": True,
    "decoding": {"max_new_tokens": 9},
    "repeat": 1,
    "seed": 1,
    "sample_id": "t/test/1",
    "prior": Prior(answer="yes"),
    "target": Target(answers=("yes",)),
    "oracle": "yes",
}


def with_media(**changes: Any) -> Request:
    media = replace(REQUEST.media[0].record, **changes)
    return replace(REQUEST, messages=(Turn(role="user", parts=(MediaPart(media=media), TextPart(text="Left?"))),))


def test_every_field_of_a_request_is_tried() -> None:
    assert {*CHANGES, "key"} == {item.name for item in fields(Request)}


@pytest.mark.parametrize("name", CHANGES)
def test_each_field_of_a_request_is_in_the_key(name: str) -> None:
    assert request_key(replace(REQUEST, **{name: CHANGES[name]}), IDENTITY) != request_key(REQUEST, IDENTITY)


@pytest.mark.parametrize("name", IDENTITY)
def test_each_part_of_the_identity_is_in_the_key(name: str) -> None:
    assert request_key(REQUEST, {**IDENTITY, name: "other"}) != request_key(REQUEST, IDENTITY)


@pytest.mark.parametrize("changes", [{"sha256": "4" * 64}, {"window": (0.0, 50.0)}, {"kind": "volume"}])
def test_media_are_in_the_key_by_digest_and_decode_settings(changes: dict[str, Any]) -> None:
    assert request_key(with_media(**changes), IDENTITY) != request_key(REQUEST, IDENTITY)


def test_each_fallback_and_each_of_its_settings_changes_the_key() -> None:
    item = sample(visual_prompts=(REGION,))
    settings = [
        {"region_as_box_text": "per_mille"},
        {"region_as_box_text": "unit"},
        {"region_as_overlay": "outline"},
        {"region_as_overlay": "fill"},
        {"region_as_crop": 0.0},
        {"region_as_crop": 0.1},
    ]
    requests = [build(task(visual_prompt="from_sample", fallbacks=values), item, model()) for values in settings]
    assert len({request_key(request, IDENTITY) for request in requests}) == len(settings)


OVERLAY = Overlay(prompt=BOX, style="outline", colour=(0, 255, 0), width=2, opacity=100)
OTHERS: dict[str, Any] = {
    "prompt": REGION,
    "style": "dot",
    "colour": (255, 0, 0),
    "width": 3,
    "opacity": 50,
}


def test_every_field_of_an_overlay_is_tried() -> None:
    assert set(OTHERS) == {item.name for item in fields(Overlay)}


@pytest.mark.parametrize("name", OTHERS)
def test_each_field_of_what_is_painted_is_in_the_key(name: str) -> None:
    painted = request_key(with_media(drawn=(OVERLAY,)), IDENTITY)
    assert request_key(with_media(drawn=(replace(OVERLAY, **{name: OTHERS[name]}),)), IDENTITY) != painted
    assert painted != request_key(REQUEST, IDENTITY)


def test_a_crop_is_in_the_key_by_its_first_pixel_and_its_size() -> None:
    crops = [
        None,
        *(Crop(corners=corners, original=(100, 200)) for corners in ((0, 0, 9, 9), (0, 0, 9, 8), (1, 0, 9, 9))),
    ]
    assert len({request_key(with_media(crop=crop), IDENTITY) for crop in crops}) == len(crops)


def test_the_key_of_an_image_as_stored_is_what_it_was_before_there_were_crops() -> None:
    assert request_key(REQUEST, IDENTITY) == ("1181eb02b44665096b212ee595a1fb57d163a534653d283c21da20802ffea0f8")


def test_the_order_of_a_volumes_axes_is_in_the_key() -> None:
    turned = Media(path="a.npy", sha256="0", kind="volume", axes="xyz")
    requests = (
        Request(messages=(Turn(role="user", parts=(MediaPart(media=media),)),))
        for media in (turned, replace(turned, axes="zyx"))
    )
    assert len({request_key(request, IDENTITY) for request in requests}) == 2


def test_where_a_release_lies_is_not_in_the_key() -> None:
    assert request_key(with_media(path="elsewhere/x.png"), IDENTITY) == request_key(REQUEST, IDENTITY)


def test_the_key_is_a_sha256_and_does_not_hold_itself() -> None:
    key = request_key(REQUEST, IDENTITY)
    assert len(bytes.fromhex(key)) == 32
    assert request_key(replace(REQUEST, key=key), IDENTITY) == key


def test_each_slice_of_a_volume_is_in_the_key() -> None:
    keys = {request_key(with_media(slice=place), IDENTITY) for place in (None, 0, 1)}
    assert len(keys) == 3

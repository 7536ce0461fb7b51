"""Digests and the forms that other programs read."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path

import pytest

from harness.imaging import masks
from harness.records import (
    Box,
    ErrorInfo,
    Grid,
    Media,
    MediaPart,
    Points,
    PredictedEntity,
    Prediction,
    Region,
    Request,
    SoftMask,
    Target,
    TextPart,
    Turn,
)
from harness.records.codec import (
    canonical,
    digest,
    mask_from_json,
    mask_to_json,
    media_from_json,
    prediction_from_json,
    sha256_file,
    sha256_text,
    target_from_json,
    to_json,
)


def test_canonical_json_is_compact_sorted_and_unescaped() -> None:
    assert canonical({"b": [1, 2.5], "a": "是"}) == '{"a":"是","b":[1,2.5]}'
    assert digest({"a": 1}) == hashlib.sha256(b'{"a":1}').hexdigest()


def test_files_and_texts_have_the_sha256_of_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes("ä".encode())
    assert sha256_file(tmp_path / "a") == sha256_text("ä") == hashlib.sha256("ä".encode()).hexdigest()


def test_masks_take_the_documented_form() -> None:
    flat = masks.full((2, 3))
    assert mask_to_json(flat) == {"size": [2, 3], "counts": flat.counts}
    deep = masks.from_box(Box(corners=(1, 0, 0, 2, 2, 3)), (4, 2, 3))
    assert mask_to_json(deep) == {"size": [4, 2, 3], "slices": {"1": flat.counts}}
    assert [mask_from_json(mask_to_json(mask)) for mask in (flat, deep)] == [flat, deep]


def test_a_mask_of_more_than_ten_slices_comes_back_from_canonical_json_as_it_was() -> None:
    full = masks.full((12, 2, 3))
    assert mask_from_json(json.loads(canonical(mask_to_json(full)))) == full


def test_a_request_reads_like_what_it_is() -> None:
    image = Media(path="a.png", sha256="0", size=(2, 3))
    request = Request(
        messages=(Turn(role="user", parts=(MediaPart(media=image), TextPart(text="Here?"))),),
        visual_prompts=(
            Box(corners=(0, 0, 1, 1)),
            Points(points=((1, 2),), labels=(1,)),
            Region(mask=masks.full((2, 3))),
        ),
    )
    assert to_json(request) == {
        "messages": [
            {
                "role": "user",
                "parts": [{"media": {"path": "a.png", "sha256": "0", "size": [2, 3]}}, {"text": "Here?"}],
            }
        ],
        "visual_prompts": [
            {"corners": [0, 0, 1, 1]},
            {"points": [[1, 2]], "labels": [1]},
            {"mask": mask_to_json(masks.full((2, 3)))},
        ],
    }


def test_a_crop_or_colour_of_another_length_is_refused() -> None:
    media = {"path": "a.png", "sha256": None}
    with pytest.raises(ValueError, match="not enough values"):
        media_from_json({**media, "crop": {"corners": [0, 0, 4], "original": [8, 8]}})
    overlay = {"prompt": {"corners": [0, 0, 1, 1]}, "style": "outline", "colour": [0, 0], "width": 1, "opacity": 100}
    with pytest.raises(ValueError, match="not enough values"):
        media_from_json({**media, "drawn": [overlay]})


def test_a_target_that_ignores_nothing_has_the_json_it_always_had() -> None:
    assert to_json(Target(answers=("yes",))) == {"answers": ["yes"]}
    ignoring = Target(absent=True, ignore=masks.full((2, 3)))
    assert to_json(ignoring) == {"absent": True, "ignore": mask_to_json(masks.full((2, 3)))}
    assert target_from_json(to_json(ignoring)) == ignoring


def test_every_field_of_a_prediction_comes_back() -> None:
    mask = masks.full((2, 3))
    whole = Prediction(
        key="0",
        status="model_error",
        text="a",
        choice="A",
        masks=(mask,),
        soft_masks=(SoftMask(size=(2, 3), levels=(0.5,), data="x"),),
        grid=Grid(size=(2, 3), affine=(1.0, 0.0)),
        mask_scores=(0.5,),
        boxes=(Box(corners=(0, 0, 1, 1)),),
        points=((1.0, 2.0),),
        entities=(PredictedEntity(name="lung", span=(0, 4), mask=0),),
        nll=(1.5,),
        nll_tokens=(3,),
        embedding=((0.25,),),
        rendered="b",
        seconds=0.5,
        usage={"tokens": 2.0},
        error=ErrorInfo(type="E", message="m", traceback="t"),
        remarks=("r",),
        read_as="dialect",
    )
    written = to_json(whole)
    assert written.keys() == {item.name for item in fields(Prediction)}
    assert prediction_from_json(json.loads(canonical(written))) == whole

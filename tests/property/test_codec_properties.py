"""Records survive JSON, whatever they hold, and a digest depends on nothing but their content."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records import (
    Box,
    Crop,
    Entity,
    ErrorInfo,
    Mask,
    Media,
    MediaPart,
    Overlay,
    Points,
    PredictedEntity,
    Prediction,
    Prior,
    Region,
    Request,
    Sample,
    Target,
    TextPart,
    Turn,
)
from harness.records.codec import (
    canonical,
    digest,
    media_from_json,
    prediction_from_json,
    request_from_json,
    sample_from_json,
    sample_to_json,
    target_from_json,
    to_json,
    visual_prompt_from_json,
)

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40)
floats = st.floats(allow_nan=False, allow_infinity=False)
small = st.integers(0, 9)


def tuples(items: Any, most: int = 3) -> Any:
    return st.lists(items, max_size=most).map(tuple)


def maybe(items: Any) -> Any:
    return st.none() | items


json_values = st.recursive(
    st.none() | st.booleans() | numbers | text, lambda inner: st.lists(inner, max_size=2), max_leaves=4
)
mappings = st.dictionaries(text, json_values, max_size=3)
flat_masks = st.builds(Mask, size=st.tuples(small, small), counts=text)
deep_masks = st.builds(
    Mask,
    size=st.tuples(small, small, small),
    slices=st.dictionaries(st.integers(0, 120), text, max_size=4).map(lambda found: tuple(sorted(found.items()))),
)
masks = flat_masks | deep_masks
boxes = st.builds(Box, corners=tuples(numbers, 6))
points = st.builds(Points, points=tuples(st.tuples(numbers, numbers)), labels=tuples(small))
prompts = boxes | points | st.builds(Region, mask=masks)
media = st.builds(
    Media,
    path=text,
    sha256=maybe(text),
    kind=st.sampled_from(["image", "volume"]),
    size=tuples(small),
    spacing_mm=maybe(tuples(floats)),
    affine=maybe(tuples(floats)),
    window=maybe(st.tuples(floats, floats)),
    crop=maybe(st.builds(Crop, corners=st.tuples(small, small, small, small), original=st.tuples(small, small))),
    drawn=tuples(
        st.builds(
            Overlay,
            prompt=prompts,
            style=st.sampled_from(["outline", "fill", "dot"]),
            colour=st.tuples(small, small, small),
            width=small,
            opacity=small,
        ),
        2,
    ),
    axes=st.sampled_from(["zyx", "xyz"]),
)
targets = st.builds(
    Target,
    answers=tuples(text),
    choice=maybe(text),
    entities=tuples(st.builds(Entity, name=text, mask=maybe(masks))),
    boxes=tuples(boxes),
    caption_id=maybe(text),
    absent=st.booleans(),
    ignore=maybe(masks),
)
samples = st.builds(
    Sample,
    id=text,
    media=tuples(media),
    question=text,
    choices=tuples(text),
    visual_prompts=tuples(prompts),
    target=targets,
    strata=st.dictionaries(text, text, max_size=3),
    cluster=text,
    defect=maybe(text),
)
parts = st.builds(TextPart, text=text) | st.builds(MediaPart, media=media)
priors = st.builds(
    Prior,
    answer=maybe(text),
    answer_to_question=maybe(text),
    choice=maybe(text),
    choice_to_question=maybe(text),
    mask=maybe(masks),
)
requests = st.builds(
    Request,
    kind=st.sampled_from(["generate", "nll", "embed"]),
    wants=tuples(text),
    messages=tuples(st.builds(Turn, role=st.sampled_from(["system", "user"]), parts=tuples(parts))),
    visual_prompts=tuples(prompts),
    candidates=tuples(text),
    choices=tuples(text),
    decoding=mappings,
    repeat=small,
    seed=small,
    key=text,
    sample_id=maybe(text),
    prior=maybe(priors),
    target=maybe(targets),
    oracle=maybe(text),
)
predictions = st.builds(
    Prediction,
    key=text,
    status=st.sampled_from(["ok", "truncated", "empty", "refused", "model_error", "timeout", "data_error"]),
    text=maybe(text),
    choice=maybe(text),
    masks=tuples(masks),
    mask_scores=tuples(floats),
    boxes=tuples(boxes),
    entities=tuples(st.builds(PredictedEntity, name=text, span=maybe(st.tuples(small, small)), mask=maybe(small))),
    nll=tuples(floats),
    nll_tokens=tuples(small),
    embedding=tuples(tuples(floats)),
    rendered=maybe(text),
    seconds=floats,
    usage=st.dictionaries(text, numbers, max_size=2),
    error=maybe(st.builds(ErrorInfo, type=text, message=text, traceback=text)),
)
ROUND_TRIPS = {
    "media": (media, media_from_json),
    "prompt": (prompts, visual_prompt_from_json),
    "target": (targets, target_from_json),
    "sample": (samples, sample_from_json),
    "request": (requests, request_from_json),
    "prediction": (predictions, prediction_from_json),
}


@pytest.mark.parametrize("name", ROUND_TRIPS)
@given(data=st.data())
def test_a_record_comes_back_from_its_json(name: str, data: st.DataObject) -> None:
    records, from_json = ROUND_TRIPS[name]
    record = data.draw(records)
    written = canonical(to_json(record))
    assert from_json(json.loads(written)) == record
    assert canonical(to_json(from_json(json.loads(written)))) == written


@given(samples)
def test_a_sample_is_written_by_one_rule(sample: Sample) -> None:
    assert sample_to_json(sample) == to_json(sample)


@given(st.dictionaries(text, json_values, max_size=4))
def test_a_digest_does_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert digest(value) == digest(dict(reversed(value.items())))


def test_empty_defaults_are_left_out() -> None:
    assert to_json(Target()) == {}
    assert to_json(Request(key="k")) == {"key": "k"}
    assert to_json(Prediction(key="k", status="ok", text="")) == {"key": "k", "status": "ok", "text": ""}


def test_sets_are_written_in_order() -> None:
    assert to_json(frozenset({"b", "a"})) == ["a", "b"]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_json_cannot_hold_has_no_digest(value: float) -> None:
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        digest({"value": value})

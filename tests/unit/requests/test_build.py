"""From sample and task to request: words, visual prompts, fallbacks, support, and the key."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging import masks
from harness.records import (
    Box,
    Capabilities,
    Crop,
    Entity,
    Media,
    MediaPart,
    Overlay,
    Points,
    Prior,
    Region,
    Request,
    Sample,
    Target,
    TextPart,
    Turn,
)
from harness.requests.build import build_request
from harness.requests.key import request_key
from harness.requests.support import support
from harness.requests.template import fill, names
from harness.requests.visual_prompts import visual_prompts
from harness.tasks.spec import Headline, MetricUse, Release, TaskSpec

IMAGE = Media(path="a.png", sha256="1" * 64, size=(100, 200))
SECOND = Media(path="b.png", sha256="2" * 64, size=(100, 200))
VOLUME = Media(path="a.nii.gz", sha256="3" * 64, kind="volume", size=(4, 100, 200))
BOX = Box(corners=(20, 10, 60, 50))
REGION = Region(mask=masks.from_box(BOX, (100, 200)))


def task(**changes: Any) -> TaskSpec:
    spec = TaskSpec(
        task="t",
        dataset="t",
        version=1,
        title="T",
        release=Release(reader="vqa_rad"),
        gives="text",
        prompt="{question}",
        metrics=(MetricUse(metric="vqa_accuracy"),),
        headline=Headline(metric="vqa_accuracy"),
    )
    return replace(spec, **changes)


def sample(**changes: Any) -> Sample:
    return replace(Sample(id="t/test/1", media=(IMAGE,), question="Is it left?"), **changes)


def model(takes: str = "text image", gives: str = "text", **changes: Any) -> Capabilities:
    return Capabilities(takes=frozenset(takes.split()), gives=frozenset(gives.split()), **changes)


def build(spec: TaskSpec, item: Sample, capabilities: Capabilities, **changes: Any) -> Request:
    given: dict[str, Any] = {"seed": 0, "repeat": 0, **changes}
    return build_request(spec, item, visual_prompts(spec, item), capabilities, **given)


# --- words


def test_the_template_is_filled_from_the_sample() -> None:
    spec = task(prompt="{question} ({modality}, {class}) {{json}}\n{options}", asks="generate")
    item = sample(
        strata={"modality": "ct"},
        choices=("left", "right {question}"),
        target=Target(entities=(Entity(name="liver"),)),
    )
    request = build(spec, item, model())
    assert request.prompt == "Is it left? (ct, liver) {json}\nA. left\nB. right {question}"
    assert request.messages == (Turn(role="user", parts=(MediaPart(media=IMAGE), TextPart(text=request.prompt))),)


def test_a_name_the_sample_lacks_is_an_error_that_names_both() -> None:
    with pytest.raises(DataError) as caught:
        build(task(prompt="Outline the {class}."), sample(), model())
    known = ", ".join(sorted(names(sample())))
    assert "class" not in known
    assert str(caught.value) == f"t/test/1: the template names 'class', the sample has only {known}"


def test_the_options_are_there_in_lines_in_one_line_as_a_list_and_as_a_number() -> None:
    spec = task(prompt="{question}\n{options}|{options_line}|{option_list}|{option_count}|{options_bracketed}")
    words = build(spec, sample(question="Which?", choices=("left", "Crohn's")), model()).prompt
    assert words == "Which?\nA. left\nB. Crohn's|A. left B. Crohn's|['left', \"Crohn's\"]|2|(A) left\n(B) Crohn's"


def test_the_target_is_named_for_the_oracle_alone() -> None:
    item = sample(choices=("left", "right"), target=Target(answers=("right",), choice="B"))
    assert "answer" not in names(item)
    filled = fill("{answer} {letter} {option}", names(item, with_target=True), where="t")
    assert filled == "right B right"
    assert names(sample(), with_target=True)["option"] == ""


def test_images_stand_where_the_question_means_them_and_the_rest_before_it() -> None:
    item = sample(media=(IMAGE, SECOND), question="Before <image>\nand after: what changed?")
    parts = build(task(), item, model("text images", max_images=2)).messages[0].parts
    assert parts == (
        MediaPart(media=IMAGE),
        TextPart(text="Before "),
        MediaPart(media=SECOND),
        TextPart(text="and after: what changed?"),
    )


def test_numbered_marks_name_the_images_by_their_place_wherever_they_stand() -> None:
    third = replace(IMAGE, path="c.png")
    item = sample(
        media=(IMAGE, SECOND, third),
        question="<image 2> before; in <image 2> and <image 9> nothing",
        choices=("<image 1>", "none"),
    )
    parts = build(task(prompt="{question}\n{options}"), item, model("text images", max_images=3)).messages[0].parts
    assert parts == (
        MediaPart(media=third),
        MediaPart(media=SECOND),
        TextPart(text=" before; in image 2 and image 9 nothing\nA. "),
        MediaPart(media=IMAGE),
        TextPart(text="B. none"),
    )


def test_a_sample_without_options_is_asked_by_the_prompt_for_open_questions() -> None:
    spec = task(gives="choice", prompt="{question} {options}", open_prompt="{question} In words.", oracle="{letter}")
    spec = replace(spec, open_oracle="{answer}")
    lettered = sample(question="Q?", choices=("a", "b"), target=Target(answers=("b",), choice="B"))
    spoken = sample(question="Q?", target=Target(answers=("7",)))
    asked = [build(spec, item, model("text image target", per_sample=True)) for item in (lettered, spoken)]
    assert [request.prompt for request in asked] == ["Q? A. a\nB. b", "Q? In words."]
    assert [request.oracle for request in asked] == ["B", "7"]


def test_each_option_is_a_continuation_of_an_nll_task() -> None:
    spec = task(asks="nll", gives="choice", continuation=" {option}.")
    request = build(spec, sample(choices=("left", "right")), model(gives="nll"))
    assert (request.kind, request.wants, request.candidates) == ("nll", ("nll",), (" left.", " right."))


@pytest.mark.parametrize(
    ("oracle", "replies"),
    [("{letter}", ("A", "B")), ("{answer}", ("left", "right")), ("{letter}: {option}", ("A: left", "B: right"))],
)
@pytest.mark.parametrize("right", ["A", "B", None])
def test_a_choice_in_words_comes_with_the_reply_for_each_option_whichever_is_right(
    oracle: str, replies: tuple[str, ...], right: str | None
) -> None:
    target = Target(answers=("right",) if right else ("up",), choice=right)
    item = sample(choices=("left", "right"), target=target)
    assert build(task(gives="choice", oracle=oracle), item, model()).choices == replies
    assert build(task(gives="text", oracle="{answer}"), item, model()).choices == ()
    likelihood = task(asks="nll", gives="choice", continuation=" {option}.", oracle=oracle)
    assert build(likelihood, item, model(gives="nll")).choices == ()


# --- visual prompts


def shown(kind: str, *found: masks.Mask, **changes: Any) -> tuple[Any, ...]:
    target = Target(entities=tuple(Entity(name="liver", mask=mask) for mask in found))
    return visual_prompts(task(visual_prompt=kind), sample(target=target, **changes))


def test_prompts_are_drawn_from_the_target() -> None:
    left, right = (masks.from_box(Box(corners=(x, 10, x + 5, 15)), (100, 200)) for x in (20, 40))
    assert shown("none", left) == ()
    assert shown("box", left, right) == (Box(corners=(20, 10, 45, 15)),)
    assert shown("region", left, right) == (Region(mask=masks.merge([left, right])),)
    assert shown("points", left) == (Points(points=((22, 12),), labels=(1,)),)


def test_the_point_lies_inside_the_mask_as_x_y_z() -> None:
    assert shown("points", masks.full((3, 3))) == (Points(points=((1, 1),), labels=(1,)),)
    voxel = masks.from_box(Box(corners=(2, 1, 3, 3, 2, 4)), (4, 4, 4))
    assert shown("points", voxel) == (Points(points=((3, 1, 2),), labels=(1,)),)
    ring = np.ones((5, 5), dtype=bool)
    ring[1:4, 1:4] = False
    ((x, y),) = shown("points", masks.encode(ring))[0].points
    assert ring[int(y), int(x)]


@pytest.mark.parametrize("kind", ["box", "points", "region"])
def test_an_empty_target_cannot_be_pointed_at(kind: str) -> None:
    with pytest.raises(DataError, match=f"^t/test/1: the task shows a {kind}, but the target's mask is empty$"):
        shown(kind, masks.empty((100, 200)))


def test_the_prompts_of_the_release_are_taken_as_they_are() -> None:
    assert shown("from_sample", visual_prompts=(BOX, REGION)) == (BOX, REGION)
    nothing = Region(mask=masks.empty((100, 200)))
    with pytest.raises(DataError, match=r"^t/test/1: the region that the release points at has no pixel$"):
        shown("from_sample", visual_prompts=(nothing,))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (
            Region(mask=masks.full((100, 100))),
            "the region that the release points at is (100, 100), its image (100, 200); "
            "`harness prepare` lists such pairs",
        ),
        (Box(corners=(190, 10, 210, 20)), "box: expected x within 0 and 200, found x1 = 190 and x2 = 210; "),
        (Box(corners=(20, 10, 20, 20)), "box: expected x1 < x2, found x1 = 20 and x2 = 20; "),
        (
            Points(points=((1, 2), (200, 5)), labels=(1, 1)),
            "the point (200, 5) that the release points at is outside its image (100, 200)",
        ),
    ],
)
def test_what_the_release_points_at_outside_its_image_is_a_fault_of_the_data(prompt: Any, expected: str) -> None:
    with pytest.raises(DataError) as caught:
        shown("from_sample", visual_prompts=(prompt,))
    assert str(caught.value).startswith(f"t/test/1: {expected}")


# --- support and fallbacks


@pytest.mark.parametrize(
    ("spec", "item", "capabilities", "missing"),
    [
        (task(), sample(), model(), None),
        (task(gives="masks"), sample(), model(), "gives masks"),
        (task(gives="grounded_text"), sample(), model(gives="text"), "gives masks"),
        (task(asks="nll", gives="choice"), sample(), model(), "gives nll"),
        (task(), sample(), model("image"), "takes text"),
        (task(prompt=""), sample(), model("image"), None),
        (task(), sample(), model("text"), "takes image"),
        (task(), sample(), model("text images"), None),
        (task(), sample(media=(IMAGE, SECOND)), model(), "takes images"),
        (task(), sample(media=(IMAGE, SECOND)), model("text images", max_images=2), None),
        (
            task(),
            sample(media=(IMAGE, SECOND)),
            model("text images"),
            "takes 2 images at once (its max_images is 1)",
        ),
        (task(), sample(media=(VOLUME,)), model(), "takes volume"),
        (task(), sample(media=(VOLUME,)), model("text volume"), None),
        (task(visual_prompt="box"), sample(), model(), "takes box"),
        (task(gives="masks", visual_prompt="box"), sample(), model(), "gives masks and takes box"),
        (task(visual_prompt="box"), sample(), model("text image box"), None),
    ],
)
def test_what_a_model_lacks_is_said_before_it_is_asked(
    spec: TaskSpec, item: Sample, capabilities: Capabilities, missing: str | None
) -> None:
    prompts = (BOX,) if spec.visual_prompt == "box" else ()
    found = support(spec, prompts, item, capabilities)
    assert found.missing == (None if missing is None else f"the task needs a model that {missing}")
    assert found.fallbacks == ()


def test_a_declared_fallback_makes_up_for_a_prompt_the_model_does_not_take() -> None:
    spec = task(
        prompt="{question} Look at <region>.",
        visual_prompt="from_sample",
        fallbacks={"region_as_box_text": "per_mille", "box_as_text": "unit"},
    )
    item = sample(visual_prompts=(BOX, REGION))
    found = support(spec, item.visual_prompts, item, model())
    assert (found.missing, found.fallbacks) == (None, ("box_as_text: unit", "region_as_box_text: per_mille"))
    request = build(spec, item, model())
    assert request.visual_prompts == ()
    assert request.prompt == "Is it left? Look at [100, 100, 300, 500]. [0.100, 0.100, 0.300, 0.500]"


def test_a_fallback_is_not_used_where_the_model_takes_the_prompt() -> None:
    spec = task(prompt="<box>?", visual_prompt="from_sample", fallbacks={"box_as_text": "per_mille"})
    item = sample(visual_prompts=(BOX,))
    assert support(spec, (BOX,), item, model("text image box")).fallbacks == ()
    request = build(spec, item, model("text image box"))
    assert (request.visual_prompts, request.prompt) == ((BOX,), "<box>?")


def test_words_are_left_out_for_a_model_that_takes_none_where_it_is_shown_what_to_mark() -> None:
    left_out = {"box_as_text": "unit", "text_left_out": "where_pointed"}
    spec = task(prompt="Mark the {class} in <box>.", gives="masks", visual_prompt="box", fallbacks=left_out)
    segmenter = model("image box", gives="masks")
    found = support(spec, (BOX,), sample(), segmenter)
    assert (found.missing, found.fallbacks) == (None, ("text_left_out: where_pointed",))
    request = build_request(spec, sample(), (BOX,), segmenter, seed=0, repeat=0)
    assert (request.prompt, request.visual_prompts, len(request.images)) == ("", (BOX,), 1)


@pytest.mark.parametrize(
    ("prompts", "takes", "missing"), [((BOX,), "image", "takes text"), ((), "image box", "takes text")]
)
def test_words_are_not_left_out_where_nothing_else_says_what_to_mark(
    prompts: tuple[Box, ...], takes: str, missing: str
) -> None:
    left_out = {"box_as_text": "unit", "text_left_out": "where_pointed"}
    spec = task(gives="masks", visual_prompt="from_sample", fallbacks=left_out)
    found = support(spec, prompts, sample(), model(takes, gives="masks"))
    assert found.missing == f"the task needs a model that {missing}"
    assert "text_left_out: where_pointed" not in found.fallbacks


def test_a_model_that_takes_words_gets_them_whatever_the_task_would_leave_out() -> None:
    spec = task(gives="masks", visual_prompt="from_sample", fallbacks={"text_left_out": "where_pointed"})
    item = sample(visual_prompts=(BOX,))
    assert support(spec, (BOX,), item, model("text image box", gives="masks")).fallbacks == ()
    assert build(spec, item, model("text image box", gives="masks")).prompt != ""


def test_a_point_has_no_fallback_in_words() -> None:
    spec = task(visual_prompt="from_sample", fallbacks={"box_as_text": "unit", "region_as_box_text": "unit"})
    point = Points(points=((1, 2),), labels=(1,))
    assert support(spec, (point,), sample(), model()).missing == "the task needs a model that takes point"


def test_a_cropped_image_stands_in_the_request_and_all_that_comes_with_it_is_in_its_frame() -> None:
    spec = task(visual_prompt="from_sample", fallbacks={"region_as_crop": 0.0}, oracle="yes")
    item = sample(visual_prompts=(REGION, BOX), target=Target(entities=(Entity(name="a", mask=REGION.mask),)))
    capabilities = model("text image box prior target", per_sample=True)
    assert support(spec, item.visual_prompts, item, capabilities).fallbacks == ("region_as_crop: 0.0",)
    request = build(spec, item, capabilities, prior=Prior(answer="no", mask=REGION.mask))
    (media,) = request.media
    whole = masks.full((40, 40))
    assert (media.record.size, media.record.crop) == (
        (40, 40),
        Crop(corners=(20, 10, 60, 50), original=(100, 200)),
    )
    assert request.visual_prompts == (Box(corners=(0, 0, 40, 40)),)
    assert request.prior == Prior(answer="no", mask=whole)
    assert request.target == Target(entities=(Entity(name="a", mask=whole),))
    assert request.prompt == "Is it left? (the part shown in this image)"
    assert item.media == (IMAGE,)


def test_a_crop_leaves_a_prior_without_a_mask_alone() -> None:
    spec = task(visual_prompt="from_sample", fallbacks={"box_as_crop": 0.1})
    request = build(
        spec, sample(visual_prompts=(BOX,)), model("text image prior", per_sample=True), prior=Prior(answer="no")
    )
    assert request.prior == Prior(answer="no")


def test_a_fallback_that_fails_is_named_with_its_reason() -> None:
    spec = task(visual_prompt="from_sample", fallbacks={"region_as_overlay": "fill"})
    item = sample(media=(VOLUME,), visual_prompts=(REGION,))
    found = support(spec, (REGION,), item, model("text volume"))
    assert found.missing == ("the task needs a model that takes region (region_as_overlay works on images only)")


def test_only_a_model_that_takes_them_per_sample_sees_id_prior_and_target() -> None:
    item = sample(target=Target(answers=("yes",)))
    spec, prior = task(oracle="{answer}."), Prior(answer="no")

    def seen(takes: str, *, per_sample: bool) -> tuple[Any, ...]:
        capabilities = model(f"text image {takes}", per_sample=per_sample)
        request = build(spec, item, capabilities, prior=prior)
        return request.sample_id, request.prior, request.target, request.oracle

    assert seen("", per_sample=False) == (None, None, None, None)
    assert seen("", per_sample=True) == ("t/test/1", None, None, None)
    assert seen("prior", per_sample=True) == ("t/test/1", prior, None, None)
    assert seen("target", per_sample=True) == ("t/test/1", None, item.target, "yes.")


# --- the key

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


# --- retrieval and slices


def retrieval(**changes: Any) -> TaskSpec:
    return task(asks="embed", gives="retrieval", prompt="{caption}", **changes)


REPORTED = sample(media=(VOLUME,), target=Target(answers=("A cyst.",), caption_id="1"))


def test_a_retrieval_request_has_the_text_as_its_candidate_and_no_words() -> None:
    request = build(retrieval(), REPORTED, model("text volume", "embedding"))
    assert (request.kind, request.wants, request.candidates) == ("embed", ("embedding",), ("A cyst.",))
    assert request.prompt == ""
    assert request.volumes == (VOLUME,)
    assert request.target is None


def test_a_caption_stands_in_no_other_prompt() -> None:
    with pytest.raises(DataError, match="the template names 'caption', the sample has only"):
        build(task(prompt="{caption}"), REPORTED, model("text volume"))


def test_slices_stand_for_a_volume_and_each_is_in_the_key() -> None:
    spec = retrieval(fallbacks={"volume_as_slices": 2})
    capabilities = model(gives="embedding")
    found = support(spec, (), REPORTED, capabilities)
    assert (found.missing, found.fallbacks) == (None, ("volume_as_slices: 2 (bin_centres, one by one)",))
    request = build(spec, REPORTED, capabilities)
    assert request.one_by_one
    assert [media.slice for media in request.images] == [1, 3]
    keys = {request_key(with_media(slice=place), IDENTITY) for place in (None, 0, 1)}
    assert len(keys) == 3


def test_a_model_that_takes_volumes_gets_the_volume() -> None:
    spec = retrieval(fallbacks={"volume_as_slices": 2})
    capabilities = model("text volume image", "embedding")
    assert support(spec, (), REPORTED, capabilities).fallbacks == ()
    request = build(spec, REPORTED, capabilities)
    assert (request.volumes, request.one_by_one) == ((VOLUME,), False)


def test_several_slices_go_together_before_the_words_or_at_their_mark() -> None:
    capabilities = model("text images", max_images=2)
    for prompt, texts in (("{question}", ["Is it left?"]), ("See <image>: {question}", ["See ", ": Is it left?"])):
        request = build(task(prompt=prompt, fallbacks={"volume_as_slices": 2}), REPORTED, capabilities)
        parts = request.messages[0].parts
        assert [part.text for part in parts if isinstance(part, TextPart)] == texts
        assert [isinstance(part, MediaPart) for part in parts].count(True) == 2
        assert isinstance(parts[-1], TextPart)
        assert not request.one_by_one


def test_a_volume_without_the_fallback_needs_a_model_that_takes_it() -> None:
    assert support(retrieval(), (), REPORTED, model(gives="embedding")).missing == (
        "the task needs a model that takes volume"
    )


def test_what_is_pointed_at_in_words_may_be_asked_of_slices_and_other_prompts_may_not() -> None:
    box = Box(corners=(0, 10, 20, 2, 30, 40))
    fallbacks = {"volume_as_slices": 2, "box_as_text": "original"}
    item = sample(media=(VOLUME,), visual_prompts=(box,))
    spec = task(visual_prompt="from_sample", fallbacks=fallbacks)
    capabilities = model("text images", max_images=2)
    assert support(spec, (box,), item, capabilities).missing is None
    native = model("text images box", max_images=2)
    assert "volume_as_slices cannot show what is pointed at" in str(support(spec, (box,), item, native).missing)

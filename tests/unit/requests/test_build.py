"""From sample and task to request: words, images, candidates, crops and slices."""

from dataclasses import replace
from typing import Any

import pytest

from harness.imaging import masks
from harness.records import (
    Box,
    Crop,
    Entity,
    MediaPart,
    Prior,
    Target,
    TextPart,
    Turn,
)
from harness.requests.support import support
from tests.unit.requests.request_cases import (
    BOX,
    IMAGE,
    REGION,
    REPORTED,
    SECOND,
    VOLUME,
    build,
    model,
    retrieval,
    sample,
    task,
)


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


def test_no_model_sees_what_is_ignored() -> None:
    item = sample(target=Target(answers=("yes",), ignore=masks.full((4, 4))))
    request = build(task(), item, model("text image target", per_sample=True))
    assert request.target == Target(answers=("yes",))


def test_a_retrieval_request_has_the_text_as_its_candidate_and_no_words() -> None:
    request = build(retrieval(), REPORTED, model("text volume", "embedding"))
    assert (request.kind, request.wants, request.candidates) == ("embed", ("embedding",), ("A cyst.",))
    assert request.prompt == ""
    assert request.volumes == (VOLUME,)
    assert request.target is None


def test_slices_stand_for_a_volume() -> None:
    spec = retrieval(fallbacks={"volume_as_slices": 2})
    capabilities = model(gives="embedding")
    found = support(spec, (), REPORTED, capabilities)
    assert (found.missing, found.fallbacks) == (None, ("volume_as_slices: 2 (bin_centres, one by one)",))
    request = build(spec, REPORTED, capabilities)
    assert request.one_by_one
    assert [media.slice for media in request.images] == [1, 3]


def test_several_slices_go_together_before_the_words_or_at_their_mark() -> None:
    capabilities = model("text images", max_images=2)
    for prompt, texts in (("{question}", ["Is it left?"]), ("See <image>: {question}", ["See ", ": Is it left?"])):
        request = build(task(prompt=prompt, fallbacks={"volume_as_slices": 2}), REPORTED, capabilities)
        parts = request.messages[0].parts
        assert [part.text for part in parts if isinstance(part, TextPart)] == texts
        assert [isinstance(part, MediaPart) for part in parts].count(True) == 2
        assert isinstance(parts[-1], TextPart)
        assert not request.one_by_one

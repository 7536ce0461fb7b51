"""Whether a model can be asked a sample, and by which fallbacks."""

import pytest

from harness.records import (
    Box,
    Capabilities,
    Points,
    Sample,
)
from harness.requests.build import build_request
from harness.requests.support import support
from harness.tasks.spec import TaskSpec
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


def test_a_fallback_that_fails_is_named_with_its_reason() -> None:
    spec = task(visual_prompt="from_sample", fallbacks={"region_as_overlay": "fill"})
    item = sample(media=(VOLUME,), visual_prompts=(REGION,))
    found = support(spec, (REGION,), item, model("text volume"))
    assert found.missing == ("the task needs a model that takes region (region_as_overlay works on images only)")


def test_a_model_that_takes_volumes_gets_the_volume() -> None:
    spec = retrieval(fallbacks={"volume_as_slices": 2})
    capabilities = model("text volume image", "embedding")
    assert support(spec, (), REPORTED, capabilities).fallbacks == ()
    request = build(spec, REPORTED, capabilities)
    assert (request.volumes, request.one_by_one) == ((VOLUME,), False)


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

"""Sample + task + capabilities -> request: templates, visual prompts, fallbacks and the key."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness import crops, geometry, masks
from harness.errors import DataError
from harness.pointing import Pointing
from harness.records import (
    Box,
    Capabilities,
    Crop,
    Json,
    Mask,
    Media,
    MediaPart,
    Part,
    Points,
    Prior,
    Region,
    Request,
    Sample,
    Size,
    Target,
    TextPart,
    Turn,
    VisualPrompt,
)
from harness.serial import digest, to_json
from harness.spec import TaskSpec

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

WANTS: Mapping[str, tuple[str, ...]] = {
    "text": ("text",),
    "choice": ("text",),
    "masks": ("masks",),
    "grounded_text": ("text", "masks"),
    "boxes": ("boxes",),
    "retrieval": ("embedding",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Whether a model can be asked one sample.

    Attributes:
        missing: What the model lacks, in words; None when it can be asked.
        fallbacks: The task's fallbacks that are used, as `name: value`.
    """

    missing: str | None = None
    fallbacks: tuple[str, ...] = ()


def wants(task: TaskSpec) -> tuple[str, ...]:
    """Return what the task asks a model to give."""
    return ("nll",) if task.asks == "nll" else WANTS[task.gives]


def support(task: TaskSpec, prompts: Sequence[VisualPrompt], sample: Sample, capabilities: Capabilities) -> Support:
    """Return whether a model with `capabilities` can be asked `sample`, and by which of the task's fallbacks.

    Args:
        prompts: The sample's visual prompts as the task gives them; see `visual_prompts`.
    """
    lacks = [f"gives {want}" for want in wants(task) if want not in capabilities.gives]
    lacks += _lacks_for_media(sample, capabilities)
    if task.prompt and "text" not in capabilities.takes:
        lacks.append("takes text")
    pointing = _pointing(task, prompts, sample, capabilities)
    lacks += pointing.lacking()
    missing = f"the task needs a model that {' and '.join(dict.fromkeys(lacks))}" if lacks else None
    return Support(missing=missing, fallbacks=pointing.used())


def _pointing(task: TaskSpec, prompts: Sequence[VisualPrompt], sample: Sample, capabilities: Capabilities) -> Pointing:
    return Pointing(prompts=prompts, media=sample.media, fallbacks=task.fallbacks, takes=capabilities.takes)


def _lacks_for_media(sample: Sample, capabilities: Capabilities) -> list[str]:
    """Return what the sample's images and volumes need and the model does not take; `images` includes one image."""
    images = sum(media.kind == "image" for media in sample.media)
    lacks = []
    if images < len(sample.media) and "volume" not in capabilities.takes:
        lacks.append("takes volume")
    if images == 1 and not capabilities.takes & {"image", "images"}:
        lacks.append("takes image")
    if images > 1 and "images" not in capabilities.takes:
        lacks.append("takes images")
    elif images > 1 and images > capabilities.max_images:
        lacks.append(f"takes {images} images at once (its max_images is {capabilities.max_images})")
    return lacks


def visual_prompts(task: TaskSpec, sample: Sample) -> tuple[VisualPrompt, ...]:
    """Return the boxes, points or regions that the task shows the model.

    `box`, `points` and `region` are drawn from the target: the tight box, the pixel deepest inside, the mask itself.

    Raises:
        DataError: There is nothing to draw them from, or what the release points at is not in its image.
    """
    if task.visual_prompt == "none":
        return ()
    if task.visual_prompt == "from_sample":
        for prompt in sample.visual_prompts:
            _check_prompt(prompt, sample.media[0].size if sample.media else (), sample.id)
        return sample.visual_prompts
    found = [entity.mask for entity in sample.target.entities if entity.mask is not None and masks.area(entity.mask)]
    if not found:
        raise DataError(f"{sample.id}: the task shows a {task.visual_prompt}, but the target's mask is empty")
    mask = masks.merge(found)
    if task.visual_prompt == "region":
        return (Region(mask=mask),)
    if task.visual_prompt == "points":
        return (Points(points=(_deepest_pixel(mask),), labels=(1,)),)
    box = masks.bounding_box(mask)
    assert box is not None
    return (box,)


def _check_prompt(prompt: VisualPrompt, size: Size, where: str) -> None:
    """Raise a DataError unless what the release points at is in its image; `size` is empty where it is unknown."""
    if isinstance(prompt, Region):
        if not masks.area(prompt.mask):
            raise DataError(f"{where}: the region that the release points at has no pixel")
        if size and prompt.mask.size != size:
            raise DataError(
                f"{where}: the region that the release points at is {prompt.mask.size}, its image {size}; "
                "`harness prepare` lists such pairs"
            )
    elif size and isinstance(prompt, Box):
        geometry.check_box(prompt, size, where)
    elif isinstance(prompt, Points) and size:
        outside = [point for point in prompt.points if not _is_inside(point, size)]
        if outside:
            raise DataError(f"{where}: the point {outside[0]} that the release points at is outside its image {size}")


def _is_inside(point: Sequence[float], size: Size) -> bool:
    """Say whether a point (x, y) or (x, y, z) names a pixel of an image or volume of `size`."""
    return len(point) == len(size) and all(0 <= value < length for value, length in zip(point, size[::-1], strict=True))


def _deepest_pixel(mask: Mask) -> tuple[float, ...]:
    """Return the (x, y) or (x, y, z) of the pixel farthest from the outside; the first in scan order of equals."""
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(masks.decode(mask), 1))
    index = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return tuple(float(position) - 1 for position in reversed(index))


def build_request(
    task: TaskSpec,
    sample: Sample,
    prompts: Sequence[VisualPrompt],
    capabilities: Capabilities,
    *,
    seed: int,
    repeat: int,
    prior: Prior | None = None,
) -> Request:
    """Return the request of one repetition of a sample, still without its key.

    Args:
        prompts: The sample's visual prompts as the task gives them.
        prior: What the train split says; handed on only to models that take it.
    """
    words = fill(task.prompt, names(sample), where=sample.id)
    pointed = _pointing(task, prompts, sample, capabilities).apply(words)
    request = Request(
        kind=task.asks,
        wants=wants(task),
        messages=(Turn(role="user", parts=_parts(pointed.text, pointed.media)),),
        visual_prompts=pointed.native,
        candidates=_candidates(task, sample),
        decoding=task.decoding,
        repeat=repeat,
        seed=seed,
    )
    if not capabilities.per_sample:
        return request
    oracle = "target" in capabilities.takes
    return replace(
        request,
        sample_id=sample.id,
        prior=_prior_as_shown(prior, pointed.crop) if "prior" in capabilities.takes else None,
        target=_target_as_shown(sample.target, pointed.crop) if oracle else None,
        oracle=_oracle(task, sample) if oracle else None,
    )


def _prior_as_shown(prior: Prior | None, crop: Crop | None) -> Prior | None:
    if prior is None or prior.mask is None or crop is None:
        return prior
    return replace(prior, mask=crops.crop_mask(prior.mask, crop))


def _target_as_shown(target: Target, crop: Crop | None) -> Target:
    return target if crop is None else crops.crop_target(target, crop)


def _candidates(task: TaskSpec, sample: Sample) -> tuple[str, ...]:
    if task.continuation is None:
        return ()
    return tuple(fill(task.continuation, {"option": option}, where=sample.id) for option in sample.choices)


def _oracle(task: TaskSpec, sample: Sample) -> str | None:
    return fill(task.oracle, names(sample, with_target=True), where=sample.id) if task.oracle else None


def _parts(text: str, media: Sequence[Media]) -> tuple[Part, ...]:
    """Return text and media in reading order: media where `<image>` stands, the rest before the words."""
    pieces = text.split("<image>")
    marked = len(pieces) - 1
    leading = max(0, len(media) - marked)
    parts: list[Part] = [MediaPart(media=item) for item in media[:leading]]
    for index, piece in enumerate(pieces):
        if index and leading + index - 1 < len(media):
            parts.append(MediaPart(media=media[leading + index - 1]))
        if piece.strip():
            parts.append(TextPart(text=piece.strip("\n")))
    return tuple(parts)


def names(sample: Sample, *, with_target: bool = False) -> dict[str, str]:
    """Return what a template may name: question, options, the strata, class; with the target answer, letter, option."""
    result = dict(sample.strata)
    result["question"] = sample.question
    result["options"] = "\n".join(
        f"{letter}. {option}" for letter, option in zip(LETTERS, sample.choices, strict=False)
    )
    if len(sample.target.entities) == 1:
        result["class"] = sample.target.entities[0].name
    if with_target:
        result["answer"] = sample.target.answers[0] if sample.target.answers else ""
        result["letter"] = sample.target.choice or ""
        result["option"] = _right_option(sample)
    return result


def _right_option(sample: Sample) -> str:
    letter = sample.target.choice
    return sample.choices[LETTERS.index(letter)] if letter and sample.choices else ""


def fill(template: str, values: Mapping[str, str], *, where: str) -> str:
    """Return the template with every `{name}` replaced; plain names only, doubled braces stand for one.

    Args:
        template: Of the task.
        values: What the sample has; what they hold is not looked into again.
        where: The sample, named in the error.
    Raises:
        DataError: The sample has no value for a name.
    """

    def value(match: re.Match[str]) -> str:
        if match.group(0) in ("{{", "}}"):
            return match.group(0)[0]
        if match.group(1) not in values:
            known = ", ".join(sorted(values))
            raise DataError(f"{where}: the template names '{match.group(1)}', the sample has only {known}")
        return values[match.group(1)]

    return re.sub(r"\{\{|\}\}|\{(\w+)\}", value, template)


def request_key(request: Request, identity: Mapping[str, Json]) -> str:
    """Return sha256 of the request and of the model's identity: the cache and resume key.

    Media count by digest and decode settings, so the key does not depend on where a release lies.
    """
    content = to_json(replace(request, key=""))
    for turn in content.get("messages", ()):
        for part in turn["parts"]:
            if "media" in part:
                part["media"] = _in_key(part["media"])
    return digest({"request": content, "model": identity})


def _in_key(media: Mapping[str, Json]) -> dict[str, Json]:
    """Return what of a media record decides on the pixels; an image as stored has neither crop nor paint."""
    shown = {name: media[name] for name in ("crop", "drawn") if name in media}
    return {name: media.get(name) for name in ("sha256", "kind", "window")} | shown

"""Sample + task + capabilities -> request: templates, visual prompts, fallbacks and the key."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness.errors import DataError
from harness.imaging import crops, frames, masks
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
from harness.records.codec import digest, to_json
from harness.requests.visual_prompt_fallbacks import Pointing
from harness.requests.volume_slices import Slicing
from harness.tasks.spec import TaskSpec
from harness.text.choices.reading import lettered

_NUMBERED = re.compile(r"<image ([1-9]\d?)>")

LEFT_OUT = "text_left_out"
"""The fallback for a model that takes no words."""

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
    pointing = _pointing(task, prompts, sample, capabilities)
    slicing = _slicing(task, sample.media, capabilities)
    lacks += _lacks_for_media(sample, capabilities) if slicing.name is None else _lacks_for_slices(slicing, pointing)
    wordless = _is_wordless(task, pointing)
    if task.prompt and "text" not in capabilities.takes and not wordless:
        lacks.append("takes text")
    lacks += pointing.lacking()
    missing = f"the task needs a model that {' and '.join(dict.fromkeys(lacks))}" if lacks else None
    left_out = (f"{LEFT_OUT}: {task.fallbacks[LEFT_OUT]}",) if wordless else ()
    return Support(missing=missing, fallbacks=(*pointing.used(), *slicing.used(), *left_out))


def _is_wordless(task: TaskSpec, pointing: Pointing) -> bool:
    """Say whether a model that takes no words is asked by what it is shown alone: prompts that it takes as they are."""
    shown = bool(pointing.prompts) and not pointing.used() and not pointing.lacking()
    return LEFT_OUT in task.fallbacks and "text" not in pointing.takes and shown


def _pointing(task: TaskSpec, prompts: Sequence[VisualPrompt], sample: Sample, capabilities: Capabilities) -> Pointing:
    return Pointing(prompts=prompts, media=sample.media, fallbacks=task.fallbacks, takes=capabilities.takes)


def _slicing(task: TaskSpec, media: tuple[Media, ...], capabilities: Capabilities) -> Slicing:
    return Slicing(media=media, fallbacks=task.fallbacks, capabilities=capabilities, wants=wants(task))


def _lacks_for_slices(slicing: Slicing, pointing: Pointing) -> list[str]:
    return slicing.lacking(pointed=len(pointing.prompts) > len(pointing.used_in_words()))


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
        frames.check_box(prompt, size, where)
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
    pointing = _pointing(task, prompts, sample, capabilities)
    template = "" if _is_wordless(task, pointing) else _prompt(task, sample)
    words = fill(template, _shown_names(task, sample), where=sample.id)
    pointed = pointing.apply(words)
    slicing = _slicing(task, pointed.media, capabilities)
    text = "" if task.asks == "embed" else slicing.marked(pointed.text)
    request = Request(
        kind=task.asks,
        wants=wants(task),
        messages=(Turn(role="user", parts=_parts(text, slicing.shown())),),
        visual_prompts=pointed.native,
        candidates=(pointed.text,) if task.asks == "embed" else _candidates(task, sample),
        choices=_choices(task, sample),
        one_by_one=slicing.name is not None and slicing.one_by_one,
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


def _shown_names(task: TaskSpec, sample: Sample) -> dict[str, str]:
    """Return what the prompt may name; of a retrieval task also the caption, which is half of what it asks about."""
    found = names(sample)
    return {**found, "caption": sample.target.answers[0]} if task.asks == "embed" and sample.target.answers else found


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


def _choices(task: TaskSpec, sample: Sample) -> tuple[str, ...]:
    """Return what a perfect model would say were each of the options the right one; it tells nothing of the target."""
    if task.gives != "choice" or task.asks != "generate":
        return ()
    shared = names(sample)
    return tuple(
        fill(task.oracle, shared | {"answer": option, "letter": letter, "option": option}, where=sample.id)
        for letter, option in lettered(sample.choices).items()
    )


def _prompt(task: TaskSpec, sample: Sample) -> str:
    return task.open_prompt if task.open_prompt and not sample.choices else task.prompt


def _oracle(task: TaskSpec, sample: Sample) -> str | None:
    template = task.open_oracle if task.open_oracle and not sample.choices else task.oracle
    return fill(template, names(sample, with_target=True), where=sample.id) if template else None


def _parts(text: str, media: Sequence[Media]) -> tuple[Part, ...]:
    """Return text and media in reading order: media where `<image>` stands, the rest before the words.

    Marks with numbers, `<image 2>`, name the media by their place instead.
    """
    if _NUMBERED.search(text):
        return _numbered_parts(text, media)
    pieces = text.split("<image>")
    marked = len(pieces) - 1
    leading = max(0, len(media) - marked)
    parts: list[Part] = [MediaPart(media=item) for item in media[:leading]]
    for index, piece in enumerate(pieces):
        if index and leading + index - 1 < len(media):
            parts.append(MediaPart(media=media[leading + index - 1]))
        parts += _words(piece)
    return tuple(parts)


def _numbered_parts(text: str, media: Sequence[Media]) -> tuple[Part, ...]:
    """Return text and media in reading order: the k-th where `<image k>` first stands, those never named at the front.

    Where it stands again, or there is no k-th, it becomes the words `image k`.
    """
    words, *marked = _NUMBERED.split(text)
    unseen = dict(enumerate(media, start=1))
    parts: list[Part] = []
    for number, following in zip(marked[::2], marked[1::2], strict=True):
        shown = unseen.pop(int(number), None)
        if shown is None:
            words += f"image {number}{following}"
        else:
            parts += [*_words(words), MediaPart(media=shown)]
            words = following
    return (*(MediaPart(media=item) for item in unseen.values()), *parts, *_words(words))


def _words(piece: str) -> tuple[Part, ...]:
    return (TextPart(text=piece.strip("\n")),) if piece.strip() else ()


def names(sample: Sample, *, with_target: bool = False) -> dict[str, str]:
    """Return what a template may name: question, options, the strata, class; with the target answer, letter, option.

    The options are there in five ways: `options` a line each, `options_bracketed` so with their letters in brackets,
    `options_line` all in one line, `option_list` as Python writes a list of them, and `option_count`.
    """
    result = dict(sample.strata)
    result["question"] = sample.question
    options = [f"{letter}. {option}" for letter, option in lettered(sample.choices).items()]
    result["options"] = "\n".join(options)
    bracketed = (f"({letter}) {option}" for letter, option in lettered(sample.choices).items())
    result["options_bracketed"] = "\n".join(bracketed)
    result["options_line"] = " ".join(options)
    result["option_list"] = repr(list(sample.choices))
    result["option_count"] = str(len(sample.choices))
    if len(sample.target.entities) == 1:
        result["class"] = sample.target.entities[0].name
    if with_target:
        result["answer"] = sample.target.answers[0] if sample.target.answers else ""
        result["letter"] = sample.target.choice or ""
        result["option"] = _right_option(sample)
    return result


def _right_option(sample: Sample) -> str:
    return lettered(sample.choices).get(sample.target.choice or "", "")


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
    """Return what of a media record decides on the pixels; one as stored has no crop, paint, other axes or slice."""
    shown = {name: media[name] for name in ("crop", "drawn", "axes", "slice") if name in media}
    return {name: media.get(name) for name in ("sha256", "kind", "window")} | shown

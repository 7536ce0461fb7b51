"""Whether a model can be asked a sample, and by which of the task's fallbacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import (
    Capabilities,
    Media,
    Sample,
    VisualPrompt,
)
from harness.requests.visual_prompt_fallbacks import VisualPromptFallbacks
from harness.requests.volume_slices import VolumeFallbacks
from harness.tasks.spec import TaskSpec

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
    pointing = prompt_fallbacks(task, prompts, sample, capabilities)
    slicing = volume_fallbacks(task, sample.media, capabilities)
    lacks += (
        _missing_for_media(sample, capabilities) if slicing.name is None else _missing_for_slices(slicing, pointing)
    )
    wordless = is_wordless(task, pointing)
    if task.prompt and "text" not in capabilities.takes and not wordless:
        lacks.append("takes text")
    lacks += pointing.missing()
    missing = f"the task needs a model that {' and '.join(dict.fromkeys(lacks))}" if lacks else None
    left_out = (f"{LEFT_OUT}: {task.fallbacks[LEFT_OUT]}",) if wordless else ()
    return Support(missing=missing, fallbacks=(*pointing.used(), *slicing.used(), *left_out))


def is_wordless(task: TaskSpec, pointing: VisualPromptFallbacks) -> bool:
    """Say whether a model that takes no words is asked by what it is shown alone: prompts that it takes as they are."""
    shown = bool(pointing.prompts) and not pointing.used() and not pointing.missing()
    return LEFT_OUT in task.fallbacks and "text" not in pointing.takes and shown


def prompt_fallbacks(
    task: TaskSpec, prompts: Sequence[VisualPrompt], sample: Sample, capabilities: Capabilities
) -> VisualPromptFallbacks:
    return VisualPromptFallbacks(
        prompts=prompts, media=sample.media, fallbacks=task.fallbacks, takes=capabilities.takes
    )


def volume_fallbacks(task: TaskSpec, media: tuple[Media, ...], capabilities: Capabilities) -> VolumeFallbacks:
    return VolumeFallbacks(media=media, fallbacks=task.fallbacks, capabilities=capabilities, wants=wants(task))


def _missing_for_slices(slicing: VolumeFallbacks, pointing: VisualPromptFallbacks) -> list[str]:
    return slicing.missing(pointed=len(pointing.prompts) > len(pointing.used_in_words()))


def _missing_for_media(sample: Sample, capabilities: Capabilities) -> list[str]:
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

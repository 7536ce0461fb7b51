"""Whether a model can be asked a sample, and by which of the task's fallbacks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.records import Capabilities, Sample, VisualPrompt
from harness.requests.visual_prompt_fallbacks import VisualPromptFallbacks
from harness.requests.volume_slices import VolumeFallbacks
from harness.tasks.spec import TaskSpec

LEFT_OUT = "text_left_out"  # the fallback for a model that takes no words

# The outputs that each `gives` needs; a choice is given in words.
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
        missing: The capabilities that the model lacks, in words; None if it can be asked.
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
        task: The task.
        prompts: The sample's visual prompts as the task gives them; see `visual_prompts`.
        sample: The sample.
        capabilities: Of the model.
    """
    wanted, takes = wants(task), capabilities.takes
    lacks = [f"gives {want}" for want in wanted if want not in capabilities.gives]
    pointing = VisualPromptFallbacks(prompts=prompts, media=sample.media, fallbacks=task.fallbacks, takes=takes)
    slicing = VolumeFallbacks(
        media=sample.media,
        fallbacks=task.fallbacks,
        capabilities=capabilities,
        wants=wanted,
        modality=sample.strata.get("modality", ""),
    )
    sliced: tuple[str, ...] = ()
    if slicing.name is not None:
        sliced = slicing.used()
        lacks += slicing.missing(pointed=len(prompts) > len(pointing.used_in_words()))
    else:
        images = sum(media.kind == "image" for media in sample.media)
        if images < len(sample.media) and "volume" not in takes:
            lacks.append("takes volume")
        if images == 1 and not takes & {"image", "images"}:  # a model that takes several images takes one, too
            lacks.append("takes image")
        if images > 1 and "images" not in takes:
            lacks.append("takes images")
        elif images > 1 and images > capabilities.max_images:
            lacks.append(f"takes {images} images at once (its max_images is {capabilities.max_images})")
    wordless = is_wordless(task, pointing)
    if task.prompt and "text" not in takes and not wordless:
        lacks.append("takes text")
    lacks += pointing.missing()
    # Each reason once: a sample may have many prompts of one kind.
    missing = f"the task needs a model that {' and '.join(dict.fromkeys(lacks))}" if lacks else None
    left_out = (f"{LEFT_OUT}: {task.fallbacks[LEFT_OUT]}",) if wordless else ()
    return Support(missing=missing, fallbacks=(*pointing.used(), *sliced, *left_out))


def is_wordless(task: TaskSpec, pointing: VisualPromptFallbacks) -> bool:
    """Return whether a model that takes no words is asked by visual prompts alone, all of which it takes as they are.

    Args:
        task: The task, which must allow it by the fallback `text_left_out`.
        pointing: The visual prompts of the sample, for this model.
    """
    if LEFT_OUT not in task.fallbacks or "text" in pointing.takes or not pointing.prompts:
        return False
    return not pointing.used() and not pointing.missing()

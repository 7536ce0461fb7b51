"""Sample + task + capabilities -> request: templates, visual prompts, fallbacks and the key."""

import re
from collections.abc import Sequence
from dataclasses import replace

from harness.imaging import crops
from harness.records import (
    Capabilities,
    Crop,
    Media,
    MediaPart,
    Part,
    Prior,
    Request,
    Sample,
    Target,
    TextPart,
    Turn,
    VisualPrompt,
)
from harness.requests.support import is_wordless, prompt_fallbacks, volume_fallbacks, wants
from harness.requests.template import fill, names
from harness.tasks.spec import TaskSpec
from harness.text.choices.reading import lettered

_NUMBERED = re.compile(r"<image ([1-9]\d?)>")


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
    pointing = prompt_fallbacks(task, prompts, sample, capabilities)
    template = "" if is_wordless(task, pointing) else _prompt(task, sample)
    words = fill(template, _template_values(task, sample), where=sample.id)
    pointed = pointing.apply(words)
    slicing = volume_fallbacks(task, pointed.media, capabilities)
    text = "" if task.asks == "embed" else slicing.marked(pointed.text)
    request = Request(
        kind=task.asks,
        wants=wants(task),
        messages=(Turn(role="user", parts=_parts(text, slicing.media_asked())),),
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
        prior=_cropped_prior(prior, pointed.crop) if "prior" in capabilities.takes else None,
        target=_cropped_target(sample.target, pointed.crop) if oracle else None,
        oracle=_oracle(task, sample) if oracle else None,
    )


def _template_values(task: TaskSpec, sample: Sample) -> dict[str, str]:
    """Return what the prompt may name; of a retrieval task also the caption, which is half of what it asks about."""
    found = names(sample)
    return {**found, "caption": sample.target.answers[0]} if task.asks == "embed" and sample.target.answers else found


def _cropped_prior(prior: Prior | None, crop: Crop | None) -> Prior | None:
    if prior is None or prior.mask is None or crop is None:
        return prior
    return replace(prior, mask=crops.crop_mask(prior.mask, crop))


def _cropped_target(target: Target, crop: Crop | None) -> Target:
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

"""Sample + task + capabilities -> request: templates, visual prompts, fallbacks and the order of words and images."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

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
    TextPart,
    Turn,
    VisualPrompt,
)
from harness.requests.support import is_wordless, wants
from harness.requests.template import fill, names
from harness.requests.visual_prompt_fallbacks import VisualPromptFallbacks
from harness.requests.volume_slices import VolumeFallbacks
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
        task: The task.
        sample: The sample.
        prompts: The sample's visual prompts as the task gives them.
        capabilities: Of the model, which has all that `support` asks of it.
        seed: Of the run.
        repeat: 0-based number of the repetition.
        prior: Statistics of the train split; only a model that takes `prior` gets them.
    Raises:
        DataError: A template names a value that the sample does not have.
    """
    values, wanted, embeds = names(sample), wants(task), task.asks == "embed"
    pointing = VisualPromptFallbacks(
        prompts=prompts, media=sample.media, fallbacks=task.fallbacks, takes=capabilities.takes
    )
    template = task.open_prompt if task.open_prompt and not sample.choices else task.prompt
    # A retrieval task asks about the caption itself; in any other prompt it would be the answer.
    captioned = {**values, "caption": sample.target.answers[0]} if embeds and sample.target.answers else values
    pointed = pointing.apply(fill("" if is_wordless(task, pointing) else template, captioned, where=sample.id))
    text, media = pointed.text, pointed.media
    # Slices after crops and paint: they are those of the volume as it is shown.
    slicing = VolumeFallbacks(media=media, fallbacks=task.fallbacks, capabilities=capabilities, wants=wanted)
    if slicing.name is not None:
        text, media = slicing.marked(text), slicing.media_asked()
    candidates: tuple[str, ...] = (pointed.text,) if embeds else ()
    if task.continuation is not None and not embeds:
        candidates = tuple(fill(task.continuation, {"option": option}, where=sample.id) for option in sample.choices)
    choices: tuple[str, ...] = ()
    if task.gives == "choice" and task.asks == "generate":
        # The reply for each option in turn, whichever is right: this gives nothing of the target away.
        choices = tuple(
            fill(task.oracle, values | {"answer": option, "letter": letter, "option": option}, where=sample.id)
            for letter, option in lettered(sample.choices).items()
        )
    return Request(
        kind=task.asks,
        wants=wanted,
        messages=(Turn(role="user", parts=_parts("" if embeds else text, media)),),
        visual_prompts=pointed.native,
        candidates=candidates,
        choices=choices,
        one_by_one=slicing.name is not None and slicing.one_by_one,
        decoding=task.decoding,
        repeat=repeat,
        seed=seed,
        **(_of_sample(task, sample, capabilities, prior, pointed.crop) if capabilities.per_sample else {}),
    )


def _of_sample(
    task: TaskSpec, sample: Sample, capabilities: Capabilities, prior: Prior | None, crop: Crop | None
) -> dict[str, Any]:
    """Return the fields that tell of a sample: its id and, if the model takes them, prior and target in `crop`."""
    fields: dict[str, Any] = {"sample_id": sample.id}
    if "prior" in capabilities.takes:
        if prior is not None and prior.mask is not None and crop is not None:
            prior = replace(prior, mask=crops.crop_mask(prior.mask, crop))
        fields["prior"] = prior
    if "target" in capabilities.takes:
        template = task.open_oracle if task.open_oracle and not sample.choices else task.oracle
        # What is ignored is a rule of scoring; even a model that is told the target never sees it.
        target = sample.target if sample.target.ignore is None else replace(sample.target, ignore=None)
        fields["target"] = target if crop is None else crops.crop_target(target, crop)
        fields["oracle"] = fill(template, names(sample, with_target=True), where=sample.id) if template else None
    return fields


def _parts(text: str, media: Sequence[Media]) -> tuple[Part, ...]:
    """Return text and media in reading order: media at the marks `<image>`, the remaining ones before the words.

    Numbered marks, `<image 2>`, name the media by their place instead.
    """
    if _NUMBERED.search(text):
        return _numbered_parts(text, media)
    pieces = text.split("<image>")
    # With fewer marks than media the last media take the marks, and the first come before the words.
    leading = max(0, len(media) - (len(pieces) - 1))
    parts: list[Part] = [MediaPart(media=item) for item in media[:leading]]
    for index, piece in enumerate(pieces):
        if index and leading + index - 1 < len(media):
            parts.append(MediaPart(media=media[leading + index - 1]))
        if piece.strip():
            parts.append(TextPart(text=piece.strip("\n")))
    return tuple(parts)


def _numbered_parts(text: str, media: Sequence[Media]) -> tuple[Part, ...]:
    """Return text and media in reading order: the k-th medium at the first `<image k>`, unnamed ones at the front.

    A further mark of the same medium, or of one that does not exist, becomes the words `image k`.
    """
    words, *marked = _NUMBERED.split(text)
    unseen = dict(enumerate(media, start=1))
    pieces: list[str | Media] = []
    for number, following in zip(marked[::2], marked[1::2], strict=True):
        shown = unseen.pop(int(number), None)
        if shown is None:
            words += f"image {number}{following}"
        else:
            pieces += [words, shown]
            words = following
    parts: list[Part] = [MediaPart(media=item) for item in unseen.values()]
    for piece in (*pieces, words):
        if isinstance(piece, Media):
            parts.append(MediaPart(media=piece))
        elif piece.strip():
            parts.append(TextPart(text=piece.strip("\n")))
    return tuple(parts)

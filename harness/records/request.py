"""What a model is asked: everything it may see of a sample, and no target."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.records.masks import Mask
from harness.records.media import Media, MediaHandle
from harness.records.sample import Target
from harness.records.values import Json
from harness.records.visual_prompts import VisualPrompt

RequestKind = Literal["generate", "nll", "embed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Words of a turn."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPart:
    """An image or volume of a turn: a record in the plan, a handle at the model's door."""

    media: Media | MediaHandle


Part = TextPart | MediaPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the conversation that is put to the model."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What the train split says of a target, for baselines that take `prior`.

    Attributes:
        answer: The most frequent train answer.
        answer_to_question: The most frequent train answer to this very question; None when train never asks it.
        choice: Of this request's options, the letter that is right most often in train.
        choice_to_question: The letter of the option that is `answer_to_question`; None when none is.
        mask: Pixels that are foreground in at least half of the train masks, in the frame of this request's image.
    """

    answer: str | None = None
    answer_to_question: str | None = None
    choice: str | None = None
    choice_to_question: str | None = None
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything a model may see of a sample, and no target.

    Attributes:
        kind: `generate`, `nll` (score each candidate as a continuation) or `embed`.
        wants: Which of text, masks, boxes, nll, embedding the task asks for.
        messages: The conversation; `<region>` and `<box>` stand in the text where a visual prompt is meant.
        visual_prompts: In the order of their marks, in the frame of the first image or volume as it is shown.
        candidates: Continuations (nll) or texts (embed).
        choices: For each option, in letter order, the reply that chooses it, where the task gives a choice in words.
        one_by_one: The images are slices of a volume that an adapter is handed each in a request of its own; its
            answers are put together by `harness.requests.volume_slices`.
        decoding: Generation settings of the task.
        repeat: 0-based number of the repetition.
        seed: Seed of the run, for models that draw.
        key: sha256 of the request and of the model's identity; the cache and resume key.
        sample_id, prior, target, oracle: Only for adapters that declare `per_sample` and take them.
    """

    kind: RequestKind = "generate"
    wants: tuple[str, ...] = ("text",)
    messages: tuple[Turn, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()
    candidates: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    one_by_one: bool = False
    decoding: Mapping[str, Json] = field(default_factory=dict)
    repeat: int = 0
    seed: int = 0
    key: str = ""
    sample_id: str | None = None
    prior: Prior | None = None
    target: Target | None = None
    oracle: str | None = None

    @property
    def media(self) -> tuple[Media | MediaHandle, ...]:
        """Images and volumes of all turns, in order."""
        return tuple(part.media for turn in self.messages for part in turn.parts if isinstance(part, MediaPart))

    @property
    def images(self) -> tuple[Any, ...]:
        """Handles of the images, each with `.path`, `.size` and `.image()`."""
        return tuple(media for media in self.media if media.record.kind == "image")

    @property
    def volumes(self) -> tuple[Any, ...]:
        """Handles of the volumes, each with `.path`, `.size` and `.volume()`."""
        return tuple(media for media in self.media if media.record.kind == "volume")

    @property
    def prompt(self) -> str:
        """The words of the last user turn, without its images."""
        for turn in reversed(self.messages):
            if turn.role == "user":
                return "".join(part.text for part in turn.parts if isinstance(part, TextPart))
        return ""

"""The request: everything that a model may see of a sample."""

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
    """The text of a turn, or a piece of it between two images."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPart:
    """An image or volume of a turn: a record in the plan, a handle that opens it when an adapter gets the request."""

    media: Media | MediaHandle


Part = TextPart | MediaPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the conversation."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The answer that the train split alone suggests, for baselines that take `prior`.

    Attributes:
        answer: The most frequent answer in the train split.
        answer_to_question: The most frequent train answer to this very question; None if train never asks it.
        choice: Letter of the option, among those of this request, that is most often right in train.
        choice_to_question: Letter of the option that equals `answer_to_question`; None if no option does.
        mask: Pixels that are foreground in at least half of the train masks, in the frame of this request's image.
    """

    answer: str | None = None
    answer_to_question: str | None = None
    choice: str | None = None
    choice_to_question: str | None = None
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a model may see of a sample. The target is not part of it, except for oracles.

    Most adapters need only `prompt`, `images` or `volumes`, and `visual_prompts`.

    Attributes:
        kind: `generate`, `nll` (score each candidate as a continuation) or `embed`.
        wants: The parts of an answer that the task asks for: any of `text`, `masks`, `boxes`, `nll` and `embedding`.
        messages: The conversation. `<box>`, `<point>` and `<region>` mark the places in its text where a visual prompt
            is meant.
        visual_prompts: In the order of their marks, in the frame of the first image or volume as it is shown.
        candidates: The continuations to score (`nll`) or the texts to embed (`embed`).
        choices: The reply that chooses each option, in letter order, if the task wants a choice in words.
        one_by_one: The images are slices of a volume, and the adapter gets each of them in a request of its own;
            `harness.requests.volume_slices` puts the answers together.
        decoding: Generation settings of the task.
        repeat: 0-based number of the repetition.
        seed: Seed of the run, for models that sample.
        key: sha256 of the request and of the model's identity, under which the prediction is cached and stored.
        sample_id: Identifier of the sample, for adapters that declare `per_sample`.
        prior: For adapters that declare `per_sample` and take `prior`.
        target: For adapters that declare `per_sample` and take `target`: oracles.
        oracle: The reply in words of the task's oracle, for the same adapters.
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
        """The images and volumes of all turns, in order."""
        return tuple(part.media for turn in self.messages for part in turn.parts if isinstance(part, MediaPart))

    @property
    def images(self) -> tuple[Any, ...]:
        """Handles of the images; `.image()` returns uint8 (H, W, 3) RGB, `.size` its (H, W), `.path` a local file."""
        return tuple(media for media in self.media if media.record.kind == "image")

    @property
    def volumes(self) -> tuple[Any, ...]:
        """Handles of the volumes; `.volume()` returns float32 (D, H, W), `.size` its shape, `.path` a local file."""
        return tuple(media for media in self.media if media.record.kind == "volume")

    @property
    def prompt(self) -> str:
        """The text of the last user turn, without its images; empty if there is no such turn."""
        for turn in reversed(self.messages):
            if turn.role == "user":
                return "".join(part.text for part in turn.parts if isinstance(part, TextPart))
        return ""

"""From requests to a model's inputs: the text of its chat template, and the images in the order of their marks."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from harness.errors import ModelError
from harness.models.huggingface.loading import Loaded
from harness.records import MediaPart, Request, TextPart

# Processors without a chat template that place the marks of images themselves.
PLACES_IMAGES = frozenset(
    {"florence2", "kosmos-2", "kosmos-2.5", "git", "blip", "pix2struct", "vision-encoder-decoder"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What a model is shown for one request.

    Attributes:
        text: After the chat template, before an image's mark is repeated for each of its tokens.
        images: PIL images, in the order of their marks.
        templated: Whether a chat template wrote it.
    """

    text: str
    images: tuple[Any, ...]
    templated: bool


class Prompter:
    """Renders requests.

    Args:
        loaded: The model.
        system: Sentence of a system turn before the question; empty for none.
        sends_images: False leaves images and volumes out.
    """

    def __init__(self, loaded: Loaded, *, system: str, sends_images: bool) -> None:
        self.loaded = loaded
        self.system = system
        self.sends_images = sends_images and loaded.processor is not None

    def prompt(self, request: Request) -> Prompt:
        """Return what the model is shown.

        Raises:
            DataError: An image cannot be read.
            ModelError: The chat template refuses the conversation.
        """
        images: list[Any] = []
        turns: list[tuple[str, list[dict[str, str]]]] = []
        if self.system:
            turns.append(("system", [{"type": "text", "text": self.system}]))
        for turn in request.messages:
            content: list[dict[str, str]] = []
            for part in turn.parts:
                if isinstance(part, TextPart):
                    content.append({"type": "text", "text": part.text})
                elif self.sends_images and isinstance(part, MediaPart):
                    content.append({"type": "image"})
                    images.append(self.image(part.media))
            turns.append((turn.role, content))
        text, templated = self._rendered(turns)
        return Prompt(text=text, images=tuple(images), templated=templated)

    def image(self, media: Any) -> Any:
        """Return an image as PIL; one above `max_pixels` is reduced, its sides in proportion."""
        from PIL import Image

        image = Image.fromarray(media.image())
        most = self.loaded.max_pixels
        if most is None or image.width * image.height <= most:
            return image
        factor = sqrt(most / (image.width * image.height))
        size = (max(1, int(image.width * factor)), max(1, int(image.height * factor)))
        return image.resize(size, Image.Resampling.BICUBIC)

    def _rendered(self, turns: Sequence[tuple[str, list[dict[str, str]]]]) -> tuple[str, bool]:
        """Return the text of a conversation, and whether a chat template wrote it."""
        from jinja2 import TemplateError

        processor, tokenizer = self.loaded.processor, self.loaded.tokenizer
        with_parts = processor is not None and getattr(processor, "chat_template", None) is not None
        if not with_parts and tokenizer.chat_template is None:
            # A model that was not made for conversations gets the words as they stand.
            return "\n".join(self._joined(content) for _, content in turns), False
        messages = [
            {"role": role, "content": content if with_parts else self._joined(content)} for role, content in turns
        ]
        try:
            writer = processor if with_parts else tokenizer
            return str(writer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)), True
        except (TemplateError, ValueError) as error:
            raise ModelError(f"the model's chat template cannot write this conversation: {error}") from error

    def _joined(self, content: Sequence[dict[str, str]]) -> str:
        """Return the parts of a turn as one text, with the model's own mark where an image stands."""
        places = self.loaded.model.config.model_type in PLACES_IMAGES
        mark = "" if places else getattr(self.loaded.processor, "image_token", "<image>")
        return "".join(mark if part["type"] == "image" else part["text"] for part in content)

    def inputs(self, prompts: Sequence[Prompt]) -> Any:
        """Return the model's inputs for prompts with equally many images, on its device and in its dtype."""
        texts = [prompt.text for prompt in prompts]
        # As `apply_chat_template(tokenize=True)` does: a tokenizer's template writes all special tokens, a processor's
        # may leave the first to the tokenizer.
        bos = self.loaded.tokenizer.bos_token
        written = self.loaded.processor is None or (bos is not None and texts[0].startswith(bos))
        options: dict[str, Any] = {"return_tensors": "pt", "padding": True}
        if prompts[0].templated and written:
            options["add_special_tokens"] = False
        if self.loaded.processor is None:
            inputs = self.loaded.tokenizer(texts, **options)
            inputs.pop("token_type_ids", None)
            return inputs.to(self.loaded.device)
        images = [list(prompt.images) for prompt in prompts] if prompts[0].images else None
        inputs = self.loaded.processor(text=texts, images=images, **options)
        inputs.pop("labels", None)  # of PaliGemma's, for training
        return inputs.to(self.loaded.device, dtype=self.loaded.model.dtype)

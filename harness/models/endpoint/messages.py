"""What is sent for a request: the body of the call, and the same in words for the record."""

import base64
import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.errors import ModelError
from harness.records import Json, MediaPart, Request, TextPart
from harness.records.codec import digest, to_json

# A model argument of this value leaves a setting out of the call, for servers that refuse it.
OMIT = "omit"
# Names of the settings of a task in the calls; those below the gap are extensions that vLLM and SGLang read, and others
# refuse in words.
NAMES: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_new_tokens": "min_tokens",
    "repetition_penalty": "repetition_penalty",
}
# Encoded images that are kept: the questions about one image follow each other.
IMAGE_CACHE_BYTES = 64 * 1024 * 1024
# A photograph of 1 megapixel is written in 40 ms at level 1 and in 150 at the usual 6, for a tenth more bytes.
PNG_LEVEL = 1
# One token for so many bytes of text, and for so many pixels along each side of an image (Qwen2-VL, and close to what
# others take): only the first guess of a budget, which then goes by what the server counts.
BYTES_PER_TOKEN, PIXELS_PER_TOKEN = 3, 28


@dataclass(frozen=True, slots=True, kw_only=True)
class CallSettings:
    """What of a call does not depend on the request.

    Attributes:
        model: Name of the model, as the server knows it.
        shown_model: Its name in the record: no path of this machine.
        system: Sentence of the system turn; empty for none.
        overrides: Settings that replace the task's, by their names there, and `seed` and `stop`; OMIT leaves one out.
        token_limit: Name of the limit of new tokens in the call.
        response_format: As the call holds it; None for plain text.
        extra: Further fields of the body.
        sends_images: False leaves images and volumes out.
        detail: Resolution of images, as OpenAI names it; None for the server's choice.
    """

    model: str
    shown_model: str
    system: str = ""
    overrides: Mapping[str, Json] = field(default_factory=dict)
    token_limit: str = "max_tokens"
    response_format: Mapping[str, Json] | None = None
    extra: Mapping[str, Json] = field(default_factory=dict)
    sends_images: bool = True
    detail: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of the endpoint.

    Attributes:
        path: Below the base URL.
        body: The JSON that is sent.
        rendered: The body as text, each image replaced by its size and digest.
        input_tokens: A guess of the tokens that are read.
        output_tokens: The most tokens that may be written.
    """

    path: str
    body: Mapping[str, Any]
    rendered: str
    input_tokens: int
    output_tokens: int


class CallBuilder:
    """Makes calls of requests; it keeps the images that it encoded last.

    Args:
        settings: What all calls share.
    """

    def __init__(self, settings: CallSettings) -> None:
        self.settings = settings
        self._encoded: OrderedDict[str, str] = OrderedDict()
        self._held = 0

    def chat(self, request: Request) -> Call:
        """Return the call that asks for a reply.

        Raises:
            DataError: An image cannot be read.
            ModelError: The task asks for beam search.
        """
        settings = self.settings
        turns = [(turn.role, self._content(turn.parts)) for turn in request.messages]
        if settings.system:
            turns.insert(0, ("system", [{"type": "text", "text": settings.system}]))
        messages, shown, text_bytes, image_tokens = [], [], 0, 0
        for role, parts in turns:
            text_bytes += sum(len(part["text"].encode()) for part in parts if part["type"] == "text")
            image_tokens += sum(part.pop("tokens", 0) for part in parts)
            described = [
                {"type": "image", "image": part.pop("described")} if part["type"] == "image_url" else part
                for part in parts
            ]
            # A turn of words is sent as text: some servers of text-only models take no list.
            plain = len(parts) == 1 and parts[0]["type"] == "text"
            messages.append({"role": role, "content": parts[0]["text"] if plain else parts})
            shown.append({"role": role, "content": parts[0]["text"] if plain else described})
        rest = self._generation(request)
        body = {"model": settings.model, "messages": messages, **rest}
        return Call(
            path="/chat/completions",
            body=body,
            rendered=_as_text({**body, "model": settings.shown_model, "messages": shown}),
            input_tokens=text_bytes // BYTES_PER_TOKEN + image_tokens + 1,
            output_tokens=int(rest.get(settings.token_limit, 0)),
        )

    def likelihood(self, request: Request, candidate: str) -> Call:
        """Return the call that has one continuation scored, by `echo` of `/completions`.

        Raises:
            ModelError: The request holds an image, which `/completions` cannot show.
        """
        parts = [part for turn in request.messages for part in turn.parts]
        if self.settings.sends_images and any(isinstance(part, MediaPart) for part in parts):
            raise ModelError(
                "an endpoint scores continuations by /completions, which takes no image; "
                "--model-args images=leave_out asks without it"
            )
        words = "".join(part.text for part in parts if isinstance(part, TextPart))
        prefix = f"{self.settings.system}\n\n{words}" if self.settings.system else words
        body = {
            "model": self.settings.model,
            "prompt": prefix + candidate,
            "echo": True,
            "logprobs": 1,
            "temperature": 0,
            # Some servers refuse 0; what is written after the continuation is passed over.
            "max_tokens": 1,
            **self.settings.extra,
        }
        tokens = len((prefix + candidate).encode()) // BYTES_PER_TOKEN + 1
        shown = _as_text({**body, "model": self.settings.shown_model})
        return Call(path="/completions", body=body, rendered=shown, input_tokens=tokens, output_tokens=1)

    def _generation(self, request: Request) -> dict[str, Any]:
        """Return the fields that decide how the reply is generated: the task's settings with what replaces them."""
        settings = self.settings
        wanted: dict[str, Json] = {**request.decoding, "seed": request.seed + request.repeat, **settings.overrides}
        wanted = {name: value for name, value in wanted.items() if value is not None and value != OMIT}
        if (beams := wanted.pop("num_beams", 1)) != 1:
            raise ModelError(f"decoding: an endpoint has no beam search, and the task asks for {beams} beams")
        body: dict[str, Any] = {}
        if "max_new_tokens" in wanted:
            body[settings.token_limit] = wanted.pop("max_new_tokens")
        body |= {NAMES.get(name, name): value for name, value in wanted.items()}
        if settings.response_format is not None:
            body["response_format"] = dict(settings.response_format)
        return {**body, **settings.extra}

    def _content(self, parts: tuple[Any, ...]) -> list[dict[str, Any]]:
        """Return the parts of a turn; images are followed by what is known of them, for the record and the budget."""
        content: list[dict[str, Any]] = []
        for part in parts:
            if isinstance(part, TextPart):
                content.append({"type": "text", "text": part.text})
            elif self.settings.sends_images:
                record = part.media.record
                shown = digest({**to_json(record), "path": ""})
                url: dict[str, Any] = {"url": self._data_url(part.media, shown)}
                if self.settings.detail is not None:
                    url["detail"] = self.settings.detail
                height, width = record.size
                tokens = -(-height // PIXELS_PER_TOKEN) * -(-width // PIXELS_PER_TOKEN)
                described = f"png {width}x{height} of {shown[:16]}"
                content.append({"type": "image_url", "image_url": url, "described": described, "tokens": tokens})
        return content or [{"type": "text", "text": ""}]

    def _data_url(self, media: Any, name: str) -> str:
        if name in self._encoded:
            self._encoded.move_to_end(name)
            return self._encoded[name]
        from PIL import Image

        file = io.BytesIO()
        Image.fromarray(media.image()).save(file, format="PNG", compress_level=PNG_LEVEL)
        url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
        self._encoded[name] = url
        self._held += len(url)
        while self._held > IMAGE_CACHE_BYTES and len(self._encoded) > 1:
            self._held -= len(self._encoded.popitem(last=False)[1])
        return url


def _as_text(body: Mapping[str, Any]) -> str:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":"))

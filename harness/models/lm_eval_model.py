"""`lm-eval:NAME`: any model class of lm-eval as a model of ours: words, likelihoods, and images where it takes any."""

import importlib
import importlib.util
import inspect
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

from harness.errors import ModelError, SpecError, nearest
from harness.records import Answer, Capabilities, ErrorInfo, Json, MediaHandle, MediaPart, Part, Request, TextPart

# The mark in a prompt where lm-eval's multimodal classes put the next image.
IMAGE_MARK = "<image>"
# Our decoding settings that lm-eval's classes know by another name.
GENERATION = {"max_new_tokens": "max_gen_toks"}
MULTIMODAL = frozenset({"hf-multimodal", "vllm-vlm", "hf-audiolm-qwen"})
# Classes that hand on what they are asked to a server, and its host unless `base_url` names another; lm-eval 0.4.13,
# whose classes do not say so themselves.
SERVED: Mapping[str, str | None] = {
    "anthropic-chat": "api.anthropic.com",
    "anthropic-chat-completions": "api.anthropic.com",
    "anthropic-completions": "api.anthropic.com",
    "ggml": None,
    "gguf": None,
    "litellm": None,
    "litellm-chat": None,
    "litellm-chat-completions": None,
    "local-chat-completions": None,
    "local-completions": None,
    "openai-chat-completions": "api.openai.com",
    "openai-completions": "api.openai.com",
    "sglang-generate": None,
    "textsynth": "api.textsynth.com",
    "watsonx_llm": None,
}
IMAGES = ("send", "leave_out")


def prompt_of(parts: Sequence[Part]) -> str:
    """Return words and images of a prompt as lm-eval takes them: one text, with a mark for each image."""
    return "\n".join(part.text if isinstance(part, TextPart) else IMAGE_MARK for part in parts)


def generation_settings(decoding: Mapping[str, Json]) -> dict[str, Json]:
    """Return the decoding settings of a task as lm-eval's `generation_kwargs`."""
    settings = {GENERATION.get(name, name): value for name, value in decoding.items()}
    # Without an `until` of its own lm-eval stops at an empty line.
    return settings | {"until": [], "do_sample": float(settings.get("temperature") or 0) > 0}


class LmEval:
    """A model class of lm-eval.

    Args:
        name: Its name in lm-eval, such as `hf` or `vllm`, or `package.module:Class` for one of your own.
        images: `send` shows images, which the multimodal classes of lm-eval do anyway; `leave_out` asks about images
            without them. None: images as the class takes them.
        chat_template: Put the question into the model's chat template, as `--apply_chat_template` of lm-eval does.
        arguments: As lm-eval's `--model_args` take them, such as `pretrained` and `dtype`.
    Raises:
        SpecError: lm-eval is not installed, or has no such class.
    """

    def __init__(self, name: str, *, images: str | None = None, chat_template: bool = False, **arguments: Json) -> None:
        if importlib.util.find_spec("lm_eval") is None:
            raise SpecError("--model lm-eval: needs the package lm_eval; pip install lm_eval")
        if images not in (None, *IMAGES):
            raise SpecError(f"--model-args images: expected {' or '.join(IMAGES)}, found {images!r:.80}")
        if not isinstance(chat_template, bool):
            raise SpecError(f"--model-args chat_template: expected true or false, found {chat_template!r:.80}")
        importlib.import_module("lm_eval.models")  # registers the names of the classes and loads none
        self.registry = importlib.import_module("lm_eval.api.registry")
        known = sorted(self.registry.model_registry.keys())
        if name not in known and ":" not in name:
            raise SpecError(
                f"--model lm-eval:{name}: expected a model class of lm-eval or package.module:Class; it has "
                f"{', '.join(known)}{nearest(name, known)}"
            )
        self.name = name
        self.chat_template = chat_template
        self.arguments = arguments
        self.images = images or ("send" if name in MULTIMODAL else None)
        self.lm: Any = None

    @property
    def version(self) -> str:
        """The adapter's version and that of lm-eval."""
        return f"1 (lm_eval {metadata.version('lm_eval')})"

    def capabilities(self) -> Capabilities:
        """Words in and out, likelihoods, and images if the class takes them or is asked without."""
        address = self.arguments.get("base_url")
        host = urlsplit(address).hostname if isinstance(address, str) else SERVED.get(self.name)
        if host is None and self.name in SERVED:
            host = f"lm-eval:{self.name}"  # not known, but away from here
        texts = [value for value in self.arguments.values() if isinstance(value, str)]
        return Capabilities(
            takes=frozenset({"text"} if self.images is None else {"text", "image", "images"}),
            gives=frozenset({"text", "nll"}),
            max_images=1000,
            # lm-eval's classes sort what they are given by length and cut it by their own `batch_size`.
            max_batch=1024,
            usual_batch=64,
            execution_only=frozenset({"device", "max_batch_size", "parallelize", "num_concurrent"}),
            weights=tuple(text for text in texts if Path(text).exists()),
            sends_data_to=host,
        )

    def load(self, device: str) -> None:
        """Build the model.

        Raises:
            ModelError: The class cannot be found, or takes no images although it was to be shown them.
        """
        try:
            if ":" in self.name:
                place, _, attribute = self.name.partition(":")
                kind = getattr(importlib.import_module(place), attribute)
            else:
                kind = self.registry.get_model(self.name)
        except (ImportError, AttributeError) as error:
            raise ModelError(f"--model lm-eval:{self.name}: its class cannot be loaded: {error}") from error
        if self.images == "send" and not getattr(kind, "MULTIMODAL", False):
            raise ModelError(
                f"--model lm-eval:{self.name}: {kind.__name__} takes no images; --model-args images=leave_out asks "
                "without them"
            )
        places = "device" in inspect.signature(kind).parameters and "device" not in self.arguments
        self.lm = kind.create_from_arg_obj(dict(self.arguments), {"device": device} if places else None)

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Hand the requests to `generate_until`, or every candidate of each to `loglikelihood`."""
        scored = iter(self._likelihoods([request for request in requests if request.kind == "nll"]))
        asked = [
            self._instance("generate_until", index, request, generation_settings(request.decoding))
            for index, request in enumerate(requests)
            if request.kind != "nll"
        ]
        # Not called for nothing: some classes cannot take an empty list.
        replies = iter(self._call("generate_until", asked) if asked else ())
        prompts = iter(asked)
        return [
            next(scored) if request.kind == "nll" else Answer(text=next(replies), rendered=next(prompts).args[0])
            for request in requests
        ]

    def _call(self, method: str, asked: list[Any]) -> Sequence[Any]:
        function = getattr(self.lm, method)
        # Most classes draw a bar of their own, which would run across that of the harness.
        quiet = {"disable_tqdm": True} if "disable_tqdm" in inspect.signature(function).parameters else {}
        answers: Sequence[Any] = function(asked, **quiet)
        return answers

    def _instance(self, kind: str, index: int, request: Request, argument: Any) -> Any:
        instance = importlib.import_module("lm_eval.api.instance").Instance
        turns = []
        shown: list[Any] = []
        for turn in request.messages:
            parts = turn.parts
            if self.images == "leave_out":
                parts = tuple(part for part in parts if isinstance(part, TextPart))
            shown += [part.media for part in parts if isinstance(part, MediaPart)]
            turns.append({"role": turn.role, "content": prompt_of(parts)})
        context = "\n".join(turn["content"] for turn in turns)
        if self.chat_template:
            context = self.lm.apply_chat_template(turns)
        arguments: tuple[Any, ...] = (context, argument)
        if self.images == "send":
            from PIL import Image

            pictures = [Image.fromarray(cast(MediaHandle, media).image()) for media in shown]
            arguments = (*arguments, {"visual": pictures})
        return instance(request_type=kind, doc={}, arguments=arguments, idx=index, metadata=(None, index, 1))

    def _likelihoods(self, requests: Sequence[Request]) -> list[Answer]:
        if not requests:
            return []
        # lm-eval gives sums, and our answers are means: the number of tokens is in no public part of its interface.
        if not hasattr(self.lm, "_encode_pair"):
            message = f"lm-eval:{self.name} has no tokenizer that would count the tokens of a candidate"
            return [Answer(error=ErrorInfo(type="ModelError", message=message)) for _ in requests]
        asked = [
            self._instance("loglikelihood", index, request, candidate)
            for index, request in enumerate(requests)
            for candidate in request.candidates
        ]
        sums = iter([total for total, _ in self._call("loglikelihood", asked)])
        counts = iter([self._tokens(*one.args[:2]) for one in asked])
        answers = []
        for request in requests:
            tokens = [next(counts) for _ in request.candidates]
            means = [-next(sums) / max(1, count) for count in tokens]
            answers.append(Answer(nll=means, nll_tokens=tokens))
        return answers

    def _tokens(self, context: str, candidate: str) -> int:
        """Return the number of tokens of a candidate that lm-eval scores."""
        if context or not hasattr(self.lm, "tok_encode"):
            return len(self.lm._encode_pair(context, candidate)[1])
        # As `TemplateLM.loglikelihood` does: an empty context is the token that begins a text, here or in front.
        found: list[Any] = self.lm.tok_encode(candidate, add_special_tokens=False)
        return len(found) - int(found[:1] == [self.lm.prefix_token_id])

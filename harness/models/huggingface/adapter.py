"""The model `hf:PATH_OR_NAME`: a checkpoint that transformers loads, by its own processor and chat template."""

import importlib.util
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.errors import HarnessError, ModelError, SpecError
from harness.models.huggingface import checkpoint, loading, settings
from harness.records import Answer, Capabilities, ErrorInfo, Json, Request, Resources

NEEDED = ("torch", "transformers", "tokenizers")
IMAGES = ("send", "leave_out")
MAX_BATCH = 64
USUAL_BATCH = 8
MOST_IMAGES = 16


class HuggingFace:
    """A model of the Hugging Face hub or of a folder; a GGUF file too.

    Args:
        model: A folder, a GGUF file, or a name on the hub.
        dtype: `auto` (that of the checkpoint), `float32`, `bfloat16` or `float16`.
        device_map: As transformers takes it, such as `auto` for a model that is spread over several GPUs.
        gpus: GPUs of one copy of the model; None: one, where there is any.
        attn: Implementation of attention, such as `sdpa`, `eager` or `flash_attention_2`.
        quantization: `4bit` or `8bit`, by bitsandbytes. Checkpoints that are quantized need no argument.
        revision: Branch, tag or commit on the hub.
        gguf_file: Name of a GGUF file in the folder or repository.
        trust_remote_code: Runs code that the checkpoint brings along.
        chat_template: File of a Jinja template in place of the checkpoint's.
        system: Sentence of a system turn before the question.
        images: `leave_out` asks without images and volumes: a model of text alone, or the blind baseline of another.
        max_images: The most images of a request; None: 1 for models that were made for one, else MOST_IMAGES.
        max_pixels: Larger images are reduced to as many pixels.
        max_new_tokens, min_new_tokens, temperature, top_p, top_k, num_beams, repetition_penalty: Replace the task's
            settings; `omit` leaves one to the checkpoint.
        generation: Further fields of transformers' GenerationConfig.

    Raises:
        SpecError: There is no such model, an argument has another form, or a package is missing.
    """

    version = "1"

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        device_map: Json = None,
        gpus: float | None = None,
        attn: str | None = None,
        quantization: str | None = None,
        revision: str | None = None,
        gguf_file: str | None = None,
        trust_remote_code: bool = False,
        chat_template: str | None = None,
        system: str = "",
        images: str = "send",
        max_images: int | None = None,
        max_pixels: int | None = None,
        max_new_tokens: Json = None,
        min_new_tokens: Json = None,
        temperature: Json = None,
        top_p: Json = None,
        top_k: Json = None,
        num_beams: Json = None,
        repetition_penalty: Json = None,
        generation: Json = None,
    ) -> None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise SpecError(f"--model hf: needs {', '.join(missing)}, not installed; pip install 'medground[models]'")
        self.options = loading.LoadOptions(
            dtype=dtype,
            device_map=device_map,
            attn=attn,
            quantization=quantization,
            trust_remote_code=trust_remote_code,
            max_pixels=max_pixels,
            chat_template=None if chat_template is None else Path(chat_template),
        )
        loading.check_options(self.options)
        if images not in IMAGES:
            raise SpecError(f"--model-args images: expected {' or '.join(IMAGES)}, found {images!r}")
        if max_images is not None and (type(max_images) is not int or max_images < 1):
            raise SpecError(f"--model-args max_images: expected a whole number of at least 1, found {max_images!r}")
        if generation is not None and not isinstance(generation, dict):
            raise SpecError(f"--model-args generation: expected a JSON object, found {generation!r}")
        self.generation = generation or {}
        self.overrides = settings.checked(
            {
                "max_new_tokens": max_new_tokens,
                "min_new_tokens": min_new_tokens,
                "temperature": temperature,
                "top_p": top_p,
                "top_k": top_k,
                "num_beams": num_beams,
                "repetition_penalty": repetition_penalty,
            }
        )
        self.gpus = gpus
        self.system = str(system)
        self.sends_images = images == "send"
        self.max_images = max_images
        self.checkpoint = checkpoint.find(str(model), revision=revision, gguf_file=gguf_file)
        if self.checkpoint.gguf_file is not None and importlib.util.find_spec("gguf") is None:
            raise SpecError("--model hf: a GGUF file needs the package gguf; pip install gguf")

    def capabilities(self) -> Capabilities:
        """Return what the architecture in `config.json` takes and gives."""
        found = self.checkpoint
        takes, gives = {"text"}, {"text", "boxes"}  # a box may be given in words, which the metrics read
        most = self.max_images or (1 if found.takes_one_image else MOST_IMAGES)
        if not self.sends_images and found.kind != "dual":
            takes |= {"image", "images", "volume"}
        elif found.kind != "text":
            takes |= {"image", "images"} if most > 1 else {"image"}
        if found.kind == "dual":
            gives = {"embedding"}
        elif found.scores:
            gives |= {"nll"}
        template = self.options.chat_template
        return Capabilities(
            takes=frozenset(takes),
            gives=frozenset(gives),
            max_images=most,
            max_batch=MAX_BATCH,
            usual_batch=USUAL_BATCH,
            # Where the parts of a model lie does not change what it answers.
            execution_only=frozenset({"device_map", "gpus"}),
            weights=(str(found.weights), *([] if template is None else [str(template)])),
            resources=Resources(gpus=self.gpus),
        )

    def load(self, device: str) -> None:
        """Read the weights.

        Raises:
            ModelError: transformers cannot load the checkpoint.
        """
        from harness.models.huggingface.generation import Generator
        from harness.models.huggingface.likelihood import Scorer
        from harness.models.huggingface.prompts import Prompter

        self.loaded = loading.load(self.checkpoint, self.options, device)
        self.prompter = Prompter(self.loaded, system=self.system, sends_images=self.sends_images)
        if self.checkpoint.kind != "dual":
            self._generator = Generator(self.prompter)
            self._scorer = Scorer(self.prompter)

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request; those with the same settings and as many images form one batch."""
        answers: dict[int, Answer] = {}
        groups: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            if request.kind == "nll":
                answers |= self._each([place], requests, lambda asked: [self._scorer.answer(asked[0])])
                continue
            key = json.dumps([request.kind, len(request.media), dict(request.decoding)], sort_keys=True)
            groups.setdefault(key, []).append(place)
        for places in groups.values():
            answers |= self._each(places, requests, self._together)
        return [answers[place] for place in range(len(requests))]

    def _together(self, requests: Sequence[Request]) -> list[Answer]:
        if requests[0].kind == "embed":
            from harness.models.huggingface import embedding

            return embedding.answers(self.prompter, requests)
        chosen = settings.generation_arguments(requests[0].decoding, self.overrides, self.generation)
        return self._generator.answers(requests, chosen)

    def _each(
        self, places: Sequence[int], requests: Sequence[Request], ask: Callable[[list[Request]], list[Answer]]
    ) -> dict[int, Answer]:
        """Return the answers by place; if one of the requests cannot be answered, each is asked on its own."""
        try:
            return dict(zip(places, ask([requests[place] for place in places]), strict=True))
        except ModelError as error:
            if len(places) == 1:
                return {places[0]: _failed(error)}
        answers: dict[int, Answer] = {}
        for place in places:
            answers |= self._each([place], requests, ask)
        return answers


def _failed(error: HarnessError) -> Answer:
    return Answer(error=ErrorInfo(type=type(error).__name__, message=str(error)))

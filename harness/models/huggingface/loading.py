"""Loading a checkpoint: the model's own class, its processor or tokenizer, and what `--model-args` says of both."""

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.errors import ModelError, SpecError
from harness.models.huggingface.checkpoint import Checkpoint, Kind
from harness.records import Json

DTYPES = ("auto", "float32", "bfloat16", "float16")
QUANTIZATIONS = ("4bit", "8bit")
# Classes of transformers that find a model's own.
FACTORIES: Mapping[Kind, str] = {
    "image_text": "AutoModelForImageTextToText",
    "text": "AutoModelForCausalLM",
    "dual": "AutoModel",
}
FOREIGN = ("AutoModelForImageTextToText", "AutoModelForCausalLM", "AutoModel")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a checkpoint is loaded.

    Attributes:
        dtype: One of DTYPES; `auto` is that of the checkpoint.
        device_map: As `from_pretrained` takes it; None puts the whole model onto one device.
        attn: Implementation of attention, such as `sdpa`, `eager` or `flash_attention_2`; None: transformers' choice.
        quantization: One of QUANTIZATIONS, by bitsandbytes; None: as they are stored.
        trust_remote_code: Whether code that the checkpoint brings along is run.
        max_pixels: The most pixels of an image that the processor keeps; None: its own limit.
        chat_template: File of a Jinja template that replaces the checkpoint's; None keeps that.
    """

    dtype: str = "auto"
    device_map: Json = None
    attn: str | None = None
    quantization: str | None = None
    trust_remote_code: bool = False
    max_pixels: int | None = None
    chat_template: Path | None = None


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A model with what turns requests into its inputs.

    Attributes:
        model: In evaluation mode, on its device.
        processor: Of images and text; None for a model of text alone.
        tokenizer: Pads on the left, so that every answer of a batch begins at the same position; an encoder-decoder's
            pads on the right, as its encoder counts positions from there.
        device: Of the inputs.
        max_pixels: Images above are reduced before the processor; None where the processor does so itself.
    """

    model: Any
    processor: Any
    tokenizer: Any
    device: Any
    max_pixels: int | None

    @property
    def most_positions(self) -> int | None:
        """The most tokens of question and answer together; None if the configuration does not say."""
        config = self.model.config.get_text_config(decoder=True)
        most = getattr(config, "max_position_embeddings", None)
        return most if isinstance(most, int) and most > 0 else None


def load(checkpoint: Checkpoint, options: LoadOptions, device: str) -> Loaded:
    """Return a checkpoint, loaded.

    Args:
        checkpoint: As its configuration describes it.
        options: Checked.
        device: Where the model goes unless `device_map` says otherwise.
    Raises:
        ModelError: transformers cannot load it; the message holds transformers' own.
    """
    import torch

    transformers: Any = importlib.import_module("transformers")  # most of it is untyped
    transformers.utils.logging.disable_progress_bar()
    # Hints to programmers, such as that a sampling option has no effect, and of tokens that a processor places itself.
    transformers.utils.logging.set_verbosity_error()
    source = {"revision": checkpoint.revision, "trust_remote_code": options.trust_remote_code}
    if checkpoint.gguf_file is not None:
        source["gguf_file"] = checkpoint.gguf_file
    arguments: dict[str, Any] = {
        **source,
        "dtype": options.dtype if options.dtype == "auto" else getattr(torch, options.dtype),
        "device_map": options.device_map,
        "attn_implementation": options.attn,
    }
    if options.quantization is not None:
        arguments["quantization_config"] = transformers.BitsAndBytesConfig(**{f"load_in_{options.quantization}": True})
        arguments["device_map"] = options.device_map or {"": device}
    factory = FACTORIES[checkpoint.kind]
    foreign = checkpoint.config.get("auto_map")
    if options.trust_remote_code and isinstance(foreign, dict) and factory not in foreign:
        # Code of a checkpoint's own is filed under whatever class its authors chose.
        factory = next((name for name in FOREIGN if name in foreign), factory)
    try:
        if checkpoint.kind == "text":
            processor, tokenizer = None, transformers.AutoTokenizer.from_pretrained(checkpoint.source, **source)
        else:
            processor = _processor(checkpoint, source)
            tokenizer = processor.tokenizer
        model = getattr(transformers, factory).from_pretrained(
            checkpoint.source, **{name: value for name, value in arguments.items() if value is not None}
        )
    except (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        # What is wrong with a checkpoint comes as any of these.
        remedy = ""
        if not options.trust_remote_code and ("trust_remote_code" in str(error) or "auto_map" in checkpoint.config):
            remedy = (
                "\nThis checkpoint brings code of its own, and transformers has no class for it or cannot use it; "
                "--model-args trust_remote_code=true runs that code on this machine"
            )
        raise ModelError(f"transformers cannot load it: {type(error).__name__}: {error}{remedy}") from error
    if arguments["device_map"] is None:
        model = model.to(device)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    tokenizer.padding_side = "right" if checkpoint.kind == "dual" or model.config.is_encoder_decoder else "left"
    if options.chat_template is not None:
        writer = tokenizer if processor is None else processor
        writer.chat_template = options.chat_template.read_text(encoding="utf-8")
    max_pixels = options.max_pixels
    images: Any = getattr(processor, "image_processor", None)
    # Models of the Qwen-VL kind limit the pixels themselves, to whole patches.
    if max_pixels is not None and hasattr(images, "merge_size") and images.size["longest_edge"]:
        least = min(images.size["shortest_edge"], max_pixels)
        images.size = replace(images.size, shortest_edge=least, longest_edge=max_pixels)
        max_pixels = None
    return Loaded(
        model=model.eval(), processor=processor, tokenizer=tokenizer, device=model.device, max_pixels=max_pixels
    )


def _processor(checkpoint: Checkpoint, source: dict[str, Any]) -> Any:
    """Return the checkpoint's processor; without torchvision, which only videos need, the one for images."""
    transformers: Any = importlib.import_module("transformers")
    known: Any = importlib.import_module("transformers.models.auto.processing_auto").PROCESSOR_MAPPING
    if importlib.util.find_spec("torchvision") is None and "auto_map" not in checkpoint.config:
        config = transformers.AutoConfig.from_pretrained(checkpoint.source, **source)
        native = known.get(type(config), None)
        if native is not None and "video_processor" in (parts := native.get_attributes()):
            place = parts.index("video_processor")
            own = [part for part in parts if part != "video_processor"]

            def with_none(_: Any, *given: Any, **named: Any) -> list[Any]:
                found = list(native._get_arguments_from_pretrained.__func__(made, *given, **named))
                return [*found[:place], None, *found[place:]]

            # `get_attributes` names what is loaded and checked; in its place the constructor gets None.
            members = {
                "get_attributes": classmethod(lambda _: own),
                "_get_arguments_from_pretrained": classmethod(with_none),
            }
            made: Any = type(native.__name__, (native,), members)
            return made.from_pretrained(checkpoint.source, **source)
    return transformers.AutoProcessor.from_pretrained(checkpoint.source, **source)


def check_options(options: LoadOptions) -> None:
    """Check what of the options can be checked before anything is loaded.

    Raises:
        SpecError: An option has another form, or needs a package that is not installed.
    """
    for name, value, known in (
        ("dtype", options.dtype, DTYPES),
        ("quantization", options.quantization, (None, *QUANTIZATIONS)),
    ):
        if value not in known:
            words = " or ".join(str(each) for each in known if each is not None)
            raise SpecError(f"--model-args {name}: expected {words}, found {value!r}")
    if type(options.trust_remote_code) is not bool:
        raise SpecError(f"--model-args trust_remote_code: expected true or false, found {options.trust_remote_code!r}")
    if options.device_map is not None and not isinstance(options.device_map, str | dict):
        raise SpecError(
            f"--model-args device_map: expected text such as auto, or an object, found {options.device_map!r}"
        )
    if options.max_pixels is not None and (type(options.max_pixels) is not int or options.max_pixels < 1):
        raise SpecError(f"--model-args max_pixels: expected a whole number of at least 1, found {options.max_pixels!r}")
    if options.quantization is not None and importlib.util.find_spec("bitsandbytes") is None:
        raise SpecError("--model-args quantization: needs the package bitsandbytes; pip install bitsandbytes")
    if options.chat_template is not None and not options.chat_template.is_file():
        raise SpecError(f"--model-args chat_template: no file {options.chat_template}; expected a Jinja template")

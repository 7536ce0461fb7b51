"""Loading a model of the SAM family by transformers' own classes."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.models.segmenters.checkpoint import Checkpoint
from harness.models.segmenters.encoding import Embedded, Encoder
from harness.models.segmenters.pixels import PaddedPixels, Pixels, StretchedPixels

# What is wrong with a checkpoint comes as any of these.
FAULTS = (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError, AttributeError)


def load_model(checkpoint: Checkpoint, name: str, *, device: str, dtype: str) -> Any:
    """Return a model in evaluation mode on its device.

    Args:
        checkpoint: The model.
        name: Its class in transformers.
        device: Where it goes.
        dtype: `auto` (that of the checkpoint), `float32`, `bfloat16` or `float16`.
    Raises:
        ModelError: transformers cannot load it, or the checkpoint lacks some of its weights.
    """
    import torch

    transformers: Any = importlib.import_module("transformers")  # most of it is untyped
    transformers.utils.logging.disable_progress_bar()
    # The weights of a model of videos are more than those of images, which is no fault.
    transformers.utils.logging.set_verbosity_error()
    try:
        model, found = getattr(transformers, name).from_pretrained(
            checkpoint.source,
            revision=checkpoint.revision,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            output_loading_info=True,
        )
    except FAULTS as error:
        raise ModelError(f"transformers cannot load it: {type(error).__name__}: {error}") from error
    if missing := sorted(found["missing_keys"]):
        # transformers fills them at random and goes on.
        raise ModelError(
            f"{checkpoint.source}: its weights lack {len(missing)} of {name}, such as {missing[0]}; expected a "
            "checkpoint of this class as the hub holds it"
        )
    return model.to(device).eval()


def image_encoder(checkpoint: Checkpoint, model: Any, encode: Callable[[Any], Any]) -> tuple[Pixels, Encoder]:
    """Return the way from images to a model's pixels, and its encoder.

    Args:
        checkpoint: The model.
        model: Loaded.
        encode: The model's own method from pixels to embeddings.
    Raises:
        ModelError: The checkpoint does not say how images become pixels.
    """
    import torch

    pixels: Pixels
    try:
        if checkpoint.kind.family == "sam":
            pixels = PaddedPixels(checkpoint.source, checkpoint.revision)
        else:
            pixels = StretchedPixels.read(checkpoint.source, checkpoint.revision)
    except FAULTS as error:
        raise ModelError(f"its image processor: {type(error).__name__}: {error}") from error

    def embed(image: NDArray[np.uint8]) -> Embedded:
        values, filled = pixels.shown(image)
        with torch.inference_mode():
            found = encode(values.to(model.device, model.dtype))
        return Embedded(size=(image.shape[0], image.shape[1]), filled=filled, embeddings=found)

    return pixels, Encoder(embed)

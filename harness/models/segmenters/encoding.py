"""Loading a model of the SAM family, and its encoder, which sees each image once."""

import importlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.models.segmenters.checkpoint import Checkpoint
from harness.models.segmenters.pixels import PaddedPixels, Pixels, StretchedPixels
from harness.records import Size

# Images whose embeddings are kept; at 4 MB for SAM and 16 MB for SAM 2 in float32, half a gigabyte.
MOST_EMBEDDINGS = 32
# What is wrong with a checkpoint comes as any of these.
FAULTS = (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError, AttributeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """An image after the encoder.

    Attributes:
        size: (H, W) of the image.
        filled: (H, W) of the encoder's pixels that it fills.
        embeddings: As the model itself gives them.
    """

    size: Size
    filled: Size
    embeddings: Any


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


class Encoder:
    """The encoder of a model, with a memory of the last MOST_EMBEDDINGS images.

    Args:
        checkpoint: The model.
        model: Loaded.
        encode: The model's own method from pixels to embeddings.

    Raises:
        ModelError: The checkpoint does not say how images become pixels.
    """

    def __init__(self, checkpoint: Checkpoint, model: Any, encode: Callable[[Any], Any]) -> None:
        self.model, self.encode = model, encode
        self.pixels: Pixels
        try:
            if checkpoint.kind.family == "sam":
                self.pixels = PaddedPixels(checkpoint.source, checkpoint.revision)
            else:
                self.pixels = StretchedPixels.read(checkpoint.source, checkpoint.revision)
        except FAULTS as error:
            raise ModelError(f"its image processor: {type(error).__name__}: {error}") from error
        self.recent: OrderedDict[object, Embedded] = OrderedDict()

    def embedded(self, key: object, image: Callable[[], NDArray[np.uint8]]) -> Embedded:
        """Return an image after the encoder, which sees it only if it is not remembered.

        Args:
            key: Decides the pixels.
            image: Returns uint8 (H, W, 3) RGB.
        """
        import torch

        if key in self.recent:
            self.recent.move_to_end(key)
            return self.recent[key]
        shown = image()
        values, filled = self.pixels.shown(shown)
        with torch.inference_mode():
            found = self.encode(values.to(self.model.device, self.model.dtype))
        size = (int(shown.shape[0]), int(shown.shape[1]))
        self.recent[key] = Embedded(size=size, filled=filled, embeddings=found)
        if len(self.recent) > MOST_EMBEDDINGS:
            self.recent.popitem(last=False)
        return self.recent[key]

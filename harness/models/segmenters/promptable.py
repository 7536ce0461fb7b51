"""A loaded segmenter: an image is encoded once, and each box or set of points costs a pass of the small decoder."""

import importlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.models.segmenters.checkpoint import Checkpoint, Family
from harness.models.segmenters.pixels import PaddedPixels, Pixels, StretchedPixels
from harness.records import Box, Points, Size

# Images whose embeddings are kept; at 4 MB for SAM and 16 MB for SAM 2 in float32, half a gigabyte.
MOST_EMBEDDINGS = 32
CLASSES: dict[Family, str] = {"sam": "SamModel", "sam2": "Sam2Model", "sam3": "Sam3TrackerModel"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """An image after the encoder.

    Attributes:
        size: (H, W) of the image.
        filled: (H, W) of the encoder's pixels that it fills.
        embeddings: As the model's `get_image_embeddings` gives them.
    """

    size: Size
    filled: Size
    embeddings: Any


class Promptable:
    """A model that gives a mask for each box or set of points.

    Args:
        checkpoint: The model.
        device: Where it goes.
        dtype: `auto` (that of the checkpoint), `float32`, `bfloat16` or `float16`.
        multimask: Whether the decoder proposes several masks for a prompt, of which the one counts that it scores
            highest, or one.

    Raises:
        ModelError: transformers cannot load it.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str, dtype: str, multimask: bool) -> None:
        import torch

        transformers: Any = importlib.import_module("transformers")  # most of it is untyped
        transformers.utils.logging.disable_progress_bar()
        # The weights of the model of videos are more than those of images, which is no fault.
        transformers.utils.logging.set_verbosity_error()
        source = {"revision": checkpoint.revision}
        self.pixels: Pixels
        try:
            if checkpoint.family == "sam":
                self.pixels = PaddedPixels(checkpoint.source, checkpoint.revision)
            else:
                self.pixels = StretchedPixels.read(checkpoint.source, checkpoint.revision)
            self.model = getattr(transformers, CLASSES[checkpoint.family]).from_pretrained(
                checkpoint.source, dtype=dtype if dtype == "auto" else getattr(torch, dtype), **source
            )
        except (OSError, ValueError, ImportError, RuntimeError, KeyError, TypeError, AttributeError) as error:
            # What is wrong with a checkpoint comes as any of these.
            raise ModelError(f"transformers cannot load it: {type(error).__name__}: {error}") from error
        self.model = self.model.to(device).eval()
        # SAM's own processor hands over doubles, that of SAM 2 and 3 floats; some pixels of a mask's edge depend on it.
        self.coordinates = torch.float64 if checkpoint.family == "sam" else torch.float32
        self.multimask = multimask
        self._embedded: OrderedDict[object, Embedded] = OrderedDict()

    def embedded(self, key: object, image: Callable[[], NDArray[np.uint8]]) -> Embedded:
        """Return an image after the encoder, which sees it only if it is not among the last MOST_EMBEDDINGS.

        Args:
            key: Decides the pixels.
            image: Returns uint8 (H, W, 3) RGB.
        """
        import torch

        if key in self._embedded:
            self._embedded.move_to_end(key)
            return self._embedded[key]
        shown = image()
        values, filled = self.pixels.shown(shown)
        with torch.inference_mode():
            found = self.model.get_image_embeddings(values.to(self.model.device, self.model.dtype))
        size = (int(shown.shape[0]), int(shown.shape[1]))
        self._embedded[key] = Embedded(size=size, filled=filled, embeddings=found)
        if len(self._embedded) > MOST_EMBEDDINGS:
            self._embedded.popitem(last=False)
        return self._embedded[key]

    def segment(self, image: Embedded, prompt: Box | Points) -> tuple[NDArray[np.bool_], float]:
        """Return the mask (H, W) of one thing, and the IoU that the model predicts for it.

        Args:
            image: From `embedded`.
            prompt: x1 y1 x2 y2, or (x, y) of pixels with their labels. Coordinates go to the model as they stand: a
                box as (x, y, x + width, y + height), a point as a pixel, to whose centre the model goes itself.
        """
        import torch

        scale = np.array([filled / whole for filled, whole in zip(image.filled, image.size, strict=True)])[::-1]
        given = prompt.corners if isinstance(prompt, Box) else prompt.points
        scaled = np.array(given, dtype=np.float32).reshape(-1, 2).astype(np.float64) * scale
        places = torch.tensor(scaled, dtype=self.coordinates, device=self.model.device)[None, None]
        if isinstance(prompt, Box):
            inputs = {"input_boxes": places.reshape(1, 1, 4)}
        else:
            labels = torch.tensor(prompt.labels, dtype=torch.int64, device=self.model.device)[None, None]
            inputs = {"input_points": places, "input_labels": labels}
        with torch.inference_mode():
            found = self.model(image_embeddings=image.embeddings, multimask_output=self.multimask, **inputs)
            scores = found.iou_scores[0, 0].float()
            best = int(scores.argmax())
            mask = self.pixels.restored(found.pred_masks[0, 0, best : best + 1].float(), image.filled, image.size)[0]
        return mask, float(scores[best])

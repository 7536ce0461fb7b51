"""A loaded segmenter: an image is encoded once, and each box or set of points costs a pass of the small decoder."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.models.segmenters.checkpoint import Checkpoint, Family
from harness.models.segmenters.encoding import Embedded
from harness.models.segmenters.loading import image_encoder, load_model
from harness.records import Box, Points

CLASSES: dict[Family, str] = {"sam": "SamModel", "sam2": "Sam2Model", "sam3": "Sam3TrackerModel"}


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

        self.model: Any = load_model(checkpoint, CLASSES[checkpoint.kind.family], device=device, dtype=dtype)
        self.pixels, self.encoder = image_encoder(checkpoint, self.model, self.model.get_image_embeddings)
        # SAM's own processor hands over doubles, that of SAM 2 and 3 floats; some pixels of a mask's edge depend on it.
        self.coordinates = torch.float64 if checkpoint.kind.family == "sam" else torch.float32
        self.multimask = multimask

    def segment(self, image: Embedded, prompt: Box | Points) -> tuple[NDArray[np.bool_], float]:
        """Return the mask (H, W) of one thing, and the IoU that the model predicts for it.

        Args:
            image: From the encoder.
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
            logits = found.pred_masks[0, 0, best : best + 1].float()
            mask = self.pixels.restored(logits, image.filled, image.size)[0]
        return mask, float(scores[best])

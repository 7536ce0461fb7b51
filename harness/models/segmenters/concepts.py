"""SAM 3 by a concept in words: every instance of it in an image, encoded once for all concepts."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.models.segmenters.checkpoint import Checkpoint
from harness.models.segmenters.encoding import Embedded
from harness.models.segmenters.loading import FAULTS, image_encoder, load_model

MOST_TOKENS = 32  # of a concept, as SAM 3's own processor pads it


class Concepts:
    """A model that finds all instances of a concept.

    Args:
        checkpoint: The model.
        device: Where it goes.
        dtype: As for `load_model`.
        threshold: The least score of an instance.

    Raises:
        ModelError: transformers cannot load it.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: str, dtype: str, threshold: float) -> None:
        self.model: Any = load_model(checkpoint, "Sam3Model", device=device, dtype=dtype)
        _, self.encoder = image_encoder(checkpoint, self.model, self.model.get_vision_features)
        transformers: Any = importlib.import_module("transformers")
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                checkpoint.source, revision=checkpoint.revision
            )
        except FAULTS as error:
            raise ModelError(f"its tokenizer: {type(error).__name__}: {error}") from error
        self.threshold = threshold

    def length(self, concept: str) -> int:
        """Return the number of tokens of a concept; the model reads the first MOST_TOKENS."""
        return len(self.tokenizer(concept)["input_ids"])

    def segment(self, image: Embedded, concept: str) -> list[tuple[NDArray[np.bool_], float]]:
        """Return mask (H, W) and score of each instance, the highest first; none if there is none above the threshold.

        As transformers' `post_process_instance_segmentation`: an instance's score is the product of its own and that of
        the concept being there at all, and a mask is cut at 0.5 after its probabilities came to the image's grid.

        Args:
            image: From the encoder.
            concept: A noun phrase.
        """
        import torch

        words = self.tokenizer(
            concept, return_tensors="pt", padding="max_length", max_length=MOST_TOKENS, truncation=True
        ).to(self.model.device)
        with torch.inference_mode():
            found = self.model(
                vision_embeds=image.embeddings, input_ids=words["input_ids"], attention_mask=words["attention_mask"]
            )
            scores = found.pred_logits[0].float().sigmoid()
            if found.presence_logits is not None:
                scores = scores * found.presence_logits[0].float().sigmoid()
            order = [place for place in scores.argsort(descending=True).tolist() if scores[place] > self.threshold]
            if not order:
                return []
            shares = found.pred_masks[0, order].float().sigmoid()[None]
            masks = torch.nn.functional.interpolate(shares, image.size, mode="bilinear", align_corners=False)[0] > 0.5
        return [(mask, float(scores[place])) for mask, place in zip(masks.cpu().numpy(), order, strict=True)]

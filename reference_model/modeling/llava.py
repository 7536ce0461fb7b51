"""LLaVA-1.5 as HuatuoGPT-Vision has it: answers in words about several images.

Shape suffixes: B conversations, T positions, N images of all rows, P patches, C width of the image tower, D width of
the language model.
"""

from typing import NamedTuple

from torch import Tensor

from harness.errors import ModelError
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import IMAGE
from reference_model.modeling.model import ImageLanguageModel
from reference_model.modeling.moe import Routing


class LlavaLosses(NamedTuple):
    """The losses before weighting, scalars."""

    language: Tensor


class LlavaOutput(NamedTuple):
    """The losses of a training pass; no layer has experts."""

    losses: LlavaLosses
    routing: tuple[Routing, ...] = ()


class LlavaModel(ImageLanguageModel):
    """Reads images and a question, and writes the answer."""

    def embed(self, batch: Batch, features_NPC: Tensor | None = None) -> Tensor:
        """Return the embeddings, floating point (B, T, D), with the images in their places.

        Args:
            batch: The conversations; its images are those of all rows, in the order in which their placeholders are
                read.
            features_NPC: Floating point, from the image tower, if they are known; the batch's images are then not read.

        Raises:
            ModelError: The number of placeholders differs from that of image patches.
        """
        image_BT = batch.ids_BT == IMAGE
        patches_NPD = self.connector(self.vision(batch.vision_B3SS) if features_NPC is None else features_NPC)
        places, (images, patches) = int(image_BT.sum()), patches_NPD.shape[:2]
        if places != images * patches or bool((image_BT.sum(dim=1) % patches).any()):
            raise ModelError(
                f"batch: expected {images * patches} image positions, {patches} for each of {images} images, "
                f"found {places}; expand every image"
            )
        x_BTD: Tensor = self.language.embed_tokens(batch.ids_BT.clamp_min(0))
        return x_BTD.masked_scatter(image_BT[..., None], patches_NPD.to(x_BTD.dtype))

    def forward(self, batch: Batch, *, drop_seed: int = 0) -> LlavaOutput:
        """Return the losses of a batch of answered conversations.

        Args:
            batch: Conversations padded on the right.
            drop_seed: Not used: there are no experts.
        Raises:
            ModelError: The batch contradicts itself.
        """
        del drop_seed
        hidden_BTD = self.language(self.embed(batch), valid_BK=batch.valid_BT, segment_BK=batch.segment_BT).hidden_BTD
        return LlavaOutput(losses=LlavaLosses(language=self.language_loss(hidden_BTD, batch)))

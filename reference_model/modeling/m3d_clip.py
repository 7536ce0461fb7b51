"""M3D-CLIP: a tower for volumes and a BERT for reports, whose vectors are near each other for a pair.

Shape suffixes: B volumes, U texts, T tokens, C width of both towers, D, H, W voxels.
"""

from math import log

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from reference_model.config import VolumeModelConfig
from reference_model.modeling.vision_3d import VisionTransformer3d, build_vision_3d

# The temperature at which training begins, as in CLIP, arXiv:2103.00020.
TEMPERATURE = 0.07
# CLIP's limit of the scale, against which an unbounded exponential would overflow.
LARGEST_SCALE = 100.0


class M3dClip(nn.Module):
    """Computes vectors of volumes and of texts, and the loss of their pairs.

    Attributes:
        exponential: Whether the trained scale is the logarithm of the factor, as in CLIP. The released code calls it
            so and begins at ln(1 / 0.07), but multiplies by it as it is.
    """

    def __init__(
        self, *, vision: VisionTransformer3d, text: BertModel, vision_width: int, text_width: int, exponential: bool
    ) -> None:
        """Put two built towers together, behind fresh heads.

        Args:
            vision: With a class token, of width `vision_width`, which is also that of the vectors.
            text: Of width `text_width`, without a pooler.
            vision_width: C.
            text_width: Width of the text tower.
            exponential: See the attribute.
        """
        super().__init__()
        self.vision = vision
        self.text = text
        self.image_head = nn.Linear(vision_width, vision_width)
        self.text_head = nn.Linear(text_width, vision_width)
        self.logit_scale = nn.Parameter(torch.tensor(-log(TEMPERATURE)))
        self.exponential = exponential

    def embed_volumes(self, volume_B1DHW: Tensor) -> Tensor:
        """Return unit vectors, floating point (B, C), of the class token."""
        return F.normalize(self.image_head(self.vision.tokens(volume_B1DHW)[:, 0]), dim=-1)

    def embed_texts(self, ids_UT: Tensor, valid_UT: Tensor) -> Tensor:
        """Return unit vectors, floating point (U, C), of the first token.

        Args:
            ids_UT: int64, padded on the right.
            valid_UT: Boolean, False for padding.
        """
        states_UTC = self.text(input_ids=ids_UT, attention_mask=valid_UT.long()).last_hidden_state
        return F.normalize(self.text_head(states_UTC[:, 0]), dim=-1)

    def pair_loss(self, volume_BC: Tensor, text_UC: Tensor, text_B: Tensor) -> Tensor:
        """Return the mean of both cross-entropies between volumes and texts, a float32 scalar.

        Args:
            volume_BC: Unit vectors of volumes.
            text_UC: Unit vectors of texts.
            text_B: int64, the text of each volume. Several volumes of one text, which the release takes for strangers
                to each other, all count as its match; with a text per volume this is the released loss.
        """
        scale = self.logit_scale.exp().clamp_max(LARGEST_SCALE) if self.exponential else self.logit_scale
        logits_BU = (scale * volume_BC @ text_UC.T).float()
        own_UB = F.one_hot(text_B, len(text_UC)).T.to(logits_BU.dtype)
        by_text = F.cross_entropy(logits_BU.T, own_UB / own_UB.sum(dim=1, keepdim=True))
        return (F.cross_entropy(logits_BU, text_B) + by_text) / 2


def build_clip(config: VolumeModelConfig) -> M3dClip:
    """Return the model of a configuration, randomly initialised."""
    text = BertConfig(
        vocab_size=config.clip.vocabulary,
        hidden_size=config.clip.width,
        intermediate_size=config.clip.ffn_width,
        num_hidden_layers=config.clip.layers,
        num_attention_heads=config.clip.heads,
        max_position_embeddings=config.clip.max_length,
        hidden_dropout_prob=config.clip.dropout,
        attention_probs_dropout_prob=config.clip.dropout,
    )
    return M3dClip(
        vision=build_vision_3d(config.vision, class_token=True),
        text=BertModel(text, add_pooling_layer=False),
        vision_width=config.vision.width,
        text_width=config.clip.width,
        exponential=not config.released,
    )

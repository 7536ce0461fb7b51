"""MIMO's input: the visual prompt encoder, and the multi-modal input aligner.

Shape suffixes: T positions, P = G * G patches, G cells along a side, K channels of encoded positions, D width of the
language model, N points and corners of boxes, Q questions, A width of the aligner, L learned queries.
"""

import torch
from torch import Tensor, nn
from transformers import SamVisionConfig
from transformers.models.sam.modeling_sam import SamPositionalEmbedding

from reference_model.config import AlignerConfig
from reference_model.modeling.mask_decoder import encoded_centres, make_constant, without_autocast

# The standard deviation of initial queries and embeddings, as in BLIP-2's querying transformer and in LLaMA.
INITIAL_DEVIATION = 0.02
# What the aligner reads, in the order of the embeddings that tell them apart.
IMAGE_KIND, TEXT_KIND, PROMPT_KIND = range(3)


class VisualPromptEncoder(nn.Module):
    """Encodes points and boxes as SAM does: the place and the kind of each point or corner, projected to width D."""

    def __init__(self, *, channels: int, language_width: int) -> None:
        """Build the encoder, with `channels` numbers for a place, as many as SAM's prompt encoder has."""
        super().__init__()
        places = SamVisionConfig(num_pos_feats=channels // 2)
        self.positions = SamPositionalEmbedding(places)  # type: ignore[no-untyped-call]
        make_constant(self.positions)
        # A point outside the wanted mask, one inside, the upper left and the lower right corner of a box, as in SAM.
        self.kind_embed = nn.Embedding(4, channels)
        self.projection = nn.Linear(channels, language_width)

    def forward(self, place_N2: Tensor, kind_N: Tensor) -> Tensor:
        """Return the embeddings of points and corners, floating point (N, D).

        Args:
            place_N2: float32, (x, y) as shares of the padded square, in [0, 1].
            kind_N: int64, see `inputs.visual_prompts.PromptPlaces`.
        """
        with without_autocast(place_N2):
            encoded_NK = self.positions(place_N2)
        embedded_ND: Tensor = self.projection(self.kind_embed(kind_N) + encoded_NK.to(self.kind_embed.weight.dtype))
        return embedded_ND

    def patches(self, cells: int) -> Tensor:
        """Return the embeddings of the centres of an image's cells in reading order, floating point (P, D)."""
        centre_PK = encoded_centres(self.positions, cells).flatten(0, 1)
        embedded_PD: Tensor = self.projection(centre_PK.to(self.projection.weight.dtype))
        return embedded_PD


class InputAligner(nn.Module):
    """Learned queries that read image, text and visual prompts of a question by cross-attention."""

    def __init__(self, config: AlignerConfig, *, language_width: int) -> None:
        """Build the layers: self-attention of the queries, cross-attention, and a feed-forward part, each pre-norm."""
        super().__init__()
        width = config.width
        self.query_embed = nn.Parameter(torch.randn(config.queries, width) * INITIAL_DEVIATION)
        self.kind_embed = nn.Embedding(3, width)
        nn.init.normal_(self.kind_embed.weight, std=INITIAL_DEVIATION)
        self.reads = nn.Linear(language_width, width)
        self.layers = nn.ModuleList(
            nn.TransformerDecoderLayer(
                width,
                config.heads,
                config.ffn_width,
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.writes = nn.Linear(width, language_width)

    def reset_parameters(self) -> None:
        """Initialise every tensor as a new aligner does, for one whose memory was allocated without values."""
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.LayerNorm):
                module.reset_parameters()
        for module in self.modules():  # last, since an attention also sets the bias of its output, a linear layer
            if isinstance(module, nn.MultiheadAttention):
                module._reset_parameters()
        for embeddings in (self.query_embed, self.kind_embed.weight):
            nn.init.normal_(embeddings, std=INITIAL_DEVIATION)

    def forward(self, context_QTD: Tensor, kind_QT: Tensor, valid_QT: Tensor) -> Tensor:
        """Return the embeddings of each question's queries, floating point (Q, L, D).

        Args:
            context_QTD: Floating point, embeddings of the language model's width.
            kind_QT: int64, what each position is: `IMAGE_KIND`, `TEXT_KIND` or `PROMPT_KIND`.
            valid_QT: Boolean, the positions that the queries of a question attend to; at least one each.
        """
        dtype = self.reads.weight.dtype
        context_QTA = self.reads(context_QTD.to(dtype)) + self.kind_embed(kind_QT)
        x_QLA = self.query_embed.expand(len(context_QTD), -1, -1)
        for layer in self.layers:
            x_QLA = layer(x_QLA, context_QTA, memory_key_padding_mask=~valid_QT)
        aligned_QLD: Tensor = self.writes(self.norm(x_QLA))
        return aligned_QLD

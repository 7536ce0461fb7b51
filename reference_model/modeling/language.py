"""The language model: a LLaMA whose feed-forward parts may be experts.

Shape suffixes: B sequences, T positions of this pass, K positions that can be attended to (those of this pass and the
cached ones before them), D width, V vocabulary, L layers, E experts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaMLP, LlamaRMSNorm, LlamaRotaryEmbedding

from reference_model.config import LanguageConfig, MoeConfig
from reference_model.modeling.moe import MoeFeedForward, Router, Routing

# LLaMA's `initializer_range`, as transformers has it.
INITIAL_DEVIATION = 0.02


class Cache(Protocol):
    """The keys and values of earlier passes, such as `inference.key_values.KeyValues` or transformers' DynamicCache."""

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, /) -> tuple[Tensor, Tensor]:
        """Append keys and values, (B, heads, T, head width) each, of a layer; return all K of that layer."""


class Step(NamedTuple):
    """The arguments that all layers share in one forward pass.

    Attributes:
        mask_B1TK: Boolean, the positions that each position attends to; None: all up to itself.
        rotary: Cosines and sines of the positions, (B, T, head width) each.
        token_mask_BT: Boolean, False for padding, which is kept from the experts; None: they see all tokens.
        cache: Keys and values of earlier passes; this pass adds its own.
    """

    mask_B1TK: Tensor | None
    rotary: tuple[Tensor, Tensor]
    token_mask_BT: Tensor | None
    cache: Cache | None


class DecoderLayer(nn.Module):
    """Attention and a feed-forward part, each behind a norm and with a residual path around it."""

    def __init__(
        self,
        *,
        self_attn: LlamaAttention,
        mlp: nn.Module,
        input_layernorm: LlamaRMSNorm,
        post_attention_layernorm: LlamaRMSNorm,
    ) -> None:
        """Put built parts together; their names are those of LLaMA checkpoints."""
        super().__init__()
        self.self_attn = self_attn
        self.mlp = mlp
        self.input_layernorm = input_layernorm
        self.post_attention_layernorm = post_attention_layernorm

    def forward(self, x_BTD: Tensor, step: Step, priority_BT: Tensor | None) -> tuple[Tensor, Routing | None]:
        """Return the output (B, T, D), in the dtype of the input, and the routing if there are experts."""
        attended_BTD, _ = self.self_attn(
            hidden_states=self.input_layernorm(x_BTD),
            position_embeddings=step.rotary,
            attention_mask=step.mask_B1TK,
            past_key_values=step.cache,
        )
        x_BTD = x_BTD + attended_BTD
        normed_BTD = self.post_attention_layernorm(x_BTD)
        if isinstance(self.mlp, MoeFeedForward):
            if step.cache is not None:  # generation, which needs no routing
                return x_BTD + self.mlp.output(normed_BTD, step.token_mask_BT), None
            y_BTD, routing = self.mlp(normed_BTD, token_mask_BT=step.token_mask_BT, priority_BT=priority_BT)
            return x_BTD + y_BTD, routing
        return x_BTD + self.mlp(normed_BTD), None


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageOutput:
    """The states after the final norm, floating point (B, T, D), and the routing of every layer that has experts."""

    hidden_BTD: Tensor
    routing: tuple[Routing, ...]


class LanguageModel(nn.Module):
    """Embeddings, decoder layers, final norm and head.

    Attributes:
        checkpointing: Whether each layer is recomputed in the backward pass, so that its activations need not be kept.
    """

    def __init__(
        self,
        *,
        embed_tokens: nn.Embedding,
        layers: Sequence[DecoderLayer],
        norm: LlamaRMSNorm,
        rotary: LlamaRotaryEmbedding,
        lm_head: nn.Linear,
        padding_takes_capacity: bool = False,
    ) -> None:
        """Put built parts together.

        Args:
            embed_tokens: Maps ids to embeddings of width D.
            layers: The decoder layers, in the order in which they run.
            norm: Normalises the output of the last layer.
            rotary: Computes the rotary embeddings of the positions.
            lm_head: Maps states of width D to logits of width V.
            padding_takes_capacity: Whether padding goes through the experts, too, as in the released code.
        """
        super().__init__()
        self.embed_tokens = embed_tokens
        self.layers = nn.ModuleList(layers)
        self.norm = norm
        self.rotary = rotary
        self.lm_head = lm_head
        self.padding_takes_capacity = padding_takes_capacity
        self.checkpointing = False

    def forward(
        self,
        x_BTD: Tensor,
        *,
        valid_BK: Tensor,
        segment_BK: Tensor | None = None,
        cache: Cache | None = None,
        drop_seed: int = 0,
    ) -> LanguageOutput:
        """Run all layers.

        Args:
            x_BTD: Floating point, the embeddings of the last T of the K positions.
            valid_BK: Boolean, False for padding, on whichever side.
            segment_BK: int64, the number of the question that each position belongs to if several questions share one
                sequence; 0 marks what they share, the image. A position attends to its own segment and to segment 0.
                None: the sequence holds one question.
            cache: Keys and values of the K - T positions before; it grows by T.
            drop_seed: Decides which tokens a full expert drops; it should be another number in every step.

        Returns:
            The states (B, T, D) after the final norm, and, without a cache, the routing of the layers with experts.
        """
        mask_BTK = attention_mask(valid_BK, length=x_BTD.shape[1], segment_BK=segment_BK)
        # A position is the number of attended positions before it: padding on the left shifts nothing, and all packed
        # questions start at the same position.
        rotary = self.rotary(x_BTD, mask_BTK.sum(dim=2) - 1)
        step = Step(
            mask_B1TK=_mask_or_none(mask_BTK),
            rotary=rotary,
            token_mask_BT=None if self.padding_takes_capacity else valid_BK[:, -x_BTD.shape[1] :],
            cache=cache,
        )
        routing: list[Routing] = []
        for layer, priority_BT in zip(self.layers, self._priorities(x_BTD, drop_seed), strict=True):
            if self.checkpointing and torch.is_grad_enabled():
                # Not re-entrant: that variant would drop the gradient of the balance term, nested in the second output.
                x_BTD, routed = checkpoint(layer, x_BTD, step, priority_BT, use_reentrant=False)
            else:
                x_BTD, routed = layer(x_BTD, step, priority_BT)
            if routed is not None:
                routing.append(routed)
        return LanguageOutput(hidden_BTD=self.norm(x_BTD), routing=tuple(routing))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (..., V) of the token after each state (..., D)."""
        logits: Tensor = self.lm_head(hidden)
        return logits

    def _priorities(self, x_BTD: Tensor, drop_seed: int) -> Sequence[Tensor | None]:
        """Return for each layer float32 (B, T), by which a full expert keeps tokens; None if no expert can be full."""
        if not any(isinstance(layer.mlp, MoeFeedForward) and layer.mlp.may_drop for layer in self.layers):
            return [None] * len(self.layers)
        # DeepSpeed's random token selection, as in MedPLIB's training; drawn on the CPU, so that all devices agree.
        random = torch.Generator().manual_seed(drop_seed)
        drawn_LBT = torch.rand((len(self.layers), *x_BTD.shape[:2]), generator=random, device="cpu")
        return drawn_LBT.to(x_BTD.device).unbind(0)


def init_matching_heads(model: LanguageModel, *, layers: int, share: float, strength: float) -> None:
    """Initialise attention heads so that a position attends to similar positions; uses torch's generator.

    The query projections of these heads equal their key projections, so that from the first step on a word in a
    question attends to the same word in the image; independent projections learn this late. After Trockman and Kolter
    2023.

    Args:
        model: A model that is not trained yet; it is changed in place.
        layers: How many of its first layers get such heads.
        share: The share of a layer's heads that become such heads, in [0, 1].
        strength: Variance of the queries and keys of a normalised input.
    """
    with torch.no_grad():
        for layer in model.layers[:layers]:
            assert isinstance(layer, DecoderLayer)
            query_DD, key_DD = layer.self_attn.q_proj.weight, layer.self_attn.k_proj.weight
            head = layer.self_attn.head_dim
            rows = round(share * len(query_DD) / head) * head
            drawn_DD = torch.randn_like(query_DD[:rows]) * (strength / query_DD.shape[1]) ** 0.5
            query_DD[:rows] = drawn_DD
            key_DD[:rows] = drawn_DD


def attention_mask(valid_BK: Tensor, *, length: int, segment_BK: Tensor | None = None) -> Tensor:
    """Return boolean (B, T, K): which positions each of the last `length` positions attends to.

    A position attends to the valid positions up to itself in its own segment and in segment 0. Their number, less one,
    is also its position for the rotary embeddings.

    Args:
        valid_BK: Boolean, False for padding.
        length: T.
        segment_BK: See `LanguageModel.forward`.
    """
    if length == 1 and segment_BK is None:
        mask_BK = valid_BK & valid_BK[:, -1:]
        mask_BK[:, -1] = True
        return mask_BK[:, None]
    order_K = torch.arange(valid_BK.shape[1], device=valid_BK.device)
    order_T = order_K[-length:]
    mask_BTK = (order_K <= order_T[:, None]) & valid_BK[:, None, :] & valid_BK[:, -length:, None]
    if segment_BK is not None:
        own_BTK = segment_BK[:, None, :] == segment_BK[:, -length:, None]
        mask_BTK = mask_BTK & (own_BTK | (segment_BK == 0)[:, None, :])
    # Padding attends to itself: the softmax of a fully masked row is NaN, which would spread.
    return mask_BTK | (order_K == order_T[:, None])


def _mask_or_none(mask_BTK: Tensor) -> Tensor | None:
    """Return the mask as boolean (B, 1, T, K), or None if it is purely causal."""
    # Without a mask, transformers' attention takes torch's causal kernel, which needs less time and memory.
    length, positions = mask_BTK.shape[1:]
    if length == 1:
        return None if bool(mask_BTK.all()) else mask_BTK[:, None]
    causal = length == positions
    plain_TK = torch.ones_like(mask_BTK[0]).tril()
    return None if causal and bool((mask_BTK == plain_TK).all()) else mask_BTK[:, None]


def build_language(
    config: LanguageConfig, moe: MoeConfig | None, *, vocabulary: int, padding_takes_capacity: bool = False
) -> LanguageModel:
    """Return the language model of a configuration, randomly initialised.

    Args:
        config: LLaMA's numbers.
        moe: The experts of every layer; None: one dense feed-forward part per layer, as stages I to III train it.
        vocabulary: V, special tokens included.
        padding_takes_capacity: See `LanguageModel`.
    """
    llama = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=config.width,
        intermediate_size=config.ffn_width,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.key_value_heads or config.heads,
        max_position_embeddings=config.max_positions,
        rms_norm_eps=config.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
    )
    llama._attn_implementation = "sdpa"  # transformers sets it only for whole models
    model = LanguageModel(
        embed_tokens=nn.Embedding(vocabulary, config.width),
        layers=[_layer(llama, index, moe) for index in range(config.layers)],
        norm=LlamaRMSNorm(config.width, eps=config.norm_epsilon),
        rotary=LlamaRotaryEmbedding(config=llama),
        lm_head=nn.Linear(config.width, vocabulary, bias=False),
        padding_takes_capacity=padding_takes_capacity,
    )
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding) and not isinstance(module, Router):
            nn.init.normal_(module.weight, std=INITIAL_DEVIATION)
    return model


def _layer(llama: LlamaConfig, index: int, moe: MoeConfig | None) -> DecoderLayer:
    self_attn = LlamaAttention(llama, index)
    mlp: nn.Module
    if moe is None:
        mlp = LlamaMLP(llama)  # type: ignore[no-untyped-call]
    else:
        mlp = MoeFeedForward(
            router=Router(width=llama.hidden_size, experts=moe.experts),
            experts=[LlamaMLP(llama) for _ in range(moe.experts)],  # type: ignore[no-untyped-call]
            top_k=moe.top_k,
            capacity_train=moe.capacity_train,
            capacity_evaluation=moe.capacity_evaluation,
            min_capacity=moe.min_capacity,
        )
    return DecoderLayer(
        self_attn=self_attn,
        mlp=mlp,
        input_layernorm=LlamaRMSNorm(llama.hidden_size, eps=llama.rms_norm_eps),
        post_attention_layernorm=LlamaRMSNorm(llama.hidden_size, eps=llama.rms_norm_eps),
    )

"""Generates answers token by token, and decodes their masks.

Shape suffixes: B conversations, T positions, D width of the language model, V vocabulary, M masks.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from harness.errors import ModelError
from reference_model.inputs.batch import PADDING, Batch, VolumeBatch
from reference_model.modeling.m3d_model import VolumeGroundingModel, seg_steps
from reference_model.modeling.model import Masks, PixelGroundingModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is picked: the likeliest at temperature 0, otherwise sampled with a generator of this seed."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer.

    Attributes:
        ids: The tokens of the answer, without the end token.
        finished: Whether the model ended the answer itself.
        masks: One mask for each `<SEG>` in the answer.
    """

    ids: tuple[int, ...]
    finished: bool
    masks: Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeReply:
    """One answer about a volume.

    Attributes:
        ids: The tokens of the answer, without the end token.
        finished: Whether the model ended the answer itself.
        logits_DHW: float32, the mask of all `[SEG]` tokens together, on the grid of the model; None without any.
    """

    ids: tuple[int, ...]
    finished: bool
    logits_DHW: Tensor | None


@dataclass(slots=True)
class _Writing:
    """One answer while it is written, with the states that predicted its `<SEG>`."""

    ids: list[int] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    finished: bool = False


@torch.no_grad()
def generate(
    model: PixelGroundingModel, batch: Batch, *, stop_ids: Collection[int], sampling: Sampling
) -> tuple[Reply, ...]:
    """Answer a batch of conversations; an answer does not depend on the rest of the batch.

    Args:
        model: In evaluation mode, in which no token is dropped.
        batch: Conversations padded on the left; their labels and masks are not read.
        stop_ids: The tokens that end an answer.
        sampling: How tokens are picked.

    Raises:
        ModelError: The model is in training mode, or the padding is not on the left.
    """
    rows = _write(model, model.embed(batch), batch.valid_BT, stop_ids, sampling)
    return _with_masks(model, batch, rows)


@torch.no_grad()
def generate_about_volumes(
    model: VolumeGroundingModel, batch: VolumeBatch, *, stop_ids: Collection[int], sampling: Sampling
) -> tuple[VolumeReply, ...]:
    """Answer a batch of questions about volumes; an answer does not depend on the rest of the batch.

    Args:
        model: In evaluation mode.
        batch: Conversations padded on the left; their labels and masks are not read.
        stop_ids: The tokens that end an answer.
        sampling: How tokens are picked.

    Raises:
        ModelError: The model is in training mode, or the padding is not on the left.
    """
    rows = _write(model, model.embed(batch), batch.valid_BT, stop_ids, sampling)
    states: dict[int, Tensor] = {}
    for index, row in enumerate(rows):
        every = seg_steps(row.ids, model.seg_id, first_token_counts=True)
        counted = seg_steps(row.ids, model.seg_id, first_token_counts=model.first_token_counts)
        kept = [state_D for step, state_D in zip(every, row.states, strict=True) if step in counted]
        if kept:
            states[index] = torch.stack(kept).mean(dim=0)
    logits: dict[int, Tensor] = {}
    if states:
        row_M = torch.tensor(list(states), device=batch.volume_B1DHW.device)
        logits_MDHW = model.masks(torch.stack(list(states.values())), row_M, batch.volume_B1DHW)
        logits = dict(zip(states, logits_MDHW, strict=True))
    return tuple(
        VolumeReply(ids=tuple(row.ids), finished=row.finished, logits_DHW=logits.get(index))
        for index, row in enumerate(rows)
    )


def _write(
    model: PixelGroundingModel | VolumeGroundingModel,
    embedded_BTD: Tensor,
    valid_BK: Tensor,
    stop_ids: Collection[int],
    sampling: Sampling,
) -> list[_Writing]:
    if model.training:
        raise ModelError("generate: expected a model in evaluation mode; call model.eval() first")
    if not bool(valid_BK[:, -1].all()):
        raise ModelError("generate: expected padding on the left, found a row that ends in padding")
    # A generator per row: a row's draws are the same whichever rows it is batched with.
    randoms = [torch.Generator().manual_seed(sampling.seed) for _ in embedded_BTD]
    cache = DynamicCache()
    hidden_BTD = model.language(embedded_BTD, valid_BK=valid_BK, cache=cache).hidden_BTD
    rows = [_Writing() for _ in embedded_BTD]
    for left in reversed(range(sampling.max_new_tokens)):
        state_BD = hidden_BTD[:, -1]
        token_B = _pick(model.language.logits(state_BD).float().cpu(), sampling, randoms)
        _append(rows, token_B, state_BD, stop_ids, model.seg_id)
        writing_B = torch.tensor([not row.finished for row in rows], device=valid_BK.device)
        # The last token needs no forward pass: no state after it is read.
        if left == 0 or not bool(writing_B.any()):
            break
        next_B = token_B.to(valid_BK.device).masked_fill(~writing_B, PADDING)
        valid_BK = torch.cat((valid_BK, writing_B[:, None]), dim=1)
        x_BTD = model.language.embed_tokens(next_B[:, None])
        hidden_BTD = model.language(x_BTD, valid_BK=valid_BK, cache=cache).hidden_BTD
    return rows


def _append(rows: list[_Writing], token_B: Tensor, state_BD: Tensor, stop_ids: Collection[int], seg_id: int) -> None:
    """Add the picked token to every answer that is not finished."""
    for row, token, state_D in zip(rows, token_B.tolist(), state_BD, strict=True):
        if row.finished:
            continue
        row.finished = token in stop_ids
        if not row.finished:
            row.ids.append(token)
        if token == seg_id:  # the state that predicted it, as in training; see `modeling.model.seg_states`
            row.states.append(state_D)


def _pick(logits_BV: Tensor, sampling: Sampling, randoms: Sequence[torch.Generator]) -> Tensor:
    if sampling.temperature == 0:
        return logits_BV.argmax(dim=-1)
    probability_BV = (logits_BV / sampling.temperature).softmax(dim=-1)
    sorted_BV, index_BV = probability_BV.sort(dim=-1, descending=True)
    # The sum before each token counts: the token that crosses `top_p` is kept, so that at least one always is.
    sorted_BV[sorted_BV.cumsum(dim=-1) - sorted_BV >= sampling.top_p] = 0.0
    drawn = [torch.multinomial(row_V, 1, generator=r) for row_V, r in zip(sorted_BV, randoms, strict=True)]
    return index_BV.gather(1, torch.stack(drawn)).squeeze(1)


def _with_masks(model: PixelGroundingModel, batch: Batch, rows: list[_Writing]) -> tuple[Reply, ...]:
    states = [state_D for row in rows for state_D in row.states]
    row_M = torch.tensor([index for index, row in enumerate(rows) for _ in row.states], dtype=torch.long)
    width = model.language.embed_tokens.embedding_dim
    weight = model.language.embed_tokens.weight
    state_MD = torch.stack(states) if states and batch.pixels_B3SS is not None else weight.new_zeros((0, width))
    pixels_B3SS = batch.vision_B3SS[:0] if batch.pixels_B3SS is None else batch.pixels_B3SS
    row_M = row_M[: len(state_MD)].to(weight.device)
    masks = model.masks(state_MD, row_M, pixels_B3SS, batch.sizes)
    return tuple(
        Reply(ids=tuple(row.ids), finished=row.finished, masks=found) for row, found in zip(rows, masks, strict=True)
    )

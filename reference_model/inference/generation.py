"""Generates answers token by token, and decodes their masks.

A prompt begins with positions that depend on its image or volume alone. They are read once for all questions about it,
and always alone, so that their numbers do not depend on what else is asked.

Shape suffixes: B conversations, T positions, P of them shared, K positions that can be attended to, D width of the
language model, V vocabulary, M masks, C width of the image tower.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from harness.errors import ModelError
from reference_model.inference.key_values import BLOCK, KeyValues, Layer
from reference_model.inference.seen_media import SeenImage, SeenImages, SeenVolume
from reference_model.inputs.batch import PADDING, Batch, VolumeBatch, pad
from reference_model.inputs.conversation import IGNORE, IMAGE, Encoded
from reference_model.inputs.images import for_pixel_encoder
from reference_model.modeling.language import LanguageModel
from reference_model.modeling.llava import LlavaModel
from reference_model.modeling.m3d_model import VolumeGroundingModel, seg_steps
from reference_model.modeling.model import ImageGroundingModel, ImageLanguageModel, Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How the next token is picked: the likeliest at temperature 0, otherwise sampled with a generator of this seed."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TextReply:
    """One answer in words.

    Attributes:
        ids: The tokens of the answer, without the end token.
        finished: Whether the model ended the answer itself.
    """

    ids: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(TextReply):
    """One answer about an image, with one mask for each `<SEG>` in it."""

    masks: Masks


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeReply(TextReply):
    """One answer about a volume.

    Attributes:
        logits_DHW: float32, the mask of all `[SEG]` tokens together, on the grid of the model; None without any.
    """

    logits_DHW: Tensor | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """Conversations that end with a question, all beginning with the same words and one image or volume.

    Attributes:
        ids_BT: int64, with the image expanded; the padding is behind the shared positions.
        valid_BT: Boolean, False for padding.
        labels_BT: int64, `IGNORE` where nothing is trained.
        shared: P, the positions up to the last of the image.
    """

    ids_BT: Tensor
    valid_BT: Tensor
    labels_BT: Tensor
    shared: int

    @classmethod
    def of(cls, rows: Sequence[Encoded]) -> "Prompts":
        """Return encoded conversations, at least one, as tensors.

        Raises:
            ModelError: A row has no image, nothing behind it, or something else before it than the first row.
        """
        ids = rows[0].ids
        shared = len(ids) - ids[::-1].index(IMAGE) if IMAGE in ids else 0
        for number, row in enumerate(rows):
            if row.ids[:shared] != ids[:shared] or IMAGE in row.ids[shared:] or not 0 < shared < len(row.ids):
                raise ModelError(
                    f"prompts: row {number}: expected the words of the first row, an image and a question, found "
                    f"{row.ids.count(IMAGE)} image positions among {len(row.ids)}; is max_length too short?"
                )
        first = torch.tensor(ids[:shared]).expand(len(rows), -1)
        first_labels = torch.tensor(rows[0].labels[:shared]).expand(len(rows), -1)
        ids_BT, valid_BT, labels_BT = pad([Encoded(r.ids[shared:], r.labels[shared:]) for r in rows], side="left")
        return cls(
            ids_BT=torch.cat((first, ids_BT), dim=1),
            valid_BT=torch.cat((torch.ones_like(first, dtype=torch.bool), valid_BT), dim=1),
            labels_BT=torch.cat((first_labels, labels_BT), dim=1),
            shared=shared,
        )


@dataclass(slots=True)
class _Writing:
    """One answer while it is written, with the states that predicted its `<SEG>`."""

    ids: list[int] = field(default_factory=list)
    states: list[Tensor] = field(default_factory=list)
    finished: bool = False


@torch.inference_mode()
def generate(
    model: ImageGroundingModel,
    batch: Batch,
    images: Sequence[SeenImage],
    *,
    shared: int,
    stop_ids: Collection[int],
    sampling: Sampling,
) -> tuple[Reply, ...]:
    """Answer a batch of conversations; an answer does not depend on the rest of the batch.

    Args:
        model: In evaluation mode, in which no token is dropped.
        batch: Ids and validity as of `Prompts`; labels, masks and images are not read.
        images: The image of each conversation, the same object where several are about one; what the model computes of
            it is kept there.
        shared: See `Prompts`.
        stop_ids: The tokens that end an answer.
        sampling: How tokens are picked.

    Raises:
        ModelError: The model is in training mode.
    """
    x_BTD = _read_images(model, batch, images, shared)
    prefixes = [image.prefix for image in images]
    rows = _write(model, prefixes, x_BTD, batch.valid_BT, stop_ids, sampling)
    return _with_masks(model, batch.sizes, images, rows)


@torch.inference_mode()
def generate_words(
    model: LlavaModel,
    batch: Batch,
    images: Sequence[SeenImages],
    *,
    shared: int,
    stop_ids: Collection[int],
    sampling: Sampling,
) -> tuple[TextReply, ...]:
    """Answer a batch of conversations in words alone; arguments and errors are those of `generate`."""
    x_BTD = _read_images(model, batch, images, shared)
    rows = _write(model, [seen.prefix for seen in images], x_BTD, batch.valid_BT, stop_ids, sampling)
    return tuple(TextReply(ids=tuple(row.ids), finished=row.finished) for row in rows)


@torch.inference_mode()
def generate_about_volumes(
    model: VolumeGroundingModel,
    batch: VolumeBatch,
    volumes: Sequence[SeenVolume],
    *,
    shared: int,
    stop_ids: Collection[int],
    sampling: Sampling,
) -> tuple[VolumeReply, ...]:
    """Answer a batch of questions about volumes; an answer does not depend on the rest of the batch.

    Args:
        model: In evaluation mode.
        batch: Ids and validity as of `Prompts`; labels, masks and volumes are not read.
        volumes: The volume of each question, as `generate` takes images.
        shared: See `Prompts`.
        stop_ids: The tokens that end an answer.
        sampling: How tokens are picked.

    Raises:
        ModelError: The model is in training mode.
    """
    _read_volumes(model, batch, volumes, shared)
    weight = model.language.embed_tokens.weight
    x_BTD = model.language.embed_tokens(batch.ids_BT[:, shared:])
    rows = _write(model, [volume.prefix for volume in volumes], x_BTD, batch.valid_BT, stop_ids, sampling)
    states: dict[int, Tensor] = {}
    for index, row in enumerate(rows):
        every = seg_steps(row.ids, model.seg_id, first_token_counts=True)
        counted = seg_steps(row.ids, model.seg_id, first_token_counts=model.first_token_counts)
        kept = [state_D for step, state_D in zip(every, row.states, strict=True) if step in counted]
        if kept:
            states[index] = torch.stack(kept).mean(dim=0)
    logits: dict[int, Tensor] = {}
    if states:
        # Each volume has one number, whatever its rows, so that it is encoded once.
        distinct = list({id(volumes[row]): volumes[row] for row in states}.values())
        number_M = torch.tensor([distinct.index(volumes[row]) for row in states], device=weight.device)
        volume_N1DHW = torch.stack([volume.volume_1DHW for volume in distinct]).to(weight)
        logits_MDHW = model.masks(torch.stack(list(states.values())), number_M, volume_N1DHW)
        logits = dict(zip(states, logits_MDHW, strict=True))
    return tuple(
        VolumeReply(ids=tuple(row.ids), finished=row.finished, logits_DHW=logits.get(index))
        for index, row in enumerate(rows)
    )


@torch.inference_mode()
def score_about_volumes(
    model: VolumeGroundingModel, batch: VolumeBatch, volumes: Sequence[SeenVolume], *, shared: int
) -> Tensor:
    """Return the log likelihood of the answer of each conversation, its end token included, float32 (B,).

    Args:
        model: In evaluation mode.
        batch: Ids, labels and validity as of `Prompts`, with answers.
        volumes, shared: As for `generate_about_volumes`.

    Raises:
        ModelError: The model is in training mode.
    """
    _read_volumes(model, batch, volumes, shared)
    x_BTD = model.language.embed_tokens(batch.ids_BT[:, shared:])
    return _likelihood(model.language, batch, [volume.prefix for volume in volumes], x_BTD)


@torch.inference_mode()
def score_about_images(model: ImageLanguageModel, batch: Batch, images: Sequence[SeenImages], *, shared: int) -> Tensor:
    """Return the log likelihood of the answer of each conversation, its end token included, float32 (B,).

    Args:
        model: In evaluation mode.
        batch: Ids, labels and validity as of `Prompts`, with answers.
        images, shared: As for `generate`.

    Raises:
        ModelError: The model is in training mode.
    """
    x_BTD = _read_images(model, batch, images, shared)
    return _likelihood(model.language, batch, [image.prefix for image in images], x_BTD)


def _likelihood(
    language: LanguageModel, batch: Batch | VolumeBatch, prefixes: Sequence[tuple[Layer, ...]], x_BTD: Tensor
) -> Tensor:
    cache = KeyValues.of(prefixes, room=x_BTD.shape[1])
    hidden_BTD = language(x_BTD, valid_BK=batch.valid_BT, cache=cache).hidden_BTD
    target_BT = batch.labels_BT[:, batch.labels_BT.shape[1] - x_BTD.shape[1] + 1 :]
    answered_BT = target_BT != IGNORE
    logits_NV = language.logits(hidden_BTD[:, :-1][answered_BT]).float()
    found_N = logits_NV.log_softmax(dim=-1).gather(1, target_BT[answered_BT][:, None])[:, 0]
    row_N = answered_BT.nonzero()[:, 0]
    return torch.zeros(len(target_BT), device=found_N.device).index_add(0, row_N, found_N)


def _read_images(model: ImageLanguageModel, batch: Batch, images: Sequence[SeenImages], shared: int) -> Tensor:
    """Keep with the images of each row what is computed of them alone; return the embeddings behind, (B, T - P, D)."""
    _check_mode(model)
    for row, image in enumerate(images):
        if image.features_NPC is None:
            weight = model.language.embed_tokens.weight
            features_NPC = model.vision(image.vision_N3SS.to(weight))
            alone = Batch(
                ids_BT=batch.ids_BT[row : row + 1, :shared],
                valid_BT=batch.valid_BT[row : row + 1, :shared],
                labels_BT=batch.labels_BT[row : row + 1, :shared],
                vision_B3SS=image.vision_N3SS,
                sizes=(),
                grid_RGG=batch.grid_RGG[:0],
            )
            image.prefix = _read(model.language, model.embed(alone, features_NPC))
            image.features_NPC = features_NPC
    asked_BT = batch.ids_BT[:, shared:]
    if bool((asked_BT < 0).any()):  # regions and queries are made of the image, too
        features_BPC = torch.cat([image.features_NPC for image in images if image.features_NPC is not None])
        return model.embed(batch, features_BPC)[:, shared:]
    embedded_BTD: Tensor = model.language.embed_tokens(asked_BT)
    return embedded_BTD


def _read_volumes(model: VolumeGroundingModel, batch: VolumeBatch, volumes: Sequence[SeenVolume], shared: int) -> None:
    """Keep with each volume the keys and values of its positions, unless they are there."""
    _check_mode(model)
    for number, volume in enumerate(volumes):
        if not volume.prefix:
            alone = replace(
                batch,
                ids_BT=batch.ids_BT[number : number + 1, :shared],
                volume_B1DHW=volume.volume_1DHW[None].to(model.language.embed_tokens.weight),
            )
            volume.prefix = _read(model.language, model.embed(alone))


def _check_mode(model: ImageLanguageModel | VolumeGroundingModel) -> None:
    if model.training:
        raise ModelError("generate: expected a model in evaluation mode; call model.eval() first")


def _read(language: LanguageModel, x_1PD: Tensor) -> tuple[Layer, ...]:
    """Return the keys and values of the positions that prompts share."""
    cache = KeyValues()
    language(x_1PD, valid_BK=torch.ones(x_1PD.shape[:2], dtype=torch.bool, device=x_1PD.device), cache=cache)
    return cache.layers()


def _write(
    model: ImageGroundingModel | LlavaModel | VolumeGroundingModel,
    prefixes: Sequence[tuple[Layer, ...]],
    x_BTD: Tensor,
    valid_BK: Tensor,
    stop_ids: Collection[int],
    sampling: Sampling,
) -> list[_Writing]:
    """Write the answers.

    Args:
        model: The model that reads and writes; only one without masks has no `<SEG>`.
        prefixes: For each row, keys and values of its first positions.
        x_BTD: Floating point, the embeddings of the others, padded on the left.
        valid_BK: Boolean, False for padding, of all positions.
        stop_ids: See `generate`.
        sampling: See `generate`.
    """
    # A generator per row: a row's random numbers are the same whichever rows it is batched with.
    randoms = [torch.Generator().manual_seed(sampling.seed) for _ in prefixes]
    cache = KeyValues.of(prefixes, room=x_BTD.shape[1] + min(BLOCK, sampling.max_new_tokens))
    hidden_BTD = model.language(x_BTD, valid_BK=valid_BK, cache=cache).hidden_BTD
    rows = [_Writing() for _ in prefixes]
    seg_id = None if isinstance(model, LlavaModel) else model.seg_id
    for left in reversed(range(sampling.max_new_tokens)):
        state_BD = hidden_BTD[:, -1]
        token_B = _pick(model.language.logits(state_BD).float().cpu(), sampling, randoms)
        _append(rows, token_B, state_BD, stop_ids, seg_id)
        writing_B = torch.tensor([not row.finished for row in rows], device=valid_BK.device)
        # The last token needs no forward pass: no state after it is read.
        if left == 0 or not bool(writing_B.any()):
            break
        next_B = token_B.to(valid_BK.device).masked_fill(~writing_B, PADDING)
        valid_BK = torch.cat((valid_BK, writing_B[:, None]), dim=1)
        x_BTD = model.language.embed_tokens(next_B[:, None])
        hidden_BTD = model.language(x_BTD, valid_BK=valid_BK, cache=cache).hidden_BTD
    return rows


def _append(
    rows: list[_Writing], token_B: Tensor, state_BD: Tensor, stop_ids: Collection[int], seg_id: int | None
) -> None:
    """Add the picked token to every answer that is not finished."""
    for index, (row, token) in enumerate(zip(rows, token_B.tolist(), strict=True)):
        if row.finished:
            continue
        row.finished = token in stop_ids
        if not row.finished:
            row.ids.append(token)
        if token == seg_id:  # the state that predicted it, as in training; see `modeling.model.seg_states`
            row.states.append(state_BD[index])


def _pick(logits_BV: Tensor, sampling: Sampling, randoms: Sequence[torch.Generator]) -> Tensor:
    if sampling.temperature == 0:
        return logits_BV.argmax(dim=-1)
    probability_BV = (logits_BV / sampling.temperature).softmax(dim=-1)
    sorted_BV, index_BV = probability_BV.sort(dim=-1, descending=True)
    # The sum before each token counts: the token that crosses `top_p` is kept, so that at least one always is.
    sorted_BV[sorted_BV.cumsum(dim=-1) - sorted_BV >= sampling.top_p] = 0.0
    drawn = [torch.multinomial(row_V, 1, generator=r) for row_V, r in zip(sorted_BV, randoms, strict=True)]
    return index_BV.gather(1, torch.stack(drawn)).squeeze(1)


def _with_masks(
    model: ImageGroundingModel,
    sizes: Sequence[tuple[int, int]],
    images: Sequence[SeenImage],
    rows: Sequence[_Writing],
) -> tuple[Reply, ...]:
    """Return the answers with their masks; an image goes through the pixel encoder when its first mask is wanted."""
    weight = model.language.embed_tokens.weight
    cells: list[Tensor] = []
    for image, row in zip(images, rows, strict=True):
        if row.states and image.cells_1KGG is None:
            pixels_3SS = for_pixel_encoder(image.image_HW3, model.pixel_side)
            image.cells_1KGG = model.pixel_encoder(pixels_3SS[None].to(weight))
        if image.cells_1KGG is not None:
            cells += [image.cells_1KGG] * len(row.states)
    states = [state_D for row in rows for state_D in row.states]
    state_MD = torch.stack(states) if states else weight.new_zeros((0, weight.shape[1]))
    features_MKGG = torch.cat(cells) if cells else weight.new_zeros(0)
    row_M = torch.tensor([index for index, row in enumerate(rows) for _ in row.states], dtype=torch.long)
    masks = model.decode(state_MD, row_M.to(weight.device), features_MKGG, sizes)
    return tuple(
        Reply(ids=tuple(row.ids), finished=row.finished, masks=found) for row, found in zip(rows, masks, strict=True)
    )

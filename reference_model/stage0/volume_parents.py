"""Stage 0 of a model that reads volumes: M3D-CLIP and, for a preset without public checkpoints, its other parents.

The published model begins with M3D-CLIP, which M3D itself trains on volumes and reports, with a language model and with
SegVol. A tiny language model learns to answer from a description in words in the place of the volume, and a tiny SegVol
to segment the structure that points, a box or a name refer to. A loss without a weight is not computed, so that
`{clip: 1}` is M3D's own stage.

Shape suffixes: B volumes, U distinct texts, M masks, T positions, D width of the language model, C width of SegVol's
encoder; volumes and masks are (..., D, H, W) voxels.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from harness.imaging import masks
from reference_model.config import VolumeModelConfig
from reference_model.inputs.batch import pad
from reference_model.inputs.clip_texts import encode_reports
from reference_model.inputs.conversation import IGNORE, Encoded, Tokenizer, encode_about_volume
from reference_model.inputs.images import Bools
from reference_model.modeling.build import build_volume_model
from reference_model.modeling.language import init_matching_heads
from reference_model.modeling.m3d_model import SegProjector, VolumeGroundingModel
from reference_model.stage0.objective import MATCHING_LAYERS, MATCHING_SHARE, MATCHING_STRENGTH, PROMPT_SHARES
from reference_model.training.collating.augmentation import Augmentation
from reference_model.training.collating.images import filled, packed
from reference_model.training.collating.volumes import VolumeCollator
from reference_model.training.losses import bce_loss_3d, language_loss, soft_dice_loss_3d
from reference_model.training.mixing import Row
from reference_model.training.objectives import Measured, measured

# Fewest words of an answer about a whole volume that counts as a report; a sentence with a box has up to 20.
REPORT_WORDS = 25
# Most masks per volume and step: a volume is encoded once, but each mask takes a pass of the decoder.
MASKS_PER_VOLUME = 3
# Most questions per volume and step that the language model answers from a description.
QUESTIONS_PER_VOLUME = 8
# Grey value and deviation that the patches are centred and scaled by at first: soft tissue in a CT from air to bone. In
# trials of the tower alone, average precision of cysts was 0.54 with these and 0.14 with 0.6 and 0.15.
GREY_VALUE, GREY_DEVIATION = 0.80, 0.05
_BOX = re.compile(r"\[[\d., ]+\]")


def build_untrained_volume_model(config: VolumeModelConfig) -> VolumeGroundingModel:
    """Return a randomly initialised model with the starting weights of stage 0; uses torch's generator.

    Besides the matching attention heads of `stage0.objective`, the patch embeddings begin with filters of which each
    answers to the mean grey value of a patch above a threshold of its own, beside finer structure, and with positions
    of the same size. With the small weights of MONAI, grey values of 0 to 1 differ too little between tissues: after
    120 steps of M3D-CLIP, R@1 among 24 volumes was 0.08, and 0.58 with these (learning rates 0.003 and 0.01).
    """
    model = build_volume_model(config)
    init_matching_heads(model.language, layers=MATCHING_LAYERS, share=MATCHING_SHARE, strength=MATCHING_STRENGTH)
    with torch.no_grad():
        for tower in (model.clip.vision, model.vision, model.segvol.image_encoder):
            embedding = tower.patch_embedding
            linear = embedding.patch_embeddings["1"]
            assert isinstance(linear, nn.Linear)
            channels, voxels = linear.weight.shape
            linear.weight.normal_(0, 0.5 / (GREY_DEVIATION * voxels**0.5))
            linear.weight.add_(torch.randn(channels, 1) / (GREY_DEVIATION * voxels))
            linear.bias.copy_(0.5 * torch.randn(channels) - GREY_VALUE * linear.weight.sum(dim=1))
            embedding.position_embeddings.normal_(0, 1)
    return model


def report_of(row: Row) -> str:
    """Return the report on a volume: the longest answer about all of it; empty if none is long enough for one."""
    about_all = (one.answer for one in row if one.mask is None and not one.prompts)
    longest = max(about_all, key=len, default="")
    return longest if len(longest.split()) >= REPORT_WORDS else ""


def description(row: Row, random: Generator) -> str:
    """Return what is known of a volume in words: its report, and its structures with their boxes, in random order.

    The order is random so that facts are looked up by what they are about, and not by their place, which says nothing
    about the positions of a volume.
    """
    report = report_of(row)
    facts = [f"{sentence}." for sentence in report.rstrip(".").split(". ")] if report else []
    boxes = {example.name: found[0] for example in row if (found := _BOX.search(example.answer)) and example.name}
    facts += [f"{name} {box}." for name, box in boxes.items()]
    return " ".join(facts[int(place)] for place in random.permutation(len(facts)))


class VolumeParents:
    """The objective of stage 0."""

    def __init__(
        self,
        model: VolumeGroundingModel,
        collator: VolumeCollator,
        weights: Mapping[str, float],
        *,
        text_tokenizer: Tokenizer,
    ) -> None:
        """Build the objective; its head is initialised with torch's generator.

        Args:
            model: The model to train.
            collator: Provides configuration, tokenizer and volumes.
            weights: Weight of each loss by name: `clip`, `language`, `bce`, `dice`.
            text_tokenizer: That of M3D-CLIP's text tower.
        """
        self.model = model
        self._collator = collator
        self._weights = weights
        self._text_tokenizer = text_tokenizer
        config = collator.config
        # Takes the place of SegVol's own text encoder, which M3D drops.
        self.names = SegProjector(language_width=config.language.width, channels=config.segmentation.width)

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return the head that encodes names, if masks are trained."""
        return {"names": self.names} if self._weights.get("dice") or self._weights.get("bce") else {}

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows; see `Objective.measure`."""
        del drop_seed, progress
        device = self.model.language.embed_tokens.weight.device
        losses: dict[str, Tensor] = {}
        if self._weights.get("clip"):
            losses["clip"] = self._clip_loss(rows, random, device)
        if self._weights.get("language"):
            losses["language"] = self._reading_loss(rows, random, device)
        if self._weights.get("bce") or self._weights.get("dice"):
            losses["bce"], losses["dice"] = self._mask_losses(rows, random, device)
        return measured(losses, self._weights)

    def _clip_loss(self, rows: Sequence[Row], random: Generator, device: torch.device) -> Tensor:
        reports = [report_of(row) for row in rows]
        found = [index for index, report in enumerate(reports) if report]
        if not found:
            return self.model.clip.logit_scale * 0.0
        volumes = [self._collator.volumes.of(rows[index][0])[0] for index in found]
        if self._collator.augmentation:
            volumes = [Augmentation.sampled(random).volume(volume_1DHW) for volume_1DHW in volumes]
        texts = list(dict.fromkeys(reports[index] for index in found))
        ids_UT, valid_UT = encode_reports(texts, self._text_tokenizer, max_length=self._collator.config.clip.max_length)
        text_B = torch.tensor([texts.index(reports[index]) for index in found], device=device)
        clip = self.model.clip
        return clip.pair_loss(
            clip.embed_volumes(torch.stack(volumes).to(device)),
            clip.embed_texts(ids_UT.to(device), valid_UT.to(device)),
            text_B,
        )

    def _reading_loss(self, rows: Sequence[Row], random: Generator, device: torch.device) -> Tensor:
        """Return the loss of answers that the language model reads off a description in the place of the volume."""
        tokenizer, most = self._collator.tokenizer, self._collator.config.prompt.max_length
        joined = []
        for row in rows:
            described = tokenizer.encode(description(row, random))
            asked = [row[int(place)] for place in random.permutation(len(row))[:QUESTIONS_PER_VOLUME]]
            encoded = [
                encode_about_volume(
                    question.question,
                    question.answer,
                    tokenizer,
                    positions=len(described),
                    max_length=most + len(described),
                )
                for question in asked
            ]
            shared = (tokenizer.start_id, *described)
            with_words = [Encoded((*shared, *one.ids[len(shared) :]), one.labels) for one in encoded]
            weight = self._collator.answer_weight
            joined.append(packed(with_words, shared=len(shared), answer_weight=weight))
        padded = pad([one.encoded for one in joined], side="right")
        ids_BT, valid_BT, labels_BT = (tensor.to(device) for tensor in padded)
        language = self.model.language
        hidden_BTD = language(
            language.embed_tokens(ids_BT),
            valid_BK=valid_BT,
            segment_BK=filled([one.segments for one in joined], ids_BT, torch.long),
        ).hidden_BTD
        weight_BT = filled([one.weights for one in joined], ids_BT, torch.float32)
        trained_BT = labels_BT[:, 1:] != IGNORE
        logits_NV = language.logits(hidden_BTD[:, :-1][trained_BT])
        return language_loss(logits_NV, labels_BT[:, 1:][trained_BT], weight_BT[:, 1:][trained_BT])

    def _mask_losses(self, rows: Sequence[Row], random: Generator, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return BCE and Dice loss, scalars, of masks prompted by a point, a box or a name."""
        segvol = self.model.segvol
        volumes: list[Tensor] = []
        row_of: list[int] = []
        names: list[str] = []
        targets: list[Bools] = []
        for row in rows:
            marked = [example for example in row if example.mask is not None]
            volume_1DHW, frame = self._collator.volumes.of(row[0])
            found = []
            for place in random.permutation(len(marked))[:MASKS_PER_VOLUME]:
                example = marked[int(place)]
                mask_DHW = frame.mask_to_grid(masks.decode(example.mask)) if example.mask else None
                if mask_DHW is not None and mask_DHW.any():  # a small structure may be lost on the grid
                    found.append((example.name, mask_DHW))
            if found:
                row_of += [len(volumes)] * len(found)
                volumes.append(volume_1DHW)
                names += [name for name, _ in found]
                targets += [mask for _, mask in found]
        if not targets:
            zero = torch.zeros((), device=device)
            return zero, zero
        features_BCdhw = segvol.encode(torch.stack(volumes).to(device))
        kind_M = random.choice(len(PROMPT_SHARES), size=len(targets), p=PROMPT_SHARES)
        logits, order = [], []
        for kind in range(len(PROMPT_SHARES)):
            chosen = np.flatnonzero(kind_M == kind)
            if not len(chosen):
                continue
            features_MCdhw = features_BCdhw[torch.tensor([row_of[index] for index in chosen], device=device)]
            own = [targets[index] for index in chosen]
            if kind == 0:
                points = np.stack([random.choice(np.argwhere(mask)) for mask in own])[:, None]
                points_M13 = torch.from_numpy(points).to(device).float()
                inside_M1 = torch.ones(points_M13.shape[:2], dtype=torch.long, device=device)
                sparse_MNC = segvol.prompt_encoder.embed_points(points_M13, inside_M1)
                made = segvol.decode(features_MCdhw, sparse_MNC=sparse_MNC)
            elif kind == 1:
                corners = np.stack([np.concatenate((at.min(0), at.max(0))) for at in map(np.argwhere, own)])
                boxes_M6 = torch.from_numpy(corners).to(device).float()
                made = segvol.decode(features_MCdhw, sparse_MNC=segvol.prompt_encoder.embed_boxes(boxes_M6))
            else:
                made = segvol.decode(features_MCdhw, self._encoded_names([names[index] for index in chosen], device))
            logits.append(made[0])
            order += chosen.tolist()
        target_MDHW = torch.from_numpy(np.stack([targets[index] for index in order])).to(device).float()
        logits_MDHW = torch.cat(logits)
        return bce_loss_3d(logits_MDHW, target_MDHW), soft_dice_loss_3d(logits_MDHW, target_MDHW)

    def _encoded_names(self, names: Sequence[str], device: torch.device) -> Tensor:
        """Return the prompt of each name, floating point (M, C), from the language model's state after it."""
        tokenizer = self._collator.tokenizer
        unique = list(dict.fromkeys(names))
        ids = [(tokenizer.start_id, *tokenizer.encode(name), tokenizer.end_id) for name in unique]
        ids_UT, valid_UT, _ = (tensor.to(device) for tensor in pad([Encoded(one, one) for one in ids], side="left"))
        states_UTD = self.model.language(self.model.language.embed_tokens(ids_UT), valid_BK=valid_UT).hidden_BTD
        prompt_UC: Tensor = self.names(states_UTD[:, -1])
        return prompt_UC[[unique.index(name) for name in names]]

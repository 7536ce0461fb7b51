"""Turns rows of questions about volumes into the tensors of a batch.

Shape suffixes: as in `batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from harness.imaging import masks
from reference_model.config import VolumeModelConfig
from reference_model.inputs.batch import VolumeBatch, pad
from reference_model.inputs.conversation import VOLUME_SEG, Encoded, Tokenizer, encode_about_volume
from reference_model.inputs.volume_boxes import answer_on_grid, question_on_grid
from reference_model.inputs.volumes import VolumeFrame, prepare_volume
from reference_model.training.collating.augmentation import Augmentation
from reference_model.training.collating.images import filled, packed
from reference_model.training.collating.prepared_media import PreparedMedia
from reference_model.training.data import Example
from reference_model.training.mixing import Row

# Bytes of prepared volumes kept in memory: 256 of the full size, or 4,096 of the tiny one.
CACHE_BYTES = 2 << 30


@dataclass(slots=True)
class PreparedVolumes:
    """A cache of volumes on the grid of the model."""

    config: VolumeModelConfig
    most_bytes: int = CACHE_BYTES
    _kept: PreparedMedia[tuple[Tensor, VolumeFrame]] = field(default_factory=PreparedMedia)

    def of(self, example: Example) -> tuple[Tensor, VolumeFrame]:
        """Return a volume on the grid, float32 (1, D, H, W), and its place there."""
        size, preprocessing = self.config.vision.size, self.config.preprocessing
        prepare = partial(prepare_volume, example.media, size=size, preprocessing=preprocessing)
        return self._kept.of(example.media_key, prepare, most_bytes=self.most_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeCollator:
    """Turns rows about volumes into batches.

    Attributes:
        config: The numbers of the model.
        tokenizer: The tokenizer of the model.
        volumes: The cache of prepared volumes.
        answer_weight: As for `images.Collator`.
        augmentation: Whether volumes are turned, mirrored and changed in brightness as in the released training; see
            `Augmentation`.
    """

    config: VolumeModelConfig
    tokenizer: Tokenizer
    volumes: PreparedVolumes
    answer_weight: float = 0.0
    augmentation: bool = False

    def batch(self, rows: Sequence[Row], random: Generator) -> VolumeBatch:
        """Return the batch of these rows, padded on the right.

        Args:
            rows: At least one row, each about one volume.
            random: Chooses the augmentation.
        """
        size, seg_id = self.config.vision.size, self.tokenizer.special.id(VOLUME_SEG)
        joined, volumes, found_masks, places = [], [], [], []
        for number, row in enumerate(rows):
            volume_1DHW, frame = self.volumes.of(row[0])
            change = Augmentation.sampled(random) if self.augmentation else None
            encoded = [self._question(example, frame, change) for example in row]
            own = [
                (segment, frame.mask_to_grid(masks.decode(example.mask)))
                for segment, (example, question) in enumerate(zip(row, encoded, strict=True), start=1)
                # The mask of an answer that was truncated before its `[SEG]` is not trained.
                if example.mask is not None and seg_id in question.ids
            ]
            mask_NDHW = torch.from_numpy(np.stack([mask for _, mask in own])) if own else torch.zeros((0, *size))
            if change is not None:
                volume_1DHW, mask_NDHW = change.volume(volume_1DHW), change.moved(mask_NDHW)
            joined.append(packed(encoded, shared=1 + self.config.volume_tokens, answer_weight=self.answer_weight))
            volumes.append(volume_1DHW)
            # A structure smaller than a cell may be lost on the grid; the release trains no mask without foreground.
            kept = [index for index, mask_DHW in enumerate(mask_NDHW) if mask_DHW.any()]
            found_masks.append(mask_NDHW[kept].float())
            places += [(number, own[index][0]) for index in kept]
        ids_BT, valid_BT, labels_BT = pad([one.encoded for one in joined], side="right")
        place_M2 = torch.tensor(places, dtype=torch.long).reshape(-1, 2)
        return VolumeBatch(
            ids_BT=ids_BT,
            valid_BT=valid_BT,
            labels_BT=labels_BT,
            weight_BT=filled([one.weights for one in joined], ids_BT, torch.float32),
            segment_BT=filled([one.segments for one in joined], ids_BT, torch.long),
            volume_B1DHW=torch.stack(volumes),
            mask_row_M=place_M2[:, 0],
            mask_segment_M=place_M2[:, 1],
            mask_MDHW=torch.cat(found_masks),
        )

    def _question(self, example: Example, frame: VolumeFrame, change: Augmentation | None) -> Encoded:
        question = question_on_grid(example.question, example.prompts, frame)
        answer = answer_on_grid(example.answer, frame)
        if change is not None:
            question, answer = change.text(question, frame.size), change.text(answer, frame.size)
        return encode_about_volume(
            question,
            answer,
            self.tokenizer,
            positions=self.config.volume_tokens,
            max_length=self.config.prompt.max_length,
        )

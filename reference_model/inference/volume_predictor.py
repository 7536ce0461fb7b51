"""Turns requests about volumes into batches, and replies of the model into answers.

Shape suffixes: as in `batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from harness.records import Answer, MediaHandle, Request
from reference_model.checkpoints.checkpoint import About
from reference_model.config import VolumeModelConfig
from reference_model.inference import options
from reference_model.inference.generation import (
    Prompts,
    VolumeReply,
    generate_about_volumes,
    score_about_volumes,
)
from reference_model.inference.sampling import sampling_of
from reference_model.inference.seen_media import LastSeen, SeenVolume
from reference_model.inputs.batch import VolumeBatch
from reference_model.inputs.clip_texts import encode_reports
from reference_model.inputs.conversation import Encoded, Tokenizer, encode_about_volume
from reference_model.inputs.volume_boxes import answer_on_source, question_on_grid, read_boxes
from reference_model.inputs.volumes import VolumeFrame, prepare_volume
from reference_model.modeling.m3d_model import VolumeGroundingModel


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePredictor:
    """A model of M3D-LaMed's architecture with everything needed to answer requests.

    Attributes:
        model: In evaluation mode.
        config: The numbers of the model.
        tokenizer: The language model's own.
        text_tokenizer: That of M3D-CLIP.
        threshold: The probability above which a voxel is foreground.
        device: The device of the model, by torch's name.
    """

    model: VolumeGroundingModel
    config: VolumeModelConfig
    tokenizer: Tokenizer
    text_tokenizer: Tokenizer
    threshold: float
    device: str
    seen: LastSeen[MediaHandle, SeenVolume] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", LastSeen(self._read))  # as a frozen class has to

    @classmethod
    def of(
        cls, model: VolumeGroundingModel, about: About, device: str, *, threshold: float | None
    ) -> "VolumePredictor":
        """Return the predictor of a loaded model; without a threshold, that of its configuration counts."""
        assert isinstance(about.config, VolumeModelConfig)
        return cls(
            model=model.to(device),
            config=about.config,
            tokenizer=about.tokenizer(),
            text_tokenizer=about.tokenizer_of_reports(),
            threshold=about.config.mask_decoder.threshold if threshold is None else threshold,
            device=device,
        )

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request.

        Args:
            requests: At least one, each about one volume and all of one kind, `generate` or `embed`; the decoding
                options of the first apply to all.

        Raises:
            DataError: A volume cannot be read.
        """
        volumes = self.seen.of([request.volumes[0] for request in requests])
        if requests[0].kind == "embed":
            return self._embeddings(requests, torch.stack([volume.volume_1DHW for volume in volumes]))
        return options.answer(self, requests, volumes, options=self.config.prompt.options)

    def write(self, requests: Sequence[Request], seen: Sequence[SeenVolume]) -> list[Answer]:
        """Answer a batch word by word."""
        asked = [self.encode(*one) for one in zip(requests, seen, strict=True)]
        batch, shared = self._batch(asked)
        replies = generate_about_volumes(
            self.model,
            batch,
            seen,
            shared=shared,
            stop_ids=(self.tokenizer.end_id,),
            sampling=sampling_of(requests[0], most=self.config.language.max_positions - batch.ids_BT.shape[1]),
        )
        frames = [volume.frame for volume in seen]
        return [self._answer(*one) for one in zip(requests, asked, replies, frames, strict=True)]

    def log_likelihoods(
        self, requests: Sequence[Request], seen: Sequence[SeenVolume], replies: Sequence[str]
    ) -> Tensor:
        """Return the log likelihood of a reply to each request, float32 (B,)."""
        batch, shared = self._batch([self.encode(*one) for one in zip(requests, seen, replies, strict=True)])
        return score_about_volumes(self.model, batch, seen, shared=shared)

    def encode(self, request: Request, seen: SeenVolume, reply: str | None = None) -> Encoded:
        """Return a question as the model reads it, with a reply if one is given."""
        return encode_about_volume(
            question_on_grid(request.prompt, request.visual_prompts, seen.frame),
            reply,
            self.tokenizer,
            positions=self.config.volume_tokens,
            max_length=self.config.prompt.max_length,
        )

    def _batch(self, rows: Sequence[Encoded]) -> tuple[VolumeBatch, int]:
        """Return rows as a batch without volumes on the device, and the number of positions that they share."""
        prompts = Prompts.of(rows)
        none = torch.zeros(0, dtype=torch.long)
        batch = VolumeBatch(
            ids_BT=prompts.ids_BT,
            valid_BT=prompts.valid_BT,
            labels_BT=prompts.labels_BT,
            volume_B1DHW=torch.zeros(0),
            mask_row_M=none,
            mask_segment_M=none,
            mask_MDHW=torch.zeros(0),
        )
        return batch.to(self.device), prompts.shared

    def _read(self, handle: MediaHandle) -> SeenVolume:
        volume_1DHW, frame = prepare_volume(
            handle, size=self.config.vision.size, preprocessing=self.config.preprocessing
        )
        return SeenVolume(volume_1DHW=volume_1DHW, frame=frame)

    @torch.inference_mode()
    def _embeddings(self, requests: Sequence[Request], volume_B1DHW: Tensor) -> list[Answer]:
        """Return the vector of each volume and that of the first candidate text."""
        # A volume is in several pools and a report belongs to several volumes: each is encoded once.
        texts = list(dict.fromkeys(request.candidates[0] for request in requests))
        encoded = encode_reports(texts, self.text_tokenizer, max_length=self.config.clip.max_length)
        ids_UT, valid_UT = (tensor.to(self.device) for tensor in encoded)
        text_UC = self.model.clip.embed_texts(ids_UT, valid_UT).float().cpu().numpy()
        weight = self.model.clip.image_head.weight
        volume_BC = self.model.clip.embed_volumes(volume_B1DHW.to(weight)).float().cpu().numpy()
        return [
            Answer(embedding=(vector_C, text_UC[texts.index(request.candidates[0])]))
            for request, vector_C in zip(requests, volume_BC, strict=True)
        ]

    def _answer(self, request: Request, encoded: Encoded, reply: VolumeReply, frame: VolumeFrame) -> Answer:
        text = self.tokenizer.decode(reply.ids)
        masks, scores = [], []
        if reply.logits_DHW is not None:
            # Probabilities are interpolated: beyond the crop of the grid they are 0, which logits cannot say.
            probability_DHW = frame.mask_to_source(reply.logits_DHW.sigmoid()).cpu().numpy()
            masks = [probability_DHW > self.threshold]
            scores = [float(probability_DHW[masks[0]].mean()) if masks[0].any() else 0.0]
        elif "masks" in request.wants:
            # As the release's logits of minus infinity: the model says that there is nothing to mark.
            masks, scores = [np.zeros(frame.source_size, dtype=np.bool_)], [0.0]
        found = read_boxes(text, frame.size) if "boxes" in request.wants else []
        return Answer(
            text=answer_on_source(text, frame),
            masks=tuple(masks),
            mask_scores=tuple(scores),
            boxes=tuple(frame.box_to_source(box) for box in found),
            rendered=self.tokenizer.decode(encoded.ids),
            usage={"prompt_tokens": len(encoded.ids), "answer_tokens": len(reply.ids)},
            status="ok" if reply.finished else "truncated",
        )

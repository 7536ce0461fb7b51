"""Turns requests of the harness into batches and replies of the model into answers.

Shape suffixes: as in `batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch

from harness.imaging import masks
from harness.records import Answer, MediaHandle, Request
from reference_model.checkpoints.checkpoint import About, load_model
from reference_model.config import ModelConfig
from reference_model.inference.generation import Prompts, Reply, generate
from reference_model.inference.sampling import sampling_of
from reference_model.inference.seen_media import LastSeen, SeenImage
from reference_model.inference.volume_predictor import VolumePredictor
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import SEG, Encoded, Tokenizer, Turn, encode_conversation, expand_image
from reference_model.inputs.images import Bools, for_vision_tower
from reference_model.inputs.requests import grid_of_prompt, grids, question_of
from reference_model.modeling.m3d_model import VolumeGroundingModel
from reference_model.modeling.mask_decoder import above
from reference_model.modeling.model import PixelGroundingModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A model with everything needed to answer requests.

    Attributes:
        model: In evaluation mode.
        config: The numbers of the model.
        tokenizer: The model's own.
        threshold: The probability above which a pixel is foreground.
        device: The device of the model, by torch's name.
    """

    model: PixelGroundingModel
    config: ModelConfig
    tokenizer: Tokenizer
    threshold: float
    device: str
    seen: LastSeen[SeenImage] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", LastSeen(self._read))  # as a frozen class has to

    @classmethod
    def of(cls, model: PixelGroundingModel, about: About, device: str, *, threshold: float | None) -> "Predictor":
        """Return the predictor of a loaded model; without a threshold, that of its configuration counts."""
        assert isinstance(about.config, ModelConfig)
        return cls(
            model=model.to(device),
            config=about.config,
            tokenizer=about.tokenizer(),
            threshold=about.config.mask_decoder.threshold if threshold is None else threshold,
            device=device,
        )

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request.

        Args:
            requests: At least one, each about one image; the decoding options of the first apply to all.

        Raises:
            DataError: An image cannot be read, or a visual prompt covers no pixel of it.
        """
        prompt = self.config.prompt
        encoded = [
            encode_conversation(
                [Turn(question_of(request))], self.tokenizer, system=prompt.system, max_length=prompt.max_length
            )
            for request in requests
        ]
        images = self.seen.of([request.images[0] for request in requests])
        prompts = Prompts.of([expand_image(one, self.config.vision.tokens) for one in encoded])
        regions = [
            grid_of_prompt(one, image.size, self.config)
            for request, image in zip(requests, images, strict=True)
            for one in request.visual_prompts
        ]
        batch = Batch(
            ids_BT=prompts.ids_BT,
            valid_BT=prompts.valid_BT,
            labels_BT=prompts.labels_BT,
            vision_B3SS=torch.zeros(0),
            sizes=tuple(image.size for image in images),
            grid_RGG=grids(regions, self.config.vision.cells),
        )
        replies = generate(
            self.model,
            batch.to(self.device),
            images,
            shared=prompts.shared,
            stop_ids=(self.tokenizer.end_id,),
            sampling=sampling_of(requests[0], most=self.config.language.max_positions - prompts.ids_BT.shape[1]),
        )
        return [self._answer(*one) for one in zip(requests, encoded, replies, strict=True)]

    def _read(self, handle: MediaHandle) -> SeenImage:
        image_HW3 = handle.image()
        return SeenImage(image_HW3=image_HW3, vision_3SS=for_vision_tower(image_HW3, self.config.vision.image_size))

    def _answer(self, request: Request, encoded: Encoded, reply: Reply) -> Answer:
        probability = reply.masks.logits_MHW.float().sigmoid()
        foreground: list[Bools] = [mask.cpu().numpy() for mask in above(reply.masks.logits_MHW, self.threshold)]
        scores = [
            float(one[one > self.threshold].mean()) if mask.any() else 0.0
            for one, mask in zip(probability, foreground, strict=True)
        ]
        # An answer of masks alone decodes to no text; as in the release, it gets one `<SEG>` per mask.
        text = self.tokenizer.decode(reply.ids) or " ".join([SEG] * len(reply.masks.iou_M))
        found = [masks.bounding_box(masks.encode(mask)) for mask in foreground] if "boxes" in request.wants else []
        return Answer(
            text=text,
            masks=tuple(foreground),
            mask_scores=tuple(scores),
            boxes=tuple(box for box in found if box is not None),
            rendered=self.tokenizer.decode(encoded.ids),
            usage={"prompt_tokens": len(encoded.ids), "answer_tokens": len(reply.ids)},
            status="ok" if reply.finished else "truncated",
        )


def load_predictor(folder: Path, device: str, *, threshold: float | None = None) -> Predictor | VolumePredictor:
    """Load the model in a folder onto a device, whichever architecture it has.

    Raises:
        DataError: A file is missing or torn.
    """
    model, about = load_model(folder)
    if isinstance(model, VolumeGroundingModel):
        return VolumePredictor.of(model, about, device, threshold=threshold)
    return Predictor.of(model, about, device, threshold=threshold)

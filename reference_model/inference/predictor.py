"""Turns requests of the harness into batches and replies of the model into answers.

Shape suffixes: as in `batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from harness.imaging import masks
from harness.records import Answer, MediaHandle, PredictedEntity, Request
from harness.text.grounded_text import parse
from reference_model.checkpoints.checkpoint import About, open_model
from reference_model.config import EntityModelConfig, ImageModelConfig, LlavaModelConfig, VolumeModelConfig
from reference_model.inference import options
from reference_model.inference.generation import Prompts, Reply, generate, score_about_images
from reference_model.inference.llava_predictor import LlavaPredictor
from reference_model.inference.sampling import sampling_of
from reference_model.inference.seen_media import LastSeen, SeenImage
from reference_model.inference.volume_predictor import VolumePredictor
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import REGION, SEG, Encoded, Tokenizer, Turn, encode_conversation, expand_image
from reference_model.inputs.images import Bools, for_vision_tower
from reference_model.inputs.requests import grid_of_prompt, grids, in_words, question_of
from reference_model.inputs.visual_prompts import (
    PromptPlaces,
    encode_question,
    first_places,
    places_of,
    prompt_tensors,
)
from reference_model.modeling.llava import LlavaModel
from reference_model.modeling.m3d_model import VolumeGroundingModel
from reference_model.modeling.mask_decoder import above
from reference_model.modeling.model import ImageGroundingModel


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

    model: ImageGroundingModel
    config: ImageModelConfig
    tokenizer: Tokenizer
    threshold: float
    device: str
    seen: LastSeen[MediaHandle, SeenImage] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", LastSeen(self._read))  # as a frozen class has to

    @classmethod
    def of(cls, model: ImageGroundingModel, about: About, device: str, *, threshold: float | None) -> "Predictor":
        """Return the predictor of a loaded model; without a threshold, that of its configuration counts."""
        assert not isinstance(about.config, VolumeModelConfig | LlavaModelConfig)
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
        images = self.seen.of([request.images[0] for request in requests])
        return options.answer(self, requests, images, options=self.config.prompt.options)

    def encode(self, request: Request, seen: SeenImage, reply: str | None = None) -> Encoded:
        """Return a question as the model reads it, with a reply in the words of its option if one is given."""
        return self._asked(request, seen, reply)[0]

    def write(self, requests: Sequence[Request], seen: Sequence[SeenImage]) -> list[Answer]:
        """Answer a batch word by word."""
        asked = [self._asked(request, image, None) for request, image in zip(requests, seen, strict=True)]
        batch, shared = self._batch(requests, seen, asked)
        replies = generate(
            self.model,
            batch,
            seen,
            shared=shared,
            stop_ids=(self.tokenizer.end_id,),
            sampling=sampling_of(requests[0], most=self.config.language.max_positions - batch.ids_BT.shape[1]),
        )
        return [
            self._answer(request, encoded, reply)
            for request, (encoded, _), reply in zip(requests, asked, replies, strict=True)
        ]

    def log_likelihoods(self, requests: Sequence[Request], seen: Sequence[SeenImage], replies: Sequence[str]) -> Tensor:
        """Return the log likelihood of a reply to each request, float32 (B,)."""
        asked = [self._asked(*one) for one in zip(requests, seen, replies, strict=True)]
        batch, shared = self._batch(requests, seen, asked)
        return score_about_images(self.model, batch, seen, shared=shared)

    def _batch(
        self,
        requests: Sequence[Request],
        images: Sequence[SeenImage],
        asked: Sequence[tuple[Encoded, PromptPlaces]],
    ) -> tuple[Batch, int]:
        """Return questions as a batch without images on the device, and the number of positions that they share."""
        prompts = Prompts.of([expand_image(encoded, self.config.vision.tokens) for encoded, _ in asked])
        regions = [
            grid_of_prompt(one, image.size, self.config)
            for request, image in zip(requests, images, strict=True)
            for one in (() if isinstance(self.config, EntityModelConfig) else request.visual_prompts)
        ]
        place_N2, kind_N = prompt_tensors([places for _, places in asked])
        batch = Batch(
            ids_BT=prompts.ids_BT,
            valid_BT=prompts.valid_BT,
            labels_BT=prompts.labels_BT,
            vision_B3SS=torch.zeros(0),
            sizes=tuple(image.size for image in images),
            grid_RGG=grids(regions, self.config.vision.cells),
            prompt_place_N2=place_N2,
            prompt_kind_N=kind_N,
        )
        return batch.to(self.device), prompts.shared

    def _asked(self, request: Request, seen: SeenImage, reply: str | None) -> tuple[Encoded, PromptPlaces]:
        """Return what `encode` does, and the points and corners in the question, which only MIMO reads."""
        question, config = question_of(request), self.config
        turn = Turn(question, None if reply is None else in_words(question, reply))
        if isinstance(config, EntityModelConfig):
            prompts = [places_of(one, seen.size, side=config.vision.image_size) for one in request.visual_prompts]
            encoded = encode_question(turn, prompts, config, self.tokenizer)
            return encoded, first_places(prompts, encoded.ids.count(REGION))
        prompt = config.prompt
        encoded = encode_conversation([turn], self.tokenizer, system=prompt.system, max_length=prompt.max_length)
        return encoded, PromptPlaces()

    def _read(self, handle: MediaHandle) -> SeenImage:
        image_HW3 = handle.image()
        vision_3SS = for_vision_tower(image_HW3, self.config.vision.image_size)
        return SeenImage(image_HW3=image_HW3, vision_N3SS=vision_3SS[None])

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
            entities=entities_in(text) if isinstance(self.config, EntityModelConfig) else (),
            masks=tuple(foreground),
            mask_scores=tuple(scores),
            boxes=tuple(box for box in found if box is not None),
            rendered=self.tokenizer.decode(encoded.ids),
            usage={"prompt_tokens": len(encoded.ids), "answer_tokens": len(reply.ids)},
            status="ok" if reply.finished else "truncated",
        )


def entities_in(text: str) -> tuple[PredictedEntity, ...]:
    """Return the entities that an answer of MIMO's grammar names, each with the mask of its `<SEG>`.

    Of an answer that binds several masks to one entity, none are returned: the harness then reads the text itself and
    joins them.
    """
    found = parse(text, "mimo").entities
    if any(len(entity.masks) > 1 for entity in found):
        return ()
    return tuple(PredictedEntity(name=one.name, span=one.span, mask=next(iter(one.masks), None)) for one in found)


def load_predictor(
    folder: Path, device: str, *, threshold: float | None = None, dtype: torch.dtype = torch.float32
) -> Predictor | LlavaPredictor | VolumePredictor:
    """Load the model in a folder onto a device, whichever architecture it has.

    Args:
        folder: A finished model.
        device: The device, by torch's name.
        threshold: See `Predictor`; None: the model's own.
        dtype: See `open_model`.

    Raises:
        DataError: A file is missing or torn.
    """
    model, about = open_model(folder, dtype)
    if isinstance(model, LlavaModel):
        return LlavaPredictor.of(model, about, device)
    if isinstance(model, VolumeGroundingModel):
        return VolumePredictor.of(model, about, device, threshold=threshold)
    return Predictor.of(model, about, device, threshold=threshold)

"""Turns requests about several images into batches, and replies of HuatuoGPT-Vision into answers.

Shape suffixes: as in `batch`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from harness.records import Answer, MediaHandle, Request
from reference_model.checkpoints.checkpoint import About
from reference_model.config import LlavaModelConfig
from reference_model.inference import options
from reference_model.inference.generation import Prompts, generate_words, score_about_images
from reference_model.inference.sampling import sampling_of
from reference_model.inference.seen_media import LastSeen, SeenImages
from reference_model.inputs.batch import Batch
from reference_model.inputs.conversation import Encoded, Tokenizer, Turn, encode_about_images, expand_image
from reference_model.inputs.images import for_vision_tower
from reference_model.inputs.requests import in_words, question_about_images
from reference_model.modeling.llava import LlavaModel


@dataclass(frozen=True, slots=True, kw_only=True)
class LlavaPredictor:
    """A model of HuatuoGPT-Vision's architecture with everything needed to answer requests.

    Attributes:
        model: In evaluation mode.
        config: The numbers of the model.
        tokenizer: The model's own.
        device: The device of the model, by torch's name.
    """

    model: LlavaModel
    config: LlavaModelConfig
    tokenizer: Tokenizer
    device: str
    seen: LastSeen[tuple[MediaHandle, ...], SeenImages] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seen", LastSeen(self._read))  # as a frozen class has to

    @classmethod
    def of(cls, model: LlavaModel, about: About, device: str) -> "LlavaPredictor":
        """Return the predictor of a loaded model."""
        assert isinstance(about.config, LlavaModelConfig)
        return cls(model=model.to(device), config=about.config, tokenizer=about.tokenizer(), device=device)

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request.

        Args:
            requests: At least one, each about at least one image; the decoding options of the first apply to all.

        Raises:
            DataError: An image cannot be read.
        """
        seen = self.seen.of([request.images for request in requests])
        return options.answer(self, requests, seen, options=self.config.prompt.options)

    def write(self, requests: Sequence[Request], seen: Sequence[SeenImages]) -> list[Answer]:
        """Answer a batch word by word."""
        asked = [self.encode(*one) for one in zip(requests, seen, strict=True)]
        batch, shared = self._batch(asked)
        replies = generate_words(
            self.model,
            batch,
            seen,
            shared=shared,
            stop_ids=(self.tokenizer.end_id,),
            sampling=sampling_of(requests[0], most=self.config.language.max_positions - batch.ids_BT.shape[1]),
        )
        return [
            Answer(
                text=self.tokenizer.decode(reply.ids),
                rendered=self.tokenizer.decode(encoded.ids),
                usage={"prompt_tokens": len(encoded.ids), "answer_tokens": len(reply.ids)},
                status="ok" if reply.finished else "truncated",
            )
            for encoded, reply in zip(asked, replies, strict=True)
        ]

    def log_likelihoods(
        self, requests: Sequence[Request], seen: Sequence[SeenImages], replies: Sequence[str]
    ) -> Tensor:
        """Return the log likelihood of a reply to each request, float32 (B,)."""
        asked = [self.encode(*one) for one in zip(requests, seen, replies, strict=True)]
        batch, shared = self._batch(asked)
        return score_about_images(self.model, batch, seen, shared=shared)

    def encode(self, request: Request, seen: SeenImages, reply: str | None = None) -> Encoded:
        """Return a question as the model reads it, with a reply in the words of its option if one is given."""
        question = question_about_images(request)
        turn = Turn(question, None if reply is None else in_words(question, reply))
        most = self.config.prompt.max_length
        return encode_about_images([turn], self.tokenizer, images=len(seen.vision_N3SS), max_length=most)

    def _batch(self, asked: Sequence[Encoded]) -> tuple[Batch, int]:
        """Return questions as a batch without images on the device, and the number of positions that they share."""
        prompts = Prompts.of([expand_image(one, self.config.vision.tokens) for one in asked])
        batch = Batch(
            ids_BT=prompts.ids_BT,
            valid_BT=prompts.valid_BT,
            labels_BT=prompts.labels_BT,
            vision_B3SS=torch.zeros(0),
            sizes=(),
            grid_RGG=torch.zeros(0),
        )
        return batch.to(self.device), prompts.shared

    def _read(self, handles: tuple[MediaHandle, ...]) -> SeenImages:
        side = self.config.vision.image_size
        return SeenImages(vision_N3SS=torch.stack([for_vision_tower(handle.image(), side) for handle in handles]))

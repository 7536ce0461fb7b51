"""Turns requests about several images into batches, and replies of HuatuoGPT-Vision into answers.

Shape suffixes: as in `batch`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from harness.records import Answer, MediaHandle, Request
from reference_model.checkpoints.checkpoint import About
from reference_model.config import LlavaModelConfig
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
        scored = self.config.prompt.options == "scored"
        # Questions about equally many images, of which all are scored or written, make a batch: their texts begin at
        # the same position.
        groups: dict[tuple[bool, int], list[int]] = {}
        for index, request in enumerate(requests):
            groups.setdefault((scored and bool(request.choices), len(request.images)), []).append(index)
        answers: dict[int, Answer] = {}
        for (chosen, _), places in groups.items():
            answer: Callable[..., list[Answer]] = self._chosen if chosen else self._written
            found = answer([requests[index] for index in places], [seen[index] for index in places])
            answers |= zip(places, found, strict=True)
        return [answers[index] for index in range(len(requests))]

    def _written(self, requests: Sequence[Request], seen: Sequence[SeenImages]) -> list[Answer]:
        """Answer word by word."""
        asked = [self._encoded(request) for request in requests]
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

    def _chosen(self, requests: Sequence[Request], seen: Sequence[SeenImages]) -> list[Answer]:
        """Answer by the likeliest of the replies that a question offers."""
        row_C = [row for row, request in enumerate(requests) for _ in request.choices]
        replies_C = [choice for request in requests for choice in request.choices]
        batch, shared = self._batch(
            [self._encoded(requests[row], reply) for row, reply in zip(row_C, replies_C, strict=True)]
        )
        scores_C = score_about_images(self.model, batch, [seen[row] for row in row_C], shared=shared).tolist()
        answers = []
        for number, request in enumerate(requests):
            own = [place for place, row in enumerate(row_C) if row == number]
            encoded = self._encoded(request)
            answers.append(
                Answer(
                    text=replies_C[max(own, key=scores_C.__getitem__)],  # the first of equals
                    rendered=self.tokenizer.decode(encoded.ids),
                    usage={"prompt_tokens": len(encoded.ids)},
                )
            )
        return answers

    def _encoded(self, request: Request, reply: str | None = None) -> Encoded:
        """Return a question, with a reply in the words of its option if there is one."""
        question = question_about_images(request)
        turn = Turn(question, None if reply is None else in_words(question, reply))
        most = self.config.prompt.max_length
        return encode_about_images([turn], self.tokenizer, images=len(request.images), max_length=most)

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

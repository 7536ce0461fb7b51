"""Answers questions with options by the likeliest of the offered replies, if a model is configured so."""

from collections.abc import Sequence
from typing import Literal, Protocol, TypeVar

from torch import Tensor

from harness.records import Answer, Request
from reference_model.inputs.conversation import Encoded, Tokenizer

Seen = TypeVar("Seen", contravariant=True)


class AnswersInWords(Protocol[Seen]):
    """A predictor; `seen` is what it has computed of the media of each request."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""

    def encode(self, request: Request, seen: Seen, reply: str | None = None) -> Encoded:
        """Return a question as the model reads it, with a reply of those it offers if one is given."""

    def write(self, requests: Sequence[Request], seen: Sequence[Seen]) -> list[Answer]:
        """Answer a batch word by word; the decoding options of the first apply to all."""

    def log_likelihoods(self, requests: Sequence[Request], seen: Sequence[Seen], replies: Sequence[str]) -> Tensor:
        """Return the log likelihood of a reply to each request, float32 (B,)."""


def answer(
    predictor: AnswersInWords[Seen],
    requests: Sequence[Request],
    seen: Sequence[Seen],
    *,
    options: Literal["written", "scored"],
) -> list[Answer]:
    """Return one answer per request.

    Args:
        predictor: Answers.
        requests: At least one; the decoding options of the first of each batch apply to all of it.
        seen: The media of each request.
        options: See `PromptConfig`.
    """
    # Questions about equally many media make a batch, for their texts begin at the same position.
    groups: dict[tuple[bool, int], list[int]] = {}
    for index, request in enumerate(requests):
        likeliest = options == "scored" and bool(request.choices)
        groups.setdefault((likeliest, len(request.media)), []).append(index)
    answers: dict[int, Answer] = {}
    for (likeliest, _), places in groups.items():
        asked, about = [requests[index] for index in places], [seen[index] for index in places]
        found = _likeliest(predictor, asked, about) if likeliest else predictor.write(asked, about)
        answers |= zip(places, found, strict=True)
    return [answers[index] for index in range(len(requests))]


def _likeliest(predictor: AnswersInWords[Seen], requests: Sequence[Request], seen: Sequence[Seen]) -> list[Answer]:
    row_C = [row for row, request in enumerate(requests) for _ in request.choices]
    replies = [reply for request in requests for reply in request.choices]
    score_C = predictor.log_likelihoods([requests[row] for row in row_C], [seen[row] for row in row_C], replies)
    scores = iter(score_C.tolist())
    answers = []
    for request, one in zip(requests, seen, strict=True):
        own = [next(scores) for _ in request.choices]
        encoded = predictor.encode(request, one)
        answers.append(
            Answer(
                text=request.choices[own.index(max(own))],  # the first of equals, as of two options with the same words
                rendered=predictor.tokenizer.decode(encoded.ids),
                usage={"prompt_tokens": len(encoded.ids)},
            )
        )
    return answers

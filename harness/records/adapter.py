"""What a model declares of itself, and the interface that a submitter implements."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from harness.records.answer import Answer
from harness.records.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one copy of a model needs."""

    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a model takes and gives; decided before any weight is loaded.

    Attributes:
        takes: Of text, image, images, volume, point, box, region; `prior` and `target` only with `per_sample`.
        gives: Of text, nll, masks, boxes, embedding.
        max_images: Most images in one request.
        max_batch: Most requests in one call of `predict`.
        batch_invariant: An answer does not depend on what else is in the batch, to the byte.
        per_sample: Requests also carry `sample_id`, and `prior` or `target` where `takes` names them.
        execution_only: Model arguments that cannot change an answer (device, sleep); left out of the key.
        weights: Files or folders whose bytes belong to the model's identity.
        resources: CPUs and GPUs of one copy.
    """

    takes: frozenset[str] = frozenset({"text", "image"})
    gives: frozenset[str] = frozenset({"text"})
    max_images: int = 1
    max_batch: int = 1
    batch_invariant: bool = False
    per_sample: bool = False
    execution_only: frozenset[str] = frozenset()
    weights: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)


class Adapter(Protocol):
    """The only thing a submitter writes. Arguments of `--model-args` come to `__init__` by keyword."""

    def capabilities(self) -> Capabilities:
        """Say what the model takes and gives; cheap: no weights, no heavy import."""
        ...

    def load(self, device: str) -> None:
        """Bring the model to `device` (`cpu`, `cuda:0`, ...); called once per process."""
        ...

    def predict(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Answer a batch: one `Answer` per request, in the same order."""
        ...

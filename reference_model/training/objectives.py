"""What a stage minimises: the answers of the whole model, measured on rows of questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from numpy.random import Generator
from torch import Tensor, nn

from reference_model.inputs.batch import Batch
from reference_model.modeling.model import PixelGroundingModel
from reference_model.modeling.moe import Routing
from reference_model.training.collate import Collator
from reference_model.training.mixing import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one pass gives.

    Attributes:
        total: The weighted sum, with gradient.
        losses: Each before weighting, detached, by name.
        routing: Of every layer that has experts.
    """

    total: Tensor
    losses: Mapping[str, float]
    routing: tuple[Routing, ...] = ()


class Objective(Protocol):
    """A module that measures rows."""

    model: PixelGroundingModel

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows.

        Args:
            rows: At least one.
            random: Decides on what is drawn while they are made into tensors.
            drop_seed: Decides which tokens an expert drops that is full.
            progress: Share of the stage's steps that are behind, in [0, 1).
        """

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return modules that are trained too, by name, and are no part of the model."""


class Grounding:
    """Stages I to IV: answers in words and in masks."""

    def __init__(self, model: PixelGroundingModel, collator: Collator, weights: Mapping[str, float]) -> None:
        """Weigh the model's losses; those that are not named count nothing."""
        self.model = model
        self._collator = collator
        self._weights = weights

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows, the same at all times of a stage."""
        del progress
        return self.measure_batch(self._collator.batch(rows, random), drop_seed=drop_seed)

    def measure_batch(self, batch: Batch, *, drop_seed: int) -> Measured:
        """Return the losses of a batch."""
        device = self.model.language.embed_tokens.weight.device
        output = self.model(batch.to(device), drop_seed=drop_seed)
        return measured(output.losses._asdict(), self._weights, output.routing)

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return none."""
        return {}


def measured(losses: Mapping[str, Tensor], weights: Mapping[str, float], routing: tuple[Routing, ...] = ()) -> Measured:
    """Return the weighted sum of losses; one of weight 0 does not take part, not even as NaN."""
    parts = [weights[name] * loss for name, loss in losses.items() if weights.get(name)]
    return Measured(
        total=torch.stack(parts).sum(),
        losses={name: float(loss.detach()) for name, loss in losses.items()},
        routing=routing,
    )

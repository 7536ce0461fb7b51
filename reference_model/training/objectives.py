"""The objectives of the stages: what a stage minimises, measured on rows of questions."""

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
    """The losses of one pass.

    Attributes:
        total: float32 scalar with gradient, the weighted sum.
        losses: The losses before weighting, by name.
        routing: Where the tokens went, for every layer with experts.
    """

    total: Tensor
    losses: Mapping[str, float]
    routing: tuple[Routing, ...] = ()


class Objective(Protocol):
    """Measures the losses of rows, which a stage minimises."""

    model: PixelGroundingModel

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows.

        Args:
            rows: At least one row.
            random: Decides on what is drawn while the rows are made into tensors.
            drop_seed: Decides which tokens a full expert drops.
            progress: The share of the stage's steps that are done, in [0, 1).
        """

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return, by name, modules that are trained, too, but are no part of the model."""


class Grounding:
    """Stages I to IV: answers in words and in masks."""

    def __init__(self, model: PixelGroundingModel, collator: Collator, weights: Mapping[str, float]) -> None:
        """Weigh the model's losses; losses without a weight count nothing."""
        self.model = model
        self._collator = collator
        self._weights = weights

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows, which do not depend on the progress."""
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
    """Return the weighted sum of scalar losses; a loss of weight 0 does not take part, not even as NaN."""
    parts = [weights[name] * loss for name, loss in losses.items() if weights.get(name)]
    return Measured(
        total=torch.stack(parts).sum(),
        losses={name: float(loss.detach()) for name, loss in losses.items()},
        routing=routing,
    )

"""The objectives that stages minimise, measured on rows of questions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from numpy.random import Generator
from torch import Tensor, nn

from reference_model.inputs.batch import Batch, VolumeBatch
from reference_model.modeling.build import AnyModel
from reference_model.modeling.moe import Routing
from reference_model.training.collating.images import Collator
from reference_model.training.collating.llava import LlavaCollator
from reference_model.training.collating.volumes import VolumeCollator
from reference_model.training.mixing import Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The losses of one pass.

    Attributes:
        total: float32 scalar with gradient, the weighted sum.
        losses: The losses before weighting, by name.
        routing: The routing of every layer with experts.
    """

    total: Tensor
    losses: Mapping[str, float]
    routing: tuple[Routing, ...] = ()


class Objective(Protocol):
    """Measures the losses of rows, which a stage minimises."""

    @property
    def model(self) -> AnyModel:
        """The model that is trained."""

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows.

        Args:
            rows: At least one row.
            random: The generator for random choices while rows are turned into tensors.
            drop_seed: Decides which tokens a full expert drops.
            progress: The share of the stage's steps that are done, in [0, 1).
        """

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return, by name, modules that are trained together with the model but are not part of it."""


class Grounding:
    """The objective of all stages behind the parents: answers in text and masks."""

    def __init__(
        self, model: AnyModel, collator: Collator | LlavaCollator | VolumeCollator, weights: Mapping[str, float]
    ) -> None:
        """Build the objective.

        Args:
            model: The model to train.
            collator: Turns rows into batches.
            weights: Weight of each loss by name; a loss without a weight does not count.
        """
        self.model = model
        self._collator = collator
        self._weights = weights

    def measure(self, rows: Sequence[Row], random: Generator, *, drop_seed: int, progress: float) -> Measured:
        """Return the losses of some rows, which do not depend on the progress."""
        del progress
        return self.measure_batch(self._collator.batch(rows, random), drop_seed=drop_seed)

    def measure_batch(self, batch: Batch | VolumeBatch, *, drop_seed: int) -> Measured:
        """Return the losses of a batch."""
        device = self.model.language.embed_tokens.weight.device
        output = self.model(batch.to(device), drop_seed=drop_seed)
        return measured(output.losses._asdict(), self._weights, output.routing)

    def modules_trained_beside(self) -> Mapping[str, nn.Module]:
        """Return no modules."""
        return {}


def measured(losses: Mapping[str, Tensor], weights: Mapping[str, float], routing: tuple[Routing, ...] = ()) -> Measured:
    """Return the weighted sum of scalar losses; a loss of weight 0 does not take part, not even as NaN."""
    parts = [weights[name] * loss for name, loss in losses.items() if weights.get(name)]
    return Measured(
        total=torch.stack(parts).sum(),
        losses={name: float(loss.detach()) for name, loss in losses.items()},
        routing=routing,
    )

"""The numbers of a recipe and of its stages, by which a model is trained; `recipe_files` reads them from YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import ceil
from typing import Literal

from harness.errors import SpecError
from reference_model.config import ModelConfig
from reference_model.training.data import SetSpec

ObjectiveName = Literal["parents", "grounding"]
Schedule = Literal["linear", "cosine"]
Precision = Literal["fp32", "bf16"]

# The losses an objective may weigh.
LOSSES: Mapping[ObjectiveName, tuple[str, ...]] = {
    "parents": ("language", "caption", "region", "cell", "pixel", "bce", "dice"),
    "grounding": ("language", "bce", "dice", "focal", "iou", "balance"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora:
    """Low-rank adapters: rank, alpha, dropout, and the names of the layers of the language model that get one."""

    rank: int
    alpha: int
    dropout: float
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a stage's weights come from.

    Attributes:
        base: Number of the stage whose model it goes on with; None: random weights, or those named on the command line.
        experts: Numbers of the stages whose feed-forward parts become the experts, behind a fresh router.
        parts: Module -> number of the stage it is taken from in place of the base.
    """

    base: int | None = None
    experts: tuple[int, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage.

    Attributes:
        number: The number of the stage, 0 to 4.
        title: What the stage does, in a few words.
        objective: `grounding` answers questions; `parents` makes the image tower, the language model and the pixel
            encoder that the published model begins with.
        start: The source of its weights.
        trains: Names of modules or parameters, `*` standing for anything; all others are frozen.
        lora: Adapters, merged when the stage ends; None: none.
        data: The sets that are mixed.
        losses: The weight of each loss; losses that are not named do not count.
        muon: Names of trained modules whose matrices Muon takes, see `optimizers`; AdamW takes all else.
        learning_rate: The highest learning rate.
        schedule: How the learning rate falls to 0 after the warm-up.
        warm_up: Share of an epoch (`linear`, at least 2 steps) or of all steps (`cosine`) in which it rises from 0.
        steps: How many steps the stage takes; None: as `epochs` says.
        epochs: How often every question leads a row; None: as `steps` says.
        batch: Rows per step, over all processes.
        rows: Most rows that one process takes at once.
        questions: Most questions per row.
        answer_weight, region_parts: See `collate.Collator`.
    """

    number: int
    title: str
    objective: ObjectiveName
    start: Start
    trains: tuple[str, ...]
    lora: Lora | None
    data: tuple[SetSpec, ...]
    losses: Mapping[str, float]
    muon: tuple[str, ...]
    learning_rate: float
    schedule: Schedule
    warm_up: float
    steps: int | None
    epochs: int | None
    batch: int
    rows: int
    questions: int
    answer_weight: float
    region_parts: bool

    def accumulation(self, processes: int) -> int:
        """Return how many times every process computes gradients before a step is taken."""
        return max(1, self.batch // (self.rows * processes))

    def steps_per_epoch(self, samples: int, processes: int = 1) -> int:
        """Return the number of steps in which `samples` rows are seen once."""
        # As MedPLIB counts: batches of all processes, then steps of several batches, rounded up both times.
        return ceil(ceil(samples / (self.rows * processes)) / self.accumulation(processes))

    def length(self, samples: int, processes: int = 1) -> int:
        """Return the number of steps of the whole stage."""
        return self.steps or (self.epochs or 1) * self.steps_per_epoch(samples, processes)

    def warm_up_steps(self, steps: int, samples: int, processes: int = 1) -> int:
        """Return the number of steps in which the learning rate rises, of `steps` in all."""
        if self.schedule == "cosine":  # LLaVA's script: a share of all steps
            return ceil(self.warm_up * steps)
        # MedPLIB's: a share of one epoch, whatever the number of epochs
        return max(2, int(self.warm_up * self.steps_per_epoch(samples, processes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A model's training.

    Attributes:
        name: The name of the recipe.
        config: The numbers of the model.
        data_roots: Folders of releases, as for `--data-root`; empty if the command line has to name them.
        seed: The seed of all random numbers.
        precision: The precision of the passes; parameters and routers stay in single precision.
        checkpointing: Whether the layers of the language model are recomputed to save memory.
        stages: The stages, in the order in which they run.
    """

    name: str
    config: ModelConfig
    data_roots: tuple[str, ...]
    seed: int
    precision: Precision
    checkpointing: bool
    stages: tuple[Stage, ...]

    def stage(self, number: int) -> Stage:
        """Return a stage by its number.

        Raises:
            SpecError: The recipe has no such stage.
        """
        for stage in self.stages:
            if stage.number == number:
                return stage
        known = ", ".join(str(stage.number) for stage in self.stages)
        raise SpecError(f"--stage: expected one of {known} or all for recipe {self.name}, got {number}")


def fits(name: str, pattern: str) -> bool:
    """Return whether a pattern of a recipe means a parameter: by its name, or by that of a module that holds it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")

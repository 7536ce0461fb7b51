"""The configuration of a recipe and its stages; `recipe_files` reads it from YAML."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from math import ceil
from typing import Literal

from harness.errors import SpecError
from reference_model.config import AnyConfig, LlavaModelConfig, VolumeModelConfig
from reference_model.training.data import MediaKind, SetSpec

ObjectiveName = Literal["parents", "grounding"]
Schedule = Literal["linear", "cosine"]
Precision = Literal["fp32", "bf16"]

# The losses an objective may weigh, by what the model reads.
LOSSES: Mapping[tuple[MediaKind, ObjectiveName], tuple[str, ...]] = {
    ("image", "parents"): ("language", "caption", "region", "prompt", "cell", "pixel", "bce", "dice"),
    ("image", "grounding"): ("language", "bce", "dice", "focal", "iou", "balance"),
    ("images", "parents"): ("language", "caption", "cell"),
    ("images", "grounding"): ("language",),
    ("volume", "parents"): ("clip", "language", "bce", "dice"),
    ("volume", "grounding"): ("language", "bce", "dice"),
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
    """The source of the weights of a stage.

    Attributes:
        base: Number of the stage whose model it starts from; None: random weights, or the model named by `--start`.
        experts: Numbers of the stages whose feed-forward parts become the experts, behind a fresh router.
        parts: Maps modules to the number of the stage that they are taken from instead of the base.
        copies: Maps modules to other modules of the base, with whose weights they begin.
    """

    base: int | None = None
    experts: tuple[int, ...] = ()
    parts: Mapping[str, int] = field(default_factory=dict)
    copies: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The configuration of a stage.

    Attributes:
        number: The number of the stage, 0 to 4.
        title: A short description of the stage.
        objective: `grounding` trains on questions; `parents` pre-trains what the published model begins with; see
            `stage0`.
        start: The source of its weights.
        trains: Names of modules or parameters, with `*` as a wildcard; all others are frozen.
        lora: Adapters, merged when the stage ends; None: no adapters.
        data: The sets that are mixed.
        losses: The weight of each loss; other losses do not count.
        muon: Names of trained modules whose matrices use Muon, see `optimizers`; all other parameters use AdamW.
        learning_rate: The highest learning rate.
        schedule: How the learning rate falls to 0 after the warm-up.
        warm_up: Share of an epoch (`linear`, at least 2 steps) or of all steps (`cosine`) in which it rises from 0.
        steps: The number of steps; None: set by `epochs`.
        epochs: How many times every question leads a row; None: set by `steps`.
        batch: Rows per step, over all processes.
        rows: Most rows per process and forward pass.
        questions: Most questions per row.
        answer_weight, region_parts: See `collating.images.Collator`.
        augmentation: See `collating.volumes.VolumeCollator`.
        weight_decay: AdamW's, of all parameters that it trains.
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
    augmentation: bool = False
    weight_decay: float = 0.0

    def accumulation(self, processes: int) -> int:
        """Return the number of gradient accumulations per step and process."""
        return max(1, self.batch // (self.rows * processes))

    def steps_per_epoch(self, samples: int, processes: int = 1) -> int:
        """Return the number of steps of an epoch of `samples` rows."""
        # As MedPLIB counts: batches of all processes, then steps of several batches, rounded up both times.
        return ceil(ceil(samples / (self.rows * processes)) / self.accumulation(processes))

    def length(self, samples: int, processes: int = 1) -> int:
        """Return the number of steps of the whole stage."""
        return self.steps or (self.epochs or 1) * self.steps_per_epoch(samples, processes)

    def warm_up_steps(self, steps: int, samples: int, processes: int = 1) -> int:
        """Return the number of steps in which the learning rate rises, of `steps` in all."""
        if self.schedule == "cosine":  # LLaVA's script: a share of all steps
            return ceil(self.warm_up * steps)
        # MedPLIB's script: a share of one epoch, whatever the number of epochs
        return max(2, int(self.warm_up * self.steps_per_epoch(samples, processes)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The configuration of a training.

    Attributes:
        name: The name of the recipe.
        config: The configuration of the model.
        data_roots: Folders of releases, as for `--data-root`; empty if the command line has to name them.
        seed: The seed of all random numbers.
        precision: The precision of forward passes; parameters and routers stay in single precision.
        checkpointing: Whether the layers of the language model are recomputed to save memory.
        stages: The stages, in the order in which they run.
    """

    name: str
    config: AnyConfig
    data_roots: tuple[str, ...]
    seed: int
    precision: Precision
    checkpointing: bool
    stages: tuple[Stage, ...]

    @property
    def reads(self) -> MediaKind:
        """What the model is asked about."""
        return media_of(self.config)

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


def media_of(config: AnyConfig) -> MediaKind:
    """Return what a model of this configuration is asked about."""
    if isinstance(config, VolumeModelConfig):
        return "volume"
    return "images" if isinstance(config, LlavaModelConfig) else "image"


def fits(name: str, pattern: str) -> bool:
    """Return whether a pattern of a recipe matches the name of a parameter or of a module that contains it."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")

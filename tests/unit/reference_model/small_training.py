"""What the tests of training share: a tiny recipe over drawn patients, and examples about noise."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.imaging import masks
from harness.imaging.media_store import LocalMedia
from harness.records import Media
from reference_model.config import ModelConfig
from reference_model.training.data import Example, ExampleSet
from reference_model.training.loop import Silent
from reference_model.training.mixing import Mix, Row
from reference_model.training.recipe import Recipe, Stage
from reference_model.training.recipe_files import load_recipe
from reference_model.training.stages import StagedTraining


class Noise(LocalMedia):
    """A picture that is drawn instead of read."""

    def image(self) -> Any:
        random = np.random.default_rng(int(str(self.record.sha256)))
        return random.integers(0, 255, (*self.record.size, 3), dtype=np.uint8)


def example(picture: int = 0, *, size: tuple[int, int] = (20, 24), mask: Any = None, **fields: Any) -> Example:
    """Return a question about a picture of noise."""
    media = Media(path=f"{picture}.png", sha256=str(picture), size=size)
    encoded = None if mask is None else masks.encode(mask)
    fields = {"question": "what is this?", "answer": "the liver", "mask": encoded} | fields
    return Example(media=Noise(media, None), **fields)  # type: ignore[arg-type]


def example_set(task: str, examples: list[Example], ratio: float = 1.0) -> ExampleSet:
    """Return a set of questions that come from no manifest."""
    return ExampleSet(task=task, ratio=ratio, examples=tuple(examples), digests=(task,))


@dataclass
class Noted:
    """Keeps what a run tells."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, text: str) -> None:
        self.lines.append(text)


class Killed(Silent):
    """Stops a run in the middle, as a signal would."""

    def __init__(self, stage: int, step: int) -> None:
        self.place = (stage, step)

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:  # noqa: ARG002
        if (stage.number, step) == self.place:
            raise KeyboardInterrupt


class Learnt(Exception):  # noqa: N818 - no error
    """All losses are below a twentieth of their start."""


class Comparing(Silent):
    """Compares the losses of every step with those of the first."""

    def __init__(self) -> None:
        self.first: Mapping[str, float] = {}
        self.last: Mapping[str, float] = {}

    def show(self, stage: Stage, step: int, steps: int, losses: Mapping[str, float]) -> None:  # noqa: ARG002
        self.first, self.last = self.first or losses, losses
        if all(losses[name] <= 0.05 * self.first[name] for name in stage.losses if name != "balance"):
            raise Learnt


class Same(Mix):
    """The same rows in every step."""

    def step(self, step: int) -> tuple[Row, ...]:  # noqa: ARG002
        return tuple((one,) for one in self.sets[0].examples)


def small_recipe(config: ModelConfig, root: Path, **changes: Any) -> Recipe:
    """Return the tiny recipe for a model of a few thousand parameters, over the releases below `root`."""
    recipe = load_recipe("medplib-tiny")
    config = replace(config, prompt=replace(config.prompt, base_vocabulary=256))
    stages = tuple(replace(stage, **{"batch": 4, "rows": 4, "questions": 3} | changes) for stage in recipe.stages)
    return replace(recipe, config=config, data_roots=(str(root),), stages=stages, precision="fp32")


def small_run(recipe: Recipe, out: Path, cache: Path, **fields: Any) -> StagedTraining:
    """Return a run of three steps a stage that shows nothing."""
    fields = {"steps": 3, "notice": Noted(), "watcher": Silent()} | fields
    return StagedTraining(recipe=recipe, out=out, cache=cache, **fields)

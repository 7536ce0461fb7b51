"""One stage of a recipe after the other: data, starting weights, the loop, the finished model."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from harness.errors import SpecError
from harness.planning import PHANTOM, DataRoots, Notice, data_roots
from harness.records import Json
from harness.serial import digest, sha256_file
from reference_model.build import build_model
from reference_model.checkpoint import WEIGHTS, About, load_about, remove_steps, save_model
from reference_model.collate import Collator, Pictures
from reference_model.data import ExampleSet, SetSpec, read_sets
from reference_model.handover import MODEL, choose_trained, hand_over, merge_lora, sources, stage_folder
from reference_model.mixing import Mix
from reference_model.model import PixelGroundingModel
from reference_model.objectives import Grounding, Objective
from reference_model.parents import Parents
from reference_model.recipe import Recipe, Stage
from reference_model.tokenizers import words_of
from reference_model.train import SAVE_SECONDS, Course, Watcher, train

FIRST, ORDER = 2**40, 2**40 + 1
"""Stand for the step where what is drawn before the first one, and the order of the questions, are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A recipe as it is run.

    Attributes:
        recipe: Its numbers.
        out: Every stage writes into a folder of its own below it.
        cache: Of the harness; prepared releases are found again there.
        start: Folder of the model that a stage without a stage before it goes on with; None: random weights.
        steps: Of every stage in place of the recipe's; None: as it says.
        share: Of the steps that are taken.
        save_seconds: See `train.Course`.
        notice: Told what happens beside the steps.
        watcher: Told of every step.
    """

    recipe: Recipe
    out: Path
    cache: Path
    start: Path | None = None
    steps: int | None = None
    share: float = 1.0
    save_seconds: float = SAVE_SECONDS
    notice: Notice
    watcher: Watcher

    def stages(self, numbers: Sequence[int]) -> None:
        """Run some stages in the order given; one that is finished is not run again, one that was cut short goes on.

        Raises:
            SpecError: There is no such stage, one that it starts from is not finished, or `out` holds another training.
            DataError: A release is absent or cannot be read.
        """
        for number in numbers:
            self._stage(self.recipe.stage(number))

    def _stage(self, stage: Stage) -> None:
        folder = stage_folder(self.out, stage.number)
        sets = read_sets(stage.data, self._roots(), self.cache, self.notice)
        course = self._course(stage, sets)
        settings = self._settings(stage, sets, course.steps)
        if _is_finished(folder / MODEL, settings):
            self.notice(f"stage {stage.number}: finished before")
            return
        torch.manual_seed(course.seed_of(FIRST))
        model, about = self._starting_model(stage)
        trained = choose_trained(model, stage.trains, stage.lora)
        objective = self._objective(stage, model, about)
        for name, module in objective.modules_trained_beside().items():
            trained |= {f"{name}.{key}": parameter for key, parameter in module.named_parameters()}
        mix = Mix(sets, steps=course.steps, rows=stage.batch, questions=stage.questions, seed=course.seed_of(ORDER))
        train(objective, mix, trained, course, folder=folder, settings=settings, watcher=self.watcher)
        merge_lora(model)
        origin = {"recipe": self.recipe.name, "stage": stage.number, "settings": settings}
        experts = about.experts or bool(stage.start.experts)
        save_model(folder / MODEL, model, replace(about, experts=experts, origin=origin))
        remove_steps(folder)

    def _roots(self) -> list[DataRoots]:
        """Return where the releases lie; drawn patients of every seed stand alone."""
        given = self.recipe.data_roots
        if any(root.partition(":")[0] == PHANTOM for root in given):
            return [data_roots([root], self.cache) for root in given]
        return [data_roots(given, self.cache)]

    def _course(self, stage: Stage, sets: Sequence[ExampleSet]) -> Course:
        samples = sum(len(one.examples) for one in sets)
        steps = max(1, round(self.share * (self.steps or stage.length(samples))))
        return Course(
            stage=stage,
            steps=steps,
            warm_up=min(steps - 1, stage.warm_up_steps(steps, samples)),
            seed=self.recipe.seed,
            precision=self.recipe.precision,
            save_seconds=self.save_seconds,
        )

    def _settings(self, stage: Stage, sets: Sequence[ExampleSet], steps: int) -> dict[str, Json]:
        return {
            "recipe": digest(_plain({"stage": asdict(stage), "model": asdict(self.recipe.config)})),
            "precision": self.recipe.precision,
            "seed": self.recipe.seed,
            "steps": steps,
            "data": {one.task: list(one.digests) for one in sets},
            "start": {name: sha256_file(folder / WEIGHTS) for name, folder in self._sources(stage).items()},
        }

    def _sources(self, stage: Stage) -> dict[str, Path]:
        found = sources(self.out, stage.start)
        if stage.start.base is None and self.start is not None:
            found["base"] = self.start
        return found

    def _starting_model(self, stage: Stage) -> tuple[PixelGroundingModel, About]:
        base = self._sources(stage).get("base")
        if base is not None:
            model, about = hand_over(base, self.out, stage.start)
        elif stage.objective == "parents":
            model = build_model(self.recipe.config, experts=False)
            about = About(config=self.recipe.config, words=self._words(), experts=False)
        else:
            raise SpecError(
                f"stage {stage.number} of {self.recipe.name} goes on with a model that is there already; "
                "name its folder with --start"
            )
        model.language.checkpointing = self.recipe.checkpointing
        return model, about

    def _words(self) -> tuple[str, ...]:
        """Return the words of all stages, so that the last one knows them from the first on."""
        wanted: list[SetSpec] = []
        for stage in self.recipe.stages:
            wanted += [one for one in stage.data if one not in wanted]
        sets = read_sets(wanted, self._roots(), self.cache, self.notice)
        spoken = (text for one in sets for example in one.examples for text in (example.question, example.answer))
        return words_of(["USER: ASSISTANT:\n", *spoken])

    def _objective(self, stage: Stage, model: PixelGroundingModel, about: About) -> Objective:
        collator = Collator(
            config=about.config,
            tokenizer=about.tokenizer(),
            pictures=Pictures(about.config),
            answer_weight=stage.answer_weight,
            region_parts=stage.region_parts,
        )
        kind = Parents if stage.objective == "parents" else Grounding
        return kind(model, collator, stage.losses)


def _is_finished(model: Path, settings: Mapping[str, Json]) -> bool:
    """Return whether a stage's model is there.

    Raises:
        SpecError: It is, but of other settings.
    """
    if not model.is_dir():
        return False
    found = load_about(model).origin.get("settings", {})
    changed = sorted(key for key in settings if found.get(key) != settings[key])
    if changed:
        raise SpecError(f"{model}: was trained with another {' and '.join(changed)}; choose another --out")
    return True


def _plain(value: Json) -> Json:
    """Return nested values with lists for tuples, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value

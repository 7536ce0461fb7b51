"""Runs the stages of a recipe in turn: data, starting weights, the loop, the finished model."""

import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from harness.data.roots import PHANTOM, DataRoots, data_roots
from harness.errors import SpecError
from harness.tasks.prepare import Notice
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.checkpoints.training_state import last_step, remove_steps
from reference_model.config import LlavaModelConfig, VolumeModelConfig
from reference_model.distributed.fsdp import gathered_copies, shard
from reference_model.distributed.prepare_data import prepare_ahead
from reference_model.distributed.processes import Processes, joined
from reference_model.inputs.conversation import ASSISTANT, USER
from reference_model.inputs.tokenizers import words_of
from reference_model.modeling.build import AnyModel
from reference_model.modeling.llava import LlavaModel
from reference_model.modeling.m3d_model import VolumeGroundingModel
from reference_model.stage0.llava_parents import LlavaParents, build_untrained_llava
from reference_model.stage0.objective import Stage0Objective, build_untrained
from reference_model.stage0.volume_parents import VolumeParents, build_untrained_volume_model
from reference_model.training.collating.images import Collator, EncoderImages
from reference_model.training.collating.llava import LlavaCollator, TowerImages
from reference_model.training.collating.volumes import PreparedVolumes, VolumeCollator
from reference_model.training.data import ExampleSet, SetSpec, read_sets
from reference_model.training.handover import MODEL, choose_trained, hand_over, merge_lora, sources, stage_folder
from reference_model.training.log import StageNote, write_note
from reference_model.training.loop import ALONE, SAVE_SECONDS, Course, Watcher, parts_of_step, train
from reference_model.training.mixing import Mix
from reference_model.training.objectives import Grounding, Objective
from reference_model.training.progress_bar import TrainingBar
from reference_model.training.recipe import Recipe, Stage
from reference_model.training.stage_fingerprint import is_finished, stage_settings

# Numbers used like a step's to seed the starting weights and the order of the questions; no stage has so many steps.
FIRST, ORDER = 2**40, 2**40 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StagedTraining:
    """A run of a recipe.

    Attributes:
        recipe: The recipe to run.
        out: The folder of the training; every stage writes into a folder of its own below it.
        cache: The cache folder of the harness, which holds prepared releases.
        start: Folder of the model that the first stage of the command starts from, in place of an earlier stage's;
            None: random weights, if the recipe names no earlier stage.
        steps: The number of steps of every stage; None: that of the recipe.
        share: The share of the steps to take, in (0, 1].
        save_seconds: See `loop.Course`.
        notice: Called with lines about events other than steps.
        watcher: Called after every step.
        processes: The processes that train together.
        shard: Whether the layers of the language model are spread over the processes.
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
    processes: Processes = ALONE
    shard: bool = False

    def stages(self, numbers: Sequence[int]) -> None:
        """Run stages in the given order; a finished stage is skipped, an interrupted stage resumes.

        Raises:
            SpecError: There is no such stage, a stage that it starts from is not finished, `out` holds another
                training, or `shard` is set for a single process.
            DataError: A release is absent or cannot be read.
        """
        if self.shard and self.processes.count == 1:
            raise SpecError("--shard: expected several processes to spread the model over, found one; add --processes")
        stages = [self.recipe.stage(number) for number in numbers]
        if self.start is not None:
            # The first stage begins with that model as it is, whatever stage it would go on from.
            stages[0] = replace(stages[0], start=replace(stages[0].start, base=None, copies={}))
        with self.processes.first_ahead():
            prepare_ahead(self._wanted(stages), self._roots(), self.cache, self.notice)
        for stage in stages:
            self._stage(stage)

    def _stage(self, stage: Stage) -> None:
        folder = stage_folder(self.out, stage.number)
        with self.processes.first_ahead():
            sets = read_sets(stage.data, self._roots(), self.cache, self.notice, self.recipe.reads)
        course = self._course(stage, sets)
        parts = parts_of_step(stage, self.processes.count)
        settings = stage_settings(self.recipe, stage, sets, self._sources(stage), steps=course.steps, parts=parts)
        if is_finished(folder / MODEL, settings):
            self.notice(f"stage {stage.number}: finished before")
            return
        self.processes.wait()  # all have checked whether it is finished before the first can finish it
        if self.processes.first:
            self._begin(stage, course, folder)
        model, about = self._starting_model(stage, course)
        names = choose_trained(model, stage.trains, stage.lora)
        objective = self._objective(stage, model, about)
        trained = self._placed(objective, names)
        mix = Mix(sets, steps=course.steps, rows=stage.batch, questions=stage.questions, seed=course.seed_of(ORDER))
        train(
            objective,
            mix,
            trained,
            course,
            folder=folder,
            settings=settings,
            watcher=self.watcher,
            processes=self.processes,
        )
        about = replace(
            about,
            experts=about.experts or bool(stage.start.experts),
            origin={"recipe": self.recipe.name, "stage": stage.number, "settings": settings},
        )
        self._finish(stage, course, model, about, trained)

    def _begin(self, stage: Stage, course: Course, folder: Path) -> None:
        """Write the description of the stage, and remove folders left half-written by a kill."""
        for partial in folder.glob(".*.partial"):
            shutil.rmtree(partial)
        if last_step(folder) is not None:
            return  # `train` refuses a state of another training, which must not get a new description before
        note = StageNote(
            recipe=self.recipe.name,
            stage=stage.number,
            title=stage.title,
            seed=self.recipe.seed,
            steps=course.steps,
            losses=stage.losses,
            experts=stage.start.experts,
        )
        write_note(folder, note)

    def _placed(self, objective: Objective, names: Iterable[str]) -> dict[str, nn.Parameter]:
        """Move model and heads to the device; return the trained parameters by name."""
        if self.shard:
            shard(objective.model.language, self.processes)
        own = dict(objective.model.to(self.processes.device).named_parameters())
        trained = {name: own[name] for name in names}
        for name, module in objective.modules_trained_beside().items():
            module.to(self.processes.device)
            trained |= {f"{name}.{key}": parameter for key, parameter in module.named_parameters()}
        return trained

    def _finish(
        self,
        stage: Stage,
        course: Course,
        model: AnyModel,
        about: About,
        trained: Mapping[str, nn.Parameter],
    ) -> None:
        """Write the model of a finished stage, adapters merged, and remove its states."""
        folder = stage_folder(self.out, stage.number)
        values = gathered_copies(trained, kept=self.processes.first) if self.shard else {}
        if self.processes.first:
            if self.shard:
                model = self._refilled(stage, course, values)
            merge_lora(model)
            save_model(folder / MODEL, model, about)
            remove_steps(folder)
        self.processes.wait()

    def _refilled(self, stage: Stage, course: Course, values: Mapping[str, Tensor]) -> AnyModel:
        """Return the unsharded model of a stage: its starting model, filled with the trained values."""
        model, _ = self._starting_model(stage, course)
        with torch.no_grad():
            for name, parameter in choose_trained(model, stage.trains, stage.lora).items():
                parameter.copy_(values[name])
        return model

    def _wanted(self, stages: Sequence[Stage]) -> list[SetSpec]:
        """Return the sets that the stages read; a stage that builds the tokenizer reads those of all stages."""
        words = any(stage.objective == "parents" for stage in stages)
        wanted: list[SetSpec] = []
        for stage in self.recipe.stages if words else stages:
            wanted += [one for one in stage.data if one not in wanted]
        return wanted

    def _roots(self) -> list[DataRoots]:
        """Return the data roots of the recipe."""
        given = self.recipe.data_roots
        # The synthetic patients of each seed form a separate root: their releases have the same names.
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

    def _sources(self, stage: Stage) -> dict[str, Path]:
        found = sources(self.out, stage.start)
        if stage.start.base is None and self.start is not None:
            found["base"] = self.start
        return found

    def _starting_model(self, stage: Stage, course: Course) -> tuple[AnyModel, About]:
        """Return the starting model of a stage; every call returns the same weights."""
        torch.manual_seed(course.seed_of(FIRST))
        base = self._sources(stage).get("base")
        if base is not None:
            model, about = hand_over(base, self.out, stage.start)
        elif stage.objective == "parents":
            # The words of all stages, as the vocabulary of later stages is that of the first.
            sets = read_sets(
                self._wanted(self.recipe.stages), self._roots(), self.cache, self.notice, self.recipe.reads
            )
            spoken = (text for one in sets for example in one.examples for text in (example.question, example.answer))
            config = self.recipe.config
            if isinstance(config, LlavaModelConfig):
                model = build_untrained_llava(config)
                words = (USER, ASSISTANT, *words_of(["\n", *spoken], exact=True))
            elif isinstance(config, VolumeModelConfig):
                model, words = build_untrained_volume_model(config), words_of(spoken, exact=True)
            else:
                model, words = build_untrained(config), words_of(["USER: ASSISTANT:\n", *spoken])
            about = About(config=config, words=words, experts=False)
        else:
            raise SpecError(
                f"stage {stage.number} of {self.recipe.name} goes on with a model that is there already; "
                "name its folder with --start"
            )
        model.language.checkpointing = self.recipe.checkpointing
        return model, about

    def _objective(self, stage: Stage, model: AnyModel, about: About) -> Objective:
        config = about.config
        if isinstance(config, VolumeModelConfig):
            assert isinstance(model, VolumeGroundingModel)
            about_volumes = VolumeCollator(
                config=config,
                tokenizer=about.tokenizer(),
                volumes=PreparedVolumes(config),
                answer_weight=stage.answer_weight,
                augmentation=stage.augmentation,
            )
            if stage.objective == "parents":
                text_tokenizer = about.tokenizer_of_reports()
                return VolumeParents(model, about_volumes, stage.losses, text_tokenizer=text_tokenizer)
            return Grounding(model, about_volumes, stage.losses)
        if isinstance(config, LlavaModelConfig):
            assert isinstance(model, LlavaModel)
            about_images = LlavaCollator(
                config=config,
                tokenizer=about.tokenizer(),
                images=TowerImages(config),
                answer_weight=stage.answer_weight,
            )
            if stage.objective == "parents":
                return LlavaParents(model, about_images, stage.losses)
            return Grounding(model, about_images, stage.losses)
        assert not isinstance(model, VolumeGroundingModel | LlavaModel)
        collator = Collator(
            config=config,
            tokenizer=about.tokenizer(),
            images=EncoderImages(config),
            answer_weight=stage.answer_weight,
            region_parts=stage.region_parts,
        )
        if stage.objective == "parents":
            return Stage0Objective(model, collator, stage.losses)
        return Grounding(model, collator, stage.losses)


def run_stages(make: Callable[..., StagedTraining], numbers: Sequence[int], device: str, count: int) -> None:
    """Run stages as one of `count` processes, the first of which shows the progress.

    Args:
        make: Builds the training from the arguments `processes`, `notice` and `watcher`, which differ per process.
        numbers: The numbers of the stages.
        device: `cpu` or `cuda`.
        count: The number of processes.
    """
    with joined(device, count) as processes, TrainingBar(shown=processes.first) as bar:
        make(processes=processes, notice=bar.notice, watcher=bar).stages(numbers)

"""What an ablation compares: arms, the trainings that they share, and the study of a paper that they belong to.

A stage that an arm leaves out is replaced by the stage it would itself have started from, with the copies of weights
that the left-out stage begins with.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.ablations.paired_scores import Number
from leaderboard.published.printed import PublishedCell
from reference_model.config import AnyConfig
from reference_model.training.recipe import Recipe, Stage, Start

# Stage that pre-trains the parts which the published model downloads; every arm has it.
PARENTS = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting; each paper has its own kind, which says what it changes.

    Attributes:
        name: Its name in folders.
        title: Its name in tables.
        paper: Names of the same setting in the paper's tables, as the study's `printed` returns them.
        stages: Numbers of its stages, except stage 0; the last one trains its model.
        lacks: Modules that its model does not have, but those of shared stages do.
    """

    name: str
    title: str
    paper: tuple[str, ...] = ()
    stages: tuple[int, ...]
    lacks: tuple[str, ...] = ()

    def adapted(self, stage: Stage, config: AnyConfig) -> tuple[Stage, AnyConfig]:
        """Return a stage of the recipe as this arm trains it, and the configuration of the model that it trains."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What is compared and measured for one paper.

    Attributes:
        mark: Name of the marks between which a page has its tables.
        arms: Its settings.
        full: The setting that the others are compared with.
        numbers: What is resampled and what is measured on it, in the order of the columns.
        compared: Those of `numbers` whose mean the paper prints.
        tables: Number of each table of the paper -> heading.
        printed: Returns setting -> printed mean in percent; a setting begins with the number of its table.
        bases: Printed setting -> the printed setting that it is compared with, where that is not the full model's.
        step_seconds: Stage number -> seconds of a step on two cores.
        evaluation_seconds: Time of one arm's evaluation on `phantom:0`, on one core.
    """

    mark: str
    arms: tuple[Arm, ...]
    full: Arm
    numbers: tuple[tuple[str, Number], ...]
    compared: tuple[tuple[str, Number], ...]
    tables: Mapping[str, str]
    printed: Callable[[Sequence[PublishedCell]], dict[str, float]]
    bases: Mapping[str, str]
    step_seconds: Mapping[int, float]
    evaluation_seconds: float

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks of its numbers."""
        return tuple(dict.fromkeys(number.task for _, number in self.numbers))


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: a stage of an arm, or of several.

    Attributes:
        name: Name of its folder.
        stage: The stage, starting only from stages that the arm has.
        config: Configuration of the model it trains.
        needs: Stage number in `stage.start` -> name of the job that trains it.
        lacks: See `Arm`.
        arm: The arm whose model it trains; None for an earlier stage.
    """

    name: str
    stage: Stage
    config: AnyConfig
    needs: Mapping[int, str]
    lacks: tuple[str, ...] = ()
    arm: Arm | None = None


def jobs_of(recipe: Recipe, arms: Sequence[Arm]) -> list[Job]:
    """Return the trainings of one seed, each after those it needs; arms share trainings that are the same.

    An earlier stage is named after the stages up to it, and after the arm as well where another arm, before it in
    `arms`, trains the same stages in another way.
    """
    found: dict[str, Job] = {}
    for arm in arms:
        names: dict[int, str] = {}
        for job in _jobs_of(recipe, arm):
            own = replace(job, needs={number: names[number] for number in job.needs})
            if own.arm is None:
                twin = next((name for name, one in found.items() if replace(one, name=own.name) == own), None)
                taken = f"{own.name}-{arm.name}" if own.name in found else own.name
                own = replace(own, name=twin or taken)
            names[own.stage.number] = own.name
            found.setdefault(own.name, own)
    # A stage starts from earlier ones only.
    return sorted(found.values(), key=lambda job: job.stage.number)


def _jobs_of(recipe: Recipe, arm: Arm) -> Iterator[Job]:
    present = (PARENTS, *arm.stages)
    for number in present:
        last = number == present[-1]
        stage, config = arm.adapted(rewired(recipe, recipe.stage(number), present), recipe.config)
        yield Job(
            name=arm.name if last else shared_name(number, present),
            stage=stage,
            config=config,
            needs={needed: shared_name(needed, present) for needed in sorted(numbers(stage.start))},
            lacks=() if number == PARENTS else arm.lacks,
            arm=arm if last else None,
        )


def shared_name(number: int, present: Sequence[int]) -> str:
    """Return the name of a stage after those before it."""
    return "stages-" + "".join(str(one) for one in present if one <= number)


def rewired(recipe: Recipe, stage: Stage, present: Sequence[int]) -> Stage:
    """Return a stage that starts only from stages that are present."""

    def stand_in(number: int) -> int:
        base = recipe.stage(number).start.base
        return number if number in present or base is None else stand_in(base)

    start = stage.start
    base, copies = start.base, dict(start.copies)
    while base is not None and base not in present:
        left_out = recipe.stage(base).start
        base, copies = left_out.base, {**left_out.copies, **copies}
    return replace(
        stage,
        start=Start(
            base=base,
            experts=tuple(stand_in(number) for number in start.experts),
            parts={name: stand_in(number) for name, number in start.parts.items()},
            copies=copies,
        ),
    )


def numbers(start: Start) -> set[int]:
    """Return the numbers of the stages that a start names."""
    base = () if start.base is None else (start.base,)
    return {*base, *start.experts, *start.parts.values()}

"""The arms of the ablations: which stages, experts and capacities each has, and which trainings they share.

A stage that an arm leaves out is stood in for by the stage that it would itself have gone on with; so without stage II
expert 1 and the rest come from stage I, and without stage III both experts from stage II.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reference_model.config import ModelConfig
from reference_model.training.recipe import Recipe, Stage, Start

# Stage that makes what the published model begins with; every arm has it.
PARENTS = 0
# What patterns and losses of a stage speak of that a model without experts lacks.
ROUTER, BALANCE = "router", "balance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting.

    Attributes:
        name: In file names.
        title: In tables.
        paper: Names of the same setting in the paper's Tables 3 and 4, as the published cells have them.
        stages: Numbers of those it has, stage 0 aside; the last one makes its model.
        experts: Whether the last stage has experts; it goes on with the dense model where not.
        capacity: Capacity factor in training.
        top_k: Experts a token goes to.
    """

    name: str
    title: str
    paper: tuple[str, ...]
    stages: tuple[int, ...] = (1, 2, 3, 4)
    experts: bool = True
    capacity: float = 1.5
    top_k: int = 1


FULL = Arm(name="full", title="all stages, top-1, CF 1.5", paper=("3(f)", "4(CF=1.5,top-1)"))
ARMS = (
    Arm(name="no-experts", title="no experts", paper=("3(a)",), experts=False),
    Arm(name="only-4", title="stage IV", paper=("3(b)",), stages=(4,)),
    Arm(name="without-2-3", title="stages I, IV", paper=("3(c)",), stages=(1, 4)),
    Arm(name="without-3", title="stages I, II, IV", paper=("3(d)",), stages=(1, 2, 4)),
    Arm(name="without-2", title="stages I, III, IV", paper=("3(e)",), stages=(1, 3, 4)),
    FULL,
    Arm(name="capacity-1", title="CF 1", paper=("4(CF=1,top-1)",), capacity=1.0),
    Arm(name="capacity-2", title="CF 2", paper=("4(CF=2,top-1)",), capacity=2.0),
    Arm(name="top-2", title="CF 2, top-2", paper=("4(CF=2,top-2)",), capacity=2.0, top_k=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: a stage of an arm, or of several.

    Attributes:
        name: Of its folder.
        stage: With its start re-wired.
        config: Of the model it trains.
        needs: Stage number that `stage.start` speaks of -> name of the job that gives it.
        arm: Whose model it makes; None: a stage on the way.
    """

    name: str
    stage: Stage
    config: ModelConfig
    needs: Mapping[int, str]
    arm: Arm | None = None


def jobs_of(recipe: Recipe, arms: Sequence[Arm]) -> list[Job]:
    """Return the trainings of one seed, those that arms share once, each after what it needs."""
    found: dict[str, Job] = {}
    for arm in arms:
        for job in _jobs_of(recipe, arm):
            found.setdefault(job.name, job)
    return sorted(found.values(), key=lambda job: job.stage.number)


def _jobs_of(recipe: Recipe, arm: Arm) -> Iterator[Job]:
    present = (PARENTS, *arm.stages)
    for number in present:
        last = number == present[-1]
        stage = rewired(recipe, recipe.stage(number), present)
        stage = stage if arm.experts or not last else without_experts(stage)
        yield Job(
            name=arm.name if last else shared_name(number, present),
            stage=stage,
            config=configured(recipe.config, arm) if last else recipe.config,
            needs={needed: shared_name(needed, present) for needed in sorted(numbers(stage.start))},
            arm=arm if last else None,
        )


def shared_name(number: int, present: Sequence[int]) -> str:
    """Return the name of a stage after those before it: equal where the same is trained."""
    return "stages-" + "".join(str(one) for one in present if one <= number)


def rewired(recipe: Recipe, stage: Stage, present: Sequence[int]) -> Stage:
    """Return a stage that starts from no other stages than those that are present."""

    def stand_in(number: int) -> int:
        base = recipe.stage(number).start.base
        return number if number in present or base is None else stand_in(base)

    start = stage.start
    return replace(
        stage,
        start=Start(
            base=None if start.base is None else stand_in(start.base),
            experts=tuple(stand_in(number) for number in start.experts),
            parts={name: stand_in(number) for name, number in start.parts.items()},
        ),
    )


def without_experts(stage: Stage) -> Stage:
    """Return a stage that goes on with the dense model of its base, all else alike."""
    return replace(
        stage,
        start=replace(stage.start, experts=()),
        trains=tuple(pattern for pattern in stage.trains if ROUTER not in pattern),
        muon=tuple(pattern for pattern in stage.muon if ROUTER not in pattern),
        losses={name: weight for name, weight in stage.losses.items() if name != BALANCE},
    )


def configured(config: ModelConfig, arm: Arm) -> ModelConfig:
    """Return the numbers of an arm's model; its capacity in evaluation is the recipe's."""
    return replace(config, moe=replace(config.moe, capacity_train=arm.capacity, top_k=arm.top_k))


def numbers(start: Start) -> set[int]:
    """Return the stages that a start speaks of."""
    base = () if start.base is None else (start.base,)
    return {*base, *start.experts, *start.parts.values()}

"""The arms of the ablations: which stages, experts and capacities each has, and which trainings they share.

A stage that an arm leaves out is replaced by the stage it would itself have started from: without stage II expert 1 and
the rest come from stage I, and without stage III both experts from stage II.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from reference_model.config import ModelConfig
from reference_model.training.recipe import Recipe, Stage, Start

# Stage that pre-trains the parts which the published model downloads; every arm has it.
PARENTS = 0
# Parameters and loss that a model without experts lacks: a recipe that names them would not fit it.
ROUTER, BALANCE = "router", "balance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One setting.

    Attributes:
        name: Its name in folders.
        title: Its name in tables.
        paper: Names of the same setting in the paper's Tables 3 and 4, as in published.json.
        stages: Numbers of its stages, except stage 0; the last one trains its model.
        experts: Whether the last stage has experts; if not, it continues with the dense model.
        capacity: Capacity factor in training; 1.5 is the paper's choice.
        top_k: Experts per token.
    """

    name: str
    title: str
    paper: tuple[str, ...]
    stages: tuple[int, ...] = (1, 2, 3, 4)
    experts: bool = True
    capacity: float = 1.5
    top_k: int = 1


# The paper's own model; both of its tables have a row for it.
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
    # With two experts and a capacity factor of 2 nothing is dropped, and every token goes to both.
    Arm(name="top-2", title="CF 2, top-2", paper=("4(CF=2,top-2)",), capacity=2.0, top_k=2),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One training: a stage of an arm, or of several.

    Attributes:
        name: Name of its folder.
        stage: The stage, starting only from stages that the arm has.
        config: Configuration of the model it trains.
        needs: Stage number in `stage.start` -> name of the job that trains it.
        arm: The arm whose model it trains; None for an earlier stage.
    """

    name: str
    stage: Stage
    config: ModelConfig
    needs: Mapping[int, str]
    arm: Arm | None = None


def jobs_of(recipe: Recipe, arms: Sequence[Arm]) -> list[Job]:
    """Return the trainings of one seed, each after those it needs; arms share trainings of the same name."""
    found: dict[str, Job] = {}
    for arm in arms:
        for job in _jobs_of(recipe, arm):
            found.setdefault(job.name, job)
    # A stage starts from earlier ones only.
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
            # Capacity and top-k are the arm's only where the experts are trained, so that earlier stages can be shared.
            config=configured(recipe.config, arm) if last else recipe.config,
            needs={needed: shared_name(needed, present) for needed in sorted(numbers(stage.start))},
            arm=arm if last else None,
        )


def shared_name(number: int, present: Sequence[int]) -> str:
    """Return the name of a stage after those before it; trainings with equal names are the same."""
    return "stages-" + "".join(str(one) for one in present if one <= number)


def rewired(recipe: Recipe, stage: Stage, present: Sequence[int]) -> Stage:
    """Return a stage that starts only from stages that are present."""

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
    """Return a stage that continues with the dense model of its base; all else is equal."""
    return replace(
        stage,
        start=replace(stage.start, experts=()),
        trains=tuple(pattern for pattern in stage.trains if ROUTER not in pattern),
        muon=tuple(pattern for pattern in stage.muon if ROUTER not in pattern),
        losses={name: weight for name, weight in stage.losses.items() if name != BALANCE},
    )


def configured(config: ModelConfig, arm: Arm) -> ModelConfig:
    """Return the configuration of an arm's model."""
    # The capacity in evaluation stays the recipe's, 2.0, with which no token is dropped: only the training differs.
    return replace(config, moe=replace(config.moe, capacity_train=arm.capacity, top_k=arm.top_k))


def numbers(start: Start) -> set[int]:
    """Return the numbers of the stages that a start names."""
    base = () if start.base is None else (start.base,)
    return {*base, *start.experts, *start.parts.values()}

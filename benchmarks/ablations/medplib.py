"""MedPLIB's Tables 3 and 4: which stages, experts and capacities each arm has, and what is measured."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from benchmarks.ablations.arms import Arm, Study
from benchmarks.ablations.paired_scores import Number
from benchmarks.ablations.statistics import IMAGES, PATIENTS
from leaderboard.published.printed import PublishedCell
from reference_model.config import AnyConfig, ModelConfig
from reference_model.training.recipe import Stage

PAPER = "MedPLIB (AAAI 2025)"
MEAN = "mean of the four"
PREFIX = "MedPLIB ablation "
# Parameters and loss that a model without experts lacks: a recipe that names them would not fit it.
ROUTER, BALANCE = "router", "balance"
# The whole recipe, 17 minutes of training and 1 of generating patients in 1,270 steps (docs/benchmarks.md).
STEP_SECONDS = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class MedplibArm(Arm):
    """A setting of MedPLIB.

    Attributes:
        experts: Whether the last stage has experts; if not, it continues with the dense model.
        capacity: Capacity factor in training; 1.5 is the paper's choice.
        top_k: Experts per token.
    """

    stages: tuple[int, ...] = (1, 2, 3, 4)
    experts: bool = True
    capacity: float = 1.5
    top_k: int = 1

    def adapted(self, stage: Stage, config: AnyConfig) -> tuple[Stage, AnyConfig]:
        """Return the last stage with or without experts, and the model with the capacity of this arm."""
        # Capacity and top-k are the arm's only where the experts are trained, so that earlier stages can be shared.
        if stage.number != self.stages[-1]:
            return stage, config
        assert isinstance(config, ModelConfig)
        # The capacity in evaluation stays the recipe's, 2.0, with which no token is dropped: only the training differs.
        moe = replace(config.moe, capacity_train=self.capacity, top_k=self.top_k)
        return stage if self.experts else without_experts(stage), replace(config, moe=moe)


def without_experts(stage: Stage) -> Stage:
    """Return a stage that continues with the dense model of its base; all else is equal."""
    return replace(
        stage,
        start=replace(stage.start, experts=()),
        trains=tuple(pattern for pattern in stage.trains if ROUTER not in pattern),
        muon=tuple(pattern for pattern in stage.muon if ROUTER not in pattern),
        losses={name: weight for name, weight in stage.losses.items() if name != BALANCE},
    )


# The paper's own model; both of its tables have a row for it.
FULL = MedplibArm(name="full", title="all stages, top-1, CF 1.5", paper=("3(f)", "4(CF=1.5,top-1)"))
ARMS: tuple[Arm, ...] = (
    MedplibArm(name="no-experts", title="no experts", paper=("3(a)",), experts=False),
    MedplibArm(name="only-4", title="stage IV", paper=("3(b)",), stages=(4,)),
    MedplibArm(name="without-2-3", title="stages I, IV", paper=("3(c)",), stages=(1, 4)),
    MedplibArm(name="without-3", title="stages I, II, IV", paper=("3(d)",), stages=(1, 2, 4)),
    MedplibArm(name="without-2", title="stages I, III, IV", paper=("3(e)",), stages=(1, 3, 4)),
    FULL,
    MedplibArm(name="capacity-1", title="CF 1", paper=("4(CF=1,top-1)",), capacity=1.0),
    MedplibArm(name="capacity-2", title="CF 2", paper=("4(CF=2,top-1)",), capacity=2.0),
    # With two experts and a capacity factor of 2 nothing is dropped, and every token goes to both.
    MedplibArm(name="top-2", title="CF 2, top-2", paper=("4(CF=2,top-2)",), capacity=2.0, top_k=2),
)


# The paper's four columns, with VQA-RAD in the place of OmniMedVQA. Recall and Dice follow MedPLIB's protocols, so that
# they can be shown beside its table; its Dice is the mean over modalities.
NUMBERS: tuple[tuple[str, Number], ...] = (
    (
        PATIENTS,
        Number(title="MeCoVQA-C", task="mecovqa_c", metric="token_prf", protocol="medplib", name="recall"),
    ),
    (
        PATIENTS,
        Number(title="MeCoVQA-R", task="mecovqa_r", metric="token_prf", protocol="medplib", name="recall"),
    ),
    (
        IMAGES,
        Number(
            title="VQA-RAD closed",
            task="vqa_rad",
            metric="vqa_accuracy",
            protocol="standard",
            name="vqa_accuracy",
            only=("answer_type", "closed"),
        ),
    ),
    (
        PATIENTS,
        Number(title="MeCoVQA-G", task="mecovqa_g", metric="dice", protocol="medplib", name="dice", over="modality"),
    ),
)


def printed_means(cells: Sequence[PublishedCell]) -> dict[str, float]:
    """Return setting -> its printed mean of four, in percent, of the paper's Tables 3 and 4."""
    return {
        cell.model.removeprefix(PREFIX): float(cell.value)
        for cell in cells
        if cell.paper == PAPER and cell.table in TABLES and cell.benchmark == MEAN and cell.value is not None
    }


# Tables of the paper, with our headings.
TABLES = {"3": "Table 3: experts and stages", "4": "Table 4: capacity and choices"}
STUDY = Study(
    mark="ablations",
    arms=ARMS,
    full=FULL,
    numbers=NUMBERS,
    compared=NUMBERS,
    tables=TABLES,
    printed=printed_means,
    bases={},
    step_seconds=dict.fromkeys(range(5), STEP_SECONDS),
    # 862 questions.
    evaluation_seconds=25.0,
)

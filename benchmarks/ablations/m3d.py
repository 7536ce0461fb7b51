"""M3D's Table 7, and stage I: how patches are pooled, what the tower begins with, and what each stage trains."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmarks.ablations.arms import PARENTS, Arm, Study
from benchmarks.ablations.paired_scores import Number
from leaderboard.published.printed import PublishedCell
from reference_model.config import AnyConfig, VolumeModelConfig
from reference_model.training.recipe import Stage

PAPER, TABLE = "M3D (arXiv 2404.00578)", "Table 7"
TOWER = "vision"
# The releases name patients, and no patient of reports and questions is one of those with masks.
REPORTS, MASKS = "patients with reports", "patients with masks"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeArm(Arm):
    """A setting of M3D-LaMed.

    Attributes:
        pooling: See `PerceiverConfig`.
        layers: Linear layers of the projector.
        pretrained: Whether the tower begins with the weights of M3D-CLIP's; if not, with random ones.
        unlocked: Whether stage II trains the tower.
    """

    stages: tuple[int, ...] = (1, 2)
    pooling: Literal["spatial", "sequence"] = "spatial"
    layers: int = 2
    pretrained: bool = True
    unlocked: bool = True

    def adapted(self, stage: Stage, config: AnyConfig) -> tuple[Stage, AnyConfig]:
        """Return a stage on the data of the measured tasks, and the model with the perceiver of this arm."""
        # Stage 0 does not train the perceiver, so that all arms share it.
        if stage.number == PARENTS:
            return stage, config
        assert isinstance(config, VolumeModelConfig)
        # With so few steps, data of other tasks would leave too little of those that are measured.
        stage = replace(stage, data=tuple(one for one in stage.data if one.task in STUDY.tasks))
        if not self.pretrained:
            stage = replace(stage, start=replace(stage.start, copies={}))
        if not self.unlocked:
            trains, muon = (tuple(one for one in names if one != TOWER) for names in (stage.trains, stage.muon))
            stage = replace(stage, trains=trains, muon=muon)
        return stage, replace(config, perceiver=replace(config.perceiver, pooling=self.pooling, layers=self.layers))


# The released model. Of its parts, Table 7 names those that a setting has; most of its settings have a frozen tower.
LOCKED = "7(vision_pretrain, spatial_pooling, mlp)"
FULL = VolumeArm(name="full", title="full model", paper=("7(vision_pretrain, spatial_pooling, mlp, unlocked_vision)",))
ARMS: tuple[Arm, ...] = (
    # First, because its stages have the names that do not say of which arm they are.
    FULL,
    VolumeArm(name="sequence", title="sequence pooling", paper=("7(vision_pretrain, mlp)",), pooling="sequence"),
    VolumeArm(name="without-1", title="no stage I", stages=(2,)),
    VolumeArm(
        name="linear",
        title="linear projector",
        paper=("7(vision_pretrain, spatial_pooling)",),
        layers=1,
        # The second layer, behind GELU.
        lacks=("perceiver.projector.2",),
    ),
    VolumeArm(name="scratch", title="random tower", paper=("7(spatial_pooling, mlp)",), pretrained=False),
    VolumeArm(name="locked", title="frozen tower", paper=(LOCKED,), unlocked=False),
)
CLOSED = (
    REPORTS,
    Number(
        title="closed VQA",
        task="m3d_closed_vqa",
        metric="choice_accuracy",
        protocol="m3d",
        name="choice_accuracy",
        over="question_type",
    ),
)
NUMBERS: tuple[tuple[str, Number], ...] = (
    CLOSED,
    (
        REPORTS,
        Number(
            title="open VQA, BLEU-1",
            task="m3d_open_vqa",
            metric="bleu",
            protocol="m3d",
            name="bleu1",
            over="question_type",
        ),
    ),
    (
        REPORTS,
        Number(title="reports, BLEU-1", task="m3d_report_generation", metric="bleu", protocol="m3d", name="bleu1"),
    ),
    (
        MASKS,
        Number(
            title="segmentation, Dice",
            task="m3d_semantic_segmentation",
            metric="dice",
            protocol="m3d",
            name="dice",
            over="source",
        ),
    ),
)


def printed_means(cells: Sequence[PublishedCell]) -> dict[str, float]:
    """Return setting -> its printed closed-VQA accuracy, in percent, of the paper's Table 7."""
    found = {}
    for cell in cells:
        if cell.paper == PAPER and cell.table == TABLE and cell.value is not None:
            parts = json.loads(cell.note or "{}")
            found[f"7({', '.join(name for name, present in parts.items() if present)})"] = float(cell.value)
    return found


STUDY = Study(
    mark="m3d ablations",
    arms=ARMS,
    full=FULL,
    numbers=NUMBERS,
    compared=(CLOSED,),
    tables={"7": "Table 7: the tower and the perceiver"},
    printed=printed_means,
    bases={name: LOCKED for arm in ARMS[1:] for name in arm.paper if name != LOCKED},
    # Means of a whole training, with some other work on the machine.
    step_seconds={0: 1.8, 1: 0.6, 2: 2.2},
    # 312 questions.
    evaluation_seconds=12.0,
)

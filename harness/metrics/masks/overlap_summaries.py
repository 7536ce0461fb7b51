"""Dice and IoU as MONAI's metric without `ignore_empty` and nnU-Net's summary.json give them."""

from harness.metrics.family import Protocol
from harness.metrics.masks.label_maps import monai_dice, monai_report, nnunet, nnunet_report
from harness.metrics.masks.mask_pairs import targets
from harness.metrics.masks.overlap import DICE, IOU
from harness.metrics.metric import EmptyCases, Metric

_NNUNET_SOURCE = "nnU-Net 2.8.1, nnunetv2/evaluation/evaluate_predictions.py; github.com/MIC-DKFZ/nnUNet"


def _nnunet_row_of(name: str, formula: str) -> Protocol:
    return Protocol(
        "nnunet",
        version=1,
        stats=(name.lower(), "samples"),
        score=lambda sample, prediction: nnunet(sample, prediction, name=name),
        # A failed answer counts as 0, where nnU-Net would leave the case out or stop.
        worst=lambda _: (0.0, 1.0),
        report=nnunet_report(name),
        caveat="A class that is absent on both sides leaves the mean; absent in every case of a label map, it leaves "
        "the summary without a foreground mean.",
        summary=f"{name} of all masks together, or mean over the classes of label maps, as in nnU-Net's summary.json.",
        formula=formula,
        empty=EmptyCases(
            prediction=0.0,
            target=0.0,
            both="undefined",
            note="Of label maps: the mean over cases with a value, then the plain mean over classes but 0.",
        ),
        source=_NNUNET_SOURCE,
    )


_NNUNET_DICE = _nnunet_row_of("Dice", "2 TP / (2 TP + FP + FN), over the pixels whose target is not the ignored label.")
_NNUNET_IOU = _nnunet_row_of("IoU", "TP / (TP + FP + FN), over the pixels whose target is not the ignored label.")

_MONAI_DICE = Protocol(
    "monai",
    version=1,
    stats=("dice", "samples"),
    score=lambda sample, prediction: monai_dice(sample, prediction, ignore_empty=False),
    worst=lambda _: (0.0, 1.0),
    ceiling=lambda sample: 1.0 if targets(sample) or sample.target.absent else None,
    report=monai_report("dice"),
    caveat="An empty answer to an empty target is worth 1, so rare structures raise the mean.",
    certificate="No mask is worth 1 wherever there is nothing to find.",
    summary="Dice of all masks together as MONAI's DiceMetric without ignore_empty: both empty is 1.",
    formula="2 |P and T| / (|P| + |T|); of label maps the mean over classes, then over images.",
    empty=EmptyCases(prediction=0.0, target=0.0, both=1.0),
    source="monai 1.6.1, DiceMetric(ignore_empty=False); github.com/Project-MONAI/MONAI",
)

METRICS: tuple[Metric, ...] = (DICE.row(_MONAI_DICE), DICE.row(_NNUNET_DICE), IOU.row(_NNUNET_IOU))

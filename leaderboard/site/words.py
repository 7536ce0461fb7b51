"""Words for what results.json names by code: metrics, means, strata, protocols, badges; and numbers as text."""

from functools import cache

from harness.metrics import METRICS
from harness.metrics.metric import Metric
from leaderboard.cells import BoardCell
from leaderboard.site.places import slug

# As wide as a digit: values with fewer decimals are padded with it, so that the points of a column align.
FIGURE_SPACE = "\u2007"
MODALITIES = {
    "ct": "CT",
    "mr": "MR",
    "oct": "OCT",
    "pet": "PET",
    "us": "Ultrasound",
    "xray": "X-ray",
    "derm": "Dermoscopy",
    "endo": "Endoscopy",
    "fundus": "Fundus",
    "micro": "Microscopy",
}
BADGES = {"published": "published", "reproduced": "evaluated with MedGround", "submitted": "submitted"}
# The first named value of a metric goes by the metric's words alone.
METRIC_WORDS = {
    "ap": "Average precision",
    "ap50": "AP50",
    "bertscore": "BERTScore",
    "bleu": "BLEU",
    "cgf1": "cgF1",
    "choice_accuracy": "Accuracy",
    "cider": "CIDEr",
    "ciou": "cIoU",
    "clinical_entity_f1": "Clinical entities",
    "detection_f1": "Detection",
    "dice": "Dice",
    "glamm_recall": "Mask recall",
    "hallucination": "Hallucination",
    "hausdorff": "Hausdorff distance",
    "hd95": "HD95",
    "hit_rate": "Hit rate",
    "instance_f1": "Instances",
    "iou": "IoU",
    "judge": "Judge's score",
    "mask_to_entity_f1": "Masks of entities",
    "meteor": "METEOR",
    "miou": "mIoU",
    "mmmu_open": "Accuracy, open questions",
    "no_target_accuracy": "No-target accuracy",
    "nsd": "Surface Dice (NSD)",
    "panoptic_quality": "Panoptic quality",
    "phrase_grounding_pointing_game": "Pointing game",
    "precision_at_0.5": "Precision at IoU 0.5",
    "rec_accuracy": "Accuracy of boxes",
    "rec_iou": "IoU of boxes",
    "retrieval": "Retrieval",
    "rouge": "ROUGE-L",
    "token_prf": "Token overlap",
    "volume_error": "Volume error",
    "vqa_accuracy": "VQA accuracy",
}
VALUE_WORDS = {
    "f1": "F1",
    "bleu1": "BLEU-1",
    "bleu2": "BLEU-2",
    "bleu3": "BLEU-3",
    "bleu4": "BLEU-4",
    "rougeL": "ROUGE-L",
    "acc10": "IoU over 0.1",
    "acc30": "IoU over 0.3",
    "acc50": "IoU over 0.5",
    "acc70": "IoU over 0.7",
    "acc90": "IoU over 0.9",
    "center_acc": "center inside",
    "signed_error_ml": "signed, ml",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
}


@cache
def metric_row(metric: str, protocol: str) -> Metric | None:
    """Return the row of the table of metrics; None for a metric of somebody's own."""
    return next((row for row in METRICS if (row.name, row.protocol) == (metric, protocol)), None)


@cache
def metric_words(metric: str, name: str) -> str:
    """Return a metric and its named value in words: `Dice`, `Token overlap, recall`, `BLEU-4`."""
    words = METRIC_WORDS.get(metric, metric.replace("_", " "))
    value = VALUE_WORDS.get(name, name.replace("_", " "))
    # A name such as bleu4 or acc50 says the metric, or nothing without it.
    if name.startswith(metric) or value == words:
        return words if name == metric else value
    return f"{words}, {value}"


@cache
def direction(metric: str, protocol: str, higher_is_better: bool) -> str:
    """Return what to say of the direction of a metric: nothing if higher is better, which readers expect."""
    row = metric_row(metric, protocol)
    lower = not higher_is_better or (row is not None and not row.higher_is_better)
    return "lower is better" if lower else ""


@cache
def protocol_anchor(metric: str, protocol: str) -> str:
    """Return where methods.html says what a metric under a protocol means."""
    return f"metric-{slug(f'{metric}-{protocol}')}" if metric_row(metric, protocol) is not None else "protocols"


def value_text(cell: BoardCell, digits: int | None = None) -> str:
    """Return a value as the board shows it: percent for shares, padded to `digits` so that points align."""
    if cell.value is None:
        return "–"
    value = 100 * cell.value if cell.unit == "share" else cell.value
    # Zeros in place of the blanks would claim digits that a paper did not print.
    missing = max(0, (cell.digits if digits is None else digits) - cell.digits)
    point = FIGURE_SPACE if cell.digits == 0 and missing else ""
    return f"{value:.{cell.digits}f}{point}{FIGURE_SPACE * missing}"


def interval_text(cell: BoardCell) -> str:
    """Return a 95 % interval in the unit of its value; empty if there is none."""
    if cell.interval is None:
        return ""
    low, high = cell.interval
    if cell.unit == "share":
        return f"{100 * low:.1f}–{100 * high:.1f}"
    return f"{low:.2f}–{high:.2f}"


def unit_words(unit: str, metric: str) -> str:
    """Return the unit of a column as the board shows it."""
    if unit == "share":
        return "%"
    row = next((row for row in METRICS if row.name == metric), None)
    return "0 to 100" if row is None or row.unit == "points" or metric == "judge" else row.unit


def stratum_words(stratum: tuple[str, str]) -> str:
    """Return a stratum's value as a heading."""
    key, value = stratum
    return MODALITIES.get(value, value) if key == "modality" else value.replace("_", " ")


def mark(index: int) -> str:
    """Return the mark of a footnote: a, b, ..., z, aa, ab, ..."""
    letters = ""
    while index >= 0:
        letters = chr(ord("a") + index % 26) + letters
        index = index // 26 - 1
    return letters

"""Fixed lines of every kind that `harness metric` reads, for what must hold of each row of the table of metrics."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.cli.metric.input import read_pair
from harness.imaging import mask_files
from harness.metrics import Metric, Outcome, settle
from harness.metrics.metric import LineKind, Pair
from harness.metrics.retrieval import matrix_outcome
from harness.records import Entity, Json, Prediction, Sample, Target

TEXTS: Sequence[tuple[str, list[str]]] = (
    ("yes", ["Yes"]),
    ("Yes, there is.", ["yes"]),
    ("no yes", ["no"]),
    ("", ["no"]),
    ("The left lung.", ["left lung"]),
    ("left-sided mass of 1,200 mm", ["left sided mass of 1200 mm"]),
    ("two nodules", ["2 nodules"]),
    ("dont know", ["don't know"]),
    ("lung lung lung", ["lung"]),
    ("是", ["Yes"]),
    ("肺部 有 结节", ["肺 结节"]),
    ("liver", [""]),
    ("x-ray", ["X ray", "radiograph"]),
    ("radiograph", ["X ray", "radiograph"]),
    ("a", ["the"]),
    ("The heart is enlarged. No pleural effusion.", ["No pleural effusion. The heart is mildly enlarged."]),
    ("The <p>liver<SEG></p> lies below the lungs.", ["The <p>liver<SEG></p> lies under both lungs."]),
)
OPTIONS = ["Liver", "Spleen", "Left kidney", "Right kidney"]
REPLIES = (
    "B",
    "b",
    "(B)",
    "B. Spleen",
    "D. Spleen",
    "Spleen",
    "the spleen",
    "The answer is B.",
    "I think the answer is B",
    "B or C",
    "It is not A, it is B",
    "A CT scan shows the spleen",
    "kidney",
    "",
    "none of these",
)
BOXES: Sequence[tuple[Json, Json]] = (
    ([0, 0, 0, 2, 2, 2], [0, 0, 0, 2, 2, 2]),
    ([0, 0, 0, 1, 1, 1], [0.5, 0.5, 0.5, 1, 1, 1]),
    ([3, 3, 3, 1, 1, 1], [0, 0, 0, 2, 2, 2]),
    ("Sure, it is [0.1, 0.2, 0.3, 0.6, 0.7, 0.8].", [0.1, 0.2, 0.3, 0.6, 0.7, 0.9]),
    ("I see none.", [0.1, 0.2, 0.3, 0.6, 0.7, 0.9]),
    ([1, 1, 5, 5], [2, 2, 6, 7]),
)
# Reply, target in pixels; the image is 480 high and 640 wide.
SIZED_BOXES: Sequence[tuple[str, list[float]]] = (
    ("[100, 120, 300, 360]", [100, 120, 300, 360]),
    ("[0.15625, 0.25, 0.46875, 0.75]", [100, 120, 300, 360]),
    ("[156, 250, 469, 750]", [100, 120, 300, 360]),
    ('```json\n[{"bbox_2d": [110, 130, 310, 350]}, {"box": ["1", "2", "3", "x"]}]\n```', [100, 120, 300, 360]),
    ('{"a": {"bbox": [90, 110, 290, 350]}, "b": [[0, 0, 9, 9]]}', [100, 120, 300, 360]),
    ("from (100,120) to (300,360), or 100 120 300 360", [100, 120, 300, 360]),
    ("[300, 360, 100, 120]", [100, 120, 300, 360]),
    ("[1200.5, 3e2, 1800, 900.25]", [620, 310, 640, 480]),
    ("I see none.", [0, 0, 10, 10]),
    ("[0, 0, 5, 10]", [0, 0, 10, 10]),
    ("[0, 0, 10, 10]", [5, 5, 5, 9]),
)
SIMILARITIES: Sequence[list[list[float]]] = (
    [[1.0, 0.0], [0.0, 1.0]],
    [[0.2, 0.9, 0.1], [0.5, 0.5, 0.5], [0.1, 0.3, 0.2]],
    [[0.5] * 12] * 12,
)
JUDGEMENTS = ("Score: 87.5.", "Score: 75.", "score 40 of 100", "The score is 7.25 because", "no number", "Score: 250.0")


def _blobs(seed: int, size: tuple[int, ...], count: int) -> list[Any]:
    """Return masks as nested lists, some of them empty."""
    draw = np.random.default_rng(seed)
    shares = draw.choice([0.0, 0.2, 0.6], size=count)
    return [(draw.random(size) < share).astype(int).tolist() for share in shares]


def _mask_lines() -> list[dict[str, Json]]:
    sizes = [(9, 7)] * 9 + [(3, 5, 4)] * 3
    pairs = [_blobs(seed, size, 2) for seed, size in enumerate(sizes)]
    lines = [{"prediction": one, "target": other} for one, other in pairs]
    spaced = [{**line, "spacing_mm": [0.5, 2.0, 1.25][-np.ndim(line["target"]) :]} for line in lines[-4:]]
    return [*lines, *spaced]


def _soft_lines() -> list[dict[str, Json]]:
    draw = np.random.default_rng(5)
    soft = [
        {
            "prediction": draw.random((4, 5)).round(3).tolist(),
            "target": (draw.random((4, 5)) < 0.4).astype(int).tolist(),
        }
        for _ in range(4)
    ]
    return [*_mask_lines(), *soft]


def _instance_lines() -> list[dict[str, Json]]:
    lines: list[dict[str, Json]] = []
    for seed in range(8):
        found = _blobs(seed, (8, 8), 5)
        targets, predictions = found[: seed % 4], [*found[2:4], *found[:1]][: 3 if seed else 0]
        lines.append({"targets": targets, "predictions": predictions})
    lines.append({"targets": found[:2], "predictions": found[:2], "scores": [0.3, 0.9]})
    return lines


def _label_map_lines() -> list[dict[str, Json]]:
    draw = np.random.default_rng(11)
    sides = [[np.kron(draw.integers(0, 3, (3, 3)), np.ones((2, 2), dtype=int)) for _ in range(2)] for _ in range(5)]
    same = np.array([[0, 1, 1, 2], [0, 1, 3, 2]])
    none = np.zeros_like(same)
    sides += [[same, same], [np.where(same == 3, 0, same), same], [none, same], [same, none], [none, none]]
    return [{"prediction": one.tolist(), "target": other.tolist()} for one, other in sides]


def _detection_lines() -> list[dict[str, Json]]:
    draw = np.random.default_rng(12)
    lines: list[dict[str, Json]] = []
    for seed in range(6):
        shown = _blobs(seed + 20, (8, 8), 4)
        found = [{"mask": mask, "score": float(draw.integers(2, 10)) / 10, "label": 1} for mask in (*shown, shown[0])]
        targets = [{"mask": mask, "label": 1 + (place == 2)} for place, mask in enumerate(shown[: seed % 4])]
        lines.append({"prediction": found[: 5 - seed], "target": targets})
    lines[3]["target"][1]["iscrowd"] = 1
    several = [[item["mask"] for item in lines[place]["target"]] for place in (3, 0, 2)]
    lines.append({"prediction": lines[2]["prediction"], "targets": several})
    return [*lines, {"prediction": [], "target": []}, {"prediction": found[:1], "target": []}]


def _grounding_lines() -> list[dict[str, Json]]:
    left, right, none = [[1, 1, 0, 0]], [[0, 0, 1, 1]], [[0, 0, 0, 0]]
    named = (
        ([("liver", left)], [("liver", left)]),
        ([("Liver.", left), ("spleen", right)], [("liver", left), ("spleen", left)]),
        ([("liver", None), ("liver", left)], [("liver", left)]),
        ([], [("liver", right)]),
        ([("tumour", none)], [("tumor", right)]),
        ([("heart", right)], []),
        ([], []),
    )
    return [
        {
            side: {"entities": [{"name": name, "mask": mask} for name, mask in entities]}
            for side, entities in (("prediction", predicted), ("target", target))
        }
        for predicted, target in named
    ]


LINES: Mapping[LineKind, Sequence[Mapping[str, Any]]] = {
    "text": [{"prediction": text, "target": answers} for text, answers in TEXTS],
    "choice": [
        *({"prediction": reply, "options": OPTIONS, "target": "B", "nll": [3.0, 1.5, 2.0, 1.5]} for reply in REPLIES),
        {"prediction": "B", "options": ["yes", "yes", "no"], "target": "A", "nll": [2.0, 1.0, 1.0]},
    ],
    "masks": _mask_lines(),
    "soft_masks": _soft_lines(),
    "grounding": _grounding_lines(),
    "instances": _instance_lines(),
    "boxes": [{"prediction": prediction, "target": target} for prediction, target in BOXES],
    "label_maps": _label_map_lines(),
    "detections": _detection_lines(),
    "sized_boxes": [
        *({"prediction": text, "target": box, "image_size": [480, 640]} for text, box in SIZED_BOXES),
        {"prediction": "[0, 0, 1, 1]", "target": None, "image_size": [480, 640]},
        {"prediction": [100, 120, 300, 360], "target": [100, 120, 300, 360], "image_size": [480, 640]},
        {"prediction": "[0, 0, 0, 2, 2, 2]", "target": [0, 0, 0, 2, 2, 2], "image_size": [4, 4, 4]},
    ],
    "judge": [{"reply": reply} for reply in JUDGEMENTS],
}


def _several_masks() -> list[Pair]:
    """Return pairs with two predicted and two target masks, which no line can hold."""
    pairs = []
    for seed in range(6):
        one, two, three, four = (mask_files.from_json(mask, where="case") for mask in _blobs(seed, (6, 6), 4))
        target = Target(entities=(Entity(name="one", mask=one), Entity(name="two", mask=two)))
        given = (three, four) if seed else ()
        pairs.append((Sample(id=f"several {seed}", target=target), Prediction(key="", status="ok", masks=given)))
    return pairs


def pairs(kind: LineKind) -> list[Pair]:
    """Return the fixed samples and predictions of a kind; those of `retrieval` are matrices, see `outcomes`."""
    read = [read_pair(line, f"{kind} {place}", kind) for place, line in enumerate(LINES[kind])]
    return [*read, *(_several_masks() if kind in ("masks", "soft_masks") else ())]


def outcomes(metric: Metric) -> list[Outcome]:
    """Return what the metric makes of every fixed case of its kind."""
    if metric.line == "retrieval":
        return [matrix_outcome(metric, matrix, "case") for matrix in SIMILARITIES]
    cases = pairs(metric.line)
    asked = settle(metric, cases)
    return [asked.score(sample, prediction) for sample, prediction in cases]

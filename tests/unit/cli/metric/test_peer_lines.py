"""Lines as other packages take them: label maps, masks with scores, boxes on an image of known size."""

import json
from typing import Any

import pytest

from harness.cli.metric.input import parse, read_pair
from harness.cli.metric.lines import run
from harness.errors import DataError
from harness.imaging import masks
from harness.metrics.instances.detections import DetectionSample
from harness.metrics.masks.label_maps import LabelMapSample
from harness.metrics.metric import LineKind, Pair

MAP = [[0, 1, 2]]
MASK = [[0, 1, 1]]


def read(kind: LineKind, **value: Any) -> Pair:
    return read_pair(parse(json.dumps(value).encode(), "line 1", kind), "line 1", kind)


def test_classes_are_labels_or_regions() -> None:
    sample, _ = read("masks", prediction=MAP, target=MAP, labels=[[1, 2], 2], ignore_label=1)
    assert isinstance(sample, LabelMapSample)
    assert (sample.classes, sample.ignore_label) == (((1, 2), (2,)), 1)


def test_each_label_but_0_is_an_instance() -> None:
    sample, prediction = read("label_maps", prediction=[[3, 3, 7]], target=[[0, 0, 0]])
    assert [masks.area(mask) for mask in prediction.masks] == [2, 1]
    assert (sample.target.entities, sample.target.absent) == ((), True)


def test_a_bare_mask_has_the_score_1_no_label_and_is_no_crowd() -> None:
    sample, prediction = read("detections", prediction=[MASK], targets=[[MASK], []])
    assert isinstance(sample, DetectionSample)
    assert (prediction.mask_scores, prediction.entities[0].name, sample.crowd) == ((1.0,), "", (False,))
    assert [len(side) for side in sample.annotators] == [1, 0]


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        ("masks", {"classes": [], "target": MAP}, r"line 1: classes: expected a list of labels, found \[\]"),
        ("masks", {"labels": ["a"], "target": MAP}, r"line 1: labels: expected whole numbers, or lists of them for"),
        (
            "masks",
            {"labels": [1], "target": MAP, "ignore_label": "x"},
            r"line 1: ignore_label: expected a whole number or",
        ),
        (
            "masks",
            {"labels": [1], "target": [MAP[0][:2]]},
            r"line 1: prediction is \(1, 3\), target is \(1, 2\); expected",
        ),
        (
            "label_maps",
            {"target": [[0.5, 1, 2]]},
            r"line 1: target: expected a label map, nested lists of whole numbers",
        ),
        (
            "label_maps",
            {"target": [[0, 1], [2]]},
            r"line 1: target: expected a label map, nested lists of whole numbers",
        ),
        ("detections", {}, r'line 1: expected "target", a list of masks, or "targets", one such list per annotator'),
        ("detections", {"targets": []}, r"line 1: targets: expected one list of masks per annotator, found \[\]"),
        ("detections", {"target": 1}, r'line 1: target: expected a list of masks or of \{"mask", ...\}, found int'),
        ("detections", {"target": [[[1]]]}, r"line 1: expected masks of one size, found \(1, 1\), \(1, 3\)"),
        (
            "sized_boxes",
            {"target": [0, 0, 1, 1], "image_size": [4]},
            r"line 1: image_size: expected \[H, W\] or \[D, H",
        ),
        ("sized_boxes", {"target": None, "image_size": None}, r"line 1: image_size: expected \[H, W\] .*, found null"),
    ],
)
def test_what_cannot_be_read_is_named(kind: LineKind, value: dict[str, Any], message: str) -> None:
    given = {"detections": [MASK], "sized_boxes": ""}.get(kind, MAP)
    with pytest.raises(DataError, match=message):
        read(kind, prediction=given, **value)


def test_a_score_is_a_number() -> None:
    with pytest.raises(DataError, match=r"line 1: prediction\[0\]\.score: expected a number, found 'high'"):
        read("detections", prediction=[{"mask": MASK, "score": "high"}], target=[])


def test_a_frame_needs_the_image_size_and_finds_it_on_the_line() -> None:
    line = {"prediction": "[250, 500, 750, 1000]", "target": [2, 2, 6, 4], "image_size": [4, 8]}
    (found,) = run([json.dumps(line).encode()], "rec_iou", "standard", ("text_frame=per_mille",), aggregate=False)
    assert found.value["value"] == pytest.approx(1.0)


def test_an_infinite_distance_is_undefined_on_its_line_and_counts_in_the_corpus() -> None:
    empty = {"prediction": [[0, 0]], "target": [[0, 1]]}
    same = {"prediction": [[0, 1]], "target": [[0, 1]]}
    lines = [json.dumps(line).encode() for line in (same, empty)]
    first, second, last = run(lines, "hausdorff", "monai", (), aggregate=True)
    assert (first.value["value"], first.value["status"]) == (0.0, "ok")
    assert (second.value["value"], second.value["status"]) == (None, "undefined")
    assert last.value["aggregate"] == {"n": 2, "undefined": 0, "values": {"hausdorff": None}}

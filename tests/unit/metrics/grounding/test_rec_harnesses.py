"""Boxes as lmms-eval, VLMEvalKit and EvalScope read them; tests/golden/test_peers.py has their own numbers."""

from typing import Any

import pytest

from harness.metrics.grounding.rec_harnesses import METRICS, lmms_eval_boxes
from harness.metrics.metric import Outcome, sample_values
from harness.records import Box, Media, Prediction, Sample, Target

ROWS = {(row.name, row.protocol): row for row in METRICS}
TARGET = (100.0, 120.0, 300.0, 360.0)


def sample(corners: tuple[float, ...] = TARGET, size: tuple[int, ...] = (480, 640)) -> Sample:
    media = Media(path="", sha256=None, size=size)
    return Sample(id="x", media=(media,), target=Target(boxes=(Box(corners=corners),)))


def outcome(protocol: str, target: Sample | None = None, **reply: Any) -> Outcome:
    prediction = Prediction(key="", status="ok", **reply)
    return ROWS["rec_iou", protocol].score(target or sample(), prediction)


def values(protocol: str, text: str, target: Sample | None = None) -> dict[str, float | None]:
    row = ROWS["rec_iou", protocol]
    return dict(zip(row.values, sample_values(row, outcome(protocol, target, text=text).stats), strict=True))


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('before ```json\n{"box": [1, 2, 3, 4]}\n``` [5, 6, 7, 8]', [(1, 2, 3, 4)]),
        ('{"bbox": [1, 2, "x", 4], "box": ["5", 6, 7, 8]}', [(5, 6, 7, 8)]),
        ('{"a": [[1, 2, 3, 4], {"b": [5, 6, 7, 8]}]}', [(1, 2, 3, 4), (5, 6, 7, 8)]),
        ("it is [[1, 2, 3, 4]] there", [(1, 2, 3, 4)]),
        ("5", []),
        ("1 2, 3 ,4 and -1.5 2 3 4", [(1, 2, 3, 4), (-1.5, 2, 3, 4)]),
        ("[" * 20000, []),
        ("[1, 2, 3, 1" + "0" * 400 + "]", [(1, 2, 3, float("inf"))]),
    ],
)
def test_lmms_eval_reads_json_before_decimals(reply: str, found: list[tuple[float, ...]]) -> None:
    assert lmms_eval_boxes(reply) == found


def test_lmms_eval_lets_the_target_choose_box_and_frame() -> None:
    right = "[[0, 0, 9, 9], [156.25, 250, 468.75, 750]]"
    assert values("lmms-eval", right)["rec_iou"] == 1.0
    assert outcome("lmms-eval", text=right).detail["box"] == list(TARGET)


def test_a_reply_without_a_box_is_unparsed_and_its_centre_is_that_of_the_corner_of_the_image() -> None:
    for protocol, centre in (("lmms-eval", 1.0), ("lmms-eval-rec", 1.0), ("evalscope", 0.0)):
        assert outcome(protocol, text="none").status == "unparsed"
        assert values(protocol, "none", sample((0.0, 0.0, 10.0, 10.0)))["center_acc"] == centre


def test_numbers_are_read_as_if_they_were_written() -> None:
    for protocol, iou in (("evalscope", 1.0), ("lmms-eval-rec", 0.0)):
        assert outcome(protocol, boxes=(Box(corners=TARGET),)).detail["iou"] == pytest.approx(iou)


def test_an_iou_of_exactly_a_half_is_a_hit() -> None:
    found = values("vlmevalkit", "[0, 0, 0.5, 1]", sample((0.0, 0.0, 640.0, 480.0)))
    assert found == {"rec_iou": 0.5, "acc50": 1.0}


def test_a_union_of_nothing_is_0_since_no_reply_may_leave_the_mean() -> None:
    assert values("lmms-eval-rec", "[0.5, 0.5, 0.4, 0.6]", sample((0.0, 0.0, 64.0, 48.0)))["rec_iou"] == 0.0


def test_volumes_and_samples_without_a_box_have_no_value() -> None:
    for other in (sample((0.0,) * 6, (4, 4, 4)), Sample(id="x", target=Target(absent=True))):
        for row in METRICS:
            assert row.score(other, Prediction(key="", status="ok", text="[0, 0, 1, 1]")).status == "undefined"
            assert row.ceiling(other) is row.floor(other) is None

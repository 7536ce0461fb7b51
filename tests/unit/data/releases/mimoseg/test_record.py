"""One record of MIMOSeg: its parts, its prompt, and where the prompt lies."""

from typing import Any

import numpy as np
import pytest

from harness.data.integrity import Finding, Integrity
from harness.data.releases.mimoseg.record import NamedMask, Record, outside, parse_record, touches
from harness.imaging.masks import encode
from harness.records import Box, Points

SIZE = (10, 20)  # (H, W)


def parsed(perspective: str = "3", **fields: Any) -> tuple[Record, Integrity]:
    value = {
        "id": "7",
        "image": "images/a.png",
        "instruction": "What is here?",
        "answer": "The <p>liver<SEG></p>.",
        "entities": [{"name": "liver", "mask": "masks/a.png"}],
    } | fields
    integrity = Integrity()
    return parse_record(value, "file[0]", 0, perspective, integrity), integrity


def test_a_record_is_read_as_it_stands() -> None:
    record, integrity = parsed(modality=" CT ", source="Demo")
    assert (record.id, record.image, record.defect) == ("7", "images/a.png", None)
    assert record.entities == (NamedMask("liver", ("masks/a.png",)),)
    assert (record.facts, record.wording) == ({"modality": "CT", "source": "Demo"}, "release")
    assert (integrity.findings, integrity.repairs) == ([], {})


@pytest.mark.parametrize(("count", "amount"), [(0, "none"), (1, "one"), (2, "several"), (5, "several")])
def test_the_number_of_entities_has_three_words(count: int, amount: str) -> None:
    record, _ = parsed(entities=[{"name": "liver", "mask": "m.png"}] * count)
    assert record.amount == amount


@pytest.mark.parametrize(
    ("prompt", "expected", "kind"),
    [
        ({"box": [1, 2, 3, 4]}, Box(corners=(1.0, 2.0, 3.0, 4.0)), "box"),
        ({"points": [[1, 2]]}, Points(points=((1.0, 2.0),), labels=(1,)), "point"),
        (
            {"points": [[1, 2], [3, 4]], "labels": [1, 0]},
            Points(points=((1.0, 2.0), (3.0, 4.0)), labels=(1, 0)),
            "point",
        ),
    ],
)
def test_boxes_and_points_are_prompts(prompt: Any, expected: Box | Points, kind: str) -> None:
    record, integrity = parsed("4", prompt=prompt)
    assert (record.prompt, record.prompt_kind, record.defect) == (expected, kind, None)
    assert integrity.findings == []


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        "box",
        {"box": [1, 2, 3]},
        {"box": [1, 2, 3, True]},
        {"box": [1, 2, 3, float("nan")]},
        {"box": [1, 2, 3, 4], "points": [[1, 2]]},
        {"points": []},
        {"points": [[1, 2, 3]]},
        {"points": [[1, 2]], "labels": [2]},
        {"points": [[1, 2]], "labels": [1, 1]},
    ],
)
def test_other_prompts_cannot_be_asked(prompt: Any) -> None:
    record, integrity = parsed("4", prompt=prompt)
    assert (record.prompt, record.defect) == (None, "the record has no prompt that can be read")
    assert [one.kind for one in integrity.findings] == ["missing_value"]


def test_other_names_in_the_answer_than_masks_are_reported_and_asked() -> None:
    record, integrity = parsed(answer="The <p>spleen<SEG></p>.")
    assert record.defect is None
    assert integrity.findings == [
        Finding("entity_mismatch", "file[0]", "the answer wraps spleen; masks for liver"),
    ]


@pytest.mark.parametrize(
    ("prompt", "fault"),
    [
        (Box(corners=(0, 0, 20, 10)), False),
        (Box(corners=(0, 0, 10, 20)), True),  # as if the size were (W, H)
        (Points(points=((19, 9),), labels=(1,)), False),
        (Points(points=((1, 1), (20, 9)), labels=(1, 1)), True),
        (Points(points=((-0.5, 1),), labels=(1,)), True),
    ],
)
def test_a_prompt_lies_in_its_image(prompt: Box | Points, fault: bool) -> None:
    assert (outside(prompt, SIZE) is not None) is fault


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (Box(corners=(0, 0, 4, 3)), True),
        (Box(corners=(4, 2, 9, 9)), False),
        (Points(points=((3.9, 2.9),), labels=(1,)), True),
        (Points(points=((4, 2),), labels=(1,)), False),
        (Points(points=((3, 2),), labels=(0,)), False),  # background points mark what is not meant
    ],
)
def test_a_prompt_touches_a_mask_in_a_shared_pixel(prompt: Box | Points, expected: bool) -> None:
    pixels = np.zeros(SIZE, dtype=np.bool_)
    pixels[2, 3] = True
    other = np.zeros(SIZE, dtype=np.bool_)
    other[9, 19] = True
    assert touches(prompt, [encode(other), encode(pixels)]) is expected

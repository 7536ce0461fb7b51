"""`check-adapter` passes every segmenter here: on images of odd sizes, volumes, boxes, points, alone and in batches."""

from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from harness.evaluation.adapter_check.check import check_adapter
from harness.models.resolve import parse
from harness.records import Json
from reference_model.adapter import WEIGHTS
from tests.support import tiny_segmenters

NAMED = {"text": {"text": '[{"bbox_2d": [2, 2, 9, 9], "label": "liver"}]'}, "reply": "qwen2_5_vl", "frame": "pixels"}


@pytest.fixture(scope="module")
def sam(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_segmenters.make("sam", tmp_path_factory.mktemp("sam"))


@pytest.mark.parametrize(
    ("reference", "arguments"),
    [
        pytest.param("sam:{sam}", {}, marks=pytest.mark.slow),
        pytest.param(f"sam-med2d:{WEIGHTS / 'medplib-tiny'}", {}, marks=pytest.mark.slow),
        ("grounded:scripted+sam:{sam}", NAMED),
    ],
    ids=["sam", "sam-med2d", "grounded"],
)
def test_a_segmenter_passes(sam: Path, reference: str, arguments: Mapping[str, Json]) -> None:
    report = check_adapter(parse(reference.format(sam=sam), arguments), timeout=60, device="cpu")
    assert report.faults == []
    assert report.asked >= 14

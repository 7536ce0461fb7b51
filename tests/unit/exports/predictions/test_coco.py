"""COCO results: pycocotools loads and scores them as the run does, and they come back."""

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from pycocotools import mask as coco_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from harness.api import load_scores
from harness.errors import DataError, SpecError
from harness.exports.predictions import coco
from harness.exports.predictions.coco import write_coco
from harness.models.submitted import coco_results
from harness.models.submitted.predictions_file import Predictions
from tests.support.exported_runs import NAMES, ExportedCase, item_of, numbers

ANSWERED = len(NAMES) - 4


def written(case: ExportedCase, out: Path) -> Path:
    (folder,), _ = write_coco(case.run, out, task_paths=case.task_paths)
    return folder


def test_pycocotools_scores_masks_as_the_run_does(detection_case: ExportedCase, tmp_path: Path) -> None:
    folder = written(detection_case, tmp_path / "coco")
    truth = COCO(str(folder / "instances.json"))
    found = truth.loadRes(str(folder / "results.json"))
    judge = COCOeval(truth, found, "segm")
    judge.evaluate()
    judge.accumulate()
    judge.summarize()
    (row,) = [row for row in detection_case.rows if row["stratum"] is None]
    assert 0.1 < row["value"] < 1
    assert judge.stats[0] == pytest.approx(row["value"], abs=1e-12)
    images = {image["sample_id"] for image in truth.dataset["images"]}
    assert images == {f"organs/all/{name}" for name in NAMES}
    assert numbers(detection_case.score(folder, tmp_path / "again")) == detection_case.numbers


def test_masks_come_back_with_the_same_numbers(image_case: ExportedCase, tmp_path: Path) -> None:
    folder = written(image_case, tmp_path / "our results")
    # The file of results is the folder, too.
    assert Predictions(str(folder / "results.json")).path == Predictions(str(folder)).path == folder
    again = image_case.score(folder / "results.json", tmp_path / "again")
    assert numbers(again) == image_case.numbers
    assert json.loads((again / "results.json").read_text())["model"]["name"] == "our results"


def test_boxes_are_those_of_pycocotools_and_come_back(box_case: ExportedCase, tmp_path: Path) -> None:
    folder = written(box_case, tmp_path / "coco")
    truth = COCO(str(folder / "instances.json"))
    found = truth.loadRes(str(folder / "results.json"))
    values = load_scores(box_case.run).set_index("sample_id")["rec_iou.standard"]
    compared = 0
    for image in truth.dataset["images"]:
        (target,), boxes = truth.imgToAnns[image["id"]], found.imgToAnns[image["id"]]
        for box in boxes:
            iou = coco_masks.iou([np.array(box["bbox"])], [np.array(target["bbox"])], [0])[0, 0]
            assert iou == pytest.approx(values[image["sample_id"]], abs=1e-12)
            compared += 1
    assert compared == ANSWERED
    assert numbers(box_case.score(folder, tmp_path / "again")) == box_case.numbers


def test_results_of_another_detector_need_no_answers(image_case: ExportedCase, tmp_path: Path) -> None:
    folder = written(image_case, tmp_path / "coco")
    (folder / "answers.jsonl").unlink()
    results = json.loads((folder / "results.json").read_text())
    results += [{**results[0], "image_id": 999}, "no result", {**results[0], "segmentation": [[0, 0, 4, 0, 4, 4]]}]
    (folder / "results.json").write_text(json.dumps(results))
    again = image_case.score(folder, tmp_path / "again")
    counts = json.loads((again / "results.json").read_text())["tasks"]["organs2d"]["counts"]
    assert counts == {"ok": ANSWERED - 1, "empty": 4, "model_error": 1}
    problems = (again / "problems.jsonl").read_text()
    assert (
        f"results.json[{len(results) - 3}]: expected the image_id of an image in instances.json, found 999" in problems
    )
    assert "found None; it is ignored" in problems
    failures = (again / "failures.jsonl").read_text()
    assert "expected a mask with one of 'counts', 'slices' and 'path', found 'polygons'" in failures


def test_what_cannot_be_read_is_named(
    image_case: ExportedCase, box_case: ExportedCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = written(image_case, tmp_path / "coco")

    def fault(name: str, content: str, message: str) -> None:
        kept = (folder / name).read_text()
        (folder / name).write_text(content)
        with pytest.raises(DataError, match=message):
            image_case.score(folder, tmp_path / "again")
        (folder / name).write_text(kept)

    fault("results.json", "{}", "results.json: expected a list of results, found dict")
    monkeypatch.setattr(coco_results, "MOST_WHOLE_BYTES", 10)
    fault("results.json", "[]", r"instances.json: has [\d,]+ bytes; expected at most 10")
    monkeypatch.undo()
    monkeypatch.setattr(coco_results, "json_of", Mock(side_effect=OSError(5, "Input/output error")))
    fault("results.json", "[]", "instances.json: cannot be read: Input/output error")
    monkeypatch.undo()
    fault("results.json", "[", r"results.json: cannot be read as JSON \(Expecting value")
    fault("instances.json", "[]", "instances.json: expected images, found none; `harness export coco` writes it")
    fault("instances.json", '{"images": [{"id": 1}]}', r"images\[0\]: expected id and sample_id, found id")
    fault(
        "answers.jsonl", "{}\n", r"answers.jsonl:1: expected a line of `harness export coco`, found none \(KeyError\)"
    )
    with pytest.raises(DataError, match=r"instances\.json: 0 of 10 images belong to samples of boxes2d"):
        box_case.score(folder, tmp_path / "again")


def test_what_coco_does_not_hold_is_refused(
    image_case: ExportedCase, volume_case: ExportedCase, word_case: ExportedCase, tmp_path: Path
) -> None:
    nothing = item_of(None, size=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco.FinishedRun, "samples", lambda *_: iter([nothing]))
        with pytest.raises(SpecError, match=r"d/all/1: expected an image \(H, W\), found a sample without one"):
            written(image_case, tmp_path / "out")
    for case, message in (
        (volume_case, r"expected an image \(H, W\), found a volume; `harness export nifti` holds masks of volumes"),
        (word_case, "lobes: expected a task that gives masks or boxes, found one that gives text"),
    ):
        with pytest.raises(SpecError, match=message):
            written(case, tmp_path / "out")

"""Predicted masks as files with lines beside them, and back."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import SpecError
from harness.evaluation.evaluate import evaluate
from harness.exports.finished_run import finished_run
from harness.exports.predictions.folder import MaskFormat, line_of, write_predictions
from harness.exports.predictions.masks import NiftiMasks, PngMasks
from harness.imaging import mask_files, masks
from harness.records import ErrorInfo, Grid, PredictedEntity, Prediction, SoftMask
from tests.support.exported_runs import AFFINE, NAMES, ExportedCase, item_of, numbers

pytest.importorskip("nibabel")
FILES = 2 * len(NAMES) - 9  # two for each answer, one for the empty mask, none for the four that failed


def written(case: ExportedCase, out: Path, form: MaskFormat) -> Path:
    (folder,), notes = write_predictions(case.run, out, form, task_paths=case.task_paths)
    assert notes == []
    return folder


def test_masks_of_images_come_back_with_the_same_numbers(image_case: ExportedCase, tmp_path: Path) -> None:
    folder = written(image_case, tmp_path / "our masks", PngMasks())
    # Ids that differ in case only, or hold slashes, have files of their own, all in one folder.
    files = sorted((folder / "masks").iterdir())
    assert len({file.name.casefold() for file in files}) == FILES
    assert all(file.is_file() and file.name.isascii() for file in files)
    with Image.open(files[1]) as image:
        assert (image.mode, image.size, set(np.unique(image))) == ("L", (16, 12), {0, 255})
    again = image_case.score(folder, tmp_path / "again")
    assert numbers(again) == image_case.numbers
    assert json.loads((again / "results.json").read_text())["model"]["name"] == "our masks"


def test_masks_of_volumes_lie_in_the_space_of_their_volume_and_come_back(
    volume_case: ExportedCase, tmp_path: Path
) -> None:
    import nibabel

    folder = written(volume_case, tmp_path / "nifti", NiftiMasks())
    files = sorted((folder / "masks").iterdir())
    assert len(files) == FILES
    for file in files:
        image = nibabel.load(file)
        assert image.shape == (8, 6, 4)
        assert image.get_data_dtype() == np.uint8
        assert image.header.get_xyzt_units()[0] == "mm"
        for matrix in (image.affine, image.get_sform(), image.get_qform()):
            assert np.allclose(matrix, AFFINE, atol=1e-5)
    again = volume_case.score(folder, tmp_path / "again")
    assert numbers(again) == volume_case.numbers


def test_the_record_names_model_versions_and_scores(image_case: ExportedCase, tmp_path: Path) -> None:
    folder = written(image_case, tmp_path / "png", PngMasks())
    record = json.loads((folder / "export.json").read_text())
    assert record["model"] == json.loads((image_case.run / "results.json").read_text())["model"]
    assert record["model"]["weights"]
    assert record["tasks"]["organs2d"]["version"] == 3
    first = record["tasks"]["organs2d"]["metrics"][0]
    assert {"protocol_version", "ci", "n", "value"} <= set(first)
    assert (folder / "scores.csv").read_text().count("\n") > len(NAMES)


def test_a_format_that_does_not_hold_a_task_says_so(
    image_case: ExportedCase, volume_case: ExportedCase, word_case: ExportedCase, tmp_path: Path
) -> None:
    def refused(case: ExportedCase, form: MaskFormat, message: str) -> None:
        with pytest.raises(SpecError, match=message):
            write_predictions(case.run, tmp_path / "out", form, task_paths=case.task_paths)

    refused(
        volume_case, PngMasks(), r"expected masks of an image \(H, W\), found those of a volume; `harness export nifti"
    )
    refused(image_case, NiftiMasks(), r"expected masks of a volume \(D, H, W\), found those of an image, .* export png")
    refused(
        word_case,
        PngMasks(),
        "no task can be written as png\n  lobes: expected a task that gives masks, found one that gives text",
    )
    assert not (tmp_path / "out").exists()


def test_other_files_are_never_written_over(image_case: ExportedCase, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    for out, message in (
        (tmp_path, "expected a new or an empty folder, found files in it; name another folder"),
        (tmp_path / "mine.txt", "expected a folder, found a file; name another folder"),
        (tmp_path / "mine.txt" / "below", "cannot be written: Not a directory; name another folder"),
    ):
        with pytest.raises(SpecError, match=message):
            write_predictions(image_case.run, out, PngMasks(), task_paths=image_case.task_paths)


def test_a_task_that_is_not_there_is_named_with_those_that_are(image_case: ExportedCase, tmp_path: Path) -> None:
    message = r"expected --task with one of organs2d, found 'organs' \(did you mean 'organs2d'\?\)"
    with pytest.raises(SpecError, match=message):
        write_predictions(image_case.run, tmp_path / "out", PngMasks(), task="organs")


def test_a_line_holds_what_a_predictions_file_can_and_notes_the_rest(image_case: ExportedCase) -> None:
    mask = masks.encode(np.ones((3, 4), dtype=bool))
    entity = PredictedEntity(name="liver", span=(0, 5), mask=0)
    said = Prediction(
        key="k",
        status="truncated",
        text="liver",
        choice="B",
        masks=(mask,),
        mask_scores=(0.5,),
        soft_masks=(SoftMask(size=(3, 4)),),
        points=((1.0, 2.0),),
        entities=(entity,),
        nll=(0.25,),
        nll_tokens=(2,),
        embedding=((1.0,), (2.0,)),
        read_as="qwen",
    )
    crashed = Prediction(key="k", status="timeout", error=ErrorInfo(type="Timeout", message="600 s\x07"))
    unread = Prediction(key="k", status="data_error")
    with finished_run(image_case.run, task_paths=image_case.task_paths) as run:
        lines = [line_of(run, item_of(one, size=(3, 4))) for one in (said, crashed, unread)]
        lines.append(line_of(run, item_of(None, size=(3, 4), status="not_run")))
        assert run.notes == [
            "not held by this format: probabilities (soft masks) beside the masks (1)",
            "not held by this format: points (1)",
            "not held by this format: how a dialect has read the boxes in words that hold none (1)",
            "not held by this format: places of names in the words (1)",
            "not held by this format: that files of the release could not be read, for which a line has no status (1)",
            "not held by this format: samples that were not asked, which have no line (1)",
        ]
    identity = {"sample_id": "d/all/1", "repeat": 0}
    assert lines == [
        {
            **identity,
            "status": "truncated",
            "text": "liver",
            "choice": "B",
            "mask_scores": [0.5],
            "entities": [{"name": "liver", "mask": 0}],
            "nll": [0.25],
            "nll_tokens": [2],
            "embedding": [[1.0], [2.0]],
        },
        {**identity, "status": "timeout", "error": "Timeout: 600 s\\x07"},
        None,
        None,
    ]


def test_nifti_holds_volumes_without_an_affine_and_with_a_sheared_one(tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    voxels = np.zeros((2, 3, 4), dtype=bool)
    voxels[0, 1, 2:] = True
    mask = masks.encode(voxels)
    found = Prediction(key="k", status="ok", masks=(mask,))
    sheared = np.diag([2.0, 1.0, 1.5, 1.0])
    sheared[0, 1] = 0.3
    for affine in (None, sheared):
        item = item_of(found, affine=affine)
        assert NiftiMasks().refusal(item) is None
        (entry,) = NiftiMasks().write(tmp_path, "1", item, found.masks)
        owner = Grid(size=(2, 3, 4), affine=item.sample.media[0].affine)
        remarks: list[str] = []
        again = mask_files.read_file(tmp_path / entry["path"], None, "here", owner=owner, remark=remarks.append)
        assert (again, remarks) == (mask, [])


@pytest.mark.slow
def test_tasks_that_share_samples_get_folders_of_their_own(image_case: ExportedCase, tmp_path: Path) -> None:
    # A second task over the samples of the first, with other answers; a third that is answered in words.
    tasks = image_case.folder / "tasks" / "organs2d"
    text = (tasks / "organs2d.yaml").read_text()
    (tmp_path / "tasks").mkdir()
    shutil.copy(tasks / "exported.py", tmp_path / "tasks")
    for name, gives in (("organs2d", "masks"), ("twin", "masks"), ("words", "text")):
        changed = text.replace("task: organs2d", f"task: {name}\ndataset: organs2d").replace(
            "gives: masks", f"gives: {gives}"
        )
        if gives == "text":
            changed = changed.replace("[{metric: dice}, {metric: iou}]", "[{metric: token_prf}]").replace(
                "dice", "token_prf"
            )
        (tmp_path / "tasks" / f"{name}.yaml").write_text(changed)
    spec = replace(
        image_case.spec(image_case.folder / "model of ours.jsonl", tmp_path / "run"),
        tasks=("organs2d", "twin", "words"),
        task_paths=(tmp_path / "tasks",),
    )
    run = evaluate(spec).out
    folders, notes = write_predictions(run, tmp_path / "png", PngMasks(), task_paths=(tmp_path / "tasks",))
    assert folders == [tmp_path / "png" / "organs2d", tmp_path / "png" / "twin"]
    assert notes == ["left out: words: expected a task that gives masks, found one that gives text"]
    assert set(json.loads((tmp_path / "png" / "export.json").read_text())["tasks"]) == {"organs2d", "twin"}
    assert "words" not in (tmp_path / "png" / "scores.csv").read_text()

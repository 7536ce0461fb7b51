"""Predicted masks as files with lines beside them, and back."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import SpecError
from harness.exports.predictions.folder import MaskFormat, write_predictions
from harness.exports.predictions.masks import NiftiMasks, PngMasks
from tests.support.exported_runs import AFFINE, NAMES, ExportedCase, numbers

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

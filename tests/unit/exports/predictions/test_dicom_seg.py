"""DICOM SEG by highdicom: it is on the grid of the volume or its series, and comes back."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.data.phantoms.writers.dicom import PRIVATE, DrawnSeries, write_segmentation, write_slice
from harness.errors import DataError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.exports.predictions.dicom_seg import MOST_LABEL, DicomSegMasks, labels_of
from harness.exports.predictions.folder import write_predictions
from harness.imaging import mask_files, masks
from harness.records import PredictedEntity, Prediction
from tests.support.exported_runs import NAMES, ExportedCase, item_of, numbers

pydicom = pytest.importorskip("pydicom")
highdicom = pytest.importorskip("highdicom")


def written(case: ExportedCase, out: Path, *roots: Path) -> tuple[Path, DicomSegMasks]:
    form = DicomSegMasks(roots=roots)
    (folder,), _ = write_predictions(case.run, out, form, task_paths=case.task_paths)
    return folder, form


def test_masks_come_back_with_the_same_numbers(volume_case: ExportedCase, tmp_path: Path) -> None:
    folder, form = written(volume_case, tmp_path / "seg")
    files = sorted((folder / "masks").iterdir())
    assert len(files) == form.without_source == len(NAMES) - 4
    again = volume_case.score(folder, tmp_path / "again")
    assert numbers(again) == volume_case.numbers
    found = highdicom.seg.segread(files[1])
    assert found.segment_numbers == [1, 2]
    assert [one.SegmentLabel for one in found.SegmentSequence] == ["organ", "organ 2"]
    assert found.SegmentationType == "BINARY"
    assert found.PatientName == ""
    assert found.ContentDescription == "organs3d/all/Case"
    algorithm = found.SegmentSequence[0].SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "model of ours"
    weights = json.loads((volume_case.run / "results.json").read_text())["model"]["weights"]
    assert f"weights={weights[0]}" in algorithm.AlgorithmParameters


@pytest.fixture(scope="session")
def sagittal_case(tmp_path_factory: pytest.TempPathFactory) -> ExportedCase:
    """A run on a DICOM series that was acquired from left to right, of the task that the harness brings along."""
    folder = tmp_path_factory.mktemp("sagittal")
    case = folder / "data" / "dicom_seg" / "case"
    series = DrawnSeries(name="a", orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0), spacing=(2.0, 3.0))
    positions = [(-10.0 - 2.5 * place, -20.0, 50.0) for place in range(4)]
    organ = np.zeros((4, 5, 6), dtype=bool)
    organ[1:3, 1:4, 2:5] = True
    for place, position in enumerate(positions):
        write_slice(case / "scan" / f"{place}.dcm", series, place + 1, position, np.full((5, 6), 10.0 * place))
    write_segmentation(case / "seg.dcm", series, {"liver": organ, "Background": ~organ}, positions)
    # (x, y, z) as read: slices run to the right, rows to the front of the patient's axes, columns upwards.
    answer = np.zeros((5, 6, 4), dtype=bool)
    answer[1:4, 2:4, 0:2] = True
    line = {"sample_id": "dicom_seg/all/case/scan:liver", "masks": [mask_files.to_json(masks.encode(answer))]}
    (folder / "mine.jsonl").write_text(json.dumps(line))
    (folder / "tasks").mkdir()
    found = ExportedCase(task="dicom_seg", folder=folder, run=folder / "run")
    evaluate(found.spec(folder / "mine.jsonl", found.run))
    return found


@pytest.mark.slow
def test_frames_refer_to_the_slices_of_the_release(sagittal_case: ExportedCase, tmp_path: Path) -> None:
    data = sagittal_case.folder / "data"
    folder, form = written(sagittal_case, tmp_path / "seg", data)
    assert form.without_source == 0
    (file,) = (folder / "masks").iterdir()
    found = highdicom.seg.segread(file)
    slices = [pydicom.dcmread(path) for path in sorted((data / "dicom_seg" / "case" / "scan").iterdir())]
    referenced = found.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == slices[0].SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in referenced.ReferencedInstanceSequence} == {
        one.SOPInstanceUID for one in slices
    }
    # Nothing of the patient that the slices name.
    content = file.read_bytes()
    assert not [name for name, value in PRIVATE.items() if value.encode() in content]
    for matrix, frame in zip(found.pixel_array, found.PerFrameFunctionalGroupsSequence, strict=True):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        (owner,) = [one for one in slices if one.SOPInstanceUID == source]
        assert frame.PlanePositionSequence[0].ImagePositionPatient == owner.ImagePositionPatient
        assert matrix.shape == (5, 6)
    assert numbers(sagittal_case.score(folder, tmp_path / "again")) == sagittal_case.numbers


@pytest.mark.slow
def test_source_slices_that_are_not_there_or_not_certain_are_named(
    sagittal_case: ExportedCase, volume_case: ExportedCase, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(SpecError, match="expected DICOM series with a place in space, found none"):
        written(volume_case, tmp_path / "a", tmp_path / "empty")
    scan = sagittal_case.folder / "data" / "dicom_seg" / "case" / "scan"
    for name in ("one", "two"):
        for path in scan.iterdir():
            copied = pydicom.dcmread(path)
            copied.SeriesInstanceUID += f".{len(name)}{ord(name[0])}"
            (tmp_path / "twice" / name).mkdir(parents=True, exist_ok=True)
            copied.save_as(tmp_path / "twice" / name / path.name)
    with pytest.raises(DataError, match="expected one series on its grid below --data-root, found 2; name the folder"):
        written(sagittal_case, tmp_path / "b", tmp_path / "twice")


def named(names: tuple[str, ...] = ()) -> Prediction:
    mask = masks.encode(np.ones((2, 3, 4), dtype=bool))
    entities = tuple(PredictedEntity(name=name, mask=place) for place, name in enumerate(names))
    return Prediction(key="k", status="ok", masks=(mask,) * max(1, len(names)), entities=entities)


def test_volumes_without_a_place_in_space_are_refused() -> None:
    sheared = np.eye(4)
    sheared[0, 1] = 0.2
    form = DicomSegMasks()
    assert form.refusal(item_of(named(), affine=np.eye(4))) is None
    assert form.refusal(item_of(None)) is None
    assert "d/all/1: expected a volume with an affine, found none" in str(form.refusal(item_of(named())))
    assert "expected rows and columns at right angles, found a sheared affine" in str(
        form.refusal(item_of(named(), affine=sheared))
    )


def test_labels_are_unique_and_no_reader_takes_one_for_background() -> None:
    assert labels_of(item_of(named(("Liver", "liver", "a\\b\n" + "c" * 99)))) == [
        "Liver",
        "liver 2",
        "a b " + "c" * (MOST_LABEL - 4),
    ]
    assert labels_of(item_of(named(), asked="background")) == ["background structure"]


def test_what_is_not_installed_is_named(volume_case: ExportedCase, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "highdicom", None)
        with pytest.raises(DataError, match=r"needs highdicom; pip install 'medground\[medical\]'"):
            written(volume_case, tmp_path / "out")

"""A folder of masks as predictions: which mask each sample gets, and what is said of every other file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.data.releases.folders.labels import Label, LabelSet, label_set
from harness.errors import DataError
from harness.imaging import masks
from harness.imaging.mask_files import from_json
from harness.models.submitted.predictions_folder import Asked, FolderReport, lines_of_folder
from harness.records import Entity, Media, Sample, Target

Array = NDArray[Any]

VALUES: Array = np.array([[0, 1, 2, 2], [0, 1, 0, 3], [0, 0, 0, 3]], dtype=np.uint8)
THREE = label_set({"background": (0,), "liver": (1,), "both": (1, 2), "spleen": (3,)}, "dataset.json: labels")
POLYP = label_set({"polyp": (255,)}, "labels")


def asked(case: str, label: str, labels: LabelSet | None, media: Media | None = None, **change: Any) -> Asked:
    image = media or Media(path=f"seg/images/{case}", sha256="0", size=VALUES.shape)
    target = Target(entities=(Entity(name=label),))
    sample = Sample(id=f"seg/all/images/{case}:{label}", media=(image,), target=target, **change)
    return Asked(sample=sample, labels=labels)


def save(path: Path, values: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def answers(folder: Path, *samples: Asked, report: FolderReport | None = None) -> dict[str, Any]:
    """Return the mask of each sample as nested lists, or its error, by what follows the last slash of its id."""
    found: dict[str, Any] = {}
    for text in lines_of_folder(folder, "given", samples, report or FolderReport()):
        line = json.loads(text)
        name = line["sample_id"].rpartition("/")[2]
        if "masks" in line:
            (mask,) = line["masks"]
            found[name] = masks.decode(from_json(mask, where="")).astype(int).tolist()
        else:
            assert line["status"] == "model_error"
            found[name] = line["error"]
    return found


def where(*values: int) -> Any:
    return np.isin(VALUES, values).astype(int).tolist()


def test_labels_of_one_file_are_told_apart_by_the_values_of_the_task(tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES)
    report = FolderReport()
    three = [asked("a.png", label, THREE) for label in ("liver", "both", "spleen")]
    assert answers(tmp_path, *three, report=report) == {
        "a.png:liver": where(1),
        "a.png:both": where(1, 2),
        "a.png:spleen": where(3),
    }
    assert (report.problems, report.note) == ([], None)


def test_a_label_that_a_file_does_not_hold_was_not_found(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.where(VALUES == 1, 1, 0).astype(np.uint8))
    assert answers(tmp_path, asked("a.png", "spleen", THREE)) == {"a.png:spleen": where(9)}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", {"labels": {"background": 0, "Liver": 3, "spleen": [1, 2]}}),
        ("labels.json", {"liver": 3, "spleen": [1, 2]}),
    ],
)
def test_the_folder_may_say_what_its_values_mean(name: str, content: Mapping[str, Any], tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES)
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8-sig")
    found = answers(tmp_path, *(asked("a.png", label, THREE) for label in ("liver", "spleen", "both")))
    assert found["a.png:liver"] == where(3)
    assert found["a.png:spleen"] == where(1, 2)
    assert found["a.png:both"].startswith(f"mask: a.png: {tmp_path / name}")
    assert "names no value of 'both'; put a labels.json" in found["a.png:both"]


def test_a_folder_that_names_other_labels_says_nothing_of_ours(tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES)
    (tmp_path / "labels.json").write_text('{"bone": 1}')
    assert answers(tmp_path, asked("a.png", "liver", THREE)) == {"a.png:liver": where(1)}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.json", "{", "cannot be read as JSON"),
        ("labels.json", '{"liver": "x"}', "expected label: value"),
        ("labels.json", '["liver"]', "expected label: value"),
        ("labels.json", "3", "expected a list of texts, or label: value, found 3"),
        ("dataset.json", "{}", "expected an object with 'labels'"),
    ],
)
def test_a_file_of_labels_that_cannot_be_read_ends_it(name: str, content: str, message: str, tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES)
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=message):
        answers(tmp_path, asked("a.png", "liver", THREE))


@pytest.mark.parametrize("value", [1, 255])
@pytest.mark.parametrize(
    "labels", [POLYP, label_set({"polyp": (1,)}, "labels"), LabelSet(labels=(Label(name="polyp"),))]
)
def test_a_mask_of_one_label_may_be_0_and_1_or_0_and_255(value: int, labels: LabelSet, tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.where(VALUES == 1, value, 0).astype(np.uint8))
    assert answers(tmp_path, asked("a.png", "polyp", labels)) == {"a.png:polyp": where(1)}


def test_bits_are_foreground_whatever_its_value(tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES == 1)
    for labels in (POLYP, label_set({"polyp": (1,)}, "labels")):
        assert answers(tmp_path, asked("a.png", "polyp", labels)) == {"a.png:polyp": where(1)}


def test_a_folder_for_each_label_holds_masks_of_that_label_alone(tmp_path: Path) -> None:
    save(tmp_path / "liver" / "a.png", np.where(VALUES == 1, 255, 0).astype(np.uint8))
    save(tmp_path / "spleen" / "a.png", np.where(VALUES == 3, 3, 0).astype(np.uint8))
    report = FolderReport()
    three = [asked("a.png", label, THREE) for label in ("liver", "both", "spleen")]
    assert answers(tmp_path, *three, report=report) == {
        "a.png:liver": where(1),
        "a.png:both": "no file of the folder is named after this sample",
        "a.png:spleen": where(3),
    }
    assert report.note == ("2 of 2 files answer 2 of 3 samples; none is named after seg/all/images/a.png:both")


def test_values_that_no_label_has_are_refused_or_said(tmp_path: Path) -> None:
    save(tmp_path / "a.png", np.where(VALUES == 1, 7, 0).astype(np.uint8))
    save(tmp_path / "b.png", np.where(VALUES == 2, 7, VALUES).astype(np.uint8))
    report = FolderReport()
    found = answers(tmp_path, asked("a.png", "liver", THREE), asked("b.png", "liver", THREE), report=report)
    here, says = "mask: ", "dataset.json: labels says liver: 1, both: 2, spleen: 3"
    assert found == {
        "a.png:liver": f"{here}a.png: no label has a value that it holds, 7; {says}",
        "b.png:liver": where(1),
    }
    (problem,) = report.problems
    assert str(problem) == f"{here}b.png: no label has the values 7, which count as background; {says}"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "expected the values of its labels, which the task does not say; put a labels.json such as"),
        (
            LabelSet(labels=(Label(name="liver", text="l"), Label(name="spleen", text="s"))),
            "labels names no value of 'liver'; put a labels.json such as",
        ),
    ],
)
def test_a_file_of_several_labels_without_values_is_refused(
    labels: LabelSet | None, message: str, tmp_path: Path
) -> None:
    save(tmp_path / "a.png", VALUES)
    assert message in answers(tmp_path, asked("a.png", "liver", labels))["a.png:liver"]
    save(tmp_path / "l" / "a.png", VALUES)
    (tmp_path / "a.png").unlink()
    if labels is not None:  # the text that stands for the label in the release's own paths
        assert answers(tmp_path, asked("a.png", "liver", labels)) == {"a.png:liver": where(1, 2, 3)}


def test_files_without_a_sample_and_samples_without_a_file_are_counted(tmp_path: Path) -> None:
    for name in ("case_01", "case_2", "other"):
        save(tmp_path / f"{name}.png", VALUES)
    (tmp_path / "plans.json").write_text("{}")
    report = FolderReport()
    found = answers(tmp_path, *(asked(f"case_0{n}.png", "liver", THREE) for n in range(1, 6)), report=report)
    assert found["case_02.png:liver"] == "no file of the folder is named after this sample"
    assert report.note == (
        "1 of 3 files answer 1 of 5 samples; none is named after seg/all/images/case_02.png:liver, "
        "seg/all/images/case_03.png:liver, seg/all/images/case_04.png:liver and 1 more"
    )
    first, second = map(str, report.problems)
    assert first.startswith("case_2.png: no sample of this run has this name (did you mean 'case_0")
    assert second == "other.png: no sample of this run has this name; the file is ignored"


def test_names_that_do_not_decide_are_refused(tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES)
    save(tmp_path / "fold_1" / "a.png", VALUES)
    with pytest.raises(DataError) as caught:
        answers(tmp_path, asked("a.png", "liver", THREE))
    assert str(caught.value) == (
        "--predictions given: the names of these files are ambiguous\n"
        "  fold_1/a.png: answers seg/all/images/a.png:liver, which a.png answers too"
    )
    (tmp_path / "fold_1" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: may be meant for seg/images/p1/a\.png or seg/images/p2/a\.png"):
        answers(tmp_path, asked("p1/a.png", "liver", THREE), asked("p2/a.png", "liver", THREE))


def test_a_folder_that_answers_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--predictions given: expected a folder with masks \(\.png, .*, found none"):
        answers(tmp_path, asked("a.png", "liver", THREE))
    save(tmp_path / "x.png", VALUES)
    with pytest.raises(DataError) as caught:
        answers(tmp_path, asked("a.png", "liver", THREE))
    assert str(caught.value) == (
        "--predictions given: 0 of 1 files are named after a sample, so nothing is scored. x.png: no sample of this "
        "run has this name. The images are called such as seg/images/a.png; see docs/hand-in-predictions.md"
    )


def test_a_file_that_cannot_be_used_costs_its_own_samples(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    save(tmp_path / "b.png", VALUES.T.copy())
    save(tmp_path / "c.png", VALUES)
    found = answers(tmp_path, *(asked(f"{name}.png", "liver", THREE) for name in "abc"))
    assert "a.png" in found["a.png:liver"]
    assert "cannot be read" in found["a.png:liver"]
    assert "predicted mask is (4, 3), image is (3, 4) as (H, W); the adapter may have swapped" in found["b.png:liver"]
    assert found["c.png:liver"] == where(1)


def test_a_file_that_may_not_be_read_costs_its_own_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "ab":
        save(tmp_path / f"{name}.png", VALUES)
    whole = Path.read_bytes

    def refuses(file: Path) -> bytes:
        if file.name == "a.png":
            raise PermissionError(13, "Permission denied", str(file))
        return whole(file)

    monkeypatch.setattr(Path, "read_bytes", refuses)
    found = answers(tmp_path, asked("a.png", "liver", THREE), asked("b.png", "liver", THREE))
    assert found == {
        "a.png:liver": "mask: a.png: cannot be read (PermissionError: Permission denied)",
        "b.png:liver": where(1),
    }


def test_samples_that_cannot_be_asked_have_no_line(tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES)
    report = FolderReport()
    broken = asked("a.png", "liver", THREE, Media(path="a.png", sha256=None), defect="image a.png is missing")
    assert answers(tmp_path, broken, asked("b.png", "liver", THREE), report=report).keys() == {"b.png:liver"}
    assert (report.samples, report.answered) == (1, 0)


def test_volumes_are_compared_with_the_frame_of_their_images(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    values = np.zeros((5, 4, 3), dtype=np.float32)
    values[1:3, 1, 1] = 1
    values[4, 3, 2] = 3
    for name, own in (("a", affine), ("b", np.eye(4))):
        nibabel.save(nibabel.Nifti1Image(values, own), tmp_path / f"{name}.nii.gz")

    def volume(name: str) -> Media:
        return Media(path=name, sha256="0", kind="volume", size=(3, 4, 5), affine=tuple(affine.ravel().tolist()))

    found = answers(
        tmp_path,
        *(asked(f"{name}_0000.nii.gz", label, THREE, volume(name)) for name in "ab" for label in ("liver", "spleen")),
    )
    assert found["a_0000.nii.gz:liver"] == (values.transpose(2, 1, 0) == 1).astype(int).tolist()
    assert found["a_0000.nii.gz:spleen"] == (values.transpose(2, 1, 0) == 3).astype(int).tolist()
    assert "frame_mismatch" in found["b_0000.nii.gz:liver"]


def test_segments_of_a_dicom_seg_are_found_by_the_names_of_the_labels(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from harness.data.phantoms.writers.dicom import write_segmentation
    from harness.imaging.volumes import closest_canonical
    from tests.support.dicom_series import SERIES, positions, stacked, write

    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    liver = np.zeros((4, 5, 6), dtype=bool)
    liver[1:3, 2:4, 1:5] = True
    stack = stacked(tmp_path / "data")
    expected = closest_canonical(liver, stack.affine)
    media = Media(path="p3", sha256="0", kind="volume", size=expected.voxels.shape, affine=expected.affine)
    labels = ("Liver", "spleen")
    (tmp_path / "pred" / "p3").mkdir(parents=True)
    write_segmentation(tmp_path / "pred" / "p3" / "1.dcm", SERIES, {"liver": liver, "other": ~liver}, positions())
    found = answers(tmp_path / "pred", *(asked("p3", label, None, media) for label in labels))
    assert found["p3:Liver"] == (expected.voxels > 0).astype(int).tolist()
    assert not np.any(found["p3:spleen"])
    found = answers(tmp_path / "pred", asked("p3", "kidney", None, media))
    assert found["p3:kidney"] == "p3: 1.dcm: expected segments called kidney, found 1 (liver), 2 (other)"


def test_a_name_that_is_no_text_reaches_every_message(tmp_path: Path) -> None:
    save(tmp_path / "a.png", VALUES)
    odd = tmp_path / "x\x1b.png"
    odd.write_bytes(b"")
    report = FolderReport()
    answers(tmp_path, asked("a.png", "liver", THREE), report=report)
    assert str(report.problems[0]).startswith("x\\x1b.png: no sample of this run has this name")

"""M3D-Cap in both layouts: which entries become which samples, what is repaired, what is found."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.cap import READER
from harness.data.releases.m3d.wording import chosen
from harness.data.releases.reader import ReleaseAbsentError, ReleaseRequest
from harness.errors import DataError, SpecError
from harness.imaging.media_store import MediaStore
from harness.records import Sample

CASE = "M3D_Cap_npy/ct_quizze/000123"
AXIAL = f"{CASE}/Axial_C__portal_venous_phase.npy"
REPORT = "A small cyst of the liver."
Entry = dict[str, Any]


def entry(image: str = AXIAL, text: str | None = None) -> Entry:
    return {"image": image, "text": text or f"{image.rpartition('/')[0]}/text.txt"}


def write(root: Path, lists: Mapping[str, Sequence[Any]], folder: str = "M3D_Cap_npy") -> None:
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / folder / "M3D_Cap.json").write_text(json.dumps(lists))


def write_volume(root: Path, image: str = AXIAL, value: float = 0.5, text: str | bytes = REPORT) -> None:
    path = root / image
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full((1, 4, 6, 8), value, dtype=np.float32))
    (path.parent / "text.txt").write_bytes(text.encode() if isinstance(text, str) else text)


def write_slices(root: Path, series: str, greys: Sequence[int], text: str = REPORT) -> None:
    folder = root / "M3D_Cap/ct_quizze/000123" / series
    folder.mkdir(parents=True)
    for number, grey in enumerate(greys, start=9):
        Image.fromarray(np.full((6, 8), grey, dtype=np.uint8)).save(folder / f"{number}.png")
    (folder.parent / "text.txt").write_text(text)


def read(root: Path, **request: Any) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    asked = ReleaseRequest(**{"dataset": "m3d_cap", "split": "test"} | request)
    return [sample for _, sample in READER.read(ReleaseFiles(root=root, derived=root), asked, integrity)], integrity


def found(integrity: Integrity) -> list[Finding]:
    return [finding for finding in integrity.findings if finding.kind != "not_checked"]


def test_a_volume_and_its_report_become_a_sample(tmp_path: Path) -> None:
    write_volume(tmp_path)
    write(tmp_path, {"train": [], "test": [entry()]})
    (sample,), integrity = read(tmp_path)
    name = "m3d_cap/test/M3D_Cap_npy/ct_quizze/000123/Axial_C__portal_venous_phase"
    authors = json.loads((Path(__file__).parents[5] / "tasks/m3d_bench/wording/report_authors.json").read_text())
    assert sample.id == name
    assert sample.question == chosen(authors["report_generation"], name, "report_generation")
    assert sample.target.answers == (REPORT,)
    assert sample.target.caption_id == hashlib.sha256(REPORT.encode()).hexdigest()
    assert sample.strata == {
        "pool": "2000",
        "source": "ct_quizze",
        "plane": "axial",
        "phase": "portal venous",
        "wording": "authors",
    }
    assert (sample.cluster, sample.defect) == ("ct_quizze/000123", None)
    (media,) = sample.media
    assert (media.path, media.kind, media.size) == (AXIAL, "volume", (4, 6, 8))
    assert media.sha256 == hashlib.sha256((tmp_path / AXIAL).read_bytes()).hexdigest()
    assert found(integrity) == []


@pytest.mark.parametrize(
    ("name", "plane", "phase"),
    [
        ("Axial_non_contrast", "axial", "non contrast"),
        ("Coronal_C__arterial_phase", "coronal", "arterial"),
        ("Sagittal_C__delayed", "sagittal", "delayed"),
        ("axial_c_", "axial", "contrast"),
        ("Axial_lung_window", "axial", "unknown"),
        ("3D_bone", "unknown", "unknown"),
    ],
)
def test_plane_and_phase_are_read_off_the_name(tmp_path: Path, name: str, plane: str, phase: str) -> None:
    write_volume(tmp_path, f"{CASE}/{name}.npy")
    write(tmp_path, {"test": [entry(f"{CASE}/{name}.npy")]})
    (sample,), _ = read(tmp_path)
    assert (sample.strata["plane"], sample.strata["phase"]) == (plane, phase)


def test_all_pools_are_read_together_each_under_its_own_ids(tmp_path: Path) -> None:
    write_volume(tmp_path)
    lists = ("train", "validation", "test", "test1k", "test500", "test100")
    write(tmp_path, {name: [entry()] for name in lists})
    samples, _ = read(tmp_path, options={"pools": "all"})
    pools = [(sample.id.split("/")[1], sample.strata["pool"]) for sample in samples]
    assert pools == [("test", "2000"), ("test1k", "1000"), ("test500", "500"), ("test100", "100")]
    assert len({sample.target.caption_id for sample in samples}) == 1
    (sample,), _ = read(tmp_path, split="validation")
    assert (sample.id.split("/")[1], sample.strata["pool"]) == ("validation", "none")


def test_slices_stand_for_a_volume_that_was_not_prepared(tmp_path: Path) -> None:
    write_slices(tmp_path, "Axial_C__portal_venous_phase", (10, 20, 30))
    (tmp_path / "M3D_Cap/ct_quizze/000123/Axial_C__portal_venous_phase/12.png").write_bytes(b"torn")
    write(tmp_path, {"test": [entry()]}, "M3D_Cap")
    (sample,), integrity = read(tmp_path)
    folder = "M3D_Cap/ct_quizze/000123/Axial_C__portal_venous_phase"
    (media,) = sample.media
    assert (media.path, media.size, sample.target.answers) == (folder, (3, 6, 8), (REPORT,))
    assert found(integrity) == [Finding("slice_left_out", f"{folder}/12.png", "cannot be read")]
    assert integrity.repairs == {"volume_from_raw_slices": 1}
    voxels = MediaStore(roots=[tmp_path]).volume(media)
    assert voxels[:, 0, 0].tolist() == [10.0, 20.0, 30.0]


def test_a_changed_slice_is_noticed_when_the_volume_is_opened(tmp_path: Path) -> None:
    write_slices(tmp_path, "Axial_C__portal_venous_phase", (10, 20))
    write(tmp_path, {"test": [entry()]}, "M3D_Cap")
    (sample,), _ = read(tmp_path)
    Image.new("L", (8, 6)).save(tmp_path / sample.media[0].path / "9.png")
    with pytest.raises(DataError, match="its bytes changed since it was prepared"):
        MediaStore(roots=[tmp_path]).locate(sample.media[0])


def test_folders_keep_the_diacritics_that_the_listing_lacks(tmp_path: Path) -> None:
    write_slices(tmp_path, "Pöschl", (10, 20))
    write(tmp_path, {"test": [entry(f"{CASE}/Poschl.npy")]}, "M3D_Cap")
    (sample,), integrity = read(tmp_path)
    assert sample.media[0].path == "M3D_Cap/ct_quizze/000123/Pöschl"
    assert integrity.repairs["series_name_with_diacritics"] == 1


def test_files_that_are_missing_or_torn_leave_the_sample_in_the_manifest(tmp_path: Path) -> None:
    for name in ("torn", "silent", "latin"):
        write_volume(tmp_path, f"M3D_Cap_npy/ct_case/{name}/Axial.npy")
    (tmp_path / "M3D_Cap_npy/ct_case/torn/Axial.npy").write_bytes(b"no array")
    (tmp_path / "M3D_Cap_npy/ct_case/silent/text.txt").unlink()
    (tmp_path / "M3D_Cap_npy/ct_case/latin/text.txt").write_bytes("suivi à un an".encode("latin-1"))
    images = [f"M3D_Cap_npy/ct_case/{name}/Axial.npy" for name in ("absent", "torn", "silent", "latin")]
    write(tmp_path, {"test": [entry(image) for image in images]})
    samples, integrity = read(tmp_path)
    assert [sample.defect for sample in samples] == [
        f"volume {images[0]} is missing",
        f"volume {images[1]} cannot be read",
        "text M3D_Cap_npy/ct_case/silent/text.txt is missing",
        None,
    ]
    assert samples[3].target.answers == ("suivi à un an",)
    kinds = [(finding.kind, finding.where) for finding in found(integrity)]
    assert ("missing_file", images[0]) in kinds
    assert ("missing_file", "M3D_Cap_npy/ct_case/silent/text.txt") in kinds
    assert ("unreadable_file", images[1]) in kinds
    assert integrity.repairs == {"text_read_as_latin_1": 1}


def test_an_entry_without_text_is_reported(tmp_path: Path) -> None:
    write_volume(tmp_path)
    write(tmp_path, {"test": [{"image": AXIAL}]})
    (sample,), integrity = read(tmp_path)
    assert (sample.defect, sample.target.caption_id) == ("text of the entry is missing", None)
    assert Finding("missing_value", "M3D_Cap_npy/M3D_Cap.json: test[0]", "text") in integrity.findings


def test_an_entry_without_image_ends_the_reading(tmp_path: Path) -> None:
    write(tmp_path, {"test": [{"text": "a"}]})
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        "M3D_Cap_npy/M3D_Cap.json: test[0]: expected an entry with image and text, found \"{'text': 'a'}\""
    )


def test_volumes_and_patients_of_train_are_found_again(tmp_path: Path) -> None:
    others = [f"M3D_Cap_npy/ct_case/{name}.npy" for name in ("1/a", "2/a", "2/b")]
    for image in others:
        write_volume(tmp_path, image)
    write(tmp_path, {"train": [entry(others[0]), entry(others[2])], "test": [entry(others[0]), entry(others[1])]})
    _, integrity = read(tmp_path)
    assert integrity.findings == [
        Finding("train_test_overlap", others[0], "in train as train[0]"),
        Finding("patient_overlap", others[1], f"in train with {others[2]}"),
    ]
    assert (integrity.checked["train_test_overlap"], integrity.checked["patient_overlap"]) == (2, 2)
    _, trained = read(tmp_path, split="train")
    assert trained.findings == []


def test_without_a_train_list_the_report_says_that_overlap_was_not_checked(tmp_path: Path) -> None:
    write_volume(tmp_path)
    write(tmp_path, {"test": [entry()]})
    _, integrity = read(tmp_path)
    detail = "no train list, so its overlap was not checked"
    assert integrity.findings == [Finding("not_checked", "M3D_Cap_npy/M3D_Cap.json", detail)]


def test_samples_are_selected_by_parts_of_their_path(tmp_path: Path) -> None:
    images = [f"M3D_Cap_npy/ct_case/7/{name}.npy" for name in ("Axial_a", "Coronal_a")]
    for image in images:
        write_volume(tmp_path, image)
    write(tmp_path, {"test": [entry(image) for image in images]})
    (sample,), integrity = read(tmp_path, where={"plane": ("Coronal",), "case": ("ct_case/7",)})
    assert (sample.strata["plane"], integrity.selected) == ("coronal", (2, 1))
    with pytest.raises(SpecError, match="expected a field of the records"):
        read(tmp_path, where={"window": ("lung",)})


def test_questions_of_the_release_itself_come_before_the_authors(tmp_path: Path) -> None:
    write_volume(tmp_path)
    write(tmp_path, {"test": [entry()]})
    own = {"name": "site", "report_generation": ["What is there?"]}
    (tmp_path / "M3D_Cap_npy/wording.json").write_text(json.dumps(own))
    (sample,), _ = read(tmp_path)
    assert (sample.question, sample.strata["wording"]) == ("What is there?", "site")
    (tmp_path / "M3D_Cap_npy/wording.json").write_text('{"name": "site", "report_generation": []}')
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert str(caught.value) == (
        "M3D_Cap_npy/wording.json: expected a name and a list report_generation as in "
        "tasks/m3d_bench/wording/report_ours.json, found an empty list; repair or remove it"
    )


def test_our_own_questions_can_be_asked_for(tmp_path: Path) -> None:
    write_volume(tmp_path)
    write(tmp_path, {"test": [entry()]})
    (sample,), _ = read(tmp_path, options={"wording": "ours"})
    assert sample.strata["wording"] == "ours"


def test_an_absent_listing_or_list_says_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "M3D_Cap").mkdir()
    with pytest.raises(ReleaseAbsentError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(
        "m3d_cap: expected M3D_Cap_npy/M3D_Cap.json or M3D_Cap/M3D_Cap.json, found neither. Download M3D-Cap"
    )
    write(tmp_path, {"train": [entry()]})
    with pytest.raises(
        ReleaseAbsentError, match=r"M3D_Cap_npy/M3D_Cap.json: expected samples under 'test', found none"
    ):
        read(tmp_path)


def test_either_layout_is_a_release(tmp_path: Path) -> None:
    with pytest.raises(ReleaseAbsentError, match="m3d_cap: expected M3D_Cap_npy/ or M3D_Cap/ below a data root"):
        READER.find_root([tmp_path])
    (tmp_path / "M3D_Cap").mkdir()
    assert READER.find_root([tmp_path]) == tmp_path

"""Synthetic patients in a hospital's layouts: every planted defect is named, and a clean release gives no alarm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.data.integrity import Integrity
from harness.data.phantoms.defects.folders import DEFECTS, plant_segmentation
from harness.data.phantoms.writers.dicom import PRIVATE
from harness.data.phantoms.writers.folders import write_dicom_folder, write_image_folder, write_nifti_folder
from harness.data.releases import READERS
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.errors import SpecError

pytest.importorskip("nibabel")
pytest.importorskip("pydicom")

SPLITS = {"segmentation": "all", "nifti_seg": "test", "dicom_seg": "all"}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clean")
    for write in (write_image_folder, write_nifti_folder, write_dicom_folder):
        write(root, 0)
    return root


def read(root: Path, reader: str, derived: Path) -> tuple[list[Any], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset=reader, split=SPLITS[reader])
    files = ReleaseFiles(root=root, derived=derived)
    samples = [sample for _, sample in READERS[reader].fitted(request).read(files, request, integrity)]
    integrity.conclude()
    return samples, integrity


@pytest.mark.parametrize("reader", SPLITS)
def test_a_clean_release_gives_no_alarm_and_has_enough_to_ask(clean: Path, tmp_path: Path, reader: str) -> None:
    samples, integrity = read(clean, reader, tmp_path)
    assert integrity.findings == []
    assert 20 <= len(samples) <= 200
    assert {sample.defect for sample in samples} == {None}
    assert len({sample.strata["class"] for sample in samples}) == 6
    assert len({sample.cluster for sample in samples}) >= 5


def test_the_same_seed_draws_the_same_files(clean: Path, tmp_path: Path) -> None:
    write_dicom_folder(tmp_path / "again", 0)
    write_image_folder(tmp_path / "again", 0)
    write_image_folder(tmp_path / "other", 1)
    for path in (tmp_path / "again").rglob("*.*"):
        assert path.read_bytes() == (clean / path.relative_to(tmp_path / "again")).read_bytes()
    drawn, other = (sorted((folder / "segmentation/masks").iterdir()) for folder in (clean, tmp_path / "other"))
    assert [path.read_bytes() for path in drawn] != [path.read_bytes() for path in other]


def test_drawn_dicom_files_bear_names_that_readers_must_keep(clean: Path) -> None:
    content = next((clean / "dicom_seg").rglob("*.dcm")).read_bytes()
    assert all(value.encode() in content for value in PRIVATE.values())


def test_every_planted_defect_is_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for write in (write_image_folder, write_nifti_folder, write_dicom_folder):
        write(root, 0)
    planted = plant_segmentation(root, frozenset(DEFECTS))
    assert [one.defect for one in planted] == list(DEFECTS)
    found = {
        (finding.kind, finding.where)
        for reader in SPLITS
        for finding in read(root, reader, tmp_path / "derived")[1].findings
    }
    assert {(one.defect.replace("no_segmentation", "no_mask"), one.where) for one in planted} == found


def test_a_defect_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"defects: expected some of missing_file, .*found 'missing_fil' \(did"):
        plant_segmentation(tmp_path, frozenset({"missing_fil"}))


def test_masks_lie_on_what_they_name_in_every_layout(clean: Path, tmp_path: Path) -> None:
    """Livers are brighter than the air around the patient, whatever the orientation a volume was stored in."""
    from harness.imaging.masks import decode
    from harness.imaging.volumes import read_volume

    for reader in ("nifti_seg", "dicom_seg"):
        for sample in read(clean, reader, tmp_path)[0]:
            if sample.strata["class"] == "liver":
                folder = clean if reader == "nifti_seg" else tmp_path
                voxels = read_volume(folder / sample.media[0].path).voxels
                mask = decode(sample.target.entities[0].mask)
                assert voxels[mask].mean() > np.median(voxels) + 100

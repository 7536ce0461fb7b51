"""Volumes of M3D-Cap: prepared arrays come first, folders of slices stand for absent ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d import scans as scans_module
from harness.data.releases.m3d.scans import Scans, case_of, raw_path, without_suffix

IMAGE = "M3D_Cap_npy/ct_quizze/000123/Axial.npy"


@pytest.fixture
def scans(tmp_path: Path) -> Scans:
    return Scans(ReleaseFiles(root=tmp_path, derived=tmp_path / "derived"), None, Integrity())


def write_slices(root: Path, folder: str) -> None:
    (root / folder).mkdir(parents=True)
    for number in range(3):
        Image.fromarray(np.full((4, 5), number, dtype=np.uint8)).save(root / folder / f"{number}.png")


@pytest.mark.parametrize(
    ("image", "case", "raw"),
    [
        (IMAGE, "ct_quizze/000123", "M3D_Cap/ct_quizze/000123/Axial"),
        ("M3D_Cap/ct_quizze/000123/Axial", "ct_quizze/000123", None),
        ("elsewhere/7/x.npy", "elsewhere/7", None),
    ],
)
def test_a_listed_image_has_a_case_and_a_place_in_the_raw_release(image: str, case: str, raw: str | None) -> None:
    assert (case_of(image), raw_path(without_suffix(image))) == (case, raw)


def test_a_prepared_array_comes_before_its_slices(scans: Scans) -> None:
    write_slices(scans.files.root, "M3D_Cap/ct_quizze/000123/Axial")
    (scans.files.root / IMAGE).parent.mkdir(parents=True)
    np.save(scans.files.root / IMAGE, np.zeros((1, 2, 3, 4), dtype=np.float32))
    assert scans.image(IMAGE).media.size == (2, 3, 4)
    assert scans.integrity.repairs == {}


def test_slices_of_a_name_with_diacritics_stand_for_an_absent_array(scans: Scans) -> None:
    write_slices(scans.files.root, "M3D_Cap/ct_quizze/000123/Axiál")
    found = scans.image(IMAGE)
    assert (found.media.path, found.media.size) == ("M3D_Cap/ct_quizze/000123/Axiál", (3, 4, 5))
    assert scans.integrity.repairs == {"series_name_with_diacritics": 1, "volume_from_raw_slices": 1}


def test_an_image_that_is_nowhere_is_missing_under_its_listed_name(scans: Scans) -> None:
    assert scans.image(IMAGE).defect == f"volume {IMAGE} is missing"
    assert scans.image("").defect == "the record names no volume"
    assert [finding.where for finding in scans.integrity.findings] == [IMAGE]


def test_a_volume_is_inspected_once_while_it_is_kept(scans: Scans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans_module, "KEPT", 2)
    for name in ("a", "b", "a", "c", "b", "a"):
        scans.image(f"M3D_Cap_npy/x/{name}.npy")
    places = [finding.where[-5] for finding in scans.integrity.findings]
    assert places == ["a", "b", "c", "a"]

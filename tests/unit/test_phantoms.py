"""Drawn patients: a whole release in its own layout, the same bytes for the same seed, masks that fit the picture."""

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.integrity import Integrity
from harness.masks import decode
from harness.phantoms.samed2d import LOOKS, write_samed2d
from harness.records import Sample
from harness.releases.reader import ReleaseFiles, ReleaseRequest
from harness.releases.samed2d import READER


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    write_samed2d(folder, seed=0)
    return folder


@pytest.fixture(scope="module")
def reading(root: Path) -> tuple[list[Sample], Integrity]:
    integrity = Integrity()
    request = ReleaseRequest(dataset="demo", split="all")
    return [sample for _, sample in READER.read(ReleaseFiles(root=root, derived=root), request, integrity)], integrity


def test_the_same_seed_draws_the_same_bytes(root: Path, tmp_path: Path) -> None:
    write_samed2d(tmp_path, seed=0)
    assert digests(tmp_path) == digests(root)


def test_another_seed_draws_other_patients(root: Path, tmp_path: Path) -> None:
    write_samed2d(tmp_path, seed=1)
    first, second = digests(root), digests(tmp_path)
    images = [name for name in first if "/images/" in name]
    assert len(images) == 24
    assert all(first[name] != second[name] for name in images)


def test_more_patients_leave_the_first_ones_as_they_were(root: Path, tmp_path: Path) -> None:
    write_samed2d(tmp_path, seed=0, patients=4)
    fewer, more = digests(tmp_path), digests(root)
    assert all(more[name] == value for name, value in fewer.items() if name.endswith(".png"))


def test_the_reader_finds_nothing_wrong(reading: tuple[list[Sample], Integrity]) -> None:
    samples, integrity = reading
    assert integrity.findings == []
    assert all(sample.defect is None and not sample.target.absent for sample in samples)


def test_every_look_and_class_is_asked_about(reading: tuple[list[Sample], Integrity]) -> None:
    samples, _ = reading
    assert {sample.strata["modality"] for sample in samples} == {"ct", "mr", "us", "derm"}
    assert {sample.strata["class"] for sample in samples} == {name for look in LOOKS for name in look.classes}
    assert {sample.strata["target_size"] for sample in samples} == {"small", "medium", "large"}


def test_slices_of_a_volume_share_their_patient(reading: tuple[list[Sample], Integrity]) -> None:
    images = {(sample.media[0].path, sample.cluster, sample.strata["modality"]) for sample in reading[0]}
    clusters = {modality: {cluster for _, cluster, found in images if found == modality} for modality in ("ct", "us")}
    assert {modality: len(found) for modality, found in clusters.items()} == {"ct": 3, "us": 6}


def test_lesions_stand_out_from_their_surroundings(root: Path, reading: tuple[list[Sample], Integrity]) -> None:
    contrast = {"nodule": -20, "tumor": 20, "skin lesion": -20, "aorta": 20}
    for sample in reading[0]:
        name, mask = sample.target.entities[0].name, sample.target.entities[0].mask
        if name in contrast and mask is not None:
            with Image.open(root / sample.media[0].path) as image:
                grey = np.asarray(image.convert("L"), dtype=float)
            inside = decode(mask)
            around = ~inside & (grey > 15)
            difference = grey[inside].mean() - grey[around].mean()
            assert difference * np.sign(contrast[name]) > abs(contrast[name]), sample.id


def test_pictures_have_structure_and_both_kinds_of_channels(root: Path) -> None:
    modes = set()
    for path in (root / "SAMed2Dv1/images").iterdir():
        with Image.open(path) as image:
            modes.add(image.mode)
            assert np.asarray(image).std() > 15
            assert image.width != image.height
    assert modes == {"L", "RGB"}


def test_both_kidneys_are_instances_of_one_class(root: Path) -> None:
    listing = json.loads((root / "SAMed2Dv1/SAMed2D_v1.json").read_text())
    for image, masks in listing.items():
        if image.startswith("images/ct_00"):
            assert [mask[-12:-4] for mask in masks if "--0003_" in mask] == ["0003_000", "0003_001"]


def test_no_patients_are_an_empty_release(tmp_path: Path) -> None:
    write_samed2d(tmp_path, seed=0, patients=0)
    assert json.loads((tmp_path / "SAMed2Dv1/SAMed2D_v1.json").read_text()) == {}


def test_drawing_takes_two_seconds_at_most(tmp_path: Path) -> None:
    start = time.process_time()
    write_samed2d(tmp_path, seed=2)
    assert time.process_time() - start < 2

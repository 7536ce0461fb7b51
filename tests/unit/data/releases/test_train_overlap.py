"""Images of one reading: each inspected once, and test images that train holds too are named."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases import volumes as inspection
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.train_overlap import SplitImages, digest_of, digests_of, find_named_overlap, find_overlap


def save(path: Path, grey: int) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 5), grey, dtype=np.uint8)).save(path, "PNG")
    return path.read_bytes()


@pytest.fixture
def images(tmp_path: Path) -> SplitImages:
    save(tmp_path / "images/a.png", 1)
    save(tmp_path / "images/b.png", 2)
    files = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")
    return SplitImages(files, ReleaseRequest(dataset="d", split="test"), Integrity(), "embedded")


def test_an_image_is_inspected_once_however_many_records_name_it(
    images: SplitImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    inspect_scan = inspection.inspect_scan

    def noted(files: ReleaseFiles, path: str, **rest: Any) -> object:
        opened.append(path)
        return inspect_scan(files, path, **rest)

    monkeypatch.setattr(inspection, "inspect_scan", noted)
    first, again = (images.image(place, "images/a.png") for place in ("r[0]", "r[1]"))
    assert first is again
    assert opened == ["images/a.png"]


def test_photos_of_ones_own_are_shown_as_viewers_do_and_known_by_their_files(tmp_path: Path) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    (tmp_path / "images").mkdir()
    Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(tmp_path / "images/a.png", exif=tag)
    content = (tmp_path / "images/a.png").read_bytes()
    files, integrity = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived"), Integrity()
    images = SplitImages(files, ReleaseRequest(dataset="d", split="test"), integrity, "embedded", upright=True)
    found = [images.image("r[0]", "images/a.png"), images.image("r[1]", None, content)]
    assert [(image.media.size, image.media.path.split("/")[0]) for image in found] == [((5, 4), "upright")] * 2
    assert found[0] == images.image("r[2]", "images/a.png")
    digest = hashlib.sha256(content).hexdigest()
    assert images.digests == {digest: f"embedded/{digest}.png"}
    assert [(one.kind, one.where, one.detail) for one in sorted(integrity.findings)] == [
        ("exif_rotation", place, "orientation 6, applied: as viewers do")
        for place in (f"embedded/{digest}.png", "images/a.png")
    ]


def test_an_embedded_image_is_written_under_its_digest_once(images: SplitImages, tmp_path: Path) -> None:
    content = save(tmp_path / "x.png", 3)
    found = images.image("t[0]", None, content)
    assert found.media.path == f"embedded/{hashlib.sha256(content).hexdigest()}.png"
    assert (tmp_path / "derived" / found.media.path).read_bytes() == content
    assert images.image("t[1]", None, content) is found


def test_a_record_without_an_image_is_reported_and_cannot_be_asked(images: SplitImages) -> None:
    found = images.image("r[0]", None)
    assert found.defect == "the record names no image"
    assert images.integrity.findings == [Finding("missing_value", "r[0]", "image")]
    assert images.paths == ()


def test_paths_hold_unreadable_images_and_digests_do_not(images: SplitImages) -> None:
    a = images.image("r[0]", "images/a.png")
    images.image("r[1]", "images/none.png")
    assert images.paths == ("images/a.png", "images/none.png")
    assert images.digests == {a.media.sha256: "images/a.png"}


def test_train_images_are_digested_once_a_name_and_unreadable_ones_left_out(
    images: SplitImages, tmp_path: Path
) -> None:
    content = (tmp_path / "images/a.png").read_bytes()
    (tmp_path / "images/folder.png").mkdir()
    records = [
        ("r[0]", "images/a.png", None),
        ("r[1]", "images/a.png", None),
        ("r[2]", None, b"bytes"),
        ("r[3]", "images/none.png", None),
        ("r[4]", "images/folder.png", None),
        ("r[5]", None, None),
    ]
    assert list(digests_of(images.files, records)) == [
        ("images/a.png", hashlib.sha256(content).hexdigest()),
        ("r[2]", hashlib.sha256(b"bytes").hexdigest()),
    ]
    assert digest_of(None) == ""


def test_a_test_image_with_the_bytes_of_a_train_image_is_named_once(images: SplitImages) -> None:
    digest = images.image("r[0]", "images/a.png").media.sha256 or ""
    images.image("r[1]", "images/b.png")
    find_overlap(images, [("train/7.png", digest), ("train/8.png", digest), ("train/9.png", "other")], "toy")
    assert images.integrity.findings == [Finding("train_test_overlap", "images/a.png", "in train as train/7.png")]
    assert images.integrity.checked == {"train_test_overlap": 2}


def test_names_are_compared_without_opening_train(images: SplitImages) -> None:
    for name in ("b", "a"):
        images.image(name, f"images/{name}.png")
    find_named_overlap(images, ["images/c.png", "images/b.png", "images/a.png"], "toy")
    assert images.integrity.findings == [
        Finding("train_test_overlap", f"images/{name}.png", "also in train") for name in ("a", "b")
    ]
    assert images.integrity.checked == {"train_test_overlap": 2}


@pytest.mark.parametrize("find", [find_overlap, find_named_overlap])
def test_without_a_train_split_the_check_is_said_to_be_missing(images: SplitImages, find: object) -> None:
    images.image("r[0]", "images/a.png")
    find(images, None, "toy")
    assert images.integrity.findings == [
        Finding("not_checked", "toy", "no train split, so its overlap with test was not checked")
    ]
    assert images.integrity.checked == {}

"""Inspection of images and masks: what is wrong with a file is reported, and makes its sample a defect."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Finding, Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import (
    ImageFiles,
    inspect_embedded,
    inspect_file,
    inspect_masks,
    why_inverted,
)
from harness.errors import DataError
from harness.imaging.masks import decode

SHAPE = (6, 8)


def png(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def box(top: int, left: int, bottom: int, right: int, shape: tuple[int, int] = SHAPE) -> np.ndarray:
    mask = np.zeros(shape, dtype=np.uint8)
    mask[top:bottom, left:right] = 255
    return mask


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    (tmp_path / "image.png").write_bytes(png(np.arange(48, dtype=np.uint8).reshape(SHAPE)))
    (tmp_path / "torn.png").write_bytes(png(box(1, 1, 3, 3))[:40])
    return ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")


def test_a_readable_image_has_digest_and_size(files: ReleaseFiles) -> None:
    integrity = Integrity()
    found = inspect_file(files, "image.png", window=None, integrity=integrity)
    assert found.defect is None
    assert (found.media.path, found.media.size, len(found.media.sha256 or "")) == ("image.png", SHAPE, 64)
    assert integrity.findings == []


@pytest.mark.parametrize(
    ("path", "kind", "defect"),
    [
        ("none.png", "missing_file", "image none.png is missing"),
        ("torn.png", "unreadable_file", "image torn.png cannot be read"),
    ],
)
def test_an_image_that_cannot_be_used_keeps_its_path(files: ReleaseFiles, path: str, kind: str, defect: str) -> None:
    integrity = Integrity()
    found = inspect_file(files, path, window=None, integrity=integrity)
    assert (found.media.path, found.media.sha256, found.media.size, found.defect) == (path, None, (), defect)
    assert [(one.kind, one.where) for one in integrity.findings] == [(kind, path)]
    assert not integrity.findings[0].detail.startswith(path)


def test_an_exif_rotation_is_reported_and_not_applied(files: ReleaseFiles) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(box(1, 1, 3, 3)).save(files.root / "turned.jpg", exif=exif)
    integrity = Integrity()
    found = inspect_file(files, "turned.jpg", window=None, integrity=integrity)
    assert found.media.size == SHAPE
    assert integrity.findings == [Finding("exif_rotation", "turned.jpg", "orientation 6, not applied: kept as stored")]


def test_an_embedded_image_lies_below_the_derived_folder(files: ReleaseFiles) -> None:
    content, integrity = png(box(0, 0, 2, 2)), Integrity()
    found = inspect_embedded(files, content, "toy/embedded", "t.parquet[0]", window=None, integrity=integrity)
    assert found.media.path == f"toy/embedded/{found.media.sha256}.png"
    assert (files.derived / found.media.path).read_bytes() == content
    broken = inspect_embedded(files, b"no image", "toy/embedded", "t.parquet[1]", window=None, integrity=integrity)
    assert broken.defect == "image t.parquet[1] cannot be read"
    assert [(one.kind, one.where) for one in integrity.findings] == [("unreadable_file", "t.parquet[1]")]


def test_an_empty_file_cannot_be_read(files: ReleaseFiles) -> None:
    (files.root / "x.png").write_bytes(b"")
    integrity = Integrity()
    assert inspect_file(files, "x.png", window=None, integrity=integrity).defect == "image x.png cannot be read"
    assert [(one.kind, one.where) for one in integrity.findings] == [("unreadable_file", "x.png")]


def test_masks_of_an_image_are_joined(files: ReleaseFiles) -> None:
    for name, mask in (("a", box(0, 0, 2, 2)), ("b", box(1, 1, 3, 3))):
        (files.root / f"{name}.png").write_bytes(png(mask))
    integrity = Integrity()
    found = inspect_masks(files, ["a.png", "b.png"], SHAPE, integrity=integrity)
    assert found.mask is not None
    assert (found.area, int(decode(found.mask).sum()), found.defect) == (7, 7, None)
    assert integrity.findings == []


@pytest.mark.parametrize(
    ("content", "size", "findings", "defect"),
    [
        (None, SHAPE, [("missing_file", "")], "mask m.png is missing"),
        (b"torn", SHAPE, [("unreadable_file", None)], "mask m.png cannot be read"),
        (
            png(box(1, 1, 2, 2, (3, 4))),
            SHAPE,
            [("size_mismatch", "mask is (3, 4), image is (6, 8) as (H, W)")],
            "mask m.png is (3, 4), its image (6, 8) as (H, W)",
        ),
        (png(box(1, 1, 2, 2)), (), [], "mask m.png has no image to lie on"),
    ],
)
def test_one_faulty_mask_makes_all_of_them_unusable(
    files: ReleaseFiles,
    content: bytes | None,
    size: tuple[int, ...],
    findings: list[tuple[str, str | None]],
    defect: str,
) -> None:
    (files.root / "good.png").write_bytes(png(box(0, 0, 2, 2, (6, 8))))
    if content is not None:
        (files.root / "m.png").write_bytes(content)
    integrity = Integrity()
    paths = ["m.png", "good.png"] if size else ["m.png"]
    found = inspect_masks(files, paths, size, integrity=integrity, image="image.png")
    assert (found.mask, found.area, found.defect) == (None, 0, defect)
    assert [one.kind for one in integrity.findings] == [kind for kind, _ in findings]
    for one, (_, detail) in zip(integrity.findings, findings, strict=True):
        assert (one.where, one.image) == ("m.png", "image.png")
        assert detail is None or one.detail == detail


def test_a_mask_with_soft_edges_is_cut_at_half_and_reported(files: ReleaseFiles) -> None:
    mask = box(1, 1, 5, 5)
    mask[1, 1:5], mask[4, 1:5] = 100, 200
    (files.root / "m.png").write_bytes(png(mask))
    integrity = Integrity()
    found = inspect_masks(files, ["m.png"], SHAPE, integrity=integrity, image="i.png")
    assert found.area == 12
    detail = "2 values beside 0 and 255 in 8 of 48 pixels, 100 to 200; cut at half, from 128 on"
    assert [(one.kind, one.where, one.detail, one.image) for one in integrity.findings] == [
        ("soft_mask", "m.png", detail, "i.png")
    ]


def test_several_values_of_one_mask_are_one_and_reported(files: ReleaseFiles) -> None:
    mask = box(1, 1, 5, 5)
    mask[1:3, 1:5], mask[3:5, 1:5] = 7, 2
    (files.root / "m.png").write_bytes(png(mask))
    integrity = Integrity()
    assert inspect_masks(files, ["m.png"], SHAPE, integrity=integrity).area == 16
    assert [(one.kind, one.detail) for one in integrity.findings] == [
        ("merged_values", "no label names the values 2, 7; all of them count as foreground")
    ]


def test_colours_that_differ_are_no_mask(files: ReleaseFiles) -> None:
    (files.root / "red.png").write_bytes(png(np.dstack([box(1, 1, 3, 3)] + [box(0, 0, 0, 0)] * 2)))
    integrity = Integrity()
    assert inspect_masks(files, ["red.png"], SHAPE, integrity=integrity).defect == "mask red.png cannot be read"
    assert [(one.kind, one.detail) for one in integrity.findings] == [
        ("unreadable_file", "expected one channel of labels or equal ones, found colours that differ")
    ]


def test_a_mask_in_the_alpha_channel_is_read_and_reported(files: ReleaseFiles) -> None:
    (files.root / "m.png").write_bytes(png(np.dstack([box(0, 0, 6, 8)] * 3 + [box(1, 1, 3, 3)])))
    integrity = Integrity()
    found = inspect_masks(files, ["m.png"], SHAPE, integrity=integrity)
    assert (found.area, list(integrity.counts)) == (4, ["alpha_mask"])


@pytest.mark.parametrize(("mask", "kind"), [(box(0, 0, 0, 0), "empty_mask"), (box(0, 0, 6, 8), "full_mask")])
def test_masks_of_nothing_or_everything_are_reported_and_used(files: ReleaseFiles, mask: np.ndarray, kind: str) -> None:
    (files.root / "m.png").write_bytes(png(mask))
    integrity = Integrity()
    found = inspect_masks(files, ["m.png"], SHAPE, integrity=integrity)
    assert found.defect is None
    assert found.area == int((mask > 0).sum())
    assert [one.kind for one in integrity.findings] == [kind]


def test_inverted_masks_are_reported_unless_their_class_is_so(files: ReleaseFiles) -> None:
    hole = 255 - box(2, 3, 4, 5)
    (files.root / "inverted.png").write_bytes(png(hole))
    (files.root / "usual.png").write_bytes(png(box(2, 3, 4, 5)))
    integrity = Integrity()
    for path in ("inverted.png", "usual.png"):
        inspect_masks(files, [path], SHAPE, integrity=integrity, class_name="disc")
    inspect_masks(files, ["inverted.png"], SHAPE, integrity=integrity, class_name="background")
    integrity.conclude()
    assert [(one.kind, one.where) for one in integrity.findings] == [
        ("inverted_mask", "inverted.png"),
        ("not_checked", "inverted.png"),
    ]


@pytest.mark.parametrize(
    ("mask", "inverted"),
    [
        (255 - box(2, 3, 4, 5), True),
        (255 - box(0, 0, 1, 1), False),  # a corner is free
        (255 - box(1, 1, 5, 7), False),  # all of the border, but only half of the image
        (255 - box(0, 1, 1, 5) - box(5, 1, 6, 5), False),  # all corners, but only two thirds of the border
    ],
)
def test_a_mask_looks_inverted_by_corners_border_and_area(mask: np.ndarray, inverted: bool) -> None:
    found = why_inverted(mask > 0)
    assert bool(found) is inverted
    assert not inverted or found == "covers 91.7% of the image, all four corners and 100% of the border"


def test_files_of_a_prepared_release_are_opened_from_either_folder(files: ReleaseFiles) -> None:
    (files.derived / "x").mkdir(parents=True)
    (files.derived / "x/mask.png").write_bytes(png(box(1, 1, 3, 3)))
    opened = ImageFiles(root=files.root, derived=files.derived)
    image, mask = opened.image("image.png"), opened.mask("x/mask.png")
    assert (image.dtype, image.shape) == (np.uint8, (*SHAPE, 3))
    assert (mask.dtype, mask.shape, int(mask.sum())) == (np.bool_, SHAPE, 4)
    with pytest.raises(
        DataError, match=r"none\.png: expected a file of the release, found none; run `harness prepare`"
    ):
        opened.image("none.png")

"""EXIF rotation: image and mask are brought into one frame by their sizes, by the other images, or as viewers do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.rotation import Frame, Votes, brought, fits, is_turned
from harness.data.releases.images import ReleaseImage
from harness.data.releases.volumes import Labels, inspect_scan
from harness.imaging.masks import decode, empty, encode
from harness.records import Media

SIZE = (4, 6)
BOTH: frozenset[Frame] = frozenset({"upright", "stored"})


def image(orientation: int, size: tuple[int, int] = SIZE) -> ReleaseImage:
    return ReleaseImage(media=Media(path="a.jpg", sha256="0", size=size), orientation=orientation)


def labels(size: tuple[int, int], orientation: int = 1) -> Labels:
    return Labels(size=size, affine=None, masks={1: empty(size)}, orientation=orientation)


@pytest.mark.parametrize(
    ("tag", "mask", "mask_tag", "frames"),
    [
        (6, (6, 4), 1, {"upright"}),  # made on the image as it is shown
        (6, (4, 6), 1, {"stored"}),  # made on the pixels as stored
        (8, (4, 6), 8, {"upright", "stored"}),  # both carry the tag
        (3, (4, 6), 1, {"upright", "stored"}),
        (1, (6, 4), 6, {"upright"}),  # only the mask carries it
        (6, (5, 5), 1, set()),
    ],
)
def test_sizes_tell_the_frame_of_a_mask(tag: int, mask: tuple[int, int], mask_tag: int, frames: set[Frame]) -> None:
    assert fits(image(tag), [labels(mask, mask_tag)]) == frames
    assert is_turned(image(tag), [labels(mask, mask_tag)])


def test_an_image_without_masks_fits_both_ways_and_one_without_a_tag_is_not_turned() -> None:
    assert fits(image(6), []) == BOTH
    assert not is_turned(image(1), [labels(SIZE)])


def test_what_sizes_cannot_tell_is_decided_by_the_other_images_else_as_viewers_do() -> None:
    votes = Votes()
    assert votes.choose(BOTH) == (
        "upright",
        "as viewers do; if masks were made on the pixels as stored, write `exif: ignore`",
    )
    votes.count(BOTH)
    votes.count(frozenset({"stored"}))
    assert votes.choose(BOTH) == ("stored", "as of 1 other turned images, whose masks fit without it only")
    votes.count(frozenset({"upright"}))
    assert votes.choose(BOTH) == ("upright", "as viewers do; but 1 other images fit their masks without it only")
    assert votes.choose(frozenset({"stored"})) == ("stored", "the sizes of image and mask fit without it only")
    assert votes.choose(frozenset({"upright"})) == ("upright", "the sizes of image and mask fit with it only")
    assert votes.choose(frozenset()) == ("upright", "the sizes of image and mask do not fit either way")


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_image_and_mask_are_shown_as_viewers_show_them(tmp_path: Path, orientation: int, deep: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.arange(24, dtype=np.uint16 if deep else np.uint8).reshape(SIZE)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    files, integrity = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived"), Integrity()
    opened = inspect_scan(files, "a.png", window=(0, 255), integrity=integrity, report_rotation=False)
    assert integrity.findings == []
    turned = Labels(size=SIZE, affine=None, masks={1: encode(pixels == 3)}, orientation=orientation)
    found, masks = brought(files, opened, {"m.png": turned}, "upright", "why", integrity)
    with Image.open(tmp_path / "a.png") as stored, Image.open(tmp_path / "derived" / found.media.path) as shown:
        expected = np.asarray(ImageOps.exif_transpose(stored))
        given = np.asarray(shown)
        np.testing.assert_array_equal(given if deep else given[..., 0], expected)
        assert 0x0112 not in shown.getexif()
    assert found.media.size == masks["m.png"].size == expected.shape
    np.testing.assert_array_equal(decode(masks["m.png"].masks[1]), expected == 3)
    assert [(one.kind, one.where, one.detail) for one in sorted(integrity.findings)] == [
        ("exif_rotation", path, f"orientation {orientation}, applied: why") for path in ("a.png", "m.png")
    ]


def test_what_is_left_as_stored_is_reported_and_not_copied(tmp_path: Path) -> None:
    files, integrity = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived"), Integrity()
    given, masks = image(6), {"m.png": labels(SIZE)}
    assert brought(files, given, masks, "stored", "why", integrity) == (given, masks)
    assert [(one.where, one.detail) for one in integrity.findings] == [("a.jpg", "orientation 6, not applied: why")]
    assert not files.derived.exists()


def test_only_a_mask_with_a_tag_is_turned(tmp_path: Path) -> None:
    files = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")
    given, masks = image(1), {"m.png": labels((6, 4), 6), "n.png": labels(SIZE)}
    found, turned = brought(files, given, masks, "upright", "why", Integrity())
    assert found is given
    assert (turned["m.png"].size, turned["n.png"]) == (SIZE, masks["n.png"])


def test_an_image_that_vanished_meanwhile_cannot_be_asked_about(tmp_path: Path) -> None:
    files, integrity = ReleaseFiles(root=tmp_path, derived=tmp_path / "derived"), Integrity()
    found, _ = brought(files, image(6), {}, "upright", "why", integrity)
    assert (found.defect, found.media.sha256) == ("image a.jpg cannot be read", None)
    assert integrity.counts == {"exif_rotation": 1, "unreadable_file": 1}

"""Masks in files: pictures, NIfTI, npy and DICOM SEG, read by the rules of targets or refused with what is wrong."""

import gzip
import re
import struct
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.phantoms.writers.dicom import write_segmentation
from harness.errors import DataError
from harness.imaging import masks
from harness.imaging.mask_files import read_file
from harness.imaging.volumes import closest_canonical
from harness.records import Grid, Mask
from tests.support.dicom_series import SERIES, positions, stacked, write
from tests.support.small_masks import CUBE, SQUARE, refusal

AFFINE = np.diag((1.5, 2.0, 3.0, 1.0))
AFFINE[:3, 3] = (-10, 20, 5)


def grid(affine: Any = AFFINE, size: tuple[int, ...] = CUBE.shape) -> Grid:
    return Grid(size=size, affine=tuple(np.asarray(affine, dtype=float).ravel().tolist()))


def nifti(path: Path, voxels: Any, affine: Any = AFFINE, **header: Any) -> Path:
    """Write voxels (z, y, x)."""
    nibabel: Any = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.asarray(voxels).T, affine)
    for name, value in header.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


# --- pictures


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "RGBA", "LA", "I;16"])
def test_png_of_every_mode_gives_its_foreground(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(SQUARE.astype(np.uint8) * (1 if mode == "P" else 255))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 10, 10])
    elif mode == "I;16":
        image = Image.fromarray(SQUARE.astype(np.uint16) * 1000)
    else:
        image = image.convert(mode)
    image.save(tmp_path / "mask.png")
    assert read_file(tmp_path / "mask.png", None, "x") == masks.encode(SQUARE)


@pytest.mark.parametrize("suffix", [".PNG", ".bmp", ".tif", ".TIFF", ".gif", ".webp", ".jpg", ".jpeg"])
def test_other_pictures_are_read_too(suffix: str, tmp_path: Path) -> None:
    large = np.kron(SQUARE, np.ones((16, 16), dtype=bool))
    options: Any = {"lossless": True} if suffix == ".webp" else {}
    Image.fromarray(large.astype(np.uint8) * 255).save(tmp_path / f"m{suffix}", **options)
    assert read_file(tmp_path / f"m{suffix}", None, "x") == masks.encode(large)
    # GIF has a palette, whose places count: black is 0 and white is 1.
    label = 1 if suffix == ".gif" else 255
    assert read_file(tmp_path / f"m{suffix}", label, "x") == masks.encode(large)


def test_png_label_selects_one_value(tmp_path: Path) -> None:
    labels = np.zeros((4, 6), dtype=np.uint8)
    labels[0, :], labels[1:3, 2:5] = 1, 3
    Image.fromarray(labels).save(tmp_path / "mask.png")
    assert read_file(str(tmp_path / "mask.png"), 3, "x") == masks.encode(SQUARE)
    assert masks.area(read_file(tmp_path / "mask.png", 2, "x")) == 0
    said: list[str] = []
    assert masks.area(read_file(tmp_path / "mask.png", None, "x", remark=said.append)) == 12
    assert said == ["x: mask.png: no label names the values 1, 3; all of them count as foreground"]


@pytest.mark.parametrize("label", [None, 1, 255])
def test_a_file_of_one_bit_is_0_and_1_and_0_and_255(label: int | None, tmp_path: Path) -> None:
    Image.fromarray(SQUARE).save(tmp_path / "mask.png")
    assert read_file(tmp_path / "mask.png", label, "x") == masks.encode(SQUARE)
    assert masks.area(read_file(tmp_path / "mask.png", 2, "x")) == 0


@pytest.mark.parametrize(("value", "label"), [(255, 1), (1, 255), (65535, 1), (255, 65535)])
def test_a_label_that_is_not_the_value_of_a_mask_is_refused(value: int, label: int, tmp_path: Path) -> None:
    Image.fromarray(SQUARE.astype(np.uint16) * np.uint16(value)).save(tmp_path / "mask.png")
    with refusal(f"x: mask.png: label: expected a value of the file, which holds 0 and {value}, found {label}"):
        read_file(tmp_path / "mask.png", label, "x")


@pytest.mark.parametrize("label", [None, 255])
def test_a_soft_picture_is_cut_at_half_with_a_remark(label: int | None, tmp_path: Path) -> None:
    grey = SQUARE.astype(np.uint8) * 255
    grey[0, 2:5], grey[3, 2:5] = 127, 128
    Image.fromarray(grey).save(tmp_path / "mask.png")
    said: list[str] = []
    assert read_file(tmp_path / "mask.png", label, "x", remark=said.append) == masks.encode(grey >= 128)
    assert said == ["x: mask.png: 2 values beside 0 and 255 in 6 of 24 pixels, 127 to 128; cut at half, from 128 on"]
    assert read_file(tmp_path / "mask.png", None, "x", threshold=127) == masks.encode(grey >= 127)


def test_a_mask_in_the_alpha_channel_is_read_with_a_remark(tmp_path: Path) -> None:
    pixels = np.full((4, 6, 4), 255, dtype=np.uint8)
    pixels[..., 3] = SQUARE * 255
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    said: list[str] = []
    assert read_file(tmp_path / "mask.png", None, "x", remark=said.append) == masks.encode(SQUARE)
    assert said == ["x: mask.png: read from the alpha channel, because all of its colours are equal"]


def test_a_mask_that_is_to_be_turned_is_refused(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(SQUARE.astype(np.uint8)).save(tmp_path / "m.png", exif=exif)
    words = (
        "x: m.png: expected pixels as they are shown, found an EXIF rotation (orientation 6); save the mask without it"
    )
    with refusal(words):
        read_file(tmp_path / "m.png", None, "x")


@pytest.mark.parametrize("label", [0, "1", 1.5, True])
def test_label_must_be_a_positive_integer(label: Any, tmp_path: Path) -> None:
    Image.fromarray(SQUARE).save(tmp_path / "mask.png")
    with refusal(f"x: label: expected an integer >= 1, found {label!r}"):
        read_file(tmp_path / "mask.png", label, "x")


def test_threshold_must_be_a_number_without_a_label(tmp_path: Path) -> None:
    Image.fromarray(SQUARE).save(tmp_path / "mask.png")
    with refusal("x: threshold: expected a number in the values of the file, such as 0.5, found '0.5'"):
        read_file(tmp_path / "mask.png", None, "x", threshold="0.5")
    with refusal("x: expected a label or a threshold, found both; a threshold makes a file one mask"):
        read_file(tmp_path / "mask.png", 1, "x", threshold=0.5)


def test_coloured_png_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), (9, 0, 0)).save(tmp_path / "mask.png")
    with refusal("x: mask.png: expected one channel of labels or equal ones, found colours that differ"):
        read_file(tmp_path / "mask.png", None, "x")


def test_missing_unknown_and_broken_files_are_refused(tmp_path: Path) -> None:
    with refusal(f"x: mask file mask.png is missing; expected it at {tmp_path / 'mask.png'}"):
        read_file(tmp_path / "mask.png", None, "x")
    for name in ("mask.svg", "mask.png", "mask.nii.gz", "mask.nii", "mask.npy"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n not really")
    with pytest.raises(DataError, match=r"^x: expected a mask file \(.png, .jpg, .*, .npy or .dcm\), found mask.svg$"):
        read_file(tmp_path / "mask.svg", None, "x")
    with pytest.raises(DataError, match=r"^x: mask\.png: cannot be read as an image "):
        read_file(tmp_path / "mask.png", None, "x")
    with pytest.raises(DataError, match=r"^x: mask\.npy: cannot be read as npy: "):
        read_file(tmp_path / "mask.npy", None, "x")
    pytest.importorskip("nibabel")
    for name in ("mask.nii.gz", "mask.nii"):
        with pytest.raises(DataError, match=rf"^x: {re.escape(name)}: cannot be read as NIfTI: "):
            read_file(tmp_path / name, None, "x")


def test_truncated_files_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (64, 64), dtype=np.uint8)).save(tmp_path / "mask.png")
    noise = np.random.default_rng(0).integers(0, 2, (8, 8, 8), dtype=np.uint8)
    for name in ("mask.png", nifti(tmp_path / "mask.nii.gz", noise).name, nifti(tmp_path / "mask.nii", noise).name):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(DataError, match=rf"^x: {re.escape(name)}: cannot be read as "):
            read_file(tmp_path / name, None, "x")


def test_a_header_that_claims_a_huge_size_is_refused_cheaply(tmp_path: Path) -> None:
    content = bytearray(gzip.decompress(nifti(tmp_path / "mask.nii.gz", CUBE.astype(np.uint8)).read_bytes()))
    content[40:56] = struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)
    (tmp_path / "mask.nii").write_bytes(content)
    with pytest.raises(DataError, match=r"^x: mask\.nii: expected at most 1073741824 voxels, found 35181150961663$"):
        read_file(tmp_path / "mask.nii", None, "x")


@pytest.mark.parametrize("name", ["m.png", "m.gif", "m.jpg", "m.tif", "m.npy", "m.nii", "m.nii.gz"])
def test_damage_of_any_kind_is_one_line_without_a_path_of_this_machine(name: str, tmp_path: Path) -> None:
    random = Random(name)
    path = tmp_path / name
    if ".nii" in name:
        nifti(path, CUBE.astype(np.int16))
    elif name == "m.npy":
        np.save(path, CUBE.astype(np.int16))
    else:
        Image.fromarray(SQUARE.astype(np.uint8) * 255).save(path)
    whole = gzip.decompress(path.read_bytes()) if name.endswith(".gz") else path.read_bytes()
    said: list[str] = []
    for _ in range(30):
        content = bytearray(whole)
        for _ in range(random.randrange(1, 4)):
            content[random.randrange(min(len(content), 400))] = random.randrange(256)
        content = content[: random.randrange(len(content))] if random.random() < 0.2 else content
        path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
        try:
            assert isinstance(read_file(path, None, "x"), Mask)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 4
    assert [
        words for words in said if not words.startswith(f"x: {name}: ") or "\n" in words or str(tmp_path) in words
    ] == []
    path.write_bytes(b"")
    with pytest.raises(DataError, match=rf"^x: {re.escape(name)}: cannot be read as "):
        read_file(path, None, "x")


def test_an_npy_whose_header_is_no_python_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", CUBE)
    content = bytearray((tmp_path / "m.npy").read_bytes())
    content[content.index(b"}")] = ord("(")
    (tmp_path / "m.npy").write_bytes(content)
    with refusal("x: m.npy: cannot be read as npy: a broken header"):
        read_file(tmp_path / "m.npy", None, "x")


# --- volumes


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii", "MASK.NII.GZ"])
def test_nifti_is_held_as_z_y_x(name: str, tmp_path: Path) -> None:
    nifti(tmp_path / name.lower(), CUBE.astype(np.uint8) * 2).rename(tmp_path / name)
    assert read_file(tmp_path / name, 2, "x", owner=grid()) == masks.encode(CUBE)
    assert masks.area(read_file(tmp_path / name, 1, "x")) == 0


@pytest.mark.parametrize("flips", [(-1, -1, 1), (-1, 1, -1), (1, 1, -1)])
def test_nifti_in_another_orientation_is_brought_to_that_of_the_volume(flips: Any, tmp_path: Path) -> None:
    affine = AFFINE @ np.diag((*flips, 1))
    for axis, length in enumerate(CUBE.shape[::-1]):
        if flips[axis] < 0:
            affine[:3, 3] += AFFINE[:3, axis] * (length - 1)
    turned = CUBE[tuple(slice(None, None, step) for step in reversed(flips))]
    assert read_file(nifti(tmp_path / "m.nii.gz", turned.astype(np.float32), affine), None, "x", owner=grid()) == (
        masks.encode(CUBE)
    )


def test_nifti_whose_axes_change_places_is_brought_to_the_volume(tmp_path: Path) -> None:
    affine = AFFINE[:, [2, 1, 0, 3]]
    assert read_file(nifti(tmp_path / "m.nii.gz", CUBE.T.astype(np.uint8), affine), None, "x", owner=grid()) == (
        masks.encode(CUBE)
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("moved", "corners lie up to 40 mm apart"),
        ("resized", "corners lie up to 9.9 mm apart; voxels of the mask are 1.5 x 2 x 5.475 mm, those of the volume"),
        ("identity", "corners lie up to 28.2 mm apart; the mask's affine is the identity, so it was saved without the"),
        ("turned", "corners lie up to "),
    ],
)
def test_a_mask_off_its_volume_is_refused(change: str, message: str, tmp_path: Path) -> None:
    affine = AFFINE.copy()
    if change == "moved":
        affine[0, 3] += 40
    elif change == "resized":
        affine[2, 2] += 0.825 * 3
    elif change == "identity":
        affine = np.eye(4)
    else:
        affine[:3, :3] = [[1.5, 0.4, 0], [-0.3, 2, 0], [0, 0, 3]]
    nifti(tmp_path / "m.nii.gz", CUBE.astype(np.uint8), affine)
    with pytest.raises(
        DataError, match=re.escape(f"x: m.nii.gz: frame_mismatch: the mask does not lie on its volume, {message}")
    ):
        read_file(tmp_path / "m.nii.gz", None, "x", owner=grid())
    # Without the volume's affine, or at another size, there is nothing to compare or another message.
    for owner in (None, Grid(size=CUBE.shape), grid(size=(9, 9, 9))):
        assert masks.area(read_file(tmp_path / "m.nii.gz", None, "x", owner=owner)) == CUBE.sum()


def test_float32_affines_that_differ_in_their_last_digits_agree(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[0, 3] += 0.14  # less than a tenth of the smallest side
    assert read_file(nifti(tmp_path / "m.nii.gz", CUBE.astype(np.uint8), affine), 1, "x", owner=grid()) == (
        masks.encode(CUBE)
    )


@pytest.mark.parametrize("label", [None, 1])
def test_nearly_whole_values_are_read_as_those_of_targets(label: int | None, tmp_path: Path) -> None:
    expected = masks.encode(CUBE)
    nearly = nifti(tmp_path / "nearly.nii.gz", CUBE.astype(np.float32) * np.float32(0.99999994))
    assert read_file(nearly, label, "x") == expected
    scaled: Any = pytest.importorskip("nibabel").Nifti1Image(CUBE.T.astype(np.int16) * 1000, AFFINE)
    scaled.header.set_slope_inter(0.001, 0)
    scaled.to_filename(tmp_path / "slope.nii.gz")
    assert read_file(tmp_path / "slope.nii.gz", label, "x") == expected
    with pytest.raises(
        DataError, match=r"^x: p\.nii\.gz: expected labels, .* found 0\.93 and \d+ other .*threshold it"
    ):
        read_file(nifti(tmp_path / "p.nii.gz", CUBE.astype(np.float32) * 0.93), label, "x")
    assert read_file(tmp_path / "p.nii.gz", None, "x", threshold=0.5) == expected


def test_nan_outside_is_background_with_a_remark(tmp_path: Path) -> None:
    voxels = np.where(CUBE, 1, np.nan).astype(np.float32)
    said: list[str] = []
    assert read_file(nifti(tmp_path / "m.nii.gz", voxels), 1, "x", remark=said.append) == masks.encode(CUBE)
    assert said == [f"x: m.nii.gz: NaN in {(~CUBE).sum()} of {CUBE.size} pixels, read as background"]
    with refusal("x: m.nii.gz: expected labels, whole numbers of at least 0, found nothing but NaN"):
        read_file(nifti(tmp_path / "m.nii.gz", np.full((2, 2, 2), np.nan, dtype=np.float32)), None, "x")


@pytest.mark.parametrize("axes", [4, 5])
def test_trailing_axes_of_one_are_dropped(axes: int, tmp_path: Path) -> None:
    voxels = CUBE.astype(np.uint8).T.reshape(CUBE.T.shape + (1,) * (axes - 3)).T
    assert read_file(nifti(tmp_path / "m.nii.gz", voxels), 1, "x", owner=grid()) == masks.encode(CUBE)
    with pytest.raises(
        DataError, match=r"^x: m\.nii: expected numbers on three axes, found uint8 of shape \(2, 2, 2, 3\)"
    ):
        read_file(nifti(tmp_path / "m.nii", np.zeros((3, 2, 2, 2), dtype=np.uint8)), None, "x")


def test_a_2d_nifti_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    flat = nifti(tmp_path / "flat.nii.gz", CUBE[1].astype(np.uint8))
    assert read_file(flat, 1, "x", owner=grid(size=(1, 4, 6))) == masks.encode(CUBE[1:2])
    with refusal("x: flat.nii.gz: expected a picture such as PNG as the mask of a 2-D image, found a volume"):
        read_file(flat, 1, "x", owner=Grid(size=(4, 6)))


def test_npy_is_compared_by_its_size_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "m.npy", CUBE[np.newaxis])
    assert read_file(tmp_path / "m.npy", None, "x", owner=grid()) == masks.encode(CUBE)


@pytest.mark.parametrize("shape", [(4, 6), (1, 4, 6), (4, 6, 1)])
def test_npy_of_two_axes_is_the_mask_of_a_picture(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = tmp_path / "m.npy"
    np.save(path, CUBE[1].reshape(shape))
    assert read_file(path, None, "x", owner=Grid(size=(4, 6))) == masks.encode(CUBE[1])
    np.save(path, np.where(CUBE[1], 0.9, 0.1).reshape(shape))
    with pytest.raises(DataError, match=r"^x: m\.npy: .* found 0\.1 and 23 other numbers .* map of probabilities"):
        read_file(path, None, "x", owner=Grid(size=(4, 6)))


def test_npy_that_is_no_mask_of_a_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.npy"
    np.save(path, CUBE)
    with refusal("x: m.npy: expected numbers (H, W), found bool of shape (5, 4, 6)"):
        read_file(path, None, "x", owner=Grid(size=(4, 6)))
    path.write_bytes(b"no array")
    with pytest.raises(DataError, match=r"^x: m\.npy: cannot be read as npy: \w"):
        read_file(path, None, "x", owner=Grid(size=(4, 6)))


def test_nifti_without_nibabel_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mask.nii").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with refusal("x: mask.nii: reading NIfTI needs nibabel; pip install 'medground[medical]'"):
        read_file(tmp_path / "mask.nii", None, "x")


# --- DICOM SEG


@pytest.fixture
def export(tmp_path: Path) -> tuple[Path, Grid, dict[str, np.ndarray[Any, Any]]]:
    """Return a folder with a series and its SEG, the grid of the volume, and the segments in that grid."""
    pytest.importorskip("pydicom")
    write(tmp_path)
    liver, lesion = np.zeros((2, 4, 5, 6), dtype=bool)
    liver[1:3, 2:4, 1:5] = True
    lesion[0, 0, 5] = True
    write_segmentation(tmp_path / "seg.dcm", SERIES, {"Liver": liver, "Lesion": lesion}, positions())
    stack = stacked(tmp_path)
    found = {name: closest_canonical(mask, stack.affine) for name, mask in (("Liver", liver), ("Lesion", lesion))}
    volume = found["Liver"]
    return (
        tmp_path,
        Grid(size=volume.voxels.shape, affine=volume.affine),
        {name: one.voxels > 0 for name, one in found.items()},
    )


@pytest.mark.parametrize("whole_folder", [True, False])
def test_a_dicom_seg_is_placed_on_the_volume(export: Any, whole_folder: bool) -> None:
    folder, owner, segments = export
    path = folder if whole_folder else folder / "seg.dcm"
    expected: dict[Any, Mask] = {None: masks.encode(segments["Liver"] | segments["Lesion"])}
    for number, (name, voxels) in enumerate(segments.items(), 1):
        expected[number] = expected[name] = masks.encode(voxels)
    for label, mask in expected.items():
        assert read_file(path, label, "x", owner=owner) == mask


def test_a_dicom_seg_that_cannot_be_placed_is_refused(export: Any) -> None:
    folder, owner, _ = export
    with refusal("x: seg.dcm: expected a mask for a volume with an affine, because a DICOM SEG is placed in space"):
        read_file(folder / "seg.dcm", None, "x", owner=Grid(size=owner.size))
    moved = np.array(owner.affine).reshape(4, 4)
    moved[:3, 3] += 500
    with pytest.raises(DataError, match=r"^x: seg\.dcm: a frame lies "):
        read_file(folder / "seg.dcm", None, "x", owner=grid(moved, owner.size))
    with refusal("x: seg.dcm: label: expected one of its segments, 1 (Liver), 2 (Lesion), found 'Spleen'"):
        read_file(folder / "seg.dcm", "Spleen", "x", owner=owner)
    with refusal("x: 0.dcm: expected a DICOM SEG, found none"):
        read_file(folder / "0.dcm", None, "x", owner=owner)
    (folder / "torn.dcm").write_bytes((folder / "seg.dcm").read_bytes()[:700])
    with pytest.raises(DataError, match=r"^x: torn\.dcm: "):
        read_file(folder / "torn.dcm", None, "x", owner=owner)

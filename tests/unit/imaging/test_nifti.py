"""The geometry of NIfTI headers: units, and sform, qform and pixdim against each other."""

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import DataError
from harness.imaging.nifti import NiftiFile, corner_distance, import_nibabel, open_nifti, reading
from harness.imaging.volumes import read_volume

nibabel = pytest.importorskip("nibabel")

SIZES = (1.5, 1.5, 3.0)
AFFINE = np.array([[-1.5, 0, 0, 30], [0, -1.5, 0, 20], [0, 0, 3.0, -40], [0, 0, 0, 1]])
IDENTITY = np.eye(4)


def write(
    path: Path,
    *,
    sform: np.ndarray | None = AFFINE,
    qform: np.ndarray | None = None,
    pixdim: tuple[float, ...] = SIZES,
    codes: tuple[int, int] | None = None,
    shape: tuple[int, ...] = (4, 5, 6),
    **fields: Any,
) -> NiftiFile:
    """Write a file whose header says exactly what is given, and return what is read of it."""
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header.set_qform(AFFINE if qform is None else qform, code=1)
    header.set_sform(AFFINE if sform is None else sform, code=2)
    header["pixdim"][1:4] = pixdim
    header["sform_code"], header["qform_code"] = codes or (2 * (sform is not None), int(qform is not None))
    header["vox_offset"], header["magic"] = 352, b"n+1"
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + b"\0" * 4 + values.tobytes("F")
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return open_nifti(path)


@pytest.mark.parametrize(("code", "unit", "scale"), [(0, "unknown", 1), (1, "m", 1e-3), (2, "mm", 1), (3, "um", 1e3)])
@pytest.mark.parametrize("by", ["sform", "qform", "pixdim"])
def test_lengths_are_in_mm_whatever_unit_a_file_names(
    tmp_path: Path, code: int, unit: str, scale: float, by: str
) -> None:
    stored = np.diag([scale, scale, scale, 1.0]) @ AFFINE
    found = write(
        tmp_path / "a.nii.gz",
        sform=stored if by == "sform" else None,
        qform=stored if by == "qform" else None,
        pixdim=tuple(size * scale for size in SIZES),
        xyzt_units=code + 8,  # 8 is seconds
    )
    assert (found.unit, found.remarks) == (unit, ())
    assert found.spacing_mm == SIZES  # exactly: a tolerance of 1.5 mm is one voxel
    expected = AFFINE.copy()
    if by == "pixdim":
        expected[:3, 3] = np.array([1.5, -1.5, -3.0]) * (1.5, 2, 2.5)  # around the centre of (4, 5, 6) voxels
        expected[:3, :3] = np.diag([-1.5, 1.5, 3.0])
    np.testing.assert_allclose(found.affine, expected, rtol=1e-6)


def test_another_code_of_a_unit_is_taken_as_mm_and_said(tmp_path: Path) -> None:
    found = write(tmp_path / "a.nii", xyzt_units=5)
    assert (found.spacing_mm, found.unit) == (SIZES, "unknown")
    assert found.remarks == ("5 is no code of a unit of length; taken as mm",)


@pytest.mark.parametrize(
    ("pixdim", "remark"),
    [
        ((1.5, 1.5, 3.0), None),
        ((1.5, 1.5001, 3.0), None),  # rounded
        ((1.0, 1.0, 1.0), "voxels are 1.5 x 1.5 x 3 mm by the sform and 1 x 1 x 1 mm by pixdim; the sform counts"),
        (
            (1.5, 1.5, 3.1),
            "voxels are 1.5 x 1.5 x 3 mm by the sform and 1.5 x 1.5 x 3.1 mm by pixdim; the sform counts",
        ),
        ((1.5, 0.0, 3.0), "pixdim is 1.5 x 0 x 3; sizes of 0 and values that are no number do not count"),
        ((1.5, np.nan, 3.0), "pixdim is 1.5 x nan x 3; sizes of 0 and values that are no number do not count"),
        ((-1.5, 1.5, 3.0), "pixdim is -1.5 x 1.5 x 3; the signs do not count"),
    ],
)
def test_the_sform_counts_against_pixdim(tmp_path: Path, pixdim: tuple[float, ...], remark: str | None) -> None:
    found = write(tmp_path / "a.nii", pixdim=pixdim)
    np.testing.assert_allclose(found.spacing_mm, SIZES, rtol=1e-3)
    np.testing.assert_array_equal(found.affine, AFFINE)
    assert found.remarks == (() if remark is None else (remark,))


def test_the_sform_counts_against_the_qform(tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += 0.1
    assert write(tmp_path / "a.nii", qform=moved).remarks == ()  # less than a tenth of a voxel
    moved[0, 3] += 10
    found = write(tmp_path / "a.nii", qform=moved)
    np.testing.assert_array_equal(found.affine, AFFINE)
    words = "sform (code 2) and qform (code 1) place corners up to 10.1 mm apart; the sform counts"
    assert found.remarks == (words,)
    assert write(tmp_path / "a.nii", qform=moved, codes=(2, 0)).remarks == ()
    alone = write(tmp_path / "a.nii", qform=moved, codes=(0, 1))
    np.testing.assert_allclose(alone.affine, moved, atol=1e-6)
    assert alone.remarks == ()


SINGULAR = np.array([[1.5, 1.5, 0, 0], [0, 0, 0, 0], [0, 0, 3.0, 0], [0, 0, 0, 1]])


@pytest.mark.parametrize("sform", [np.zeros((4, 4)), SINGULAR, np.full((4, 4), np.nan)])
def test_an_sform_without_an_inverse_gives_way_to_the_qform(tmp_path: Path, sform: np.ndarray) -> None:
    found = write(tmp_path / "a.nii", sform=sform, qform=AFFINE)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    assert (found.spacing_mm, found.remarks) == (SIZES, ("the sform has no inverse; the qform counts",))
    expected = r"a\.nii: expected an affine with an inverse, found none in sform and qform \(pixdim 1\.5 x 1\.5 x 3\)"
    with pytest.raises(DataError, match=expected):
        write(tmp_path / "a.nii", sform=sform)


def test_an_identity_sform_gives_way_to_other_voxel_sizes(tmp_path: Path) -> None:
    found = write(tmp_path / "a.nii", sform=IDENTITY, qform=AFFINE)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-6)
    assert found.remarks == ("the sform is the identity and pixdim is 1.5 x 1.5 x 3 mm; the qform counts",)
    found = write(tmp_path / "a.nii", sform=IDENTITY)
    np.testing.assert_array_equal(found.affine, np.diag([*SIZES, 1]))
    assert found.remarks == ("the sform is the identity and pixdim is 1.5 x 1.5 x 3 mm; pixdim counts",)
    assert found.spacing_mm == SIZES
    plain = write(tmp_path / "a.nii", sform=IDENTITY, pixdim=(1, 1, 1))
    assert (plain.spacing_mm, plain.remarks) == ((1, 1, 1), ())


def test_a_qform_without_a_rotation_or_sizes_is_no_place(tmp_path: Path) -> None:
    found = write(tmp_path / "a.nii", qform=AFFINE, quatern_b=3.0)
    assert found.remarks == ("the qform has no inverse; the sform counts",)
    with pytest.raises(DataError, match=r"^a\.nii: cannot be read as NIfTI: w2 should be positive"):
        write(tmp_path / "a.nii", sform=None, qform=AFFINE, quatern_b=3.0)
    expected = r"found none in sform and qform \(pixdim 1\.5 x 0 x 3\); save it anew"
    with pytest.raises(DataError, match=expected):
        write(tmp_path / "a.nii", sform=None, qform=AFFINE, pixdim=(1.5, 0, 3))
    expected = re.escape("a.nii: expected voxel sizes above 0, found a pixdim of 1.5 x 0 x 3; save it anew")
    with pytest.raises(DataError, match=expected):
        write(tmp_path / "a.nii", sform=None, pixdim=(1.5, 0, 3))


def test_a_flat_image_needs_no_size_across_its_plane(tmp_path: Path) -> None:
    found = write(tmp_path / "a.nii", shape=(4, 5), sform=None, pixdim=(1.5, 1.5, 0))
    assert (found.spacing_mm, found.remarks) == ((1.5, 1.5, 1.0), ())


def test_a_sheared_volume_keeps_its_affine(tmp_path: Path) -> None:
    tilted = AFFINE.copy()
    tilted[1, 2] = 1.0
    length = float(np.hypot(3, 1))
    found = write(tmp_path / "a.nii", sform=tilted, pixdim=(1.5, 1.5, length))
    assert (found.spacing_mm, found.remarks) == ((1.5, 1.5, pytest.approx(length)), ())
    volume = read_volume(tmp_path / "a.nii")
    assert volume.affine is not None
    assert abs(np.linalg.det(np.array(volume.affine).reshape(4, 4))) == pytest.approx(1.5 * 1.5 * 3)
    wrong = write(tmp_path / "a.nii", sform=tilted, pixdim=SIZES)  # the distance of the slices, not of the voxels
    assert "by pixdim; the sform counts" in wrong.remarks[0]


def test_corner_distance_is_the_largest_in_the_volume() -> None:
    turned = np.eye(4)
    turned[0, 1], turned[1, 3] = 0.5, 2.0
    assert corner_distance(np.eye(4), turned, (3, 5, 9)) == pytest.approx(np.hypot(2.0, 2.0))


def test_what_nibabel_raises_becomes_a_message(tmp_path: Path) -> None:
    expected = r"^x: cannot be read as NIfTI: too large for the memory of this machine"
    with pytest.raises(DataError, match=expected), reading("x"):
        raise MemoryError
    with pytest.raises(DataError, match=r"^x: cannot be read as NIfTI: no way"), reading("x") as found:
        raise found.orientations.OrientationError("no way")
    path = tmp_path / "a.nii"
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"^a\.nii: cannot be read as NIfTI: "):
        open_nifti(path)


def test_an_unknown_datatype_is_named_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(DataError, match=r"^a\.nii: cannot be read as NIfTI: data code 999 not recognized"):
        write(tmp_path / "a.nii", datatype=999)
    assert caplog.records == []
    assert not nibabel.imageglobals.logger.disabled


def test_other_formats_of_nibabel_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nibabel, "load", lambda _: nibabel.Spm99AnalyzeImage(np.zeros((2, 2, 2), np.int16), np.eye(4)))
    with pytest.raises(DataError, match=r"^a\.nii: expected a NIfTI volume, found Spm99AnalyzeImage"):
        open_nifti(Path("a.nii"))


def test_without_nibabel_a_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(DataError, match=r"^reading DICOM needs nibabel; pip install 'medground\[medical\]'"):
        import_nibabel("DICOM")


def test_absurd_numbers_raise_no_warning(tmp_path: Path) -> None:
    found = write(tmp_path / "a.nii", qform=AFFINE, qoffset_x=np.nan, quatern_b=1e30)
    assert found.remarks == ("the qform has no inverse; the sform counts",)
    huge = AFFINE * 1e30
    huge[3] = (0, 0, 0, 1)
    volume = write(tmp_path / "a.nii", sform=huge, pixdim=(1e30, 1e30, 1e30), scl_slope=1e38)
    assert volume.spacing_mm[0] > 1e29
    assert read_volume(tmp_path / "a.nii").voxels.shape == (6, 5, 4)

"""Volumes stored as folders of numbered images: their order, what is left out, and how they travel."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from harness.imaging import volumes
from harness.imaging.volumes import closest_canonical, packed, read_slices, read_volume, slice_names, to_nifti, unpack


def draw(folder: Path, name: str, grey: int, size: tuple[int, int] = (4, 5), mode: str = "L") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(size, grey, dtype=np.uint8)).convert(mode).save(folder / name)


def test_slices_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name, grey in (("10.png", 100), ("2.png", 20), ("1.png", 10)):
        draw(tmp_path, name, grey, mode="RGB" if grey == 20 else "L")
    (tmp_path / "text.txt").write_text("no picture")
    found = read_slices(tmp_path, where="case/series")
    assert slice_names(tmp_path) == ["1.png", "2.png", "10.png"]
    assert [int(pixels[0, 0]) for pixels in found.slices] == [10, 20, 100]
    assert (found.slices[0].shape, found.slices[0].dtype, found.left_out) == ((4, 5), np.uint8, ())


def test_images_that_do_not_fit_are_left_out_by_name(tmp_path: Path) -> None:
    draw(tmp_path, "1.png", 1)
    draw(tmp_path, "2.png", 2, size=(9, 9))
    draw(tmp_path, "3.png", 3)
    draw(tmp_path, "scout.png", 4)
    (tmp_path / "4.jpeg").write_bytes(b"torn")
    found = read_slices(tmp_path, where="case/series")
    assert len(found.slices) == 2
    assert found.left_out == (
        ("4.jpeg", "cannot be read"),
        ("scout.png", "its name is no number"),
        ("2.png", "is (9, 9), most are (4, 5)"),
    )


def test_a_folder_without_slices_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"torn")
    with pytest.raises(DataError) as caught:
        read_slices(tmp_path, where="case/series")
    assert str(caught.value) == "case/series: expected numbered pictures of slices, found none that can be read"


def test_a_folder_travels_as_one_archive(tmp_path: Path) -> None:
    draw(tmp_path / "sent", "1.png", 7)
    (tmp_path / "sent" / "below").mkdir()
    assert unpack(packed(tmp_path / "sent"), tmp_path / "got")
    assert [path.name for path in (tmp_path / "got").iterdir()] == ["1.png"]
    assert (tmp_path / "got/1.png").read_bytes() == (tmp_path / "sent/1.png").read_bytes()


def test_an_archive_cannot_write_elsewhere(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("../outside.png", b"x")
    assert not unpack(content.getvalue(), tmp_path / "got")
    assert not unpack(b"no archive", tmp_path / "got")
    assert list(tmp_path.iterdir()) == []


nibabel = pytest.importorskip("nibabel")

VOXELS = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # (x, y, z) in RAS+


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_ras_volume_is_held_as_z_y_x(suffix: str, tmp_path: Path) -> None:
    volume = read_volume(write_nifti(tmp_path / f"a{suffix}", VOXELS, np.diag([1.0, 2.0, 5.0, 1.0])))
    assert volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(volume.voxels, VOXELS.transpose(2, 1, 0))
    assert volume.spacing_mm == (5.0, 2.0, 1.0)
    assert volume.affine == tuple(np.diag([1.0, 2.0, 5.0, 1.0]).ravel())
    assert not volume.voxels.flags.writeable


def test_flipped_axes_are_flipped_back(tmp_path: Path) -> None:
    lps = np.diag([-1.0, -2.0, 5.0, 1.0])
    volume = read_volume(write_nifti(tmp_path / "a.nii", VOXELS[::-1, ::-1], lps))
    np.testing.assert_array_equal(volume.voxels, VOXELS.transpose(2, 1, 0))
    assert volume.spacing_mm == (5.0, 2.0, 1.0)


def test_permuted_axes_are_put_in_order(tmp_path: Path) -> None:
    affine = np.array([[0, 0, 1.0, 0], [2.0, 0, 0, 0], [0, 5.0, 0, 0], [0, 0, 0, 1]])  # stored as (y, z, x)
    volume = read_volume(write_nifti(tmp_path / "a.nii", VOXELS.transpose(1, 2, 0), affine))
    np.testing.assert_array_equal(volume.voxels, VOXELS.transpose(2, 1, 0))
    assert volume.spacing_mm == (5.0, 2.0, 1.0)


def test_an_npy_array_keeps_its_orientation(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOXELS)
    volume = read_volume(tmp_path / "a.npy")
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert (volume.voxels.dtype, volume.spacing_mm, volume.affine) == (np.float32, None, None)
    assert not volume.voxels.flags.writeable


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"a\.npy: cannot be read as npy: "):
        read_volume(tmp_path / "a.npy")


@pytest.mark.parametrize("name", ["a.npy", "a.nii", "a.nii.gz"])
@pytest.mark.parametrize("content", [b"", b"not a volume", b"\x1f\x8b\x08broken"])
def test_a_damaged_file_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=rf"^{name}: cannot be read as "):
        read_volume(tmp_path / name)


def test_a_truncated_volume_is_named(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "a.nii", VOXELS, np.eye(4))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"a\.nii: cannot be read as NIfTI: "):
        read_volume(path)


def test_other_axes_and_dtypes_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"a\.npy: expected numbers on three axes, found float64 of shape \(2, 2\)"):
        read_volume(tmp_path / "a.npy")
    np.save(tmp_path / "c.npy", np.zeros((1, 1, 1), dtype=complex))
    with pytest.raises(DataError, match="expected numbers on three axes, found complex128"):
        read_volume(tmp_path / "c.npy")
    four = write_nifti(tmp_path / "a.nii", np.zeros((1, 2, 3, 2), dtype=np.int16), np.eye(4))
    with pytest.raises(DataError, match=r"found int16 of shape \(1, 2, 3, 2\); save the volume"):
        read_volume(four)


def test_a_2d_nifti_is_a_volume_of_one_slice(tmp_path: Path) -> None:
    flat = np.arange(6, dtype=np.int16).reshape(3, 2)
    found = read_volume(write_nifti(tmp_path / "flat.nii", flat, np.diag((1.5, 2.0, 3.0, 1.0))))
    np.testing.assert_array_equal(found.voxels, flat.T[np.newaxis])
    assert (found.spacing_mm, found.flat) == ((3.0, 2.0, 1.5), True)
    assert not read_volume(write_nifti(tmp_path / "one.nii", flat[..., np.newaxis], np.eye(4))).flat
    # A header that gives the third axis no direction, and pixdim its length.
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(flat, np.diag((1.5, 2.0, 3.0, 1.0)))
    image.header["srow_z"], image.header["sform_code"], image.header["qform_code"] = 0, 1, 0
    image.header["vox_offset"] = 352
    (tmp_path / "bare.nii").write_bytes(image.header.binaryblock + b"\0" * 4 + flat.tobytes("F"))
    found = read_volume(tmp_path / "bare.nii")
    np.testing.assert_array_equal(found.voxels, flat.T[np.newaxis])
    assert (found.spacing_mm, found.affine and found.affine[8:12]) == ((3.0, 2.0, 1.5), (0.0, 0.0, 3.0, 0.0))


def test_further_axes_of_length_1_are_dropped(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", VOXELS[np.newaxis])
    np.testing.assert_array_equal(read_volume(tmp_path / "a.npy").voxels, VOXELS)
    path = write_nifti(tmp_path / "a.nii", VOXELS[..., np.newaxis], np.diag([1.0, 2.0, 5.0, 1.0]))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.voxels, VOXELS.transpose(2, 1, 0))
    assert volume.spacing_mm == (5.0, 2.0, 1.0)


@pytest.mark.parametrize(("voxels", "stored"), [(VOXELS, np.int16), (VOXELS + 0.5, np.float32)])
def test_a_written_volume_is_read_back(voxels: np.ndarray, stored: type, tmp_path: Path) -> None:
    affine = np.array([[0, 2.0, 0, 7], [-3.0, 0, 0, 1], [0, 0, 5.0, -9], [0, 0, 0, 1]])
    volume = closest_canonical(voxels.transpose(2, 1, 0), affine)
    (tmp_path / "a.nii").write_bytes(to_nifti(volume))
    assert nibabel.load(tmp_path / "a.nii").get_data_dtype() == stored
    found = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(found.voxels, volume.voxels)
    assert (found.spacing_mm, found.affine) == (volume.spacing_mm, volume.affine)


def test_real_volumes_are_read_and_one_of_four_axes_is_refused() -> None:
    folder = Path(nibabel.__file__).parent / "tests" / "data"
    if not folder.is_dir():
        pytest.skip("nibabel does not bring its test data along")
    assert read_volume(folder / "anatomical.nii").voxels.shape == (25, 41, 33)
    expected = r"found int16 of shape \(128, 96, 24, 2\); save the volume that is meant to a file of its own"
    with pytest.raises(DataError, match=expected):
        read_volume(folder / "example4d.nii.gz")


def test_a_volume_above_the_cap_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "VOXEL_CAP", 20)
    np.save(tmp_path / "a.npy", VOXELS)
    with pytest.raises(DataError, match=r"a\.npy: expected at most 20 voxels, found 24"):
        read_volume(tmp_path / "a.npy")


def test_an_array_that_does_not_fit_into_memory_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    np.save(tmp_path / "a.npy", VOXELS)
    monkeypatch.setattr(volumes.np, "load", full)
    with pytest.raises(DataError, match=r"a\.npy: cannot be read as npy: too large for the memory of this machine"):
        read_volume(tmp_path / "a.npy")


def test_another_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.mhd: expected a \.nii, \.nii\.gz, \.npy or \.dcm volume, found '\.mhd'"):
        read_volume(tmp_path / "a.mhd")


def test_without_nibabel_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "nibabel", None)
    with pytest.raises(DataError, match=r"a\.nii: reading NIfTI needs nibabel; pip install 'medground\[medical\]'"):
        read_volume(tmp_path / "a.nii")

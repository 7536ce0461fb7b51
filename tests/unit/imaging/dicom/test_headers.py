"""DICOM headers and pixels: what is read, what is refused, and nothing that names anybody."""

import struct
import warnings
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from harness.data.phantoms.writers.dicom import PRIVATE, DrawnSeries, write_slice
from harness.errors import DataError
from harness.imaging.dicom.headers import discreet, group_series, read_header, read_pixels, stored_values
from harness.imaging.volumes import read_volume
from tests.support.dicom_series import SERIES, VOXELS, bundled, change, headers, write

pydicom = pytest.importorskip("pydicom")


def test_the_series_with_most_slices_comes_first_whatever_its_number(tmp_path: Path) -> None:
    write(tmp_path)
    write_slice(tmp_path / "scout.dcm", DrawnSeries(name="a", number=0), 1, (0, 0, 0), VOXELS[0])
    series = group_series(headers(tmp_path))
    assert [(one.first.number, one.slices) for one in series] == [(1, 4), (0, 1)]


@pytest.mark.parametrize(
    ("name", "size", "low", "high"),
    [("CT_small.dcm", (1, 128, 128), -896, 1167), ("MR_small.dcm", (1, 64, 64), 127, 2145)],
)
def test_real_slices_are_read(name: str, size: tuple[int, ...], low: int, high: int) -> None:
    volume = read_volume(bundled(name))
    assert (volume.voxels.shape, volume.voxels.min(), volume.voxels.max()) == (size, low, high)


def test_a_colour_image_is_an_image_and_no_volume() -> None:
    path = bundled("ExplVR_BigEnd.dcm")
    header = read_header(path.open("rb"), path.name)
    assert header is not None
    assert read_pixels(lambda _: path.open("rb"), header).shape == (60, 80, 3)
    with pytest.raises(DataError, match="expected grey slices, found colours; ask about such images one by one"):
        read_volume(path)


def test_an_image_of_8_bits_stays_so_and_others_are_rescaled(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    header = read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
    assert header is not None
    found = read_pixels(lambda name: (tmp_path / name).open("rb"), header)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, VOXELS[0])
    grey = np.arange(30, dtype=np.uint8).reshape(5, 6)
    change(tmp_path / "a.dcm", BitsAllocated=8, BitsStored=8, HighBit=7, PixelData=grey.tobytes())
    change(tmp_path / "a.dcm", RescaleSlope=1, RescaleIntercept=0)
    header = read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
    assert header is not None
    found = read_pixels(lambda name: (tmp_path / name).open("rb"), header)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, grey)


def test_several_frames_are_no_image(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    change(tmp_path / "a.dcm", NumberOfFrames=2)
    header = read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
    assert header is not None
    with pytest.raises(DataError, match=r"a\.dcm: expected one image, found 2 frames without a place in space"):
        read_pixels(lambda name: (tmp_path / name).open("rb"), header)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "a.dcm: expected grey values, RGB or YBR, found another kind"),
        ({"PhotometricInterpretation": "RGB"}, "a.dcm: expected 8 bits a colour channel, found 12; export it anew"),
        ({"PixelData": b"12"}, r"a.dcm: cannot be read as DICOM \(ValueError\); check the file"),
    ],
)
def test_pixels_that_cannot_be_read_are_named(tmp_path: Path, elements: dict[str, Any], message: str) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    change(tmp_path / "a.dcm", **elements)
    with pytest.raises(DataError, match=message):
        read_volume(tmp_path)


def test_other_files_are_no_headers(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("no image")
    assert read_header((tmp_path / "a.txt").open("rb"), "a.txt") is None
    with pytest.raises(DataError, match="expected DICOM images, found none"):
        read_volume(tmp_path)


def test_neither_messages_nor_warnings_hold_a_value() -> None:
    def warn_and_raise() -> None:
        with discreet("a.dcm"):
            warnings.warn("Invalid value for PN: 'Smith^Jane'", stacklevel=1)
            raise ValueError("could not convert 'Smith^Jane'")

    with warnings.catch_warnings(record=True) as heard, pytest.raises(DataError) as caught:
        warn_and_raise()
    assert str(caught.value) == "a.dcm: cannot be read as DICOM (ValueError); check the file"
    assert caught.value.__cause__ is None
    assert heard == []


def test_a_header_holds_nobodys_name(tmp_path: Path) -> None:
    found = repr(headers(write(tmp_path)))
    assert [value for value in PRIVATE.values() if value in found] == []


def test_without_pydicom_the_message_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(DataError, match=r"reading DICOM needs pydicom; pip install 'medground\[medical\]'"):
        read_volume(tmp_path / "a.dcm")
    with pytest.raises(DataError, match=r"drawing DICOM files needs pydicom; pip install 'medground\[medical\]'"):
        write_slice(tmp_path / "a.dcm", SERIES, 1, (0, 0, 0), VOXELS[0])


@pytest.mark.parametrize(("frames", "refused"), [(2, False), (4, True), (10**9, True)])
def test_frames_that_the_bytes_of_a_file_cannot_hold_are_refused(tmp_path: Path, frames: int, refused: bool) -> None:
    write_slice(tmp_path / "a.dcm", DrawnSeries(name="a"), 1, (0, 0, 0), np.zeros((64, 64)))
    change(tmp_path / "a.dcm", NumberOfFrames=frames)
    path = tmp_path / "a.dcm"
    if not refused:  # a torn file is left to the decoder, which has a message of its own
        found = read_header(path.open("rb"), "a.dcm")
        assert found is not None
        assert len(found.frames) == frames
        return
    words = (
        f"a.dcm: expected the pixels of {frames} frames of 64 x 64 pixels, found a file of {path.stat().st_size} bytes"
    )
    with pytest.raises(DataError, match=f"^{words}; it is damaged or torn"):
        read_header(path.open("rb"), "a.dcm")


def test_frames_of_a_compressed_file_are_held_against_its_length(tmp_path: Path) -> None:
    write_slice(tmp_path / "a.dcm", DrawnSeries(name="a"), 1, (0, 0, 0), np.zeros((64, 64)))
    data = pydicom.dcmread(tmp_path / "a.dcm")
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.5"  # run lengths, of which a frame may be short
    data["PixelData"].VR, data.PixelData = "OB", pydicom.encaps.encapsulate([b"ab"] * 4)
    for frames, refused in ((200, False), (10**9, True)):
        data.NumberOfFrames = frames
        data.save_as(tmp_path / "a.dcm")
        if refused:
            with pytest.raises(DataError, match="expected the pixels of 1000000000 frames"):
                read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
        else:
            found = read_header((tmp_path / "a.dcm").open("rb"), "a.dcm")
            assert found is not None
            assert len(found.frames) == frames


@pytest.mark.parametrize("error", [MemoryError, struct.error, zlib.error, pydicom.errors.BytesLengthException])
def test_what_pydicom_raises_becomes_a_message(error: type[Exception]) -> None:
    name = error.__name__
    with pytest.raises(DataError, match=rf"^x: cannot be read as DICOM \({name}\); check the file"), discreet("x"):
        raise error


def test_frames_of_a_dose_grid_lie_at_their_offsets() -> None:
    path = bundled("rtdose.dcm")
    volume = read_volume(path)
    assert (volume.voxels.shape, volume.spacing_mm) == ((15, 10, 10), (5.0, 10.0, 10.0))
    np.testing.assert_array_equal(volume.voxels[3, ::-1, ::-1] > 0, pydicom.dcmread(path).pixel_array[3] > 0)


@pytest.mark.parametrize(
    ("offsets", "heights"), [([0, 2], (7.0, 9.0)), ([7, 9], (7.0, 9.0)), ([8, 6], (8.0, 6.0)), (None, None)]
)
def test_frames_with_one_position_lie_at_offsets_or_nowhere(
    tmp_path: Path, offsets: list[float] | None, heights: tuple[float, ...] | None
) -> None:
    path = tmp_path / "a.dcm"
    write_slice(path, DrawnSeries(name="a"), 1, (1, 2, 7), VOXELS[0])
    change(path, NumberOfFrames=2, PixelData=pydicom.dcmread(path).PixelData * 2)
    if offsets is not None:
        change(path, GridFrameOffsetVector=offsets)
    found = read_header(path.open("rb"), "a.dcm")
    assert found is not None
    places = [frame.position for frame in found.frames]
    assert places == ([None, None] if heights is None else [(1.0, 2.0, height) for height in heights])
    if heights is None:
        with pytest.raises(DataError, match="expected position, orientation and pixel spacing in every slice"):
            read_volume(path)


def _compressed(path: Path, syntax: str) -> Path:
    write_slice(path, SERIES, 1, (0, 0, 0), VOXELS[0])
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8" + b"\0" * 98])
    data["PixelData"].VR = "OB"
    data.save_as(path)
    return path


def test_a_missing_decoder_is_named_with_the_compression(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = SimpleNamespace(
        is_available=False, missing_dependencies=["gdcm - requires gdcm>=3", "pyjpegls - requires numpy and pyjpegls"]
    )
    monkeypatch.setattr(pydicom.pixels, "get_decoder", lambda _: decoder)
    words = (
        r"^a\.dcm: its pixels are compressed as JPEG-LS Lossless Image Compression \(1\.2\.840\.10008\.1\.2\.4\.80\), "
        "and no decoder for them is installed; install gdcm>=3; or numpy and pyjpegls$"
    )
    path = _compressed(tmp_path / "a.dcm", "1.2.840.10008.1.2.4.80")
    with pytest.raises(DataError, match=words):
        stored_values(path.open("rb"), "a.dcm")


def test_a_compression_that_nothing_decodes_is_named_and_an_unknown_one_is_not_repeated(tmp_path: Path) -> None:
    film = _compressed(tmp_path / "a.dcm", "1.2.840.10008.1.2.4.102")
    with pytest.raises(DataError, match=r"compressed as MPEG-4 .* \(1\.2\.840\.10008\.1\.2\.4\.102\), which cannot be"):
        stored_values(film.open("rb"), "a.dcm")
    unknown = _compressed(tmp_path / "b.dcm", "2.25.4711")
    with pytest.raises(DataError, match=r"^b\.dcm: cannot be read as DICOM \(\w+\); check the file$"):
        stored_values(unknown.open("rb"), "b.dcm")

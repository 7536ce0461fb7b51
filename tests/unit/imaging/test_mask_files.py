"""Masks from JSON, PNG and NIfTI: read exactly, or refused with what is wrong."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.errors import DataError
from harness.imaging import mask_files, masks

SQUARE = np.zeros((4, 6), dtype=bool)
SQUARE[1:3, 2:5] = True
CUBE = np.zeros((5, 4, 6), dtype=bool)
CUBE[1, 1:3, 2:5] = True
CUBE[3, 0, 0] = True


def refusal(message: str) -> Any:
    return pytest.raises(DataError, match=f"^{re.escape(message)}$")


# --- JSON


@pytest.mark.parametrize("array", [SQUARE, CUBE, np.zeros((4, 6), dtype=bool), np.zeros((5, 4, 6), dtype=bool)])
@pytest.mark.parametrize("check", [True, False])
def test_json_brings_the_mask_back(array: np.ndarray[Any, Any], check: bool) -> None:
    mask = masks.encode(array)
    stored = json.loads(json.dumps(mask_files.to_json(mask)))
    assert mask_files.from_json(stored, where="x", check=check) == mask


def test_json_is_the_documented_format() -> None:
    assert mask_files.to_json(masks.encode(np.eye(2, dtype=bool))) == {"size": [2, 2], "counts": "0120"}
    assert mask_files.to_json(masks.encode(np.eye(2, dtype=int)[None])) == {"size": [1, 2, 2], "slices": {"0": "0120"}}


@pytest.mark.parametrize("array", [SQUARE, CUBE])
def test_nested_lists_are_read(array: np.ndarray[Any, Any]) -> None:
    assert mask_files.from_json(array.astype(int).tolist(), where="x") == masks.encode(array)
    assert mask_files.from_json(array.tolist(), where="x") == masks.encode(array)


def test_uncompressed_run_lengths_are_read() -> None:
    assert mask_files.from_json({"size": [2, 2], "counts": [0, 1, 2, 1]}, where="x") == masks.encode(
        np.eye(2, dtype=bool)
    )
    assert mask_files.from_json({"size": [2, 2], "counts": [0, 1, 0, 0, 2, 1]}, where="x") == masks.encode(
        np.eye(2, dtype=bool)
    )


def test_runs_of_length_zero_are_taken_out() -> None:
    # Runs 1 1 0 2: pycocotools would stop at the zeros when two such masks are merged.
    mask = mask_files.from_json({"size": [2, 2], "counts": "1101"}, where="x")
    assert mask == masks.encode(np.array([[0, 1], [1, 1]]))


def test_number_written_too_long_reads_as_the_same_mask() -> None:
    assert mask_files.from_json({"size": [2, 2], "counts": "P0120"}, where="x").counts == "0120"


def test_slice_without_foreground_is_left_out() -> None:
    value = {"size": [3, 2, 2], "slices": {"2": "0120", "1": "4", "0": "0120"}}
    assert mask_files.from_json(value, where="x").slices == ((0, "0120"), (2, "0120"))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (7, "p:3: expected a mask as an object or as nested lists, found int"),
        (None, "p:3: expected a mask as an object or as nested lists, found NoneType"),
        ({}, "p:3: expected a mask with one of 'counts', 'slices' and 'path', found no key"),
        (
            {"size": [2, 2], "rle": "0120"},
            "p:3: expected a mask with one of 'counts', 'slices' and 'path', found 'size', 'rle'",
        ),
        (
            {"slices": {}, "counts": "4"},
            "p:3: expected a mask with one of 'counts', 'slices' and 'path', found 'slices', 'counts'",
        ),
        ([[0, 1], [1]], "p:3: expected nested lists with rows of one length, found rows that differ"),
        ([[0, 2]], "p:3: expected the values 0 and 1, found 2; choose one label or use `array > 0`"),
        ({"size": [2, 2, 2], "counts": "4"}, "p:3: size: expected [H, W] as integers, found [2, 2, 2]"),
        ({"counts": "4"}, "p:3: size: expected [H, W] as integers, found None"),
        ({"size": [2, 2.0], "counts": "4"}, "p:3: size: expected [H, W] as integers, found [2, 2.0]"),
        ({"size": [2, True], "counts": "2"}, "p:3: size: expected [H, W] as integers, found [2, True]"),
        ({"size": [2, 2], "slices": {}}, "p:3: size: expected [D, H, W] as integers, found [2, 2]"),
        ({"size": [0, 2], "counts": "0"}, "p:3: size: expected every axis to be at least 1 long, found (0, 2)"),
        (
            {"size": [99999, 99999], "counts": "0"},
            f"p:3: size: a mask of size (99999, 99999) is too large; at most {2**28} pixels a slice and {2**31} voxels",
        ),
        ({"size": [2, 2, 2], "slices": ["4"]}, "p:3: slices: expected an object, found list"),
        ({"size": [2, 2, 2], "slices": {"2": "4"}}, "p:3: slices: expected indices '0' to '1', found '2'"),
        ({"size": [2, 2, 2], "slices": {"-1": "4"}}, "p:3: slices: expected indices '0' to '1', found '-1'"),
        ({"size": [2, 2, 2], "slices": {"1": "4", "01": "4"}}, "p:3: slices: expected indices '0' to '1', found '01'"),
        ({"size": [2, 2, 2], "slices": {"²": "4"}}, "p:3: slices: expected indices '0' to '1', found '²'"),
        (
            {"size": [2, 2, 2], "slices": {"1": "3"}},
            "p:3: slices['1']: expected runs that sum to 2 x 2 = 4, found 3",
        ),
        ({"size": [2, 2], "counts": 4}, "p:3: counts: expected a COCO run-length string, found 4"),
        ({"size": [2, 2], "counts": ""}, "p:3: counts: expected a COCO run-length string, found ''"),
        ({"size": [2, 2], "counts": "é"}, "p:3: counts: expected a COCO run-length string, found 'é'"),
        ({"size": [2, 2], "counts": "01 0"}, "p:3: counts: expected the characters '0' to 'o', found '01 0'"),
        (
            {"size": [2, 2], "counts": "~" * 99},
            f"p:3: counts: expected the characters '0' to 'o', found '{'~' * 36}...",
        ),
        ({"size": [9, 9], "counts": "01P"}, "p:3: counts: the string ends inside a number; it was cut short"),
        (
            {"size": [9, 9], "counts": "PPPPPPP1"},
            "p:3: counts: expected numbers of at most 7 characters, found 8",
        ),
        (
            {"size": [9, 9], "counts": "O1"},
            "p:3: counts: expected run lengths >= 0, found -1; the string is corrupt",
        ),
        (
            {"size": [2, 2], "counts": "011N"},
            "p:3: counts: expected run lengths >= 0, found -1; the string is corrupt",
        ),
        ({"size": [2, 2], "counts": "012"}, "p:3: counts: expected runs that sum to 2 x 2 = 4, found 3"),
        ({"size": [2, 2], "counts": "5"}, "p:3: counts: expected runs that sum to 2 x 2 = 4, found 5"),
        ({"size": [2, 2], "counts": [1, 2]}, "p:3: counts: expected runs that sum to 2 x 2 = 4, found 3"),
        (
            {"size": [2, 2], "counts": [5, -1]},
            f"p:3: counts: expected run lengths as integers from 0 to {2**28}, found another value",
        ),
        (
            {"size": [2, 2], "counts": [4.0]},
            f"p:3: counts: expected run lengths as integers from 0 to {2**28}, found another value",
        ),
        (
            {"path": "x.png"},
            "p:3: expected run lengths, found a mask in a file of its own, 'x.png'",
        ),
    ],
)
def test_broken_json_is_refused_with_what_is_wrong(value: Any, message: str) -> None:
    with refusal(message):
        mask_files.from_json(value, where="p:3")


# --- files


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
    assert mask_files.read_file(tmp_path / "mask.png", None, "x") == masks.encode(SQUARE)


def test_png_label_selects_one_value(tmp_path: Path) -> None:
    labels = np.zeros((4, 6), dtype=np.uint8)
    labels[0, :], labels[1:3, 2:5] = 1, 3
    Image.fromarray(labels).save(tmp_path / "mask.png")
    assert mask_files.read_file(str(tmp_path / "mask.png"), 3, "x") == masks.encode(SQUARE)
    assert masks.area(mask_files.read_file(tmp_path / "mask.png", None, "x")) == 12


@pytest.mark.parametrize("label", [0, "1", 1.5, True])
def test_label_must_be_a_positive_integer(label: Any, tmp_path: Path) -> None:
    Image.fromarray(SQUARE).save(tmp_path / "mask.png")
    with refusal(f"x: label: expected an integer >= 1, found {label!r}"):
        mask_files.read_file(tmp_path / "mask.png", label, "x")


def test_coloured_png_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4), (9, 0, 0)).save(tmp_path / "mask.png")
    with refusal("x: mask.png: expected one channel or equal ones, found 3 that differ"):
        mask_files.read_file(tmp_path / "mask.png", None, "x")


def test_missing_unknown_and_broken_files_are_refused(tmp_path: Path) -> None:
    with refusal(f"x: mask file mask.png is missing; expected it at {tmp_path / 'mask.png'}"):
        mask_files.read_file(tmp_path / "mask.png", None, "x")
    for name in ("mask.gif", "mask.png", "mask.nii.gz", "mask.nii"):
        (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n not really")
    with refusal("x: expected a mask file .png, .nii or .nii.gz, found mask.gif"):
        mask_files.read_file(tmp_path / "mask.gif", None, "x")
    with pytest.raises(DataError, match=r"^x: mask file mask\.png cannot be read as an image: "):
        mask_files.read_file(tmp_path / "mask.png", None, "x")
    pytest.importorskip("nibabel")
    for name in ("mask.nii.gz", "mask.nii"):
        with pytest.raises(DataError, match=rf"^x: mask file {re.escape(name)} cannot be read as NIfTI: "):
            mask_files.read_file(tmp_path / name, None, "x")


def test_truncated_png_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 2, (64, 64), dtype=np.uint8)).save(tmp_path / "mask.png")
    content = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"^x: mask file mask\.png cannot be read as an image: "):
        mask_files.read_file(tmp_path / "mask.png", None, "x")


def save_nifti(path: Path, values_xyz: np.ndarray[Any, Any], diagonal: tuple[float, ...] = (1, 1, 1, 1)) -> None:
    nibabel: Any = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(values_xyz, np.diag(diagonal)), path)


@pytest.mark.parametrize("name", ["mask.nii.gz", "mask.nii"])
def test_nifti_is_held_as_z_y_x(name: str, tmp_path: Path) -> None:
    save_nifti(tmp_path / name, CUBE.transpose(2, 1, 0).astype(np.uint8) * 2)
    assert mask_files.read_file(tmp_path / name, 2, "x") == masks.encode(CUBE)
    assert masks.area(mask_files.read_file(tmp_path / name, 1, "x")) == 0


def test_nifti_is_flipped_to_ras(tmp_path: Path) -> None:
    save_nifti(tmp_path / "mask.nii.gz", CUBE.transpose(2, 1, 0).astype(np.float32), (-1, -1, 2, 1))
    assert mask_files.read_file(tmp_path / "mask.nii.gz", None, "x") == masks.encode(CUBE[:, ::-1, ::-1])


def test_nifti_that_is_no_label_volume_is_refused(tmp_path: Path) -> None:
    save_nifti(tmp_path / "mask.nii", np.zeros((2, 2, 2, 3), dtype=np.uint8))
    with refusal("x: mask.nii: expected a volume with 3 axes, found shape (2, 2, 2, 3)"):
        mask_files.read_file(tmp_path / "mask.nii", None, "x")
    save_nifti(tmp_path / "mask.nii", np.full((2, 2, 2), np.nan, dtype=np.float32))
    with refusal("x: mask.nii: expected labels, found NaN"):
        mask_files.read_file(tmp_path / "mask.nii", None, "x")


def test_nifti_without_nibabel_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mask.nii").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with refusal("x: mask.nii needs nibabel; pip install 'medground[medical]'"):
        mask_files.read_file(tmp_path / "mask.nii", None, "x")

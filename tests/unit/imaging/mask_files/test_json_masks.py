"""Masks from JSON: read exactly, or refused with what is wrong."""

import json
from typing import Any

import numpy as np
import pytest

from harness.imaging import mask_files, masks
from tests.support.small_masks import CUBE, SQUARE, refusal


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

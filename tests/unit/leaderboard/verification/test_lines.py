"""One line of predictions of a bundle: every field has the type that a scorer expects."""

from typing import Any

import pytest

from leaderboard.verification.lines import check_line, check_masks

LINE = {"key": "a" * 64, "status": "ok", "crc32": "0" * 8}
MASK = {"size": [2, 2], "counts": "04"}
VOLUME = {"size": [3, 2, 2], "slices": {"2": "04"}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"text": "yes", "choice": "A", "seconds": 0.5, "usage": {"tokens": 3}, "remarks": ["cut"], "read_as": "x"},
        {"masks": [MASK, VOLUME], "mask_scores": [0.5, 1], "entities": [{"name": "a", "span": [0, 1], "mask": 1}]},
        {
            "soft_masks": [{"size": [2, 2], "levels": [0.1], "data": "eJw="}],
            "grid": {"size": [2, 2, 2], "affine": None},
        },
        {"boxes": [{"corners": [0, 0, 1, 1]}], "points": [[1, 2]], "nll": [0.1], "nll_tokens": [3]},
        {"embedding": [[0.1], [0.2]], "error": {"type": "E", "message": "m"}},
    ],
)
def test_what_the_harness_stores_passes(fields: dict[str, Any]) -> None:
    assert check_line({**LINE, **fields}) == ()


def test_masks_in_a_file_of_their_own_are_named() -> None:
    assert check_line({**LINE, "masks_blob": "b" * 64, "masks_blob_bytes": 9}) == ("b" * 64,)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "A" * 64}, "key: has another type"),
        ({"status": "great"}, "status: has another type"),
        ({"crc32": 0}, "crc32: has another type"),
        ({"masks": [{**MASK, "size": [0, 2]}]}, "masks: has another type"),
        ({"masks": [{**MASK, "size": [True, 2]}]}, "masks: has another type"),
        ({"masks": [{**VOLUME, "slices": {"3": "04"}}]}, "masks: has another type"),
        ({"masks": [{**VOLUME, "slices": {"../1": "04"}}]}, "masks: has another type"),
        ({"masks": [{**VOLUME, "size": [2, 2]}]}, "masks: has another type"),
        ({"masks": [{**MASK, "counts": "0" * 21}]}, "masks: has another type"),
        ({"masks": [{**VOLUME, "slices": {"1": "0" * 21}}]}, "masks: has another type"),
        ({"masks": ["04"]}, "masks: has another type"),
        ({"boxes": [{"corners": [0, 0, 1]}]}, "boxes: has another type"),
        ({"nll": [10**400]}, "nll: has another type"),
        ({"nll": [True]}, "nll: has another type"),
        ({"entities": [{"name": "a", "path": "b"}]}, "entities: has another type"),
        ({"entities": [{"mask": 0}]}, "entities: has another type"),
        ({"usage": {"tokens": "many"}}, "usage: has another type"),
        ({"masks_blob": "b" * 64}, "masks_blob: expected its size beside it"),
        ({"masks_blob": "b" * 64, "masks_blob_bytes": 9, "masks": []}, "expected no masks in the line itself"),
        ({"prompt": "x"}, "'prompt': is no field of a prediction in a bundle"),
    ],
)
def test_anything_else_is_named(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check_line({**LINE, **change})


@pytest.mark.parametrize("name", ["key", "status", "crc32"])
def test_a_line_has_a_key_a_status_and_a_checksum(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: is missing"):
        check_line({key: value for key, value in LINE.items() if key != name})


def test_a_file_of_masks_holds_masks() -> None:
    check_masks([MASK])
    check_masks({"masks": [MASK], "soft_masks": []})
    with pytest.raises(ValueError, match=r"^expected masks"):
        check_masks({"text": "yes"})
    with pytest.raises(ValueError, match="masks: expected masks as run lengths or as probabilities"):
        check_masks([{"path": "/etc/passwd"}])

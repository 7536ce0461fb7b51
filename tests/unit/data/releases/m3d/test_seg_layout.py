"""The layouts of M3D-Seg: where files lie, and what the names of masks say."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.seg_layout import (
    Entry,
    Layout,
    check_listings,
    find_layout,
    read_classes,
    read_entries,
    read_terms,
)
from harness.data.releases.reader import ReleaseAbsentError

RAW, PREPARED = Layout(folder="M3D_Seg"), Layout(folder="M3D_Seg_npy")


def files_of(root: Path, **contents: Any) -> ReleaseFiles:
    """Write JSON files by their paths, `__` standing for a slash, and return the release."""
    for name, value in contents.items():
        path = root / f"{name.replace('__', '/')}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value))
    return ReleaseFiles(root=root, derived=root / "derived")


def entry(label: str) -> Entry:
    return Entry(place="p", code="0003", case="c", image="i", label=label)


@pytest.mark.parametrize(
    ("label", "index", "shape"),
    [
        ("M3D_Seg_npy/0003/c/masks/mask_12.npy", 12, None),
        ("M3D_Seg/0003/c/mask_(2, 8, 6, 4).npz", None, (2, 8, 6, 4)),
        ("M3D_Seg/0003/c/mask_(2,8,6,4).npz", None, None),
        ("M3D_Seg_npy/0003/c/masks/liver.npy", None, None),
    ],
)
def test_class_and_shape_are_read_off_the_name_of_a_mask(
    label: str, index: int | None, shape: tuple[int, ...] | None
) -> None:
    assert (entry(label).class_index, entry(label).dense_shape) == (index, shape)


def test_of_two_layouts_the_prepared_one_is_taken(tmp_path: Path) -> None:
    (tmp_path / "M3D_Seg").mkdir()
    integrity = Integrity()
    files = files_of(tmp_path)
    assert find_layout(files, integrity) == RAW
    (tmp_path / "M3D_Seg_npy").mkdir()
    assert find_layout(files, integrity) == PREPARED
    assert (RAW.prepared, PREPARED.prepared) == (False, True)
    assert integrity.counts == {"several_layouts": 1}


def test_shared_files_are_found_in_the_layout_then_the_raw_one_then_beside_both(tmp_path: Path) -> None:
    files = files_of(tmp_path, dataset_info={"0000": ["beside"]}, term_dictionary={"liver": ["text"]})
    assert read_classes(files, PREPARED, Integrity()) == {"0000": ["beside"]}
    files_of(tmp_path, M3D_Seg__dataset_info={"0000": ["raw"]})
    assert read_classes(files, PREPARED, Integrity()) == {"0000": ["raw"]}
    files_of(tmp_path, M3D_Seg_npy__dataset_info={"0000": ["prepared"]})
    assert read_classes(files, PREPARED, Integrity()) == {"0000": ["prepared"]}
    assert read_terms(files, PREPARED) == {"liver": ["text"]}


@pytest.mark.parametrize(
    ("record", "image", "case", "defect"),
    [
        ({"image": "0003/c/image.npy", "label": "0003/c/m.npz"}, "M3D_Seg/0003/c/image.npy", "c", None),
        ({"image": "/x/M3D_Seg/0003/c/d/i.npy", "label": "l"}, "M3D_Seg/0003/c/d/i.npy", "c/d", None),
        ({"image": "0003\\c\\i.npy", "label": "l"}, "M3D_Seg/0003/c/i.npy", "c", None),
        (
            {"image": "0003/i.npy", "label": "l"},
            "M3D_Seg/0003/i.npy",
            "unknown",
            "image M3D_Seg/0003/i.npy does not lie in the folder of a case",
        ),
        ({"image": "0003/c/i.npy", "label": " "}, "", "unknown", "the record has no label"),
        ("text", "", "unknown", "the record has no image"),
    ],
)
def test_paths_of_a_record_lie_below_the_layout(
    tmp_path: Path, record: Any, image: str, case: str, defect: str | None
) -> None:
    files = files_of(tmp_path, M3D_Seg__0003__0003={"name": "x", "test": [record], "labels": {"1": "liver"}})
    (found,) = read_entries(files, RAW, "0003", "test", Integrity())
    assert (found.image, found.case, found.defect) == (image, case, defect)


def test_train_is_read_under_either_key(tmp_path: Path) -> None:
    record = {"image": "0003/c/i.npy", "label": "0003/c/m.npz"}
    files = files_of(tmp_path, M3D_Seg__0003__0003={"training": [record], "train": [record], "test": [record]})
    integrity = Integrity()
    assert len(list(read_entries(files, RAW, "0003", "train", integrity))) == 2
    assert integrity.repairs == {"list_key": 1}


def test_an_absent_listing_is_reported_unless_all_are_absent(tmp_path: Path) -> None:
    files = files_of(tmp_path, M3D_Seg__0003__0003={})
    integrity = Integrity()
    assert check_listings(files, RAW, ["0003", "0004"], integrity) == ["0003"]
    assert [finding.where for finding in integrity.findings] == ["M3D_Seg/0004/0004.json"]
    assert check_listings(files, RAW, [], integrity) == []
    with pytest.raises(ReleaseAbsentError, match=r"m3d_seg: expected M3D_Seg/0004/0004\.json below the data root"):
        check_listings(files, RAW, ["0004"], integrity)

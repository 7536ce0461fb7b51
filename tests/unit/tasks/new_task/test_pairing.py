"""Which masks belong to which images, by the names of files and folders alone."""

from collections.abc import Sequence

import pytest

from harness.data.releases.folders.file_names import split_suffix
from harness.tasks.new_task.listing import Entry, is_mask_name, words
from harness.tasks.new_task.pairing import find_pairings


def entries(*paths: str) -> list[Entry]:
    return [Entry(tuple(path.split("/")[:-1]), *split_suffix(path.split("/")[-1])) for path in paths]


def pairs(*patterns: str, numbers: Sequence[int] = range(12), **names: Sequence[str]) -> list[Entry]:
    """Return the files of patterns with `{n}` for numbers and `{x}` for each of the names given as x."""
    paths = [pattern for pattern in patterns for _ in (0,)]
    for key, values in {"n": list(map(str, numbers)), **names}.items():
        paths = [
            path.replace(f"{{{key}}}", value) for path in paths for value in (values if f"{{{key}}}" in path else [""])
        ]
    return entries(*dict.fromkeys(paths))


LAYOUTS: Sequence[tuple[list[Entry], str, str, int]] = (
    (pairs("images/{n}.jpg", "masks/{n}.png"), "images/{case}.*", "masks/{case}.png", 12),
    (pairs("imgs/p{n}.png", "labels/p{n}.png"), "imgs/{case}.*", "labels/{case}.png", 12),
    (pairs("{n}.png", "{n}_mask.png"), "{case}.*", "{case}_mask.png", 12),
    (pairs("img_{n}.png", "mask_{n}.png"), "img_{case}.*", "mask_{case}.png", 12),
    (
        pairs("Input/ISIC_{n}.jpg", "GroundTruth/ISIC_{n}_segmentation.png"),
        "Input/{case}.*",
        "GroundTruth/{case}_segmentation.png",
        12,
    ),
    (
        pairs("JPEGImages/{n}.jpg", "SegmentationClass/{n}.png"),
        "JPEGImages/{case}.*",
        "SegmentationClass/{case}.png",
        12,
    ),
    (
        pairs("imagesTr/a_{n}_0000.nii.gz", "labelsTr/a_{n}.nii.gz"),
        "imagesTr/{case}_0000.nii.gz",
        "labelsTr/{case}.nii.gz",
        12,
    ),
    (pairs("c{n}/image.nii.gz", "c{n}/label.nii.gz"), "{case}/image.nii.gz", "{case}/label.nii.gz", 12),
    (
        pairs("B_{n}/B_{n}_t1.nii.gz", "B_{n}/B_{n}_seg.nii.gz"),
        "{case}/{case}_t1.nii.gz",
        "{case}/{case}_seg.nii.gz",
        12,
    ),
    (pairs("images/a.png", "masks/a.png"), "images/{case}.*", "masks/{case}.png", 1),
)


@pytest.mark.parametrize(
    ("files", "images", "masks", "count"), LAYOUTS, ids=lambda value: value if isinstance(value, str) else ""
)
def test_common_layouts_are_told(files: list[Entry], images: str, masks: str, count: int) -> None:
    (found,) = find_pairings(files)
    assert (found.images, found.masks, len(found.pairs)) == (images, masks, count)
    assert (list(found.lonely_images), list(found.lonely_masks)) == ([], [])
    assert all(mask.stem != image.stem or mask.path != image.path for image, mask in found.pairs)


@pytest.mark.parametrize(
    "pattern", ["{s}/images/{n}.png {s}/masks/{n}_mask.png", "images/{s}/{n}.png masks/{s}/{n}_mask.png"]
)
def test_folders_of_splits_become_a_name(pattern: str) -> None:
    (found,) = find_pairings(pairs(*pattern.split(), numbers=range(3), s=("train", "val", "test")))
    assert found.images == pattern.split()[0].replace("{s}", "{split}").replace("{n}.png", "{case}.*")
    assert (list(found.splits), len(found.pairs)) == (["test", "train", "val"], 9)


def test_folders_with_a_number_are_patients_and_others_groups() -> None:
    (found,) = find_pairings(pairs("images/{p}/{n}.png", "masks/{p}/{n}.png", numbers=range(3), p=("p1", "p2")))
    assert (found.images, found.masks) == ("images/{patient}/{case}.*", "masks/{patient}/{case}.png")
    (found,) = find_pairings(
        pairs("{g}/{g} ({n}).png", "{g}/{g} ({n})_mask.png", numbers=range(2), g=("benign", "malignant"))
    )
    # As patients they would be two clusters of all samples.
    assert (found.images, found.masks, len(found.pairs)) == ("{group}/{case}.*", "{group}/{case}_mask.png", 4)


def test_a_folder_of_masks_for_each_label_becomes_a_name_with_labels() -> None:
    (found,) = find_pairings(pairs("images/{n}.jpg", "masks/{label}/{n}.png", label=("kidney", "liver")))
    assert (found.masks, list(found.labels), len(found.pairs)) == ("masks/{label}/{case}.png", ["kidney", "liver"], 24)


@pytest.mark.parametrize(
    "files",
    [
        pairs("images/{n}.jpg", "masks_a/{n}.png", "masks_b/{n}.png"),
        pairs("B_{n}/B_{n}_t1.nii.gz", "B_{n}/B_{n}_flair.nii.gz", "B_{n}/B_{n}_seg.nii.gz"),
    ],
)
def test_several_ways_are_all_returned(files: list[Entry]) -> None:
    assert len(find_pairings(files)) == 2


def test_what_has_no_counterpart_is_returned() -> None:
    files = pairs("images/{n}.jpg", "masks/{n}.png")
    (found,) = find_pairings([*files, *entries("images/x.jpg", "masks/y.png", "masks/z.png", "notes.txt")])
    assert [entry.path for entry in found.lonely_images] == ["images/x.jpg"]
    assert [entry.path for entry in found.lonely_masks] == ["masks/y.png", "masks/z.png"]


@pytest.mark.parametrize(
    "files",
    [
        [],
        entries("a.png", "b.png"),
        pairs("images/{n}.png"),
        entries("x/a.png", "masks/b.png"),
        entries("xray--1.2.840.10008--2d.png", "us--nerve_segmentation--19--2d.png"),
    ],
)
def test_files_that_do_not_pair_are_left_alone(files: list[Entry]) -> None:
    assert find_pairings(files) == []


def test_words_of_names() -> None:
    assert words("labelsTr") == ["labels", "tr"]
    assert [
        is_mask_name(name) for name in ("labelsTs", "GroundTruth", "ground_truth", "1st_manual", "masked", "segment")
    ] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]


def test_a_folder_that_is_called_after_masks_holds_images_too() -> None:
    (found,) = find_pairings(entries("seg/images/p01.png", "seg/masks/p01.png"))
    assert (found.images, found.masks) == ("seg/images/{case}.*", "seg/masks/{case}.png")

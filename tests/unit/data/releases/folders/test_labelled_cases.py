"""Questions on labelled images: selection by name before a file is opened, strata and faults after."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.labelled_cases import Case, LabelReading, Masks, Part, Questions
from harness.data.releases.folders.labels import Label, LabelSet
from harness.data.releases.images import ReleaseImage
from harness.data.releases.reader import ReleaseRequest
from harness.errors import DataError
from harness.imaging.masks import area, decode, empty, full
from harness.records import Media, Sample

SIZE = (6, 8)
IMAGE = ReleaseImage(media=Media(path="f/images/a.png", sha256="0", size=SIZE))


def questions(**where: tuple[str, ...]) -> Questions:
    return Questions(ReleaseRequest(dataset="d", split="test", where=where), Integrity())


def case(*parts: Part, **changes: Any) -> Case:
    return Case(**{"path": "images/a.png", "patient": "", "modality": "ct", "image": IMAGE, "parts": parts, **changes})


def test_labels_are_selected_by_name_and_the_others_counted() -> None:
    asked = questions(**{"class": ("liver",)})
    assert asked.admits(("Liver", "spleen", "kidney"), patient="", modality="ct") == ["Liver"]
    assert (asked.selection.before, asked.selection.after) == (2, 0)
    assert questions(modality=("mr",)).admits(("liver",), patient="", modality="ct") == []


@pytest.mark.parametrize(
    ("part", "presence", "absent", "defect"),
    [
        (Part(label="Liver", mask=full(SIZE)), "present", False, None),
        (Part(label="Liver", mask=empty(SIZE)), "absent", True, None),
        (Part(label="Liver", defect="torn"), "unknown", False, "torn"),
    ],
)
def test_a_label_is_present_absent_or_unknown(part: Part, presence: str, absent: bool, defect: str | None) -> None:
    ((place, sample),) = questions().samples(case(part))
    assert (place, sample.id) == ("images/a.png", "d/test/images/a.png:Liver")
    assert (sample.strata["presence"], sample.target.absent, sample.defect) == (presence, absent, defect)
    assert (sample.strata["class"], sample.target.entities[0].name) == ("liver", "Liver")
    assert (sample.strata["target_size"] == "unknown") is (presence != "present")


def test_samples_are_selected_again_once_their_masks_are_known() -> None:
    asked = questions(presence=("present",))
    parts = (Part(label="liver", mask=full(SIZE)), Part(label="spleen", mask=empty(SIZE)))
    assert [sample.target.entities[0].name for _, sample in asked.samples(case(*parts))] == ["liver"]
    assert (asked.selection.before, asked.selection.after) == (2, 1)


def test_the_patient_is_the_cluster_and_else_the_image() -> None:
    part = Part(label="liver", mask=full(SIZE))
    clusters = [next(questions().samples(case(part, patient=name)))[1].cluster for name in ("p7", "")]
    assert clusters == ["p7", "images/a.png"]


@pytest.fixture
def files(tmp_path: Path) -> ReleaseFiles:
    values = np.zeros(SIZE, dtype=np.uint8)
    values[0, :3], values[1, :2], values[2, 0] = 1, 2, 9
    Image.fromarray(np.full(SIZE, 50, dtype=np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "m.png")
    Image.fromarray(np.zeros(SIZE, dtype=np.uint8)).save(tmp_path / "empty.png")
    return ReleaseFiles(root=tmp_path, derived=tmp_path / "derived")


def reading(files: ReleaseFiles, given: LabelSet, **options: Any) -> LabelReading:
    return LabelReading(files, ReleaseRequest(dataset="d", split="test"), Integrity(), given, **options)


def masks(mask: str, *labels: Label, **changes: Any) -> Masks:
    files = {mask: labels}
    return Masks(**{"image": "a.png", "path": "a.png", "patient": "", "modality": "ct", "files": files, **changes})


def areas(samples: Iterator[tuple[str, Sample]]) -> dict[str, int]:
    found = [entity for _, sample in samples for entity in sample.target.entities]
    return {entity.name: area(entity.mask) for entity in found if entity.mask is not None}


LIVER, SPLEEN = Label(name="liver", values=(1,)), Label(name="spleen", values=(5,))
BOTH, WHOLE = Label(name="both", values=(1, 2)), Label(name="any")


def test_a_label_may_have_several_values_and_an_absent_one_is_empty(files: ReleaseFiles) -> None:
    read = reading(files, LabelSet(labels=(LIVER, BOTH, SPLEEN)))
    assert areas(read.samples(masks("m.png", LIVER, BOTH, SPLEEN))) == {"liver": 3, "both": 5, "spleen": 0}
    assert [(one.kind, one.where, one.detail) for one in read.integrity.findings] == [("unknown_label", "m.png", "9")]


def test_values_that_are_ignored_are_not_unknown(files: ReleaseFiles) -> None:
    for ignored, void in ((frozenset({9}), frozenset[int]()), (frozenset[int](), frozenset({9}))):
        read = reading(files, LabelSet(labels=(BOTH,), ignored=ignored, void=void))
        assert areas(read.samples(masks("m.png", BOTH))) == {"both": 5}
        assert read.integrity.findings == []


def test_every_value_of_a_mask_of_its_own_counts_but_void(files: ReleaseFiles) -> None:
    read = reading(files, LabelSet(labels=(WHOLE,)))
    assert areas(read.samples(masks("m.png", WHOLE))) == {"any": 6}
    read = reading(files, LabelSet(labels=(WHOLE,), void=frozenset({9})))
    ((_, sample),) = read.samples(masks("m.png", WHOLE))
    assert areas(iter([("", sample)])) == {"any": 5}
    assert sample.target.ignore is not None
    np.testing.assert_array_equal(np.argwhere(decode(sample.target.ignore)), [[2, 0]])


def test_a_file_without_void_pixels_ignores_nothing(files: ReleaseFiles) -> None:
    read = reading(files, LabelSet(labels=(WHOLE,), void=frozenset({200})))
    ((_, sample),) = read.samples(masks("m.png", WHOLE))
    assert sample.target.ignore is None


def test_an_empty_mask_of_its_own_is_reported(files: ReleaseFiles) -> None:
    read = reading(files, LabelSet(labels=(WHOLE,)))
    assert areas(read.samples(masks("empty.png", WHOLE))) == {"any": 0}
    assert [(one.kind, one.where, one.image) for one in read.integrity.findings] == [
        ("empty_mask", "empty.png", "a.png")
    ]


def test_a_file_that_cannot_be_used_is_a_defect_of_all_its_labels(files: ReleaseFiles) -> None:
    read = reading(files, LabelSet(labels=(LIVER, SPLEEN)))
    found = list(read.samples(masks("none.png", LIVER, SPLEEN, missing={"none.png": "did you mean 'm.png'?"})))
    assert [sample.defect for _, sample in found] == ["mask none.png is missing"] * 2
    assert [(one.kind, one.detail) for one in read.integrity.findings] == [("missing_file", "did you mean 'm.png'?")]


@pytest.mark.parametrize(
    ("path", "defect"), [("b.png", "image b.png is missing"), ("b.NII", "volume b.NII is missing")]
)
def test_a_mask_without_an_image_is_a_sample_that_cannot_be_asked(files: ReleaseFiles, path: str, defect: str) -> None:
    read = reading(files, LabelSet(labels=(LIVER,)))
    ((_, sample),) = read.samples(masks("m.png", LIVER, image=path, path=path, has_image=False))
    assert (sample.id, sample.defect) == (f"d/test/{path}:liver", defect)


def one_bit(files: ReleaseFiles) -> None:
    Image.fromarray(np.arange(48).reshape(SIZE) < 10).save(files.root / "m.png")


@pytest.mark.parametrize("value", [1, 255])
def test_a_file_of_one_bit_holds_the_value_that_is_named(files: ReleaseFiles, value: int) -> None:
    one_bit(files)
    polyp = Label(name="polyp", values=(value,))
    read = reading(files, LabelSet(labels=(polyp,)))
    assert areas(read.samples(masks("m.png", polyp))) == {"polyp": 10}
    assert list(read.finish(())) == []
    assert read.integrity.findings == []


def test_a_file_of_one_bit_does_not_hold_any_other_value(files: ReleaseFiles) -> None:
    one_bit(files)
    polyp = Label(name="polyp", values=(2,))
    read = reading(files, LabelSet(labels=(polyp,)))
    assert areas(read.samples(masks("m.png", polyp))) == {"polyp": 0}
    with pytest.raises(DataError, match=r"found 2 \(polyp\) in none, .*: 255 \(in 1, such as m.png\)"):
        list(read.finish(()))


def test_a_threshold_makes_the_label_of_a_map(files: ReleaseFiles) -> None:
    Image.fromarray(np.linspace(0, 1, 48, dtype=np.float32).reshape(SIZE)).save(files.root / "m.tif")
    polyp = Label(name="polyp", values=(7,))
    read = reading(files, LabelSet(labels=(polyp,)), threshold=0.5)
    assert areas(read.samples(masks("m.tif", polyp))) == {"polyp": 24}
    assert list(read.finish(())) == []


def test_an_inverted_mask_of_a_named_value_is_compared_with_its_class(files: ReleaseFiles) -> None:
    inverted = np.full(SIZE, 1, dtype=np.uint8)
    inverted[3, 3] = 0
    Image.fromarray(inverted).save(files.root / "inverted.png")
    read = reading(files, LabelSet(labels=(LIVER,), ignored=frozenset({2, 9})))
    for mask in ("m.png", "inverted.png"):
        list(read.samples(masks(mask, LIVER, path=mask)))
    read.integrity.conclude()
    assert [(one.kind, one.where) for one in read.integrity.findings] == [("inverted_mask", "inverted.png")]


def other_masks(files: ReleaseFiles) -> LabelReading:
    """Return a reading in which `spleen` was found in no mask and 9 has no name."""
    read = reading(files, LabelSet(labels=(BOTH, SPLEEN)))
    list(read.samples(masks("m.png", BOTH, SPLEEN)))
    return read


def test_a_named_value_may_be_in_a_mask_that_is_not_asked_about(files: ReleaseFiles) -> None:
    with pytest.raises(DataError, match=r"found 5 \(spleen\) in none"):
        list(other_masks(files).finish(["empty.png", "none.png"]))
    Image.fromarray(np.full(SIZE, 5, dtype=np.uint8)).save(files.root / "other.png")
    read = other_masks(files)
    assert list(read.finish(["none.png", "other.png"])) == []
    assert read.integrity.counts == {"unknown_label": 1}  # what was found in the others is no finding

"""Images of SA-Med2D-20M as sources: what their names and masks tell, and files that cannot be used."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from harness.data.construction.pipeline import Inputs
from harness.data.construction.records import Source
from harness.data.construction.samed2d.sources import (
    ImageStructure,
    candidates,
    find_image_fault,
    find_no_structure,
    instance_of,
    place_words,
    sides_by_name,
    structures_of,
)

STEM = "ct_00--Demo--case_1--x_0003"
CLASSES = {"left_kidney": "0001", "liver": "0002", "union_kidney": "0003", "spleen": "0004", "eye": "0005"}


def box(*spans: tuple[int, int, int, int]) -> np.ndarray:
    pixels = np.zeros((40, 60), np.uint8)
    for top, bottom, left, right in spans:
        pixels[top:bottom, left:right] = 255
    return pixels


MASKS = {
    "0001_000": box((5, 10, 40, 50)),
    "0002_000": box((5, 25, 5, 25)),
    "0002_001": box((30, 35, 5, 10)),
    "0003_000": box((5, 10, 5, 10)),
    "0004_000": np.full((40, 60), 255, np.uint8),
    "0005_000": box(),
    "0009_000": box((1, 2, 1, 2)),
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A release with one image and masks of every kind."""
    folder = tmp_path / "SAMed2Dv1"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    Image.fromarray(np.arange(2400, dtype=np.uint8).reshape(40, 60)).save(folder / f"images/{STEM}.png")
    for name, pixels in MASKS.items():
        Image.fromarray(pixels).save(folder / f"masks/{STEM}--{name}.png")
    listed = {f"images/{STEM}.png": [f"masks/{STEM}--{name}.png" for name in MASKS]}
    (folder / "SAMed2D_v1.json").write_text(json.dumps(listed))
    (folder / "SAMed2D_v1_class_mapping_id.json").write_text(json.dumps({"Demo": CLASSES}))
    return tmp_path


def loaded(root: Path) -> Source:
    (source,) = (candidate.load() for candidate in candidates(Inputs(root=root, cache=root / "cache")))
    return source


def test_names_and_masks_tell_the_meta_information(root: Path) -> None:
    source = loaded(root)
    assert (source.id, source.cluster, source.origin) == (STEM, "Demo--case_1", "Demo")
    assert source.facts["modality_name"] == "CT"
    assert source.facts["orientation"] == "sagittal"
    assert source.facts["region"] == "abdomen"
    # Unions and classes without a name are left out.
    found = {one.name: one for one in structures_of(source)}
    assert list(found) == ["left kidney", "liver", "spleen", "eye"]
    assert found["liver"].areas == (400, 25)
    assert found["liver"].share == pytest.approx(425 / 2400, abs=1e-6)
    assert found["left kidney"].centres == ((0.5, -0.625),)
    assert found["spleen"].fault == "the mask covers the whole image"
    assert (found["spleen"].area, found["eye"].area) == (None, 0)
    assert find_image_fault(source) == find_no_structure(source) == ""
    # Every file that was read is in the pedigree.
    assert len(source.inputs) == 1 + 1 + 6 - 1


def test_a_label_states_the_side_of_the_patient_and_a_mask_that_of_the_image(root: Path) -> None:
    source = loaded(root)
    kidney = structures_of(source)[0]
    assert (kidney.bare_name, kidney.sides, kidney.places) == ("kidney", {"left"}, {"right"})
    assert sides_by_name(source, "sides")["kidney"] == {"left"}
    assert sides_by_name(source, "places")["kidney"] == {"right"}
    assert place_words(kidney) == "on the right side of the image"


def test_places_in_words() -> None:
    both = ImageStructure(name="lung", class_id="1", masks=("a", "b"), areas=(1, 1), centres=((-0.5, 0), (0.5, 0)))
    assert place_words(both) == "on the left and the right sides of the image"
    assert place_words(instance_of(both, "b")) == "on the right side of the image"
    middle = ImageStructure(name="lung", class_id="1", masks=("a",), areas=(1,), centres=((0.1, 0),))
    assert place_words(middle) == "near the middle of the image"


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        ("missing", "the mask is missing"),
        ("size", "the mask is (4, 4), its image (40, 60) as (H, W)"),
        ("inverted", "the mask seems inverted: it covers"),
    ],
)
def test_masks_that_cannot_be_used_have_a_fault(damage: str, fault: str, root: Path) -> None:
    path = root / "SAMed2Dv1" / "masks" / f"{STEM}--0001_000.png"
    path.unlink()
    if damage == "size":
        Image.fromarray(np.eye(4, dtype=np.uint8)).save(path)
    elif damage == "inverted":
        Image.fromarray(255 - box((15, 25, 20, 30))).save(path)
    (kidney, *_) = structures_of(loaded(root))
    assert kidney.fault.startswith(fault)
    assert kidney.area is None


def test_an_image_that_cannot_be_used_is_a_source_with_a_fault(root: Path) -> None:
    image = root / "SAMed2Dv1" / "images" / f"{STEM}.png"
    image.write_bytes(b"no image")
    assert find_image_fault(loaded(root)).startswith(f"SAMed2Dv1/images/{STEM}.png: ")
    image.unlink()
    assert find_image_fault(loaded(root)) == "the image is missing"
    listing = root / "SAMed2Dv1" / "SAMed2D_v1.json"
    listing.write_text(json.dumps({"images/odd.png": []}))
    assert find_image_fault(loaded(root)) == "the file name does not tell its dataset"
    listing.write_text(json.dumps({f"images/{STEM}.png": []}))
    Image.fromarray(box()).save(image)
    assert find_no_structure(loaded(root)) == "no mask has a class with a name"

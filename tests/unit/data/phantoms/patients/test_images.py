"""Patients with images: cards that are dealt fairly, and studies that are read off the masks."""

from collections import Counter

import numpy as np
import pytest

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.patients.images import (
    LESIONS,
    SPLITS,
    TURNS,
    PhantomImage,
    dealt,
    draw_image,
    draw_patients,
    study,
)

DERMOSCOPY = MODALITY_PHANTOMS[2]


def test_every_round_of_hands_gets_every_card() -> None:
    hands = [dealt(LESIONS, hand, [3, 1]) for hand in range(60)]
    rounds = [hands[start : start + len(LESIONS)] for start in range(0, 60, len(LESIONS))]
    assert all(sorted(one) == sorted(LESIONS) for one in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_decks_are_shuffled_apart() -> None:
    assert [dealt(range(8), hand, [0]) for hand in range(8)] != [dealt(range(8), hand, [1]) for hand in range(8)]


def test_half_of_the_patients_train_and_three_in_eight_test() -> None:
    assert Counter(TURNS) == {"train": 4, "test": 3, "validation": 1}
    assert set(TURNS) == set(SPLITS)


def test_slices_of_a_volume_show_the_same_case_at_other_positions() -> None:
    first, second = (draw_image(0, index, seed=3, slices=2) for index in (0, 1))
    assert first.modality_phantom.code == "ct"
    assert {name: len(masks) for name, masks in first.masks.items()} == {
        name: len(masks) for name, masks in second.masks.items()
    }
    assert not np.array_equal(first.pixels, second.pixels)


def test_patients_come_in_turn_with_all_their_images() -> None:
    places = [(image.patient, image.index) for image in draw_patients(seed=0, patients=2, slices=2)]
    assert places == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(draw_patients(seed=0, patients=0, slices=2)) == []
    assert list(draw_patients(seed=0, patients=2, slices=0)) == []


def test_a_study_tells_area_and_place_of_every_part() -> None:
    lesion, spot = np.zeros((10, 20), dtype=np.bool_), np.zeros((10, 20), dtype=np.bool_)
    lesion[2:6, 15:20] = True
    spot[0, 0] = True
    image = PhantomImage(
        modality_phantom=DERMOSCOPY,
        patient=2,
        index=1,
        split="train",
        pixels=np.zeros((10, 20, 3), dtype=np.uint8),
        masks={"skin lesion": (lesion,), "blood spot": (spot,), "white scar": ()},
    )
    found = study(image, 7)
    assert (found.number, found.split, found.pixels) == (7, "train", 200)
    assert [(part.structure.name, part.area) for part in found.parts] == [("skin lesion", 20), ("blood spot", 1)]
    assert [part.across for part in found.parts] == pytest.approx([0.75, -0.95])
    assert found.parts[1].mask == f"masks/{image.stem}--0002_000.png"
    assert [structure.name for structure in found.abnormal] == ["blood spot"]

"""Modalities: the words of their structures, their file names, and the places of lesions."""

import numpy as np
import pytest

from harness.data.phantoms.drawing import MODALITY_PHANTOMS
from harness.data.phantoms.drawing.canvas import grid
from harness.data.phantoms.drawing.modality import scatter, with_article

CT, ULTRASOUND = MODALITY_PHANTOMS[:2]


@pytest.mark.parametrize(
    ("name", "said"),
    [("liver", "a liver"), ("optic disc", "an optic disc"), ("MRI", "an MRI"), ("CT image", "a CT image")],
)
def test_articles_go_by_the_sound(name: str, said: str) -> None:
    assert with_article(name) == said


def test_scattered_points_keep_their_distance_and_stay_inside() -> None:
    host = np.where(np.arange(50) < 25, 1.0, -1.0) * np.ones((50, 1))
    points = scatter(np.random.default_rng(0), host, 4, gap=0.4)
    assert len(points) == 4
    assert all(x < 0 for x, _ in points)
    pairs = [(a, b) for index, a in enumerate(points) for b in points[:index]]
    assert all((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 >= 0.16 for a, b in pairs)
    assert scatter(np.random.default_rng(0), np.full((5, 5), -1.0), 2, gap=0.1) == []


def test_a_strip_in_the_middle_stays_free() -> None:
    points = scatter(np.random.default_rng(0), np.ones((40, 60)), 5, gap=0.1, middle=0.5)
    assert len(points) == 5
    assert all(abs(x) > 0.5 for x, _ in points)
    assert max(abs(x) for x, _ in points) <= grid((40, 60))[0].max()


def test_slices_share_a_case_and_native_images_do_not() -> None:
    assert [CT.stem(3, index) for index in (0, 1)] == [
        "ct_00--PhantomAbdomen--case_0003--z_0000",
        "ct_00--PhantomAbdomen--case_0003--z_0001",
    ]
    assert ULTRASOUND.stem(3, 1) == "ultrasound_00--PhantomThyroid--case_0003_1--2d_none"


def test_class_ids_count_from_one_in_the_order_of_the_structures() -> None:
    assert [CT.class_id(structure.name) for structure in CT.structures] == [1, 2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="polyp"):
        CT.class_id("polyp")

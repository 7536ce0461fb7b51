"""The abdomen in three dimensions: axes in millimetres, organs in their places, lesions inside their organs."""

import numpy as np
import pytest

from harness.data.phantoms.drawing.abdomen_ct import SHAPE, Abdomen, Ordered, Plane, coordinates, spacing_mm

ORDERED = (Ordered(organ="liver", kind="cyst", count=2),)


def drawn(plane: Plane = "axial", absent: frozenset[str] = frozenset()) -> Abdomen:
    abdomen = Abdomen(random=np.random.default_rng(5), plane=plane, phase="portal venous", absent=absent)
    abdomen.draw(ORDERED)
    return abdomen


@pytest.mark.parametrize(
    ("plane", "steps"),
    [("axial", (8.0, 5.625, 5.625)), ("coronal", (8.0, 5.625, 5.625)), ("sagittal", (10.5, 5.625, 5.625))],
)
def test_coordinates_step_by_the_spacing(plane: Plane, steps: tuple[float, ...]) -> None:
    assert spacing_mm(plane) == steps
    for axis in coordinates(plane):
        [along] = [number for number, length in enumerate(axis.shape) if length > 1]
        assert np.abs(np.diff(axis.ravel())) == pytest.approx(steps[along])
        assert axis.mean() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("plane", "column_axis"), [("axial", 0), ("coronal", 0), ("sagittal", 1)])
def test_the_right_side_is_on_the_left_and_the_front_of_a_sagittal_slice_too(plane: Plane, column_axis: int) -> None:
    axis = coordinates(plane)[column_axis]
    assert axis.shape[2] == SHAPE[2]
    assert axis.ravel()[0] < 0 < axis.ravel()[-1]


def test_the_liver_is_on_the_right_and_the_spleen_on_the_left() -> None:
    abdomen = drawn()
    x = np.broadcast_to(coordinates("axial")[0], SHAPE)
    assert x[abdomen.organs["liver"]].mean() < -20
    assert x[abdomen.organs["spleen"]].mean() > 50


def test_organs_do_not_overlap_and_hold_their_lesions() -> None:
    abdomen = drawn()
    assert np.sum(list(abdomen.organs.values()), axis=0).max() == 1
    assert [lesion.kind for lesion in abdomen.lesions] == ["cyst", "cyst"]
    for lesion in abdomen.lesions:
        assert lesion.mask.any()
        assert not (lesion.mask & ~abdomen.organs["liver"]).any()
    assert not (abdomen.lesions[0].mask & abdomen.lesions[1].mask).any()


def test_an_absent_organ_moves_no_other() -> None:
    whole, without = drawn(), drawn(absent=frozenset({"gallbladder"}))
    assert set(whole.organs) - set(without.organs) == {"gallbladder"}
    for name in ("spleen", "left kidney", "aorta", "spine"):
        assert np.array_equal(whole.organs[name], without.organs[name])


def test_an_organ_that_is_not_there_has_no_lesion() -> None:
    assert drawn(absent=frozenset({"liver"})).lesions == []


def test_grey_values_are_those_of_air_and_enhanced_organs() -> None:
    abdomen = drawn()
    voxels = abdomen.voxels
    assert voxels.dtype == np.float32
    assert np.array_equal(voxels, np.rint(voxels))
    assert voxels[0, 0, 0] == pytest.approx(-1000, abs=60)
    liver = abdomen.organs["liver"] & ~np.any([lesion.mask for lesion in abdomen.lesions], axis=0)
    assert np.median(voxels[liver]) == pytest.approx(112, abs=10)

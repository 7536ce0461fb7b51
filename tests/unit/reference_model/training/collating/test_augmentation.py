"""Masks and boxes move with the volume, and changes come as often as in the released training."""

import numpy as np
import pytest
import torch

from harness.imaging import masks
from harness.records import Box
from reference_model.inputs.volume_boxes import box_text
from reference_model.training.collating.augmentation import Augmentation
from tests.unit.reference_model.small_volumes import SIZE

BOX = Box(corners=(1.0, 2.0, 3.0, 4.0, 9.0, 14.0))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [(), (0,), (1,), (2,), (0, 1, 2)])
def test_a_box_encloses_what_its_mask_becomes(turns: int, mirrored: tuple[int, ...]) -> None:
    change = Augmentation(turns=turns, mirrored=mirrored)
    mask_1DHW = torch.from_numpy(masks.decode(masks.from_box(BOX, SIZE)))[None]
    moved_DHW = change.moved(mask_1DHW)[0].numpy()
    assert masks.bounding_box(masks.encode(moved_DHW)) == change.box(BOX, SIZE)
    text = f"It is at <bx_start>{box_text(BOX, SIZE)}<bx_end>."
    assert change.text(text, SIZE) == f"It is at <bx_start>{box_text(change.box(BOX, SIZE), SIZE)}<bx_end>."


def test_a_turn_goes_from_rows_to_columns_and_brightness_changes_the_volume_alone() -> None:
    volume_1DHW = torch.rand(1, *SIZE)
    change = Augmentation(turns=1, mirrored=(0,), factor=1.1, shift=-0.1)
    wanted = np.rot90(volume_1DHW.numpy(), axes=(2, 3))[:, ::-1] * np.float32(1.1) + np.float32(-0.1)
    np.testing.assert_allclose(change.volume(volume_1DHW).numpy(), wanted, rtol=1e-6)
    mask_1DHW = volume_1DHW > 0.5
    np.testing.assert_array_equal(change.moved(mask_1DHW), np.rot90(mask_1DHW.numpy(), axes=(2, 3))[:, ::-1])
    assert torch.equal(Augmentation().volume(volume_1DHW), volume_1DHW)


def test_a_text_without_a_possible_box_stays() -> None:
    for text in ("the left kidney is [SEG]", "[0.5, 0.5, 0.5, 0.1, 0.1, 0.1]"):
        assert Augmentation(turns=1).text(text, SIZE) == text


def test_changes_come_as_often_as_released() -> None:
    random = np.random.default_rng(0)
    found = [Augmentation.sampled(random) for _ in range(4000)]
    turns = np.bincount([one.turns for one in found], minlength=4) / len(found)
    np.testing.assert_allclose(turns, (1 / 2, 1 / 6, 1 / 6, 1 / 6), atol=0.03)
    for axis in range(3):
        assert np.mean([axis in one.mirrored for one in found]) == pytest.approx(0.1, abs=0.02)
    for values, none, low, high in (
        ([one.factor for one in found], 1.0, 0.9, 1.1),
        ([one.shift for one in found], 0.0, -0.1, 0.1),
    ):
        assert np.mean([value == none for value in values]) == pytest.approx(0.5, abs=0.03)
        assert low <= min(values) < low + 0.01
        assert high - 0.01 < max(values) <= high
    assert Augmentation.sampled(np.random.default_rng(5)) == Augmentation.sampled(np.random.default_rng(5))

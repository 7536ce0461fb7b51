"""Pictures and masks in the squares of the two encoders."""

import numpy as np
import pytest

from reference_model.inputs import images


@pytest.mark.parametrize(
    ("side", "rows", "columns"),
    [(336, slice(42, 294), slice(0, 336)), (256, slice(32, 224), slice(0, 256))],
)
def test_an_image_of_480_by_640_lies_in_the_middle(side: int, rows: slice, columns: slice) -> None:
    assert images.inside((480, 640), side) == (rows, columns)


def test_the_odd_pixel_of_padding_goes_below() -> None:
    assert images.inside((3, 4), 4) == (slice(0, 3), slice(0, 4))


def test_the_vision_tower_sees_normalised_pixels_on_the_mean_colour() -> None:
    white = np.full((10, 20, 3), 255, dtype=np.uint8)
    found = images.for_vision_tower(white, 20)
    assert found.shape == (3, 20, 20)
    for channel, (fill, mean, std) in enumerate(zip((122, 116, 104), images.CLIP_MEAN, images.CLIP_STD, strict=True)):
        assert found[channel, 0, 0].item() == pytest.approx((fill / 255 - mean) / std, abs=1e-6)
        assert found[channel, 10, 10].item() == pytest.approx((1 - mean) / std, abs=1e-6)


def test_the_pixel_encoder_sees_zeros_around_normalised_pixels() -> None:
    image = np.zeros((20, 10, 3), dtype=np.uint8)
    image[..., 0] = 200
    found = images.for_pixel_encoder(image, 20)
    assert found[:, :, :5].abs().max() == 0
    assert found[:, :, 15:].abs().max() == 0
    for channel, value in enumerate((200, 0, 0)):
        expected = (value - images.SAM_MEAN[channel]) / images.SAM_STD[channel]
        assert found[channel, 10, 7].item() == pytest.approx(expected, abs=1e-5)


def test_a_mask_is_cut_at_one_half_and_padded_with_nothing() -> None:
    mask = np.zeros((8, 16), dtype=np.bool_)
    mask[:, 8:] = True
    found = images.mask_in_square(mask, 4)
    assert found[1:3].tolist() == [[False, False, True, True]] * 2
    assert not found[0].any()
    assert not found[3].any()

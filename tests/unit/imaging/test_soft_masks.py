"""Masks of probabilities: what is kept in 8 bits, and what is refused."""

import base64
import zlib
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit

from harness.errors import DataError
from harness.imaging import masks, soft_masks
from harness.records import SoftMask

Floats = NDArray[np.float64]


def soft_dice(probabilities: Floats, target: NDArray[np.bool_]) -> float:
    return float(2 * probabilities[target].sum() / (probabilities.sum() + target.sum() + 1))


def volume(seed: int, sharpness: float, radius: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Return probabilities as a network draws them, and a target nearby; far away the logits go far beyond -12."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(32.0) - 16] * 3, indexing="ij"), axis=-1)
    centre = generator.normal(0, 1, 3)
    noise = ndimage.gaussian_filter(generator.normal(0, 4, (32, 32, 32)), 2)
    logits = sharpness * (radius - np.linalg.norm(grid - centre, axis=-1)) + noise
    return expit(logits), np.linalg.norm(grid, axis=-1) < radius


@pytest.mark.parametrize("radius", [1.5, 4.0, 10.0])
@pytest.mark.parametrize("sharpness", [0.3, 1.0, 5.0, 30.0])
def test_soft_dice_of_stored_probabilities_is_off_by_less_than_two_thousandths(radius: float, sharpness: float) -> None:
    for seed in range(3):
        probabilities, target = volume(seed, sharpness, radius)
        found = soft_masks.decode(soft_masks.encode(probabilities))
        assert abs(soft_dice(found, target) - soft_dice(probabilities, target)) < 0.002


@pytest.mark.parametrize("inside", [0.6, 2 / 3, 0.9, 0.99, 1.0])
def test_masks_of_few_values_are_kept_as_they_are(inside: float) -> None:
    target = np.zeros((20, 30, 30), dtype=bool)
    target[3:5, 4:8, 5:9] = True
    probabilities = np.where(target, inside, 1e-7)
    found = soft_masks.decode(soft_masks.encode(probabilities))
    np.testing.assert_allclose(found, probabilities, rtol=1e-9)


def test_every_probability_is_close_and_the_sum_is_kept() -> None:
    probabilities = np.random.default_rng(0).random((50, 60, 70))
    soft = soft_masks.encode(probabilities)
    found = soft_masks.decode(soft)
    assert np.abs(found - probabilities).max() < 0.024
    assert found.sum() == pytest.approx(probabilities.sum(), rel=1e-12)
    assert len(soft.levels) <= 256
    assert list(soft.levels) == sorted(soft.levels)


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_cuts_of_stored_probabilities_are_those_of_the_originals(threshold: float, kind: type) -> None:
    near = threshold + np.array([-1e-3, -1e-6, -1e-7, 0, 1e-7, 1e-6, 1e-3])
    drawn = np.random.default_rng(1).random(500)
    probabilities = np.concatenate([near, drawn, [0.0, 1.0, threshold]]).reshape(1, -1).astype(kind)
    found = masks.decode(soft_masks.cut(soft_masks.encode(probabilities), threshold))
    np.testing.assert_array_equal(found, soft_masks.above(probabilities, threshold))


def test_exact_form_gives_back_every_bit() -> None:
    probabilities = np.random.default_rng(2).random((3, 4, 5))
    soft = soft_masks.exact(probabilities)
    assert soft.levels == ()
    np.testing.assert_array_equal(soft_masks.decode(soft), probabilities)


def test_smooth_probabilities_take_less_than_half_a_byte_each() -> None:
    probabilities, _ = volume(0, 5.0, 10.0)
    assert len(soft_masks.encode(probabilities).data) < probabilities.size / 2


def test_decoded_array_cannot_be_written_to() -> None:
    found = soft_masks.decode(soft_masks.encode(np.zeros((2, 2))))
    with pytest.raises(ValueError, match="read-only"):
        found[0, 0] = 1


def test_sigmoid_of_any_logit_is_a_probability() -> None:
    found = soft_masks.probabilities(np.array([-np.inf, -200.0, 0.0, 200.0, np.inf]))
    assert found.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(4), r"^x: expected an array \(H, W\) or \(D, H, W\), found shape \(4,\)$"),
        (np.zeros((0, 4)), r"^x: expected every axis to be at least 1 long, found \(0, 4\)$"),
        (
            np.zeros((2, 2), dtype=bool),
            "^x: expected floating-point probabilities, found bool; a binary mask is a mask",
        ),
        (np.array([[0.5, np.nan]]), "^x: expected probabilities, found 1 NaN or infinite$"),
        (np.array([[0.5, -np.inf]]), "^x: expected probabilities, found 1 NaN or infinite$"),
        (np.array([[-3.5, 0.5]]), r"^x: expected probabilities in \[0, 1\], found -3.5 to 0.5; apply the sigmoid to"),
        (np.array([[0.5, 1.5]]), r"^x: expected probabilities in \[0, 1\], found 0.5 to 1.5; apply the sigmoid to"),
    ],
)
@pytest.mark.parametrize("store", [soft_masks.encode, soft_masks.exact])
def test_what_is_no_mask_of_probabilities_is_refused(store: Any, array: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        store(array, where="x")


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


@pytest.mark.parametrize(
    ("soft", "message"),
    [
        (SoftMask(size=(2, 2), levels=(0.5,), data="?"), "its data are damaged and cannot be unpacked"),
        (SoftMask(size=(2, 2), levels=(0.5,), data="AAAA"), "its data are damaged and cannot be unpacked"),
        (SoftMask(size=(2, 2), levels=(0.5,), data=packed(b"\0" * 3)), r"4 bytes for size \(2, 2\), found 3 bytes"),
        (SoftMask(size=(2, 2), levels=(0.5,), data=packed(b"\0" * 10**6)), r"4 bytes for size \(2, 2\), found more"),
        (SoftMask(size=(2, 2), levels=(0.5,), data=packed(b"\0\0\0\1")), "codes below 1, found 1; it is damaged"),
        (SoftMask(size=(2, 2), data=packed(b"\0" * 4)), r"expected 32 bytes for size \(2, 2\), found 4 bytes"),
    ],
)
def test_damaged_data_are_refused(soft: SoftMask, message: str) -> None:
    with pytest.raises(DataError, match=message):
        soft_masks.decode(soft)


def test_data_cut_short_are_refused() -> None:
    content = zlib.compress(bytes(range(256)) * 4)
    soft = SoftMask(size=(32, 32), levels=(0.5,) * 256, data=base64.b64encode(content[:-3]).decode())
    with pytest.raises(DataError, match="found 1024 bytes of a text that was cut short"):
        soft_masks.decode(soft)

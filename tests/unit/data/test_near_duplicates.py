"""Near-duplicates: copies are found whatever their size and format, images that are merely similar are not."""

import random
from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.data import near_duplicates
from harness.data.near_duplicates import BANDS, MOST_BITS, DuplicatePair, difference_hash, edges, pairs

Pixels = NDArray[np.uint8]


def smooth_image(seed: int, side: int = 96) -> Pixels:
    """A smooth grey image (side, side, 3)."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC).convert("RGB"))


def copy_of(pixels: Pixels, side: int) -> Pixels:
    """The image at another size and a little lighter, as saved by somebody else."""
    smaller = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR), dtype=np.int16)
    return np.clip(smaller + 3, 0, 255).astype(np.uint8)


def found(images: Mapping[str, Pixels]) -> list[DuplicatePair]:
    hashes = {path: value for path, pixels in images.items() if (value := difference_hash(pixels)) is not None}
    return pairs(hashes, lambda path: edges(images[path]))


def test_a_copy_of_another_size_is_found_and_nothing_else() -> None:
    images = {f"{seed}.png": smooth_image(seed) for seed in range(8)}
    assert found(images) == []
    (pair,) = found(images | {"0 again.jpg": copy_of(images["0.png"], 70)})
    assert (pair.first, pair.second) == ("0 again.jpg", "0.png")
    assert pair.bits <= MOST_BITS


def test_equal_hashes_of_different_images_are_no_pair() -> None:
    """A rise from left to right gives the same hash whatever its texture."""
    ramp = np.tile(np.linspace(40, 200, 96), (96, 1))
    noise = [np.random.default_rng(seed).normal(0, 40, (32, 32)).repeat(3, 0).repeat(3, 1) for seed in (1, 2)]
    one, other = (np.clip(ramp + texture, 0, 255).astype(np.uint8) for texture in noise)
    rgb = {"a.png": np.dstack([one] * 3), "b.png": np.dstack([other] * 3)}
    assert pairs({"a.png": 7, "b.png": 7}, lambda path: edges(rgb[path])) == []
    assert pairs({"a.png": 7, "b.png": 7}, lambda _: edges(rgb["a.png"])) == [
        DuplicatePair(first="a.png", second="b.png", bits=0)
    ]


def test_many_copies_are_each_paired_with_the_first() -> None:
    same = smooth_image(3)
    names = [f"{number}.png" for number in range(5)]
    listed = found(dict.fromkeys(names, same))
    assert listed == [DuplicatePair(first="0.png", second=name, bits=0) for name in names[1:]]


def test_flat_images_are_not_compared() -> None:
    assert difference_hash(np.full((20, 20, 3), 90, dtype=np.uint8)) is None


def test_the_hash_reads_rows_from_left_to_right() -> None:
    ramp = np.repeat(np.tile(np.arange(0, 180, 20, dtype=np.uint8), (8, 1))[:, :, np.newaxis], 3, axis=2)
    assert difference_hash(ramp) == 2**64 - 1
    assert difference_hash(np.ascontiguousarray(ramp[:, ::-1])) == 0


def test_the_index_finds_every_pair_that_comparing_all_finds() -> None:
    draw = random.Random(4)
    hashes = [draw.getrandbits(64) for _ in range(40)]
    for value in tuple(hashes):
        for bits in range(1, 7):
            hashes.append(value ^ sum(1 << bit for bit in draw.sample(range(64), bits)))
    hashes = sorted(set(hashes))
    expected = {
        (first, second) for first, second in combinations(hashes, 2) if (first ^ second).bit_count() <= MOST_BITS
    }
    assert len(expected) > 100
    assert near_duplicates._close(hashes) == expected


def test_the_index_compares_few_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(5)
    hashes = sorted({draw.getrandbits(64) for _ in range(4000)})
    compared = 0

    def counted(values: list[int], size: int) -> list[tuple[int, ...]]:
        nonlocal compared
        made = list(combinations(values, size))
        compared += len(made)
        return made

    monkeypatch.setattr(near_duplicates, "combinations", counted)
    near_duplicates._close(hashes)
    assert 0 < compared < len(hashes) ** 2 / 2 / 500


def test_the_bands_hold_every_bit_once() -> None:
    bands = [near_duplicates._band(number) for number in range(BANDS)]
    assert sum(bands) == 2**64 - 1
    assert all(first & second == 0 for first, second in combinations(bands, 2))

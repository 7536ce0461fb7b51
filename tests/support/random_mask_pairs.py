"""Pairs of masks drawn from a seed, 2-D and 3-D, with empty, full, equal, touching and scattered ones among them."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]

SPACINGS = (0.5, 0.7, 1.0, 1.5, 3.0)
TOLERANCES = (0.5, 1.0, 2.0)


class MaskPair(NamedTuple):
    """A prediction and a target of one shape, (H, W) or (D, H, W), and the setting they are scored in."""

    prediction: Bools
    target: Bools
    spacing_mm: tuple[float, ...]
    tolerance_mm: float


def mask_pairs(seed: int, count: int) -> Iterator[MaskPair]:
    """Yield `count` pairs; every other one is 3-D."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        shape = tuple(1 + int(14 * draw) for draw in generator.random(2 + index % 2))
        target = _mask(generator, shape)
        prediction = _like(generator, target) if generator.random() < 0.6 else _mask(generator, shape)
        spacing = tuple(_choice(generator, SPACINGS) for _ in shape)
        yield MaskPair(prediction, target, spacing, _choice(generator, TOLERANCES))


def digest(pairs: list[MaskPair]) -> str:
    """Return the sha256 of all masks and settings: whether the generator still draws what it drew."""
    found = hashlib.sha256()
    for pair in pairs:
        found.update(repr((pair.target.shape, pair.spacing_mm, pair.tolerance_mm)).encode())
        found.update(pair.prediction.tobytes() + pair.target.tobytes())
    return found.hexdigest()


def _choice(generator: np.random.Generator, values: tuple[float, ...]) -> float:
    return values[int(len(values) * generator.random())]


def _mask(generator: np.random.Generator, shape: tuple[int, ...]) -> Bools:
    """Return nothing, everything, noise, or an ellipse that may reach over the edge."""
    kind = generator.random()
    if kind < 0.1:
        return np.full(shape, kind > 0.07)
    if kind < 0.3:
        return generator.random(shape) < generator.random()
    centre, radii = generator.random(len(shape)), 0.2 + 0.5 * generator.random(len(shape))
    grid = np.stack(np.meshgrid(*[(np.arange(length) + 0.5) / length for length in shape], indexing="ij"), axis=-1)
    inside: Bools = (((grid - centre) / radii) ** 2).sum(axis=-1) < 1
    return inside


def _like(generator: np.random.Generator, target: Bools) -> Bools:
    """Return the target moved by one pixel along some axes, some of its pixels flipped; sometimes the target itself."""
    if generator.random() < 0.1:
        return target.copy()
    shifts = tuple(int(3 * draw) - 1 for draw in generator.random(target.ndim))
    moved: Bools = np.roll(target, shifts, axis=tuple(range(target.ndim)))
    return moved ^ (generator.random(target.shape) < 0.1 * generator.random())

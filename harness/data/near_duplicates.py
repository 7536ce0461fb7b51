"""Near-duplicate images of a prepared release: a difference hash proposes pairs, a comparison of edges confirms them.

The hash alone cannot distinguish two eyes, or neighbouring slices, taken in the same way; their edges do differ.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.manifest import Prepared, read_manifest, read_report, write_report
from harness.data.releases.images import ImageFiles
from harness.imaging.windowing import Window
from harness.records import Sample

KIND = "near_duplicate"

ROWS, COLUMNS = 8, 8
BITS = ROWS * COLUMNS
MOST_BITS = 4  # two images are proposed if their hashes differ in at most this many bits
BANDS = MOST_BITS + 1  # hashes that differ in 4 bits are equal in at least one of 5 bands
# Grey levels between the darkest and the lightest cell; flatter images all have the same hash and are not compared.
LEAST_CONTRAST = 8

SKETCH = 32
# Correlation of the edges of two images, shrunk to 32 x 32, from which on they count as the same. On the 224 images of
# the small real SA-Med2D, copies at three quarters of the size and JPEG quality 60 reach 0.996; the 157 pairs that the
# hash proposes, neighbouring slices among them, reach at most 0.953.
LEAST_CORRELATION = 0.97
SKETCHES_KEPT = 4096  # each holds 1,984 float64, all of them 62 MiB

Progress = Callable[[int], None]  # called with the number of images hashed so far
# Returns the edges of the image at a path: float64, one-dimensional, of length 1, any number of cells.
Sketch = Callable[[str], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DuplicatePair:
    """Two files that show the same image, in alphabetical order; `bits` of their hashes differ."""

    first: str
    second: str
    bits: int


@dataclass(slots=True)
class ImageHashes:
    """The hashes of a release's images.

    Attributes:
        clusters: The cluster of each image's first sample, by the image's path.
        hashes: The hash of each image that has enough contrast to be compared, by its path.
    """

    clusters: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, int] = field(default_factory=dict)


def report_near_duplicates(prepared: Prepared, window: Window | None, progress: Progress | None = None) -> None:
    """Find near-duplicate images and put them into the integrity report; the manifest stays as it is.

    Args:
        prepared: The release; the findings of an earlier search are replaced in its report.
        window: The window that it was prepared with.
        progress: Called with the number of images hashed so far.
    Raises:
        DataError: An image is gone or changed since it was prepared, or the manifest or report cannot be read.
    """
    images = ImageFiles(root=prepared.root, derived=prepared.derived, window=window)
    integrity = read_report(prepared.integrity)
    hashed = hash_images(read_manifest(prepared.manifest), images, progress)
    integrity.findings = [finding for finding in integrity.findings if finding.kind != KIND]
    for pair in pairs(hashed.hashes, sketches(images)):
        # Neighbouring slices of one patient are alike too, but intervals resample them together.
        if hashed.clusters[pair.first] != hashed.clusters[pair.second]:
            detail = f"like {pair.first}, of another cluster; {pair.bits} of {BITS} bits differ"
            integrity.find(KIND, pair.second, detail, image=pair.first)
    integrity.checked[KIND] = len(hashed.clusters)
    write_report(prepared.integrity, integrity)


def hash_images(samples: Iterator[Sample], images: ImageFiles, progress: Progress | None = None) -> ImageHashes:
    """Hash each image of the samples once.

    Volumes are left out, and so are images that cannot be read, which the preparation has reported.

    Raises:
        DataError: An image is gone or changed since it was prepared.
    """
    hashed = ImageHashes()
    for sample in samples:
        for media in sample.media:
            if media.kind != "image" or media.sha256 is None or media.path in hashed.clusters:
                continue
            hashed.clusters[media.path] = sample.cluster
            found = difference_hash(images.image(media.path))
            if found is not None:
                hashed.hashes[media.path] = found
            if progress is not None:
                progress(len(hashed.clusters))
    return hashed


def difference_hash(pixels: NDArray[np.uint8]) -> int | None:
    """Return 64 bits that say where an image gets lighter from left to right, or None if it is flat.

    Args:
        pixels: uint8 (H, W, 3); shrunk to grey (8, 9), each cell the mean of its part of the image.
    """
    cells = _shrunk(pixels, COLUMNS + 1, ROWS)
    if int(cells.max() - cells.min()) < LEAST_CONTRAST:
        return None
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes())


def sketches(images: ImageFiles) -> Sketch:
    """Return a function that returns the edges of an image by its path, and keeps those of the last few thousand."""

    @lru_cache(maxsize=SKETCHES_KEPT)
    def sketch(path: str) -> NDArray[np.float64]:
        return edges(images.image(path))

    return sketch


def edges(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the differences between neighbouring cells of an image that is shrunk to 32 x 32.

    Args:
        pixels: uint8 (H, W, 3).
    Returns:
        float64 (1984,) with mean 0 and length 1, so that a dot product is a correlation; all 0 for a flat image.
    """
    cells = _shrunk(pixels, SKETCH, SKETCH)
    steps = np.concatenate([np.diff(cells, axis=0).ravel(), np.diff(cells, axis=1).ravel()]).astype(np.float64)
    steps -= steps.mean()
    # A flat image has length 0, which must not divide.
    return steps / max(float(np.linalg.norm(steps)), 1.0)


def _shrunk(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.int16]:
    small = Image.fromarray(pixels).convert("L").resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.int16)


def pairs(hashes: Mapping[str, int], sketch: Sketch) -> list[DuplicatePair]:
    """Return the pairs of files that show the same image, sorted.

    Of many copies, each is paired with the first of its hash. Hashes are compared only within buckets of an index over
    five bands of bits, so the work stays far below the square of their number.

    Args:
        hashes: The hash of each image, by its path.
        sketch: Returns the edges of the image at a path.
    """
    equal: dict[int, list[str]] = {}
    for path in sorted(hashes):
        equal.setdefault(hashes[path], []).append(path)
    found: list[DuplicatePair] = []
    firsts = {value: _firsts(paths, sketch, found) for value, paths in equal.items()}
    for first, second in sorted(_close(sorted(equal))):
        bits = (first ^ second).bit_count()
        for one, other in product(firsts[first], firsts[second]):
            if _alike(one, other, sketch):
                found.append(DuplicatePair(first=min(one, other), second=max(one, other), bits=bits))
    return sorted(found)


def _firsts(paths: Sequence[str], sketch: Sketch, found: list[DuplicatePair]) -> list[str]:
    """Return the first file of each distinct image among files of one hash; pair the others with it in `found`."""
    firsts: list[str] = []
    for path in paths:
        known = next((first for first in firsts if _alike(first, path, sketch)), None)
        if known is None:
            firsts.append(path)
        else:
            found.append(DuplicatePair(first=known, second=path, bits=0))
    return firsts


def _alike(first: str, second: str, sketch: Sketch) -> bool:
    return float(sketch(first) @ sketch(second)) >= LEAST_CORRELATION


def _close(hashes: Sequence[int]) -> set[tuple[int, int]]:
    """Return the pairs of different hashes that differ in at most `MOST_BITS` bits."""
    found: set[tuple[int, int]] = set()
    for band in range(BANDS):
        mask = _band(band)
        buckets: dict[int, list[int]] = {}
        for value in hashes:
            buckets.setdefault(value & mask, []).append(value)
        for bucket in buckets.values():
            found.update(
                (first, second)
                for first, second in combinations(bucket, 2)
                if (first ^ second).bit_count() <= MOST_BITS
            )
    return found


def _band(number: int) -> int:
    """Return a mask of every fifth bit."""
    # Runs of bits would fill a band with a dark margin, alike in all images, whose cells every fifth bit spreads out.
    return sum(1 << bit for bit in range(number, BITS, BANDS))

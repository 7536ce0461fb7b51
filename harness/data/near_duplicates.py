"""Images of a prepared release that look alike: a difference hash proposes pairs, a closer look confirms them.

The hash alone cannot tell two eyes, or neighbouring slices, photographed the same way; their edges differ all the same.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.data.integrity import Integrity
from harness.data.manifest import Prepared, read_manifest, read_report, write_report
from harness.data.releases.images import ImageFiles
from harness.imaging.windowing import Window
from harness.records import Sample

KIND = "near_duplicate"

ROWS, COLUMNS = 8, 8
BITS = ROWS * COLUMNS
MOST_BITS = 4
"""The hash proposes two images when it differs in at most this many bits."""
BANDS = MOST_BITS + 1  # hashes that differ in 4 bits are equal in at least one of 5 bands
LEAST_CONTRAST = 8
"""Grey levels between the darkest and the lightest cell; flatter images all have the same hash and are not compared."""

SKETCH = 32
LEAST_CORRELATION = 0.97
"""Correlation of the edges of two images, shrunk to 32 x 32, from which on they are one.

On the 224 images of the small real SA-Med2D, copies at three quarters of the size and JPEG quality 60 reach 0.996, the
157 pairs that the hash proposes, neighbouring slices among them, at most 0.953."""
SKETCHES_KEPT = 4096

Progress = Callable[[int], None]
Sketch = Callable[[str], NDArray[np.float64]]
"""Returns the edges of the image at a path: its differences between neighbouring cells, any length."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class DuplicatePair:
    """Two files that show the same, `first` before `second` in the alphabet; `bits` of their hashes differ."""

    first: str
    second: str
    bits: int


@dataclass(slots=True)
class ImageHashes:
    """The images looked at.

    Attributes:
        clusters: Path -> cluster of its first sample.
        hashes: Path -> hash, of those with enough contrast to compare.
    """

    clusters: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, int] = field(default_factory=dict)


def report_near_duplicates(prepared: Prepared, window: Window | None, progress: Progress | None = None) -> None:
    """Look for images that look alike and put them into the integrity report; the manifest stays as it is.

    Args:
        prepared: The release; its report is written anew, in place of what an earlier search found.
        window: As it was prepared with.
        progress: Told of the number of images looked at so far.
    Raises:
        DataError: An image is gone or changed since it was prepared, or the manifest or report cannot be read.
    """
    album = ImageFiles(root=prepared.root, derived=prepared.derived, window=window)
    integrity = read_report(prepared.integrity)
    gallery = hash_images(read_manifest(prepared.manifest), album, progress)
    integrity.findings = [finding for finding in integrity.findings if finding.kind != KIND]
    _report(pairs(gallery.hashes, sketches(album)), gallery.clusters, integrity)
    integrity.checked[KIND] = len(gallery.clusters)
    write_report(prepared.integrity, integrity)


def _report(found: Iterable[DuplicatePair], clusters: Mapping[str, str], integrity: Integrity) -> None:
    """Report pairs of different clusters; neighbouring slices of one patient are alike and are resampled together."""
    for pair in found:
        if clusters[pair.first] != clusters[pair.second]:
            detail = f"like {pair.first}, of another cluster; {pair.bits} of {BITS} bits differ"
            integrity.find(KIND, pair.second, detail, image=pair.first)


def hash_images(samples: Iterator[Sample], album: ImageFiles, progress: Progress | None = None) -> ImageHashes:
    """Hash each image of the samples once; those that cannot be read are findings of the preparation already."""
    gallery = ImageHashes()
    for sample in samples:
        for media in sample.media:
            if media.kind != "image" or media.sha256 is None or media.path in gallery.clusters:
                continue
            gallery.clusters[media.path] = sample.cluster
            found = difference_hash(album.image(media.path))
            if found is not None:
                gallery.hashes[media.path] = found
            if progress is not None:
                progress(len(gallery.clusters))
    return gallery


def difference_hash(pixels: NDArray[np.uint8]) -> int | None:
    """Return 64 bits that tell where an image gets lighter from left to right; None where it is flat.

    Args:
        pixels: (H, W, 3); shrunk to grey (8, 9), each cell the mean of its part of the image.
    """
    cells = _shrunk(pixels, COLUMNS + 1, ROWS)
    if int(cells.max() - cells.min()) < LEAST_CONTRAST:
        return None
    return int.from_bytes(np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes())


def sketches(album: ImageFiles) -> Sketch:
    """Return what gives the edges of an image of the album; the last few thousand are kept."""

    @lru_cache(maxsize=SKETCHES_KEPT)
    def sketch(path: str) -> NDArray[np.float64]:
        return edges(album.image(path))

    return sketch


def edges(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the differences between neighbouring cells of an image shrunk to 32 x 32, as a vector of length 1."""
    cells = _shrunk(pixels, SKETCH, SKETCH)
    steps = np.concatenate([np.diff(cells, axis=0).ravel(), np.diff(cells, axis=1).ravel()]).astype(np.float64)
    steps -= steps.mean()
    return steps / max(float(np.linalg.norm(steps)), 1.0)


def _shrunk(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.int16]:
    small = Image.fromarray(pixels).convert("L").resize((width, height), Image.Resampling.BOX)
    return np.asarray(small, dtype=np.int16)


def pairs(hashes: Mapping[str, int], sketch: Sketch) -> list[DuplicatePair]:
    """Return the files that show the same, sorted; of many copies each is paired with the first of its hash.

    Hashes are compared only within buckets of an index over five bands of bits, so the work stays far below the square
    of their number.
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
    """Return the files of one hash that show something new; each other one joins `found` with the one it shows."""
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
    """Return every fifth bit: neighbouring cells of a dark margin, alike in all images, go to different bands."""
    return sum(1 << bit for bit in range(number, BITS, BANDS))

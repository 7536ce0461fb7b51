"""The sources of a construction: listed in a fixed order, chosen by the limit, read, and written down."""

import heapq
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.data.construction.outputs.splits import order_of
from harness.data.construction.pipeline import Candidate, Inputs, Pipeline
from harness.errors import SpecError
from harness.records.codec import canonical, sha256_file
from harness.records.file_digests import WeightsDigests

# A smaller file is read as fast as its remembered digest.
REMEMBERED_ABOVE_BYTES = 4 * 1024 * 1024


def file_digest(path: Path, cache: Path) -> str:
    """Return the sha256 of a file, or the digest of the names and bytes of all files in a folder.

    That of a large file is remembered in the cache, as long as path, size, time and inode stay the same.
    """
    if path.is_file() and path.stat().st_size < REMEMBERED_ABOVE_BYTES:
        return sha256_file(path)
    return WeightsDigests(cache / "weights").of(path)


def write_sources(pipeline: Pipeline, inputs: Inputs, path: Path, *, limit: int | None, seed: int) -> tuple[int, int]:
    """Write the sources to a file, one per line; return the numbers that were listed and taken.

    Of a limit N, the N with the smallest sha256 of seed and id are taken, so that limits nest; only they are read.

    Raises:
        SpecError: Two sources have one id, or there is none.
        HarnessError: The release cannot be read.
    """
    listed = 0
    seen: set[bytes] = set()

    def candidates() -> Iterator[tuple[bytes, int, Candidate]]:
        nonlocal listed
        for candidate in pipeline.sources(inputs):
            name = order_of(seed, candidate.id)
            if name in seen:
                raise SpecError(f"construct {pipeline.name}: two sources have the id {candidate.id!r}")
            seen.add(name)
            listed += 1
            yield name, listed, candidate

    found: Iterable[tuple[bytes, int, Candidate]] = candidates()
    if limit is not None:
        found = sorted(heapq.nsmallest(limit, found, key=lambda one: one[:2]), key=lambda one: one[1])
    taken = 0
    with path.open("w", encoding="utf-8") as file:
        for _, _, candidate in found:
            file.write(canonical(candidate.load().to_json()) + "\n")
            taken += 1
    if not taken:
        path.unlink()
        raise SpecError(f"construct {pipeline.name}: expected sources below {inputs.root}, found none")
    return listed, taken

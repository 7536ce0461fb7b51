"""The frozen split of a construction: by patient, so that no patient is in two splits."""

import hashlib
from collections.abc import Iterable, Mapping

from harness.data.construction.records import Source


def order_of(seed: int, name: str) -> bytes:
    """Return what cases are ordered by where some are chosen at random: the sha256 of seed and name."""
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()


def split_clusters(sources: Iterable[Source], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """Return the split of each cluster.

    A cluster of which a source has a split keeps it. The others are ordered by the sha256 of seed and name and cut by
    the shares, each split but the first getting at least one where there are enough clusters: of 60 patients half a
    percent would be none.

    Args:
        sources: All sources.
        shares: Share of each split, the training split first; they sum to 1.
        seed: Seed of the construction.
    """
    given: dict[str, str] = {}
    free: set[str] = set()
    for source in sources:
        if source.split:
            given.setdefault(source.cluster, source.split)
        else:
            free.add(source.cluster)
    names = sorted(free - given.keys(), key=lambda name: (order_of(seed, name), name))
    first, *others = shares
    start = 0
    found = dict(given)
    for split in others:
        number = round(shares[split] * len(names))
        if not number and shares[split] > 0 and len(names) > len(others):
            number = 1
        for name in names[start : start + number]:
            found[name] = split
        start += number
    for name in names[start:]:
        found[name] = first
    return dict(sorted(found.items()))

"""Data roots: the folders in which releases are searched for, real or synthetic."""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import DataError, SpecError

PHANTOM = "phantom"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRoots:
    """The folders in which releases are searched for, and whether the data are real.

    Attributes:
        roots: The folders in the order given; a reader takes the first that holds its release. For synthetic patients,
            the one folder below which each family of releases has a root of its own.
        kind: `real` or `phantom`.
        seed: Seed of the synthetic patients.
    """

    roots: tuple[Path, ...]
    kind: str
    seed: int = 0

    def of(self, reader: str) -> tuple[Path, ...]:
        """Return the data roots of a reader; synthetic patients are written in its layout on first use.

        Raises:
            DataError: The cache, to which they are written, cannot be written.
        """
        if self.kind != PHANTOM:
            return self.roots
        from harness.data import phantoms  # needs numpy and the writers, which real data do without
        from harness.data.phantoms.families import family_of

        family = family_of(reader)
        folder = self.roots[0]
        # A new version of the phantoms gets a new folder, so that old patients are never mistaken for new ones.
        root = folder / f"v{phantoms.VERSION}-seed{self.seed}-{family.name}"
        if not root.is_dir():
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # Written beside it and renamed, because half-written patients must never be read.
                unfinished = Path(tempfile.mkdtemp(dir=folder))
                family.write(unfinished, self.seed)
            except OSError as error:
                raise DataError(
                    f"{folder}: the cache, where synthetic patients are kept, cannot be written: {error.strerror}; "
                    "make room or set MEDGROUND_CACHE elsewhere"
                ) from error
            with contextlib.suppress(OSError):
                unfinished.rename(root)  # another process may have written the same patients meanwhile
        return (root,)


def generated_phantoms(cache: Path) -> tuple[Path, ...]:
    """Return the folders in which files of synthetic patients are that were generated before, of any seed.

    Files are known by their digests, so pages find theirs without the seed. Empty if the cache holds none.

    Args:
        cache: The cache folder.
    """
    found = sorted(path for path in (cache / "phantoms").glob("v*") if path.is_dir())
    return (*found, cache / "derived") if found else ()


def data_roots(given: Sequence[str], cache: Path) -> DataRoots:
    """Return the data roots of a command line.

    Args:
        given: Folders, or `phantom` or `phantom:SEED` alone.
        cache: The cache folder, below which synthetic patients are written.
    Raises:
        SpecError: No root is given, a folder does not exist, the seed is not a whole number, or real and phantom data
            are mixed.
    """
    if not given:
        raise SpecError(
            "--data-root: expected a folder with the releases, or `phantom` for synthetic patients; none was given"
        )
    phantoms = [root for root in given if root == PHANTOM or root.startswith(f"{PHANTOM}:")]
    if not phantoms:
        missing = [root for root in given if not Path(root).is_dir()]
        if missing:
            raise SpecError("\n".join(f"--data-root {root}: no such folder" for root in missing))
        return DataRoots(roots=tuple(Path(root) for root in given), kind="real")
    if len(given) > 1:
        raise SpecError(
            "--data-root: phantom data cannot be combined with other data roots; results on phantoms and on real data "
            "are never mixed"
        )
    _, _, seed = phantoms[0].partition(":")
    if seed and not seed.isdigit():
        raise SpecError(f"--data-root {phantoms[0]}: expected phantom:SEED with a whole number, found '{seed}'")
    return DataRoots(roots=(cache / "phantoms",), kind=PHANTOM, seed=int(seed or 0))

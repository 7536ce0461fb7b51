"""Data roots: where releases are looked for, real or synthetic."""

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import SpecError

PHANTOM = "phantom"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRoots:
    """Where releases are looked for, and whether they are real.

    Attributes:
        roots: In the order given; a reader takes the first that holds its folders. Of drawn patients the folder below
            which each family of releases has a root of its own.
        kind: `real` or `phantom`.
        seed: Of the drawn patients.
    """

    roots: tuple[Path, ...]
    kind: str
    seed: int = 0

    def of(self, reader: str) -> tuple[Path, ...]:
        """Return where a reader looks; the releases of drawn patients are drawn on first use."""
        if self.kind != PHANTOM:
            return self.roots
        return (_phantom_root(self.roots[0], self.seed, reader),)


def data_roots(given: Sequence[str], cache: Path) -> DataRoots:
    """Return the data roots; `phantom` and `phantom:SEED` are drawn below the cache on first use.

    Raises:
        SpecError: None was given, a folder does not exist, or real and phantom data are mixed.
    """
    if not given:
        raise SpecError(
            "--data-root: expected a folder with the releases, or `phantom` for drawn patients; none was given"
        )
    phantoms = [root for root in given if root == PHANTOM or root.startswith(f"{PHANTOM}:")]
    if not phantoms:
        missing = [root for root in given if not Path(root).is_dir()]
        if missing:
            raise SpecError("\n".join(f"--data-root {root}: no such folder" for root in missing))
        return DataRoots(roots=tuple(Path(root) for root in given), kind="real")
    if len(given) > 1:
        raise SpecError("--data-root: phantom data stand alone; their numbers never meet those of real data")
    _, _, seed = phantoms[0].partition(":")
    if seed and not seed.isdigit():
        raise SpecError(f"--data-root {phantoms[0]}: expected phantom:SEED with a whole number, found '{seed}'")
    return DataRoots(roots=(cache / "phantoms",), kind=PHANTOM, seed=int(seed or 0))


def _phantom_root(folder: Path, seed: int, reader: str) -> Path:
    """Return the data root with the patients drawn from `seed` in the layout of `reader`, drawing them on first use."""
    from harness.data import phantoms
    from harness.data.phantoms.families import family_of

    family = family_of(reader)
    root = folder / f"v{phantoms.VERSION}-seed{seed}-{family.name}"
    if not root.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        drawing = Path(tempfile.mkdtemp(dir=folder))
        family.write(drawing, seed)
        with contextlib.suppress(OSError):
            drawing.rename(root)  # another process may have drawn the same patients meanwhile
    return root

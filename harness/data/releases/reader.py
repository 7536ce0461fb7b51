"""The reader of a published dataset, and the request that it answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError, SpecError, nearest
from harness.imaging.windowing import Window
from harness.records import Json, Sample

if TYPE_CHECKING:
    from harness.data.releases.folders.labels import LabelSet

ALL = "all"  # the only split of a release that is not divided into splits

UNKNOWN = "unknown"  # value of a stratum that the release does not state


class ReleaseAbsentError(DataError):
    """Raised when no data root holds the folders of a release, or its requested split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """The part of a release to read, and the name to read it under.

    Attributes:
        dataset: First part of every sample id.
        split: One of the reader's splits.
        subset: One of the reader's subsets; None if it has none.
        where: The values to keep of each record field, compared without regard to case and outer blanks.
        options: Values of the reader's options.
        window: The grey values that become 0 and 255 in images of more than 8 bits.
    """

    dataset: str
    split: str
    subset: str | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    window: Window | None = None


# Yields (place in the release, sample) in the order of the release; the place is for messages.
Read = Callable[[ReleaseFiles, ReleaseRequest, Integrity], Iterator[tuple[str, Sample]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """An option that takes any value that passes a check, instead of one from a list.

    Attributes:
        default: The value if the task sets none.
        fault: Returns `expected ..., found ...` for a wrong value and an empty string for a right one.
    """

    default: Json
    fault: Callable[[Json], str]


Options = Mapping[str, tuple[Json, ...] | Free]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """The reader of one published dataset layout.

    Attributes:
        name: The name that task files use.
        version: Raised by every change that can alter a manifest.
        folders: Folders that must exist below a data root; of `one|other`, either is enough.
        files: Files that must exist below the same data root.
        strata: Keys that every sample has in its strata, with the value `unknown` if the release does not state it.
        splits: Returns the splits that the files below a data root hold; only `all` unless the reader says otherwise.
        read: Yields the samples, see `Read`.
        obtain: One sentence on how to get the data.
        subsets: Values of `release.subset`; empty if it takes none.
        options: The values of each key of `release.options`, the default first, or a `Free` option.
        labels: Returns what the values of masks mean, for the data below a root; None if the layout names no values.
        fit: Returns the reader with the folders and splits that a request's options name; None if they are fixed.
    """

    name: str
    version: int
    folders: tuple[str, ...]
    read: Read
    strata: tuple[str, ...] = ()
    splits: Callable[[Path], tuple[str, ...]] = lambda _: (ALL,)
    obtain: str = "Put the data there, or name another --data-root."
    subsets: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    fit: "Callable[[ReleaseRequest], Reader] | None" = None
    files: tuple[str, ...] = ()
    labels: "Callable[[ReleaseRequest, Path], LabelSet] | None" = None

    def option(self, request: ReleaseRequest, name: str) -> Json:
        """Return the value of an option, or its default if the request does not set it."""
        return request.options.get(name, self.defaults[name])

    @property
    def defaults(self) -> dict[str, Json]:
        """The value of each option that a request does not set."""
        return {key: known.default if isinstance(known, Free) else known[0] for key, known in self.options.items()}

    def fitted(self, request: ReleaseRequest) -> "Reader":
        """Return the reader with the folders and splits that a request's options name."""
        return self if self.fit is None else self.fit(request)

    def find_root(self, roots: Sequence[Path]) -> Path:
        """Return the first data root that holds all folders of this release.

        Raises:
            ReleaseAbsentError: None does; the message names the folders, the roots searched, and how to get the data.
        """
        for root in roots:
            try:
                has_folders = all(any((root / name).is_dir() for name in folder.split("|")) for folder in self.folders)
                if has_folders and all((root / name).is_file() for name in self.files):
                    return root
            except OSError as error:  # of a folder above that may not be entered
                raise DataError(
                    f"{error.filename}: cannot be read: {error.strerror}; check the folder and its rights"
                ) from error
        wanted = " and ".join([*(f"{folder.replace('|', '/ or ')}/" for folder in self.folders), *self.files])
        searched = ", ".join(str(root) for root in roots) or "no data root was given"
        raise ReleaseAbsentError(
            f"{self.name}: expected {wanted} below a data root, looked in: {searched}. {self.obtain}"
        )

    def check(self, request: ReleaseRequest) -> None:
        """Check the parts of a request that do not depend on the files.

        Raises:
            SpecError: The subset, an option or the value of an option is unknown.
        """
        # A reader without subsets takes None and nothing else.
        if request.subset not in (self.subsets or (None,)):
            expected = " or ".join(map(repr, self.subsets)) or "none"
            raise SpecError(f"release.subset: reader {self.name} expects {expected}, found {request.subset!r}")
        for key, value in request.options.items():
            if key not in self.options:
                known = ", ".join(self.options) or "none"
                hint = nearest(key, tuple(self.options))
                raise SpecError(f"release.options.{key}: reader {self.name} has the options {known}{hint}")
            fault = option_fault(self.options[key], value)
            if fault:
                raise SpecError(f"release.options.{key}: {fault}")

    def check_split(self, root: Path, split: str) -> None:
        """Check that the files below `root` hold the split.

        Raises:
            ReleaseAbsentError: They do not; the message lists the splits that they hold.
        """
        known = self.splits(root)
        if split not in known:
            held = ", ".join(known) or "none"
            raise ReleaseAbsentError(
                f"release.split: reader {self.name} found the splits {held}, not {split!r}. {self.obtain}"
            )


def option_fault(known: tuple[Json, ...] | Free, value: Json) -> str:
    """Return what is wrong with the value of an option, or an empty string if it is right."""
    if isinstance(known, Free):
        return known.fault(value)
    return "" if value in known else f"expected {' or '.join(map(repr, known))}, found {value!r}"

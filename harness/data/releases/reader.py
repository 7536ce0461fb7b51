"""What a reader of a published dataset is, and what it is handed: the request, the files, the selection."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError, SpecError, nearest
from harness.imaging.windowing import Window
from harness.records import Json, Sample

ALL = "all"
"""The one split of a release that has none."""

UNKNOWN = "unknown"
"""Value of a stratum that the release does not tell."""


class ReleaseAbsentError(DataError):
    """Raised when no data root holds the folders of a release, or the asked split of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRequest:
    """Which part of a release to read, and under which name.

    Attributes:
        dataset: First part of every sample id.
        split: One of the reader's splits.
        subset: One of the reader's subsets; None where it has none.
        where: Per record field, the values to keep; compared without case and outer blanks.
        options: Choices of the reader.
        window: Which grey values become 0 and 255 in images of more than 8 bits.
    """

    dataset: str
    split: str
    subset: str | None = None
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    options: Mapping[str, Json] = field(default_factory=dict)
    window: Window | None = None


Read = Callable[[ReleaseFiles, ReleaseRequest, Integrity], Iterator[tuple[str, Sample]]]
"""Yields (place in the release, sample) in the order of the release; the place is for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Free:
    """An option whose value the task writes itself, as against one of a list.

    Attributes:
        default: Where the task is silent.
        fault: Value -> `expected ..., found ...`; nothing where the value is right.
    """

    default: Json
    fault: Callable[[Json], str]


Options = Mapping[str, tuple[Json, ...] | Free]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One published dataset layout.

    Attributes:
        name: As in task files.
        version: Raised by any change that can move a manifest.
        folders: What it looks for below a data root; all must be there, of `one|other` either.
        strata: Keys it fills in every sample, `unknown` where the release does not tell.
        splits: Splits that a data root's files hold.
        read: See `Read`.
        obtain: One sentence: how to get the data.
        subsets: Values of `release.subset`; empty where it takes none.
        options: Per key of `release.options` its values, the default first, or what checks a value of the task's own.
        fit: Where folders or splits follow from a request's options: returns the reader with those of the request.
    """

    name: str
    version: int
    folders: tuple[str, ...]
    strata: tuple[str, ...]
    splits: Callable[[Path], tuple[str, ...]]
    read: Read
    obtain: str
    subsets: tuple[str, ...] = ()
    options: Options = field(default_factory=dict)
    fit: "Callable[[ReleaseRequest], Reader] | None" = None

    def option(self, request: ReleaseRequest, name: str) -> Json:
        """Return the value of an option, its default where the request is silent."""
        return request.options.get(name, self.defaults[name])

    @property
    def defaults(self) -> dict[str, Json]:
        """Value of each option where a request is silent."""
        return {key: known.default if isinstance(known, Free) else known[0] for key, known in self.options.items()}

    def fitted(self, request: ReleaseRequest) -> "Reader":
        """Return the reader with the folders and splits that a request's options name."""
        return self if self.fit is None else self.fit(request)

    def find_root(self, roots: Sequence[Path]) -> Path:
        """Return the first data root that holds all folders of this release.

        Raises:
            ReleaseAbsentError: None does; the message says what was looked for where, and how to get it.
        """
        for root in roots:
            if all(any((root / name).is_dir() for name in folder.split("|")) for folder in self.folders):
                return root
        wanted = " and ".join(f"{folder.replace('|', '/ or ')}/" for folder in self.folders)
        looked = ", ".join(str(root) for root in roots) or "no data root was given"
        raise ReleaseAbsentError(
            f"{self.name}: expected {wanted} below a data root, looked in: {looked}. {self.obtain}"
        )

    def check(self, request: ReleaseRequest) -> None:
        """Check what does not depend on the files.

        Raises:
            SpecError: An unknown subset, option or value of an option.
        """
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
            ReleaseAbsentError: They do not; the message lists those they hold.
        """
        known = self.splits(root)
        if split not in known:
            held = ", ".join(known) or "none"
            raise ReleaseAbsentError(
                f"release.split: reader {self.name} found the splits {held}, not {split!r}. {self.obtain}"
            )


def option_fault(known: tuple[Json, ...] | Free, value: Json) -> str:
    """Return what is wrong with the value of an option; nothing where it is right."""
    if isinstance(known, Free):
        return known.fault(value)
    return "" if value in known else f"expected {' or '.join(map(repr, known))}, found {value!r}"

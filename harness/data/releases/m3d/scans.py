"""The volumes of M3D-Cap, which M3D-VQA asks about too: prepared arrays, or the raw release's folders of slices."""

import unicodedata
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.records import Media

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage
    from harness.imaging.windowing import Window

RAW = "M3D_Cap"
PREPARED = "M3D_Cap_npy"
KEPT = 8192  # volumes whose facts are kept while reading: more than all pools have, so that each is inspected once


def case_of(image: str) -> str:
    """Return the case folder of a listed image: `ct_quizze/000123`."""
    return str(PurePosixPath(image).parent).removeprefix(f"{PREPARED}/").removeprefix(f"{RAW}/")


def without_suffix(image: str) -> str:
    """Return the path of a listed image without the suffix of its file."""
    return image.removesuffix(".npy")


@dataclass(slots=True)
class Scans:
    """The volumes of the samples read so far, each inspected once.

    If the prepared array of a series is absent, the folder of its slices in the raw release is read instead.
    """

    files: ReleaseFiles
    window: "Window | None"
    integrity: Integrity
    _found: dict[str, "ReleaseImage"] = field(default_factory=dict)

    def image(self, image: str) -> "ReleaseImage":
        """Return the volume that the release lists as `image`."""
        if image not in self._found:
            if len(self._found) == KEPT:
                del self._found[next(iter(self._found))]
            self._found[image] = self._inspect(image)
        return self._found[image]

    def _inspect(self, image: str) -> "ReleaseImage":
        from harness.data.releases.images import ReleaseImage  # numpy loads when a release is read, not listed
        from harness.data.releases.m3d.slice_series import inspect_slices
        from harness.data.releases.volumes import inspect_scan

        if not image:
            return ReleaseImage(media=Media(path="", sha256=None, kind="volume"), defect="the record names no volume")
        folder = raw_path(without_suffix(image))
        if folder is not None and not self.files.has(image):
            folder = folder if self.files.has(folder) else self._with_diacritics(folder)
            if folder is not None:
                self.integrity.repair("volume_from_raw_slices", folder)
                return inspect_slices(self.files, folder, window=self.window, integrity=self.integrity)
        return inspect_scan(self.files, image, window=self.window, integrity=self.integrity)

    def _with_diacritics(self, folder: str) -> str | None:
        """Return the folder whose name differs from the listed one only in diacritics, or None if there is none."""
        parent, _, name = folder.rpartition("/")
        for found in sorted(self.files.folders(parent)):
            # The released preparation, whose names are listed, drops the marks; the raw folders keep them.
            decomposed = unicodedata.normalize("NFD", found)
            if "".join(mark for mark in decomposed if unicodedata.category(mark) != "Mn") == name:
                self.integrity.repair("series_name_with_diacritics", f"{parent}/{found}")
                return f"{parent}/{found}"
        return None


def raw_path(path: str) -> str | None:
    """Return the path in the raw release that stands for `path` in the prepared one; None for a path outside of it."""
    return f"{RAW}/{path.removeprefix(f'{PREPARED}/')}" if path.startswith(f"{PREPARED}/") else None

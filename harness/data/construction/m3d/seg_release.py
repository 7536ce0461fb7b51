"""M3D-Seg within the release of a pipeline that builds on it: its files, and listings of the cases that count."""

from pathlib import Path

from harness.data.construction.outputs.release_files import write_json
from harness.data.construction.pipeline import ReleaseFolder
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.seg_layout import (
    CLASSES,
    TERMS,
    Entry,
    find_layout,
    read_classes,
    read_entries,
)
from harness.data.releases.m3d.wording import FILE as WORDING

SPLITS = ("train", "test")


class SegRelease:
    """The folder of M3D-Seg within a release.

    Attributes:
        folder: Its name.
        path: The folder.

    Args:
        release: The release.
    """

    def __init__(self, release: ReleaseFolder) -> None:
        self._release = release
        self._files = ReleaseFiles(root=release.inputs.root, derived=release.path)
        self._layout = find_layout(self._files, Integrity())
        self.folder = self._layout.folder
        self.path: Path = release.path / self.folder
        self.path.mkdir(parents=True, exist_ok=True)

    def link_whole(self) -> None:
        """Put classes, listings, volumes and masks into the release, the listings as they are."""
        self._link_shared((CLASSES, WORDING))
        for code in read_classes(self._files, self._layout, Integrity()):
            listing = self._layout.listing(code)
            if self._files.has(listing):
                self._release.link(listing)
                for split in SPLITS:
                    for entry in read_entries(self._files, self._layout, code, split, Integrity()):
                        self._link_entry(entry)

    def link_cases(self, splits: dict[tuple[str, str], str]) -> None:
        """Put the cases that count into the release, with listings by their splits.

        A case is listed with all its classes: one that is left out would pass for a class that nobody looked for.

        Args:
            splits: Split of each (code, case).
        """
        self._link_shared((CLASSES, TERMS, WORDING))
        for code in read_classes(self._files, self._layout, Integrity()):
            if not self._files.has(self._layout.listing(code)):
                continue
            lists: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
            for split in SPLITS:
                for entry in read_entries(self._files, self._layout, code, split, Integrity()):
                    chosen = splits.get((code, entry.case))
                    if chosen is not None:
                        self._link_entry(entry)
                        prefix = f"{self.folder}/"
                        paths = {"image": entry.image.removeprefix(prefix), "label": entry.label.removeprefix(prefix)}
                        lists[chosen].append(paths)
            write_json(self.path / code / f"{code}.json", lists)

    def _link_shared(self, names: tuple[str, ...]) -> None:
        for name in names:
            place = next((path for path in (f"{self.folder}/{name}", name) if self._files.has(path)), None)
            if place is not None:
                self._release.link(place, f"{self.folder}/{name}")

    def _link_entry(self, entry: Entry) -> None:
        for path in (entry.image, entry.label):
            if path and self._files.has(path):
                self._release.link(path)

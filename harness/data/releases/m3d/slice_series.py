"""Opening of a volume whose slices are the numbered pictures of a folder, while a release is read."""

from pathlib import Path

import numpy as np

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import ReleaseImage
from harness.data.releases.volumes import unreadable
from harness.errors import DataError
from harness.imaging.volumes import SliceFolder, read_slices
from harness.imaging.windowing import Window, limits
from harness.records import Json, Media
from harness.records.codec import sha256_folder, to_json


def inspect_slices(files: ReleaseFiles, folder: str, *, window: Window | None, integrity: Integrity) -> ReleaseImage:
    """Return the volume in a folder that is there; pictures that are no part of it go into the report."""

    def inspect() -> Json:
        return _facts(files.path(folder), folder, window) if files.has(folder) else None

    try:
        found = files.once(["slices", to_json(window)], folder, inspect)
    except DataError as error:
        return unreadable(folder, error, integrity)
    for name, reason in found["left_out"]:
        integrity.find("slice_left_out", f"{folder}/{name}", reason)
    shown = None if found["window"] is None else (found["window"][0], found["window"][1])
    return ReleaseImage(
        media=Media(path=folder, sha256=found["sha256"], kind="volume", size=tuple(found["size"]), window=shown)
    )


def _facts(folder: Path, where: str, window: Window | None) -> Json:
    found = read_slices(folder, where=where)
    return to_json(
        {
            "sha256": sha256_folder(folder),
            "size": (len(found.slices), *found.slices[0].shape),
            "window": _limits(found, window, where),
            "left_out": found.left_out,
        }
    )


def _limits(found: SliceFolder, window: Window | None, where: str) -> tuple[float, float] | None:
    return None if window is None else limits(window, np.stack(found.slices), where)

"""Inspection of a volume whose slices are the numbered image files of a folder, while a release is read."""

import numpy as np

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import ReleaseImage
from harness.data.releases.volumes import unreadable
from harness.errors import DataError
from harness.imaging.volumes import read_slices
from harness.imaging.windowing import Window, limits
from harness.records import Json, Media
from harness.records.codec import sha256_folder, to_json


def inspect_slices(files: ReleaseFiles, folder: str, *, window: Window | None, integrity: Integrity) -> ReleaseImage:
    """Return the volume of a folder that exists, and report images in it that are no part of the volume."""

    def inspect() -> Json:
        files.has(folder)  # notes the folder, so that a later preparation detects a change of it
        slices = read_slices(files.path(folder), where=folder)
        return to_json(
            {
                "sha256": sha256_folder(files.path(folder)),
                "size": (len(slices.slices), *slices.slices[0].shape),
                "window": None if window is None else limits(window, np.stack(slices.slices), folder),
                "left_out": slices.left_out,
            }
        )

    try:
        found = files.once(["slices", to_json(window)], folder, inspect)
    except DataError as error:
        return unreadable(folder, error, integrity)
    for name, reason in found["left_out"]:
        integrity.find("slice_left_out", f"{folder}/{name}", reason)
    low_high = None if found["window"] is None else (found["window"][0], found["window"][1])
    return ReleaseImage(
        media=Media(path=folder, sha256=found["sha256"], kind="volume", size=tuple(found["size"]), window=low_high)
    )

"""Volumes that are stored as a folder of numbered pictures, one per slice."""

import io
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.images import read_image

SUFFIXES = (".jpeg", ".jpg", ".png")
LUMA = (19595, 38470, 7471)
"""Weights of red, green and blue in a grey value, in parts of 65,536: ITU-R 601, as Pillow rounds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFolder:
    """The slices of a folder.

    Attributes:
        slices: uint8 (H, W) grey values by ascending number.
        left_out: (file name, reason) of pictures that are no part of the volume.
    """

    slices: list[NDArray[np.uint8]]
    left_out: tuple[tuple[str, str], ...]


def slice_names(folder: Path) -> list[str]:
    """Return the names of a folder's pictures, the numbered ones first by their number."""
    names = (path.name for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    return sorted(names, key=lambda name: (not _stem(name).isdecimal(), _number(name), name))


def read_slices(folder: Path, *, where: str) -> SliceFolder:
    """Return the slices of a folder in the order of their numbers, `2.png` before `10.png`.

    As in M3D's preparation a picture that cannot be read, and one of another size than most, is left out.

    Args:
        folder: Holds JPEG or PNG files; others in it do not count.
        where: Begins the messages.
    Raises:
        DataError: No picture of it can be used.
    """
    left_out: list[tuple[str, str]] = []
    read: list[tuple[str, NDArray[np.uint8]]] = []
    for name in slice_names(folder):
        if not _stem(name).isdecimal():
            left_out.append((name, "its name is no number"))
            continue
        try:
            read.append((name, _grey((folder / name).read_bytes(), f"{where}/{name}")))
        except (DataError, OSError):
            left_out.append((name, "cannot be read"))
    if not read:
        raise DataError(f"{where}: expected numbered pictures of slices, found none that can be read")
    usual = Counter(pixels.shape for _, pixels in read).most_common(1)[0][0]
    left_out += [(name, f"is {pixels.shape}, most are {usual}") for name, pixels in read if pixels.shape != usual]
    return SliceFolder(slices=[pixels for _, pixels in read if pixels.shape == usual], left_out=tuple(left_out))


def packed(folder: Path) -> bytes:
    """Return a folder's files as one archive, to be sent to another node."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(folder.iterdir()):
            if path.is_file():
                archive.write(path, path.name)
    return content.getvalue()


def unpack(content: bytes, folder: Path) -> bool:
    """Write the files of an archive into a folder; return whether it is an archive of plain names."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if any(Path(name).name != name for name in names):
                return False
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                (folder / name).write_bytes(archive.read(name))
    except zipfile.BadZipFile:
        return False
    return True


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _number(name: str) -> int:
    return int(_stem(name)) if _stem(name).isdecimal() else 0


def _grey(content: bytes, where: str) -> NDArray[np.uint8]:
    """Return a picture as uint8 (H, W)."""
    pixels = read_image(content, window=None, where=where).astype(np.uint32)
    grey = (pixels @ np.array(LUMA, dtype=np.uint32) + 0x8000) >> 16
    return grey.astype(np.uint8)

"""The files of a folder, and what their names and folders say: image or mask, split, words."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.releases.folders.file_names import READ_SUFFIXES, split_suffix
from harness.errors import SpecError
from harness.imaging.volumes import SUFFIXES

MOST_FILES = 500_000  # more would take minutes, and most likely it is the wrong folder

_SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
_MASK_WORDS = frozenset(
    {
        *("mask", "masks", "label", "labels", "lbl", "seg", "segs", "segmentation", "segmentations", "segmented"),
        *("gt", "gts", "groundtruth", "truth", "annotation", "annotations", "annot", "manual", "roi", "rois", "dseg"),
        *("contour", "contours"),
    }
)
_IMAGE_WORDS = frozenset(
    {
        *("image", "images", "img", "imgs", "input", "inputs", "original", "originals", "raw", "photo", "photos"),
        *("picture", "pictures", "scan", "scans", "volume", "volumes", "jpegimages"),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file.

    Attributes:
        folder: The parts of its folder, relative to the folder that is searched.
        stem, suffix: Its name, `.nii.gz` being one suffix.
    """

    folder: tuple[str, ...]
    stem: str
    suffix: str

    @property
    def path(self) -> str:
        """Its path relative to the folder that is searched."""
        return "/".join((*self.folder, f"{self.stem}{self.suffix}"))

    @property
    def is_image(self) -> bool:
        """Whether its name is that of an image or volume."""
        return self.suffix.lower() in READ_SUFFIXES

    @property
    def is_volume(self) -> bool:
        """Whether its name is that of a volume."""
        return self.suffix.lower() in SUFFIXES


def entries_of(folder: Path) -> list[Entry]:
    """Return the files below a folder in the order of their paths; hidden files and Windows' thumbnails are left out.

    Raises:
        SpecError: There are too many.
    """
    found: list[Entry] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        parts = Path(place).relative_to(folder).parts
        for name in sorted(names):
            if not name.startswith(".") and name.lower() not in ("thumbs.db", "desktop.ini"):
                found.append(Entry(parts, *split_suffix(name)))
        if len(found) > MOST_FILES:
            raise SpecError(f"{folder}: expected a dataset, found more than {MOST_FILES:,} files; name a folder in it")
    return found


def words(text: str) -> list[str]:
    """Return the words of a name in lower case: `labelsTr` and `ground_truth` have two each."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", text)]


def is_mask_name(text: str) -> bool:
    """Return whether a file's or folder's name says that it holds masks."""
    return bool(_MASK_WORDS & {*words(text), text.lower()})


def holds_masks(entry: Entry) -> bool:
    """Return whether a file is a mask by the deepest of its folders that says so, else by its own name."""
    for part in reversed(entry.folder):
        if is_mask_name(part):
            return True
        if _IMAGE_WORDS & {*words(part), part.lower()}:
            return False
    return is_mask_name(entry.stem)


def usual_split(splits: Sequence[str]) -> str:
    """Return the split to evaluate by default: test, else validation, else the first of at least one."""
    return next((one for start in ("test", "val", "dev") for one in splits if one.lower().startswith(start)), splits[0])


def is_split_name(text: str) -> bool:
    """Return whether a folder's name is that of a split."""
    return text.lower() in _SPLITS

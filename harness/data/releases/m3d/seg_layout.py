"""The two layouts of M3D-Seg: raw volumes with sparse masks of all classes, and prepared volumes with one per class."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles, read_json
from harness.data.releases.json_stream import stream_lists
from harness.data.releases.reader import UNKNOWN, ReleaseAbsentError
from harness.errors import DataError
from harness.records import Json

PREPARED, RAW = "M3D_Seg_npy", "M3D_Seg"
CLASSES = "dataset_info.json"
TERMS = "term_dictionary.json"

# Keys of a listing that may hold a split; the released code reads train under both names.
LISTS: Mapping[str, tuple[str, ...]] = {"train": ("train", "training"), "test": ("test",)}

# Names of the datasets by code, as the release's card lists them; the code has a 25th, 0025, without a name.
SOURCES: Mapping[str, str] = {
    "0000": "CHAOS",
    "0001": "HaN-Seg",
    "0002": "AMOS22",
    "0003": "AbdomenCT-1k",
    "0004": "KiTS23",
    "0005": "KiPA22",
    "0006": "KiTS19",
    "0007": "BTCV",
    "0008": "Pancreas-CT",
    "0009": "3D-IRCADB",
    "0010": "FLARE22",
    "0011": "TotalSegmentator",
    "0012": "CT-ORG",
    "0013": "WORD",
    "0014": "VerSe19",
    "0015": "VerSe20",
    "0016": "SLIVER07",
    "0017": "QUBIQ",
    "0018": "MSD-Colon",
    "0019": "MSD-HepaticVessel",
    "0020": "MSD-Liver",
    "0021": "MSD-Lung",
    "0022": "MSD-Pancreas",
    "0023": "MSD-Spleen",
    "0024": "LUNA16",
}

_MASK = re.compile(r"mask_(\d+)\.npy")
_SPARSE = re.compile(r"mask_\((\d+), (\d+), (\d+), (\d+)\)\.npz")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folder of the release below a data root, which says which of its two layouts it has."""

    folder: str

    @property
    def prepared(self) -> bool:
        """Whether every class has a mask file of its own."""
        return self.folder == PREPARED

    def listing(self, code: str) -> str:
        """Return the path of a dataset's listing below the data root."""
        return f"{self.folder}/{code}/{code}.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One record of a listing.

    Attributes:
        place: File and number, for messages.
        code: Code of its dataset.
        case: Folders between the dataset's and the files: one scan of one patient.
        image, label: Paths below the data root.
        defect: Why it cannot be asked; None if its paths are as they should be.
    """

    place: str
    code: str
    case: str
    image: str
    label: str
    defect: str | None = None

    @property
    def class_index(self) -> int | None:
        """The class index of a prepared mask; None if the file's name does not give it."""
        match = _MASK.fullmatch(self.label.rpartition("/")[2])
        return int(match[1]) if match else None

    @property
    def dense_shape(self) -> tuple[int, int, int, int] | None:
        """(classes, X, Y, Z) of a raw mask; None if the file's name does not give it."""
        match = _SPARSE.fullmatch(self.label.rpartition("/")[2])
        return (int(match[1]), int(match[2]), int(match[3]), int(match[4])) if match else None


def find_layout(files: ReleaseFiles, integrity: Integrity) -> Layout:
    """Return the layout that exists, or of both the prepared one, on which the paper's numbers are measured."""
    found = [folder for folder in (PREPARED, RAW) if files.has(folder)]
    if len(found) > 1:
        integrity.find("several_layouts", found[1], f"{found[0]} is read")
    return Layout(folder=found[0])


def read_classes(files: ReleaseFiles, layout: Layout, integrity: Integrity) -> dict[str, list[str]]:
    """Return the class names of each dataset by index; a name that a list has twice is reported.

    Raises:
        DataError: The file is missing or malformed.
    """
    where = _beside(files, layout, CLASSES)
    value = read_json(files, where)
    if not isinstance(value, dict) or not all(map(_is_texts, value.values())):
        raise DataError(f"{where}: expected dataset code -> list of class names, found {str(value)[:60]!r}")
    for code, names in value.items():
        # VerSe's list has 'lumbar spine L1' twice, the second time for L2.
        for index, name in enumerate(names):
            if name in names[:index]:
                integrity.find("duplicate_class", f"{where}: {code}", f"{name!r} is {names.index(name)} and {index}")
    return value


def read_terms(files: ReleaseFiles, layout: Layout) -> dict[str, list[str]]:
    """Return the definitions of each class, by its name.

    Raises:
        DataError: The file is missing or malformed.
    """
    where = _beside(files, layout, TERMS)
    value = read_json(files, where)
    if not isinstance(value, dict) or not all(map(_is_texts, value.values())):
        raise DataError(f"{where}: expected class name -> list of definitions, found {str(value)[:60]!r}")
    return value


def _beside(files: ReleaseFiles, layout: Layout, name: str) -> str:
    """Return the path of a file shared by all datasets."""
    # In the layout's folder, in the raw one, or beside both as on the hub.
    places = (f"{layout.folder}/{name}", f"{RAW}/{name}", name)
    return next((place for place in places if files.has(place)), places[0])


def _is_texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def read_entries(files: ReleaseFiles, layout: Layout, code: str, split: str, integrity: Integrity) -> Iterator[Entry]:
    """Yield the records of one dataset's split in the order of its listing.

    Raises:
        DataError: The listing is missing or malformed.
    """
    listing = layout.listing(code)
    for number, (key, value) in enumerate(stream_lists(files, listing, LISTS[split])):
        place = f"{listing}: {key}[{number}]"
        if key != split:
            integrity.repair("list_key", place)
        yield _entry(value, layout, code, place, integrity)


def _entry(value: Json, layout: Layout, code: str, place: str, integrity: Integrity) -> Entry:
    record = value if isinstance(value, dict) else {}
    paths = [_path(record.get(key), layout, place, integrity) for key in ("image", "label")]
    for key, path in zip(("image", "label"), paths, strict=True):
        if path is None:
            integrity.find("missing_value", place, key)
            return Entry(place=place, code=code, case=UNKNOWN, image="", label="", defect=f"the record has no {key}")
    image, label = str(paths[0]), str(paths[1])
    case = "/".join(image.split("/")[2:-1])
    defect = None if case else f"image {image} does not lie in the folder of a case"
    return Entry(place=place, code=code, case=case or UNKNOWN, image=image, label=label, defect=defect)


def _path(value: Json, layout: Layout, place: str, integrity: Integrity) -> str | None:
    """Return a path below the data root, or None if the record has none."""
    if not isinstance(value, str) or not value.strip():
        return None
    # The script that prepares the release writes paths of the machine it ran on.
    _, mark, after = value.strip().replace("\\", "/").rpartition(f"{layout.folder}/")
    if mark:
        integrity.repair("path_prefix_removed", place)
    return f"{layout.folder}/{after}"


def check_listings(files: ReleaseFiles, layout: Layout, codes: list[str], integrity: Integrity) -> list[str]:
    """Return the datasets whose listing exists, and report the others.

    Raises:
        ReleaseAbsentError: There is no listing.
    """
    found = [code for code in codes if files.has(layout.listing(code))]
    if codes and not found:
        wanted = " or ".join(layout.listing(code) for code in codes[:3])
        raise ReleaseAbsentError(f"m3d_seg: expected {wanted} below the data root, found none")
    for code in codes:
        if code not in found:
            integrity.find("missing_file", layout.listing(code), "the dataset is not asked about")
    return found

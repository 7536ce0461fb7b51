"""LLaVA-Med's alignment pairs: one instruction and one answer for each of 500,000 figures of PubMed Central.

Source of the layout: Li et al., arXiv:2306.00890; github.com/microsoft/LLaVA-Med, its download script; public loaders.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.samed2d.mecovqa_record import IMAGE_MARK, RecordParser
from harness.data.releases.selection import Selection
from harness.data.releases.train_overlap import SplitImages
from harness.errors import DataError
from harness.records import Json, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

FOLDER = "llava_med"
# The file of the release and those that others made of it ("..._filtered"), in the folders that unpacking gives.
FILE = "llava_med_alignment*.json"
FOLDERS = (FOLDER, f"{FOLDER}/alignment", f"{FOLDER}/data/alignment")
IMAGES = (f"{FOLDER}/images", f"{FOLDER}/data/images")
SUFFIX = ".jpg"  # of every image that the authors' script copies

# The keys of `domain`, which are true or false, and the modalities that they name.
MODALITIES: Mapping[str, str] = {
    "chest_xray": "xray",
    "mri": "mr",
    "ct_scan": "ct",
    "histology": "micro",
    "gross": "gross",
}


def splits(root: Path) -> tuple[str, ...]:
    """Return `train` if the file of pairs is below `root`: the release has no other split."""
    return ("train",) if listings(ReleaseFiles(root=root, derived=root)) else ()


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the file.

    Raises:
        DataError: The file is absent, or is not one JSON list.
        SpecError: `where` names no field of the records.
    """
    found = listings(files)
    if not found:
        raise DataError(f"{FOLDER}: expected {FILE} in {' or '.join(FOLDERS)}, found none. {READER.obtain}")
    if len(found) > 1:
        integrity.find("several_layouts", FOLDER, f"read as {found[0]}; also there: {', '.join(found[1:])}")
    folder = next((folder for folder in IMAGES if files.has(folder)), IMAGES[0])
    selection = Selection.of(request, ("id", "image", "modality"))
    images = SplitImages(files, request, integrity)
    ids = _Ids()
    for number, value in enumerate(stream_list(files, found[0])):
        place = f"{found[0]}[{number}]"
        parser = RecordParser(place, "alignment", integrity)
        record = value if isinstance(value, dict) else {}
        name = _image_name(parser, record)
        pair = parser.text(record.get("id")).strip() or PurePosixPath(name or str(number)).stem
        # Numbered whether or not a selection keeps the earlier ones, so that an id never depends on it.
        own = ids.of(pair)
        modality = _modality(record.get("domain"))
        selection.before += 1
        if not selection.admits({"id": pair, "image": name or "", "modality": modality}):
            continue
        selection.after += 1
        if own != pair:
            integrity.repair("repeated_id_numbered", place)
        image = images.image(place, None if name is None else f"{folder}/{name}")
        yield place, _sample(parser, record, f"{request.dataset}/{request.split}/{own}", image, modality)
    selection.report(integrity)


@dataclass(slots=True)
class _Ids:
    """The ids given so far: a repeated one gets a number behind it, whatever other ids look like."""

    last: dict[str, int] = field(default_factory=dict)
    given: set[str] = field(default_factory=set)

    def of(self, pair: str) -> str:
        own = pair
        while own in self.given:
            self.last[pair] = self.last.get(pair, 1) + 1
            own = f"{pair}/{self.last[pair]}"
        self.given.add(own)
        return own


def listings(files: ReleaseFiles) -> list[str]:
    """Return the files of pairs, that of the release first."""
    found = [f"{folder}/{name}" for folder in FOLDERS for name in files.names(folder) if fnmatchcase(name, FILE)]
    return sorted(found, key=lambda path: (len(PurePosixPath(path).name), path))


def _image_name(parser: RecordParser, record: Mapping[str, Json]) -> str | None:
    name = parser.text(record.get("image")).strip()
    if not name:
        return None  # reported where the image is looked for
    if not PurePosixPath(name).suffix:
        parser.integrity.repair("image_suffix_added", parser.place)
        return f"{name}{SUFFIX}"
    return name


def _modality(domain: Json) -> str:
    """Return the modality that `domain` names; `several` if it names more than one."""
    named = [name for key, name in MODALITIES.items() if isinstance(domain, dict) and domain.get(key) is True]
    return UNKNOWN if not named else named[0] if len(named) == 1 else "several"


def _sample(
    parser: RecordParser, record: Mapping[str, Json], sample_id: str, image: "ReleaseImage", modality: str
) -> Sample:
    question, answer = (text.strip() for text in parser.first_turn(record))
    # Some say where the image is, and nothing else.
    if not question.replace(IMAGE_MARK, "").strip():
        parser.lack("question")
    if not answer:
        parser.lack("answer")
    return Sample(
        id=sample_id,
        media=(image.media,),
        question=question,
        target=Target(answers=(answer,) if answer else ()),
        strata={"modality": modality},
        # Figures are named after their article: `17506892_F1.jpg`.
        cluster=PurePosixPath(image.media.path).name.partition("_")[0],
        defect=parser.defect or image.defect,
    )


READER = Reader(
    name="llava_med",
    version=1,
    folders=(FOLDER,),
    strata=("modality",),
    splits=splits,
    read=read,
    obtain=(
        "Download llava_med_alignment_500k.json and the images as https://github.com/microsoft/LLaVA-Med says, so that "
        f"{FOLDER}/alignment/ and {FOLDER}/images/ are below a data root."
    ),
)

"""PubMedVision: descriptions of figures of PubMed Central, and dialogues about them; all of it for training.

Source of the layout: Chen et al., arXiv:2406.19280, and the card of the release on huggingface.co.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseAbsentError, ReleaseRequest
from harness.data.releases.samed2d.mecovqa_record import IMAGE_MARK, RecordParser
from harness.data.releases.selection import Selection
from harness.data.releases.train_overlap import SplitImages
from harness.records import Sample, Target

FOLDER = "PubMedVision"
# By what the release is for: aligning words and images, and following instructions.
FILES: Mapping[str, str] = {
    "alignment": f"{FOLDER}/PubMedVision_Alignment_VQA.json",
    "instruction": f"{FOLDER}/PubMedVision_InstructionTuning_VQA.json",
}
SUBSETS = tuple(FILES)


def splits(root: Path) -> tuple[str, ...]:
    """Return `train` if a file of the release is below `root`: it has no other split."""
    return ("train",) if any((root / path).is_file() for path in FILES.values()) else ()


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the file.

    Raises:
        ReleaseAbsentError: The file of the subset is absent.
        DataError: It is not one JSON list.
        SpecError: `where` names no field of the records.
    """
    path = FILES[str(request.subset)]
    if not files.has(path):
        raise ReleaseAbsentError(f"{READER.name}: expected {path} below the data root, found none. {READER.obtain}")
    selection = Selection.of(request, ("id", "modality", "body_part"))
    images = SplitImages(files, request, integrity)
    for number, value in enumerate(stream_list(files, path)):
        place = f"{path}[{number}]"
        parser = RecordParser(place, "alignment", integrity)
        record = value if isinstance(value, dict) else {}
        own = parser.text(record.get("id")).strip() or str(number)
        strata = {
            "modality": parser.text(record.get("modality")).strip().lower() or UNKNOWN,
            "body_part": parser.text(record.get("body_part")).strip().lower() or UNKNOWN,
        }
        selection.before += 1
        if not selection.admits({"id": own, **strata}):
            continue
        selection.after += 1
        question, answer = (text.strip() for text in parser.first_turn(record))
        if not question.replace(IMAGE_MARK, "").strip():
            parser.lack("question")
        if not answer:
            parser.lack("answer")
        listed = record.get("image")
        names = listed if isinstance(listed, list) and all(isinstance(one, str) for one in listed) else []
        if not names:
            parser.lack("image")
        found = [images.image(place, f"{FOLDER}/{name}") for name in names]
        yield (
            place,
            Sample(
                # An id may occur in both files, and a record without one has its number.
                id=f"{request.dataset}/{request.split}/{request.subset}/{own}",
                media=tuple(image.media for image in found),
                question=question,
                target=Target(answers=(answer,) if answer else ()),
                strata=strata,
                # Figures are named after their article: `pmc_1234_0.jpg`.
                cluster=PurePosixPath(names[0]).stem.rpartition("_")[0] if names else own,
                defect=parser.defect or next((image.defect for image in found if image.defect), None),
            ),
        )
    selection.report(integrity)


READER = Reader(
    name="pubmedvision",
    version=1,
    folders=(FOLDER,),
    strata=("modality", "body_part"),
    splits=splits,
    read=read,
    obtain=(
        "Download https://huggingface.co/datasets/FreedomIntelligence/PubMedVision and unpack its images, so that "
        f"{FOLDER}/images/ is there; or make one with `harness construct pubmedvision`."
    ),
    subsets=SUBSETS,
)

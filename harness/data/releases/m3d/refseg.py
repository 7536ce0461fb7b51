"""M3D-RefSeg: volumes with annotated regions, each asked for by a description or by a question that needs reasoning.

Source of the layout: Bai et al., arXiv:2404.00578, the released files and the code that prepares and reads them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseAbsentError, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.tables import stream_csv
from harness.imaging.target_size import target_size
from harness.records import Entity, Json, Mask, Media, Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage
    from harness.data.releases.volumes import Labels

PREPARED, RAW = "M3D_RefSeg_npy", "M3D_RefSeg"
NIFTI, NPY = ".nii.gz", ".npy"
# Names of the table of each split; the released code reads all of it under a name that the release does not have.
TABLES: Mapping[str, tuple[str, ...]] = {
    "train": ("M3D_RefSeg_train.csv",),
    "test": ("M3D_RefSeg_test.csv",),
    "all": ("M3D_RefSeg_all.csv", "M3D_RefSeg.csv"),
}
COLUMNS = ("Image", "Mask", "Mask_ID", "Question_Type", "Question", "Answer")
QUESTION_TYPES: Mapping[str, str] = {"0": "description", "1": "reasoning"}

FIELDS = ("modality", "case", "question_type", "target_size")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One row of a table after repairs.

    Attributes:
        place: Table and number of the row, for messages.
        number: Number of the row, from 0.
        case: Folder of the volume.
        image, mask: Paths below the data root; empty if the row has none.
        region: Value of the region in the mask; None if the row names none.
        question_type: `description`, `reasoning` or `unknown`.
        question, answer: As released; empty if the row has none.
        defect: Why it cannot be asked, judged by the row alone; None if it can.
    """

    place: str
    number: int
    case: str
    image: str
    mask: str
    region: int | None
    question_type: str
    question: str
    answer: str
    defect: str | None


def splits(root: Path) -> tuple[str, ...]:
    """Return all splits; a split whose table is missing is an error when it is read, which names the table."""
    del root
    return tuple(TABLES)


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) in the order of the table.

    Raises:
        ReleaseAbsentError: The table of the split is missing.
        DataError: The table is malformed.
        SpecError: `where` names no field of the samples.
    """
    selection = Selection.of(request, FIELDS)
    folders = [folder for folder in (PREPARED, RAW) if files.has(folder)]
    if len(folders) > 1:
        integrity.find("several_layouts", RAW, f"{PREPARED} is read")
    table = _table(files, folders[0], request.split)
    if table is None:
        wanted = f"{folders[0]}/{TABLES[request.split][0]}"
        raise ReleaseAbsentError(f"{READER.name}: expected {wanted} below the data root, found none. {READER.obtain}")
    reading = _Reading(files=files, request=request, integrity=integrity, selection=selection)
    for row in _rows(files, table, folders[0], integrity):
        sample = reading.sample(row)
        if sample is not None:
            yield row.place, sample
    selection.report(integrity)
    # The split is by row, so a region of test may be one of train in other words.
    if request.split == "test":
        _find_overlap(files, folders[0], reading.regions, integrity)


def _table(files: ReleaseFiles, folder: str, split: str) -> str | None:
    """Return the path of a split's table, or None if there is none."""
    # In the layout's folder, in the raw one, or beside both as on the hub.
    places = (f"{base}{name}" for name in TABLES[split] for base in (f"{folder}/", f"{RAW}/", ""))
    return next((place for place in places if files.has(place)), None)


def _rows(files: ReleaseFiles, table: str, folder: str, integrity: Integrity) -> Iterator[_Row]:
    for number, record in enumerate(stream_csv(files, table, COLUMNS)):
        yield _row(record, f"{table}[{number}]", number, folder, integrity)


def _row(record: Mapping[str, str], place: str, number: int, folder: str, integrity: Integrity) -> _Row:
    """Return a row with known defects repaired, and report what it lacks."""
    lacking = [name for name in COLUMNS if not record[name]]
    # Whole numbers above 0, which pandas may have written as 2.0; nine digits are more than any mask needs.
    digits = record["Mask_ID"].removesuffix(".0")
    region = int(digits) or None if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
    if region is None and "Mask_ID" not in lacking:
        lacking.append("Mask_ID")
    for name in lacking:
        integrity.find("missing_value", place, name)
    image, mask = (_path(record[name], folder, place, integrity) for name in ("Image", "Mask"))
    kind = record["Question_Type"].removesuffix(".0")
    if kind and kind not in QUESTION_TYPES:
        integrity.find("unknown_value", place, f"Question_Type {kind!r}, expected 0 or 1")
    needed = [name for name in lacking if name not in ("Question_Type", "Answer")]
    return _Row(
        place=place,
        number=number,
        case="/".join(image.split("/")[1:-1]) or UNKNOWN,
        image=image,
        mask=mask,
        region=region,
        question_type=QUESTION_TYPES.get(kind, UNKNOWN),
        question=record["Question"],
        answer=record["Answer"],
        defect=f"the row has no {needed[0]}" if needed else None,
    )


def _path(text: str, folder: str, place: str, integrity: Integrity) -> str:
    """Return a path below the data root, or an empty string if the row has none."""
    if not text:
        return ""
    _, mark, after = text.replace("\\", "/").rpartition(f"{folder}/")
    if mark:
        integrity.repair("path_prefix_removed", place)
    # Tables of the prepared release name the NIfTI files of the raw one; users replace the suffix by hand.
    if folder == PREPARED and after.endswith(NIFTI):
        integrity.repair("nifti_suffix_replaced", place)
        after = after.removesuffix(NIFTI) + NPY
    return f"{folder}/{after}"


def _find_overlap(files: ReleaseFiles, folder: str, regions: set[tuple[str, int]], integrity: Integrity) -> None:
    """Report the regions that train asks about too."""
    table = _table(files, folder, "train")
    if table is None:
        integrity.find(
            "not_checked", f"{folder}/{TABLES['train'][0]}", "no train table, so its overlap was not checked"
        )
        return
    integrity.checked["train_test_overlap"] = len(regions)
    train = {(row.mask, row.region) for row in _rows(files, table, folder, Integrity())}
    for mask, region in sorted(regions):
        if (mask, region) in train:
            integrity.find("train_test_overlap", f"{mask}: {region}", f"the same region in {table}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One reading of the release, with the fields that all rows share.

    Attributes:
        regions: (mask, region) of the samples so far.
        volumes: The volumes inspected so far, by path.
        labels: The masks inspected so far by path, or why they cannot be used.
    """

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    selection: Selection
    regions: set[tuple[str, int]] = field(default_factory=set)
    volumes: "dict[str, ReleaseImage]" = field(default_factory=dict)
    labels: "dict[str, Labels | str]" = field(default_factory=dict)

    def sample(self, row: _Row) -> Sample | None:
        """Return the sample of a row, or None if the selection does not keep it."""
        from harness.imaging.masks import area

        self.selection.before += 1
        fields: dict[str, Json] = {"modality": "ct", "case": row.case, "question_type": row.question_type}
        if not self.selection.admits(fields):
            return None
        volume = self._image(row)
        mask, defect = self._mask(row, volume.media)
        covered, grid = 0 if mask is None else area(mask), (volume.media.spacing_mm, volume.media.affine)
        sized = None if mask is None or not covered else target_size(covered, mask.size, *grid)
        fields["target_size"] = sized or UNKNOWN
        if not self.selection.admits(fields):
            return None
        self.selection.after += 1
        if row.region is not None:
            self.regions.add((row.mask, row.region))
        return Sample(
            id=f"{self.request.dataset}/{self.request.split}/{row.case}/{row.region or 0}#{row.number}",
            media=(volume.media,),
            question=row.question,
            target=Target(
                answers=(row.answer,) if row.answer else (),
                entities=(Entity(name="region", mask=mask),),
                absent=mask is not None and not covered,
            ),
            strata={key: str(fields[key]) for key in READER.strata},
            cluster=row.case,
            defect=volume.defect or row.defect or defect,
        )

    def _image(self, row: _Row) -> "ReleaseImage":
        from harness.data.releases.images import ReleaseImage  # numpy loads when a release is read, not listed
        from harness.data.releases.volumes import inspect_scan

        if not row.image:
            return ReleaseImage(media=Media(path=row.place, sha256=None, kind="volume"), defect=row.defect)
        if row.image not in self.volumes:
            found = inspect_scan(self.files, row.image, window=self.request.window, integrity=self.integrity)
            self.volumes[row.image] = found
        return self.volumes[row.image]

    def _mask(self, row: _Row, media: Media) -> tuple[Mask | None, str | None]:
        """Return (mask of the region, why it is not known); one of the two is None."""
        from harness.data.releases.volumes import inspect_labels
        from harness.imaging.masks import empty

        if not row.mask or row.region is None:
            return None, row.defect
        if row.mask not in self.labels:
            self.labels[row.mask] = inspect_labels(self.files, row.mask, media, integrity=self.integrity)
        found = self.labels[row.mask]
        if isinstance(found, str):
            return None, found
        if row.region in found.masks:
            return found.masks[row.region], None
        # The released preparation resizes masks by nearest neighbour, which erases small regions; reported once each.
        if (row.mask, row.region) not in self.regions:
            self.integrity.find("empty_mask", f"{row.mask}: {row.region}", "the region has no voxel", image=media.path)
        return empty(found.size), None


READER = Reader(
    name="m3d_refseg",
    version=2,
    folders=(f"{PREPARED}|{RAW}",),
    strata=("modality", "question_type", "target_size"),
    splits=splits,
    read=read,
    obtain=(
        "Download M3D-RefSeg from https://huggingface.co/datasets/GoodBaiBai88/M3D-RefSeg and unpack it as "
        f"{RAW}/ with its tables inside, or prepare it with the authors' script as {PREPARED}/."
    ),
)

"""Folders of DICOM series with a DICOM SEG: the series becomes a volume, and each segment of the SEG a question.

Models and records see a copy of the volume without any identifier. Folder names are part of the sample ids.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from os.path import commonpath
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.folders.patterns import folder_option, matcher, pattern_fault
from harness.data.releases.reader import ALL, UNKNOWN, Free, Reader, ReleaseRequest
from harness.errors import DataError
from harness.records import Media, Sample

if TYPE_CHECKING:
    from harness.data.releases.folders.labelled_cases import Part
    from harness.data.releases.images import ReleaseImage
    from harness.imaging.dicom.headers import Header, Series
    from harness.imaging.dicom.series import Stack

FOLDER = "dicom_seg"


@dataclass(frozen=True, slots=True)
class _Folder:
    """A case, whose DICOM files are below `path`, in any folders.

    Attributes:
        path: Folder below the data root.
        parts: The parts of its path, by their names in the pattern.
    """

    path: str
    parts: Mapping[str, str]


def _folders(files: ReleaseFiles, folder: str, pattern: str) -> Iterator[_Folder]:
    """Yield the folders that match a pattern, sorted."""
    # A pattern holds no `*` across folders, so its depth is known and only folders of that depth are listed.
    below = [""]
    for _ in range(pattern.count("/") + 1):
        below = [f"{path}/{name}" for path in below for name in sorted(files.folders(f"{folder}{path}"))]
    for path in below:
        match = matcher(pattern).fullmatch(path[1:])
        if match is not None:
            yield _Folder(f"{folder}{path}", match.groupdict())


def splits(request: ReleaseRequest, root: Path) -> tuple[str, ...]:
    """Return the values of `{split}` in the folders of cases, or `all` if the pattern does not hold it."""
    pattern, folder = str(READER.option(request, "cases")), str(READER.option(request, "folder")).rstrip("/")
    if "{split}" not in pattern:
        return (ALL,)
    found = _folders(ReleaseFiles(root=root, derived=root), folder, pattern)
    return tuple(sorted({case.parts["split"] for case in found}))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of every segment of every case, in the order of the folders.

    Raises:
        SpecError: `where` names no field of the samples.
    """
    # Imported here, because numpy should load when a release is read, not when readers are listed.
    from harness.data.releases.folders.labelled_cases import Case, Questions

    folder = str(READER.option(request, "folder")).rstrip("/")
    questions = Questions(request, integrity)
    for case in _folders(files, folder, str(READER.option(request, "cases"))):
        if case.parts.get("split", request.split) != request.split:
            continue
        reading = _Reading(files, request, integrity, case.path)
        for path, modality, image, parts in reading.series():
            yield from questions.samples(
                Case(
                    path=path.removeprefix(f"{folder}/"),
                    patient=case.parts.get("patient", ""),
                    modality=modality,
                    image=image,
                    parts=parts,
                )
            )
    questions.selection.report(integrity)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One reading of a case."""

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    path: str

    def series(self) -> "Iterator[tuple[str, str, ReleaseImage, list[Part]]]":
        """Yield (path, modality, volume, segments) of each series that has a segmentation."""
        from harness.imaging.dicom.headers import group_series

        headers = self._headers()
        found_segmentations = sorted((one for one in headers if one.is_seg), key=lambda one: one.where)
        if not found_segmentations:
            if headers:
                self.integrity.find("no_mask", self.path)
            return
        series = group_series(headers)
        chosen = self._chosen(series, found_segmentations)
        asked = [place for place, _ in chosen]
        others = [_described(one) for place, one in enumerate(series) if place not in asked]
        if others:
            kept = ", ".join(_described(one) for place, one in enumerate(series) if place in asked)
            detail = f"asked about {kept}; beside it {', '.join(others)}"
            self.integrity.find("other_series", self.path, detail)
        # A series is called by the folder that holds all of its files; two that share a folder also by their number.
        paths = [
            self.path
            if place is None
            else commonpath([str(PurePosixPath(header.where).parent) for header in series[place].headers])
            for place in asked
        ]
        for path, (place, segmentations) in zip(paths, chosen, strict=True):
            found = None if place is None else series[place]
            named = path if found is None or paths.count(path) == 1 else f"{path}#{found.first.number}"
            image, stack = self._volume(found, named)
            modality = UNKNOWN if found is None else found.first.modality
            yield named, modality, image, self._parts(segmentations, stack)

    def _headers(self) -> "list[Header]":
        """Return the headers of the images and segmentations of the case; other files are reported."""
        from harness.imaging.dicom.headers import read_header

        headers: list[Header] = []
        for path in self.files.walk(self.path):
            try:
                header = read_header(self.files.open(path), path)
            except DataError as error:
                self.integrity.find("unreadable_file", path, str(error).removeprefix(f"{path}: "))
                continue
            if header is None:
                self.integrity.find("not_dicom", path)
            else:
                headers.append(header)
        return headers

    def _chosen(
        self, series: "Sequence[Series]", segmentations: "Sequence[Header]"
    ) -> "list[tuple[int | None, list[Header]]]":
        """Return the segmentations of each series: the series that they refer to, else the one with the most slices."""

        def place(header: "Header") -> int:
            # `group_series` puts the series with the most slices first, so -1 becomes place 0 below.
            return next((at for at, one in enumerate(series) if one.first.series in header.references), -1)

        for header in segmentations:
            if series and place(header) < 0:
                detail = "it names no series of its folder, so it is laid on the one with most slices"
                self.integrity.find("segmentation_remark", header.where, detail)
        ordered = sorted(segmentations, key=lambda header: max(place(header), 0))
        grouped = groupby(ordered, key=lambda header: max(place(header), 0))
        return [(at if series else None, list(members)) for at, members in grouped]

    def _volume(self, series: "Series | None", path: str) -> "tuple[ReleaseImage, Stack | None]":
        """Return the volume of a series and the positions of its slices, and report its faults."""
        import numpy as np

        from harness.data.releases.images import ReleaseImage
        from harness.data.releases.volumes import derived_volume, report_slices
        from harness.imaging import volumes
        from harness.imaging.dicom.series import read_voxels, stack

        no_volume = Media(path=path, sha256=None, kind="volume")
        if series is None:
            self.integrity.find("missing_file", path, "a segmentation without any series")
            return ReleaseImage(media=no_volume, defect=f"{path} holds no series that its segmentation lies on"), None
        try:
            found = stack(series.headers, path)
            report_slices(path, found, self.integrity)
            if found.fault:
                return ReleaseImage(media=no_volume, defect=f"series {path}: {found.fault}"), None
            # Checked before any pixel is read, because the headers give the shape.
            volumes.check(found.shape, np.dtype(np.float32), path)
            volume = volumes.closest_canonical(read_voxels(found, self.files.open), found.affine)
            return derived_volume(self.files, volume, path, window=self.request.window), found
        except DataError as error:
            self.integrity.find("unreadable_file", path, str(error).removeprefix(f"{path}: "))
        except MemoryError:
            self.integrity.find("unreadable_file", path, "too large for the memory of this machine")
        return ReleaseImage(media=no_volume, defect=f"series {path} cannot be read"), None

    def _parts(self, segmentations: "Sequence[Header]", stack: "Stack | None") -> "list[Part]":
        """Return the segments of all segmentations of a series; of several with one name, the first."""
        parts: dict[str, Part] = {}
        for header in segmentations:
            for part in self._segments(header, stack):
                if part.label in parts:
                    detail = f"'{part.label}' is in another file of this series too, which counts"
                    self.integrity.find("segmentation_remark", header.where, detail)
                else:
                    parts[part.label] = part
        return list(parts.values())

    def _segments(self, header: "Header", stack: "Stack | None") -> "list[Part]":
        import numpy as np

        from harness.data.releases.folders.labelled_cases import Part
        from harness.imaging.dicom.segmentations import read_labels, read_segmentation
        from harness.imaging.masks import encode
        from harness.imaging.volumes import closest_canonical

        defect = f"segmentation {header.where} cannot be read"
        labels: tuple[str, ...] = (UNKNOWN,)
        try:
            labels = read_labels(header, self.files.open)
            if stack is None:
                return [Part(label=label, defect="there is no volume to lie on") for label in labels]
            read = read_segmentation(header, stack, self.files.open, resample=True)
        except DataError as error:
            self.integrity.find("unreadable_file", header.where, str(error).removeprefix(f"{header.where}: "))
            return [Part(label=label, defect=defect) for label in labels]
        for remark in read.remarks:
            self.integrity.find("segmentation_remark", header.where, remark)
        if read.resampled:
            self.integrity.find("resampled_mask", header.where, read.resampled)
        if read.conflict:
            self.integrity.find("geometry_conflict", header.where, read.conflict)
        parts = []
        for segment in read.segments:
            if segment.lost:
                lost = f"'{segment.label}' is nearest to no voxel of its series"
                self.integrity.find("resampled_mask", header.where, lost)
                parts.append(Part(label=segment.label, defect=f"segmentation {header.where}: {lost}"))
                continue
            if not segment.voxels.any():
                self.integrity.find("empty_mask", header.where, segment.label)
            # Reoriented as the volume was, so that mask and volume share a frame.
            placed = np.asarray(closest_canonical(segment.voxels, stack.affine).voxels > 0)
            parts.append(Part(label=segment.label, mask=encode(placed)))
        return parts


def _described(series: "Series") -> str:
    first = series.first
    slices = "slice" if series.slices == 1 else "slices"
    return f"series {first.number} ({first.modality}, {series.slices} {slices} of {first.rows} x {first.columns})"


def _fit(request: ReleaseRequest) -> Reader:
    folder = str(READER.option(request, "folder")).rstrip("/")
    return replace(READER, folders=(folder,), splits=partial(splits, request))


READER = Reader(
    name="dicom_seg",
    version=2,
    folders=(FOLDER,),
    strata=("modality", "class", "target_size", "presence"),
    splits=lambda _: (ALL,),
    read=read,
    obtain=(
        "Put a folder per patient there, each with a DICOM series and a DICOM SEG, or name another folder with "
        "release.options.folder; see docs/your-own-data.md."
    ),
    options={
        "folder": folder_option(FOLDER),
        "cases": Free(
            default="{patient}", fault=partial(pattern_fault, ("split", "patient", "case"), wild=False, needs="")
        ),
    },
    fit=_fit,
)

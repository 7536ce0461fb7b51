"""M3D-Seg: volumes asked about by class name or definition, for a mask, for a box, or for the class inside a box.

Source of the layout: Bai et al., arXiv:2404.00578, the released files and the code that prepares and reads them.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.m3d.seg_layout import (
    PREPARED,
    RAW,
    SOURCES,
    TERMS,
    Entry,
    Layout,
    check_listings,
    find_layout,
    read_classes,
    read_entries,
    read_terms,
)
from harness.data.releases.m3d.wording import AUTHORS, OURS, Asks, Kind, Wording, chosen, read_wording
from harness.data.releases.reader import UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.imaging.target_size import target_size
from harness.records import Json, Media, Sample

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage
    from harness.data.releases.m3d.seg_questions import Scene

SPLITS = ("train", "test")
# For each subset the thing asked for, and the kinds of question; if there are two kinds, ids end in `#<kind>`.
SUBSETS: Mapping[str, tuple[Asks, tuple[Kind, ...]]] = {
    "category": ("segmentation", ("category",)),
    "definition": ("segmentation", ("definition",)),
    "rec": ("rec", ("category", "definition")),
    "reg": ("reg", ("category", "definition")),
}

FIELDS = ("modality", "source", "code", "case", "class", "kind", "presence", "target_size", "wording")
SENTENCE, NAME = "sentence", "name"


def splits(root: Path) -> tuple[str, ...]:
    """Return both splits; the datasets that hold them are known only when they are read."""
    del root
    return SPLITS


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample), the datasets by code, in the order of their listings.

    Raises:
        ReleaseAbsentError: No listing of a wanted dataset is there.
        DataError: A JSON file is missing or malformed.
        SpecError: `where` names no field of the samples.
    """
    selection = Selection.of(request, FIELDS)
    layout = find_layout(files, integrity)
    classes = read_classes(files, layout, integrity)
    asks, kinds = SUBSETS[str(request.subset)]
    reading = _Reading(
        files=files,
        request=request,
        integrity=integrity,
        layout=layout,
        wording=read_wording(files, layout.folder, str(READER.option(request, "wording"))),
        terms=read_terms(files, layout) if "definition" in kinds else {},
        asks=asks,
        kinds=kinds,
        selection=selection,
    )
    wanted = [code for code in sorted(classes) if selection.admits(_dataset_fields(code))]
    for code in check_listings(files, layout, wanted, integrity):
        yield from reading.samples(code, classes[code])
    selection.report(integrity)


def _dataset_fields(code: str) -> dict[str, Json]:
    return {"modality": "ct", "code": code, "source": SOURCES.get(code, code).lower()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reading:
    """One reading of the release, with the fields that all records share.

    Attributes:
        volumes: The volume inspected last, by its path.
        undefined: Classes found to have no definition, so that each is reported once.
    """

    files: ReleaseFiles
    request: ReleaseRequest
    integrity: Integrity
    layout: Layout
    wording: Wording
    terms: Mapping[str, Sequence[str]]
    asks: Asks
    kinds: tuple[Kind, ...]
    selection: Selection
    volumes: "dict[str, ReleaseImage]" = field(default_factory=dict)
    undefined: set[str] = field(default_factory=set)

    def samples(self, code: str, names: Sequence[str]) -> Iterator[tuple[str, Sample]]:
        """Yield (place, sample) of one dataset."""
        listed: Counter[str] = Counter()
        for entry in read_entries(self.files, self.layout, code, self.request.split, self.integrity):
            for scene in self._scenes(entry, names):
                listed[entry.case] += 1
                for kind in self.kinds:
                    sample = self._sample(scene, kind)
                    if sample is not None:
                        yield entry.place, sample
        self._find_unlisted(code, listed, len(names))
        self._find_overlap(code, set(listed))

    def _scenes(self, entry: Entry, names: Sequence[str]) -> "Iterator[Scene]":
        """Yield the classes of a record: one for a prepared mask, all for a raw one."""
        # Imported here, because numpy should load when a release is read, not when readers are listed.
        from harness.data.releases.images import ReleaseMask
        from harness.data.releases.m3d.seg_masks import inspect_class
        from harness.data.releases.m3d.seg_questions import Scene

        volume = self._image(entry)
        if not self.layout.prepared:
            yield from self._raw_scenes(entry, volume, names)
            return
        index = entry.class_index
        defect = volume.defect or entry.defect
        if index is None or index >= len(names):
            kind = "unparsable_name" if index is None else "unknown_class"
            self.integrity.find(kind, entry.label or entry.place)
            defect = defect or f"mask {entry.label} does not tell a class of dataset {entry.code}"
            stem = entry.label.rpartition("/")[2].removesuffix(".npy") or entry.place
            yield Scene(entry=entry, volume=volume, index=-1, name=stem, release_mask=ReleaseMask(), defect=defect)
            return
        release_mask = inspect_class(self.files, entry.label, volume.media.size, self.integrity)
        defect = defect or release_mask.defect
        yield Scene(
            entry=entry, volume=volume, index=index, name=names[index], release_mask=release_mask, defect=defect
        )

    def _raw_scenes(self, entry: Entry, volume: "ReleaseImage", names: Sequence[str]) -> "Iterator[Scene]":
        from harness.data.releases.images import ReleaseMask
        from harness.data.releases.m3d.seg_masks import inspect_sparse
        from harness.data.releases.m3d.seg_questions import Scene

        shape, defect = entry.dense_shape, volume.defect or entry.defect
        found: tuple[ReleaseMask, ...] | str = f"the name of mask {entry.label} does not tell its shape"
        if entry.defect is None and shape is None:
            self.integrity.find("unparsable_name", entry.label)
        elif shape is not None:
            found = inspect_sparse(self.files, entry.label, shape, volume.media.size, self.integrity)
        if shape is not None and shape[0] > len(names):
            self.integrity.find("unknown_class", entry.label, f"{shape[0]} classes, {len(names)} have names")
        for index, name in enumerate(names if shape is None else names[: shape[0]]):
            release_mask = ReleaseMask(defect=found) if isinstance(found, str) else found[index]
            reason = defect or release_mask.defect
            yield Scene(entry=entry, volume=volume, index=index, name=name, release_mask=release_mask, defect=reason)

    def _image(self, entry: Entry) -> "ReleaseImage":
        """Return the volume of a record; a raw one is stored as (x, y, z) and gets the axes `xyz`."""
        from harness.data.releases.images import ReleaseImage
        from harness.data.releases.volumes import inspect_scan

        if entry.image not in self.volumes:
            self.volumes.clear()  # the classes of a volume follow each other
            if not entry.image:
                return ReleaseImage(media=Media(path=entry.place, sha256=None, kind="volume"), defect=entry.defect)
            volume = inspect_scan(self.files, entry.image, window=self.request.window, integrity=self.integrity)
            if not self.layout.prepared:
                media = replace(volume.media, size=volume.media.size[::-1], axes="xyz")
                volume = replace(volume, media=media)
            self.volumes[entry.image] = volume
        return self.volumes[entry.image]

    def _sample(self, scene: "Scene", kind: Kind) -> Sample | None:
        """Return one question, or None if the selection does not keep it."""
        from harness.data.releases.m3d.seg_questions import Questioner

        self.selection.before += 1
        fields = self._fields(scene, kind)
        if not self.selection.admits(fields):
            return None
        self.selection.after += 1
        ending = f"#{kind}" if len(self.kinds) > 1 else ""
        part = scene.index if scene.index >= 0 else scene.name
        sample_id = f"{self.request.dataset}/{self.request.split}/{scene.entry.code}/{scene.entry.case}/{part}{ending}"
        definition = self._definition(scene, kind, sample_id)
        lacking = None if definition is not None else f"class {scene.name!r} has no definition"
        questioner = Questioner(
            wording=self.wording,
            asks=self.asks,
            kind=kind,
            sample_id=sample_id,
            definition=definition or "",
            named=READER.option(self.request, "answer") == NAME,
        )
        return Sample(
            id=sample_id,
            media=(scene.volume.media,),
            question=questioner.question(scene),
            visual_prompts=(scene.box,) if self.asks == "reg" and scene.box is not None else (),
            target=questioner.target(scene),
            strata={key: str(fields[key]) for key in READER.strata},
            cluster=f"{scene.entry.code}/{scene.entry.case}",
            defect=scene.defect or lacking,
        )

    def _fields(self, scene: "Scene", kind: Kind) -> dict[str, Json]:
        mask, area = scene.release_mask.mask, scene.release_mask.area
        return {
            **_dataset_fields(scene.entry.code),
            "case": scene.entry.case,
            "class": scene.name.lower(),
            "kind": kind,
            "presence": UNKNOWN if mask is None else "present" if area else "absent",
            "target_size": target_size(area, mask.size) if mask is not None and area else UNKNOWN,
            "wording": self.wording.name,
        }

    def _definition(self, scene: "Scene", kind: Kind, sample_id: str) -> str | None:
        """Return the definition that a question or answer needs: empty if it needs none, None if it is missing."""
        if kind == "category" or scene.index < 0:
            return ""
        terms = self.terms.get(scene.name, ())
        if not terms and scene.name not in self.undefined:
            self.undefined.add(scene.name)
            self.integrity.find("missing_value", f"{TERMS}: {scene.name}", "no definition")
        if not terms:
            return None
        return chosen(terms, sample_id, TERMS).strip()

    def _find_unlisted(self, code: str, listed: Mapping[str, int], classes: int) -> None:
        """Report cases of test with fewer masks than classes."""
        # In train the release lists only the classes that are present; test should ask about absent ones too.
        for case, count in listed.items():
            if self.request.split == "test" and count < classes:
                where = f"{self.layout.folder}/{code}/{case}"
                self.integrity.find("class_not_listed", where, f"{classes - count} of {classes} classes")

    def _find_overlap(self, code: str, cases: set[str]) -> None:
        if self.request.split != "test":
            return
        self.integrity.checked["train_test_overlap"] += len(cases)
        silent = Integrity()  # of its repairs only the spelling of the list's key belongs to this report
        train = {entry.case for entry in read_entries(self.files, self.layout, code, "train", silent)}
        for place in silent.examples.get("list_key", ())[:1]:
            self.integrity.repair("list_key", place)
        for case in sorted(cases & train):
            self.integrity.find("train_test_overlap", f"{self.layout.folder}/{code}/{case}", "in train too")


READER = Reader(
    name="m3d_seg",
    version=2,
    folders=(f"{PREPARED}|{RAW}",),
    strata=("modality", "source", "class", "kind", "presence", "target_size", "wording"),
    splits=splits,
    read=read,
    obtain=(
        "Download M3D-Seg from https://huggingface.co/datasets/GoodBaiBai88/M3D-Seg and unpack it as "
        f"{RAW}/, or prepare it with the authors' script as {PREPARED}/, with dataset_info.json and "
        "term_dictionary.json inside."
    ),
    subsets=tuple(SUBSETS),
    options={"wording": (AUTHORS, OURS), "answer": (SENTENCE, NAME)},
)

"""The pipeline `m3d-positioning`: boxes of classes, asked for by name or definition, and classes inside boxes.

Source: Bai et al., arXiv:2404.00578, section 3.3. All words are templates: the authors' code fills them in training and
they release no table, so ours (`M3D_Pos/`) has a layout of its own beside M3D-Seg in theirs.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

from harness.data.construction.checks.checked_item import CheckedItem, CheckedMask, Limits
from harness.data.construction.checks.checklist import item_checks
from harness.data.construction.listing import file_digest
from harness.data.construction.m3d.seg_release import SPLITS, SegRelease
from harness.data.construction.outputs.release_files import CsvFile, CsvTables
from harness.data.construction.pipeline import (
    Candidate,
    Draft,
    Inputs,
    Outcome,
    Pipeline,
    Read,
    ReadBack,
    ReleaseFolder,
    checked_by,
    selected_by,
)
from harness.data.construction.records import Item, ItemMask, Rejection, Source
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.images import ReleaseMask
from harness.data.releases.m3d.seg import READER
from harness.data.releases.m3d.seg_layout import (
    SOURCES,
    TERMS,
    Entry,
    Layout,
    find_layout,
    read_classes,
    read_entries,
    read_terms,
)
from harness.data.releases.m3d.seg_masks import inspect_class, inspect_sparse
from harness.data.releases.m3d.wording import AUTHORS, Asks, Kind, Wording, chosen, packaged_wording, read_wording
from harness.data.releases.volumes import inspect_scan
from harness.records import Json, Media
from harness.text.boxes import Corners, m3d_corners, m3d_text

FOLDER = "M3D_Pos"
TABLES = {split: f"{FOLDER}/M3D_Pos_{split}.csv" for split in SPLITS}
COLUMNS = ("Image", "Mask", "Class_ID", "Class", "Task", "Question_Type", "Question", "Answer")
ASKED: tuple[tuple[Asks, Kind], ...] = (
    ("rec", "category"),
    ("rec", "definition"),
    ("reg", "category"),
    ("reg", "definition"),
)
LIMITS = Limits(question_words=120, answer_words=120)


def sources(inputs: Inputs) -> Iterator[Candidate]:
    """List the classes of all volumes, dataset by dataset in the order of its listing."""
    files = ReleaseFiles(root=inputs.root, derived=inputs.cache / "derived")
    layout = find_layout(files, Integrity())
    classes = read_classes(files, layout, Integrity())
    for code in sorted(classes):
        if not files.has(layout.listing(code)):
            continue
        for split in SPLITS:
            for entry in read_entries(files, layout, code, split, Integrity()):
                index, shape = entry.class_index, entry.dense_shape
                indices = range(shape[0]) if shape is not None else [] if index is None else [index]
                for one in indices:
                    if one < len(classes[code]):
                        load = partial(_load, files, inputs, layout, entry, split, one, classes[code][one])
                        yield Candidate(id=f"{code}/{entry.case}/{one}", load=load)


def _load(
    files: ReleaseFiles, inputs: Inputs, layout: Layout, entry: Entry, split: str, index: int, name: str
) -> Source:
    paths = [path for path in (entry.image, entry.label) if path and files.has(path)]
    digests = {path: file_digest(files.path(path), inputs.cache) for path in paths}
    media = _volume(str(inputs.root), entry.image, digests.get(entry.image, ""), layout.prepared)
    mask = _mask(files, inputs, layout, entry, index, media, digests.get(entry.label, ""))
    corners = m3d_corners(mask.mask) if mask.mask is not None and mask.area else None
    definitions = [text.strip() for text in _terms(str(inputs.root), layout.folder).get(name, ())]
    wording = _wording(str(inputs.root), layout.folder)
    source_id = f"{entry.code}/{entry.case}/{index}"
    return Source(
        id=source_id,
        media=(media,) if media.size else (),
        inputs=digests,
        facts={
            "code": entry.code,
            "case": entry.case,
            "index": index,
            "class": name,
            "label": entry.label,
            "corners": list(corners or ()),
            "wording": wording.name,
            "asked": _worded(source_id, wording, name, definitions, corners) if corners else [],
            "area": mask.area,
            "fault": entry.defect or mask.defect or "",
        },
        cluster=f"{entry.code}/{entry.case}",
        split=split,
        origin=SOURCES.get(entry.code, entry.code),
        strata={"class": name, "dataset": SOURCES.get(entry.code, entry.code)},
    )


def _mask(
    files: ReleaseFiles, inputs: Inputs, layout: Layout, entry: Entry, index: int, media: Media, digest: str
) -> ReleaseMask:
    shape = entry.dense_shape
    if layout.prepared or shape is None:
        return inspect_class(files, entry.label, media.size, Integrity())
    found = _sparse(str(inputs.root), entry.label, shape, media.size, digest)
    return ReleaseMask(defect=found) if isinstance(found, str) else found[index]


# The classes of a volume follow each other, so of volumes and sparse masks only the last is kept.
@lru_cache(maxsize=1)
def _volume(root: str, path: str, digest: str, prepared: bool) -> Media:
    files = ReleaseFiles(root=Path(root), derived=Path(root))
    if not digest:
        return Media(path=path, sha256=None, kind="volume")
    media = inspect_scan(files, path, window=None, integrity=Integrity()).media
    size = media.size if prepared else media.size[::-1]
    return Media(path=path, sha256=digest, kind="volume", size=size, spacing_mm=media.spacing_mm)


@lru_cache(maxsize=1)
def _sparse(
    root: str, path: str, shape: tuple[int, int, int, int], size: tuple[int, ...], digest: str
) -> tuple[ReleaseMask, ...] | str:
    del digest  # part of the key: the file may be another
    return inspect_sparse(ReleaseFiles(root=Path(root), derived=Path(root)), path, shape, size, Integrity())


@lru_cache(maxsize=1)
def _terms(root: str, folder: str) -> dict[str, list[str]]:
    files = ReleaseFiles(root=Path(root), derived=Path(root))
    there = any(files.has(path) for path in (f"{folder}/{TERMS}", TERMS))
    return read_terms(files, Layout(folder=folder)) if there else {}


@lru_cache(maxsize=1)
def _wording(root: str, folder: str) -> Wording:
    return read_wording(ReleaseFiles(root=Path(root), derived=Path(root)), folder, AUTHORS)


def _worded(source_id: str, wording: Wording, name: str, definitions: Sequence[str], corners: Corners) -> list[Json]:
    """Return the questions and answers on a class, by what is asked for and what the class is called by."""
    box, found = wording.boxed(m3d_text(corners)), list[Json]()
    for asks, kind in ASKED:
        item_id = f"{source_id}#{asks}-{kind}"
        if kind == "definition" and not definitions:
            continue
        definition = chosen(definitions, item_id, TERMS) if kind == "definition" else ""
        prefix = "cls" if kind == "category" else "des"
        # As in the released code: the answer to a definition says the class, too, and that to a box its definition.
        named = (name, *([definition] if definition else []))
        said = named if asks == "reg" else (*([name] if definition else []), box)
        found.append(
            {
                "asks": asks,
                "by": kind,
                "definition": definition,
                "question": wording.words(
                    asks, f"{prefix}_questions", item_id, box if asks == "reg" else definition or name
                ),
                "answer": wording.words(asks, f"{prefix}_answers", item_id, *said),
            }
        )
    return found


def make_items(draft: Draft) -> Outcome:
    """Make up to four items of a class: box or class asked for, by name or by definition."""
    source, facts = draft.source, draft.source.facts
    name = str(facts["class"])
    mask = ItemMask(name=name, path=str(facts["label"]), value=int(facts["index"]), area=int(facts["area"]))
    items = [
        Item(
            id=f"{source.id}#{one['asks']}-{one['by']}",
            source=source,
            kind=one["asks"],
            question=one["question"],
            answer=one["answer"],
            masks=(mask,),
            fields={"asks": one["asks"], "by": one["by"], "definition": one["definition"]},
            template=f"m3d_bench/wording/{facts['wording']}",
        )
        for one in facts["asked"]
    ]
    missing = Rejection(reason="no_definition", detail=f"{TERMS} has none of {name!r}")
    return Outcome(items=items, rejections=[missing] * (len(ASKED) - len(items)))


def has_volume(item: Item) -> str:
    """Return why no box can be hit: its last corner is the last voxel itself, so one slice has no volume."""
    low, high = _corners(item)[:3], _corners(item)[3:]
    flat = [axis for axis, first, last in zip("zyx", low, high, strict=True) if last <= first]
    return f"the box is flat along {', '.join(flat)}" if flat else ""


def _corners(item: Item) -> Sequence[float]:
    corners: Sequence[float] = item.source.facts["corners"]
    return corners


def view(item: Item) -> CheckedItem:
    """Return an item as the checks see it; its words are templates, names and definitions."""
    name = str(item.source.facts["class"])
    by_definition = item.fields["asks"] == "rec" and item.fields["by"] == "definition"
    return CheckedItem(
        image=item.source.media[0].path,
        question=item.question,
        answer=item.answer,
        # Two classes may have one box, and two wordings of one question are two questions.
        visual_prompt=f"{item.source.id} {item.kind}",
        hidden=(name,) if by_definition or item.fields["asks"] == "reg" else (),
        named=(name,) if item.fields["asks"] == "reg" else (),
        present=(name,),
        masks=tuple(CheckedMask(name=mask.name, class_name=mask.name, area=mask.area) for mask in item.masks),
    )


class PositioningWriter(CsvTables):
    """Writes our tables, and M3D-Seg with the cases that they ask about."""

    def __init__(self, release: ReleaseFolder) -> None:
        self._seg = SegRelease(release)
        self._tables = {split: CsvFile(release.path / path, COLUMNS) for split, path in TABLES.items()}
        self._cases: dict[tuple[str, str], str] = {}

    def add(self, item: Item, split: str) -> str:
        """Write one row."""
        facts = item.source.facts
        self._cases[str(facts["code"]), str(facts["case"])] = split
        prefix = f"{self._seg.folder}/"
        row = {
            "Image": item.source.media[0].path.removeprefix(prefix),
            "Mask": str(facts["label"]).removeprefix(prefix),
            "Class_ID": str(facts["index"]),
            "Class": str(facts["class"]),
            "Task": str(item.fields["asks"]),
            "Question_Type": str(item.fields["by"]),
            "Question": item.question,
            "Answer": item.answer,
        }
        return f"{TABLES[split]}[{self._tables[split].add(row)}]"

    def close(self) -> None:
        """Close the tables, and put the cases beside them."""
        super().close()
        self._seg.link_cases(self._cases)


def m3d_positioning() -> Pipeline:
    """Return the pipeline."""
    # Without: what templates cannot do wrong, and what a definition may do, such as to name a neighbouring organ.
    unsuited = ("refusal", "foreign_language", "answer_not_in_options", "mask_of_other_class", "hallucinated_organ")
    reader = "harness.data.releases.m3d.seg:READER"
    return Pipeline(
        name="m3d-positioning",
        version=1,
        title="M3D positioning: boxes of classes of CT volumes, and classes inside boxes",
        paper="Bai et al., M3D, arXiv:2404.00578, section 3.3",
        reads=READER,
        sources=sources,
        steps=(
            selected_by("no_volume", "The volume can be read.", lambda one: "" if one.media else "cannot be read"),
            selected_by("no_mask", "The mask can be read.", lambda one: str(one.facts["fault"])),
            selected_by("absent", "The volume shows the class.", lambda one: "" if one.facts["area"] else "no voxel"),
            Read(
                name="templates",
                about="Templates are filled with name, definition and box.",
                apply=make_items,
            ),
            checked_by("flat_box", "The box has a volume, so that it can be hit.", has_volume),
            *item_checks(view, LIMITS, without=(*unsuited, "wrong_laterality")),
        ),
        shares={"train": 0.8, "test": 0.2},
        writer=PositioningWriter,
        read_back=tuple(ReadBack(reader=reader, splits=SPLITS, subset=subset) for subset in ("rec", "reg")),
        data={"m3d_bench/wording/authors.json": packaged_wording(AUTHORS).decode()},
        licences={"*": "As the dataset of M3D-Seg that the volume comes from (Apache-2.0 on the hub, over 25 sets)"},
        not_reproduced=(
            "A table: the released code fills the templates anew in every epoch, by Python's `random` in its workers; "
            "ours are chosen by the sha256 of each item's id and written down.",
            "Boxes of classes that a volume does not show, which the released code answers by a refusal.",
        ),
    )

"""The pipeline `m3d-refseg`: a model words questions and answers on a described region of a volume.

Source: Bai et al., arXiv:2404.00578, section 3.3 and the released script of generation. The regions and descriptions
come from people: they are inputs, in the raw layout of M3D-RefSeg (`ct`, `mask` and `text.json` per case).
"""

from collections.abc import Iterator
from functools import cache, lru_cache, partial
from pathlib import Path

from harness.data.construction.checks.checked_item import CheckedItem, CheckedMask, Limits
from harness.data.construction.checks.checklist import item_checks
from harness.data.construction.listing import file_digest
from harness.data.construction.m3d.vqa_replies import read_pairs
from harness.data.construction.outputs.release_files import CsvFile, CsvTables
from harness.data.construction.pipeline import (
    Ask,
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
from harness.data.construction.prompts import PromptFile, read_prompt_file
from harness.data.construction.records import Item, ItemMask, Question, Rejection, Source
from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles, read_json
from harness.data.releases.m3d import refseg
from harness.data.releases.volumes import Labels, inspect_label_file
from harness.imaging.masks import area
from harness.records import Media

NUMBERS = tuple(range(1, 7))
# The first three questions of a reply are answered by the description, the others by reasoning.
DESCRIPTIONS = 3
SEG = "[SEG]"
# The released prompt uses both spellings.
SPELLINGS = (SEG, "<SEG>")
DESCRIPTION_FILE = "text.json"
LIMITS = Limits(question_words=80, answer_words=120)


@cache
def prompts() -> PromptFile:
    """Return the prompt of this pipeline."""
    return read_prompt_file(Path(__file__).parent / "m3d_refseg.yaml")


def sources(inputs: Inputs) -> Iterator[Candidate]:
    """List the described regions, case by case in the order of their names, and by their numbers."""
    files = ReleaseFiles(root=inputs.root, derived=inputs.cache / "derived")
    folder = next(name for name in (refseg.PREPARED, refseg.RAW) if files.has(name))
    for case in sorted(files.folders(folder)):
        path = f"{folder}/{case}/{DESCRIPTION_FILE}"
        if not files.has(path):
            continue
        regions = read_json(files, path)
        found = regions if isinstance(regions, dict) else {}
        for region in sorted(found, key=lambda name: (not name.isdigit(), int(name) if name.isdigit() else 0, name)):
            load = partial(_load, files, inputs, folder, case, region, str(found[region] or ""))
            yield Candidate(id=f"{case}/{region}", load=load)


def _load(files: ReleaseFiles, inputs: Inputs, folder: str, case: str, region: str, description: str) -> Source:
    suffix = refseg.NPY if folder == refseg.PREPARED else refseg.NIFTI
    image, mask, text = (f"{folder}/{case}/{name}" for name in (f"ct{suffix}", f"mask{suffix}", DESCRIPTION_FILE))
    digests = {path: file_digest(files.path(path), inputs.cache) for path in (image, mask, text) if files.has(path)}
    labels = _labels(str(inputs.root), mask, digests.get(mask, ""))
    fault = labels if isinstance(labels, str) else ""
    found = None if isinstance(labels, str) or not region.isdigit() else labels.masks.get(int(region))
    voxels = 0 if found is None else area(found)
    return Source(
        id=f"{case}/{region}",
        media=(Media(path=image, sha256=digests[image], kind="volume"),) if image in digests else (),
        inputs=digests,
        facts={
            "case": case,
            "mask": mask,
            "region": region,
            "text": description.strip(),
            "area": voxels,
            "fault": fault,
        },
        cluster=case,
        origin=folder,
    )


@lru_cache(maxsize=1)
def _labels(root: str, mask: str, digest: str) -> Labels | str:
    """Return the regions of a mask file; the last is kept, since the regions of a case follow each other."""
    del digest  # part of the key: the file may be another
    files = ReleaseFiles(root=Path(root), derived=Path(root))
    return inspect_label_file(files, mask, integrity=Integrity())


def ask_pairs(draft: Draft) -> Iterator[Question]:
    """Ask for six questions with their answers on a described region."""
    yield prompts().prompts["generate"].ask("generate", report=str(draft.source.facts["text"]))


def make_items(draft: Draft) -> Outcome:
    """Make an item of each question in the reply, and reject a reply without any and every number that is missing."""
    reply, source = draft.replies.get("generate"), draft.source
    if reply is None:
        return Outcome()
    facts, items = source.facts, []
    for number, question, answer in read_pairs(reply.text, NUMBERS):
        for spelling in SPELLINGS[1:]:
            answer = answer.replace(spelling, SEG)
        mask = ItemMask(name="region", path=str(facts["mask"]), value=int(facts["region"]), area=int(facts["area"]))
        items.append(
            Item(
                id=f"{source.id}#{number}",
                source=source,
                kind=refseg.QUESTION_TYPES["0" if number <= DESCRIPTIONS else "1"],
                question=question,
                answer=answer,
                masks=(mask,),
                fields={"type": "0" if number <= DESCRIPTIONS else "1"},
                replies=("generate",),
            )
        )
    if not items:
        detail = f"expected `Question-1: ... Answer: ...`, found {reply.text.strip()[:80]!r}"
        return Outcome(rejections=[Rejection(reason="unreadable_reply", detail=detail, replies=("generate",))])
    made = {item.id for item in items}
    return Outcome(
        items=items,
        rejections=[
            Rejection(reason="missing_question", detail=f"expected question {one}, found none", replies=("generate",))
            for one in NUMBERS
            if f"{source.id}#{one}" not in made
        ],
    )


def refers_once(item: Item) -> str:
    """Return what is wrong with the mark of the mask, of which an answer has one and a question none."""
    if SEG in item.question or any(mark in item.question for mark in SPELLINGS):
        return f"the question holds {SEG}"
    number = item.answer.count(SEG)
    return "" if number == 1 else f"expected one {SEG} in the answer, found {number}"


def says_nothing_of_its_report(item: Item) -> str:
    """Return the words by which an item says that it was made from a report, which whoever sees the image lacks."""
    text = f" {item.question.lower()} {item.answer.lower()} "
    found = [words for words in prompts().lists["of_the_report"] if f" {words}" in text]
    return f"says {found[0]!r}" if found else ""


def view(item: Item) -> CheckedItem:
    """Return an item as the checks see it: the model had the description, and no image."""
    source = item.source
    words = " ".join(item.answer.replace(SEG, " ").split())
    return CheckedItem(
        image=str(source.facts["mask"]),
        question=item.question,
        # An answer that is the mark alone is as the release has them.
        answer=words if any(letter.isalnum() for letter in words) else SEG,
        visual_prompt=str(source.facts["region"]),
        material=str(source.facts["text"]),
        masks=tuple(CheckedMask(name=mask.name, class_name=mask.name, area=mask.area) for mask in item.masks),
    )


class RefSegWriter(CsvTables):
    """Writes the tables of M3D-RefSeg, and puts volumes, masks and descriptions beside them."""

    def __init__(self, release: ReleaseFolder) -> None:
        self._release = release
        prepared = (release.inputs.root / refseg.PREPARED).is_dir()
        self._folder = refseg.PREPARED if prepared else refseg.RAW
        self._tables = {
            split: CsvFile(release.path / self._folder / names[0], refseg.COLUMNS)
            for split, names in refseg.TABLES.items()
        }

    def add(self, item: Item, split: str) -> str:
        """Write one row into the table of its split and into that of all rows."""
        facts, folder = item.source.facts, f"{self._folder}/"
        image = item.source.media[0].path
        row = {
            "Image": image.removeprefix(folder),
            "Mask": str(facts["mask"]).removeprefix(folder),
            "Mask_ID": str(facts["region"]),
            "Question_Type": str(item.fields["type"]),
            "Question": item.question,
            "Answer": item.answer,
        }
        for path in (image, str(facts["mask"]), f"{folder}{facts['case']}/{DESCRIPTION_FILE}"):
            self._release.link(path)
        self._tables["all"].add(row)
        return f"{folder}{refseg.TABLES[split][0]}[{self._tables[split].add(row)}]"


def m3d_refseg() -> Pipeline:
    """Return the pipeline."""
    return Pipeline(
        name="m3d-refseg",
        version=1,
        title="M3D-RefSeg: questions that ask for a described region of a CT volume",
        paper="Bai et al., M3D, arXiv:2404.00578, section 3.3",
        reads=refseg.READER,
        sources=sources,
        steps=(
            selected_by("no_volume", "The volume is there.", lambda one: "" if one.media else "ct is missing"),
            selected_by("no_mask", "The mask can be read.", lambda one: str(one.facts["fault"])),
            selected_by("empty_region", "The mask has voxels of the region.", _region_fault),
            selected_by(
                "no_description", "The region is described.", lambda one: "" if one.facts["text"] else "no words"
            ),
            Ask(name="generate", about="A model words six questions and answers on the description.", build=ask_pairs),
            Read(name="read_pairs", about="They are read, six of each reply.", apply=make_items),
            checked_by("one_mask_mark", "The answer refers to the mask once.", refers_once),
            *item_checks(view, LIMITS, without=("answer_not_in_options", "mask_of_other_class", "entity_not_named")),
            checked_by("of_the_report", "Nothing says that a report was read.", says_nothing_of_its_report),
        ),
        shares={"train": 0.8, "test": 0.2},
        writer=RefSegWriter,
        read_back=(ReadBack(reader="harness.data.releases.m3d.refseg:READER", splits=("train", "test")),),
        data={"m3d/m3d_refseg": prompts().text},
        licences={"*": "As M3D-RefSeg: Apache-2.0 on the hub, over volumes of TotalSegmentator (CC BY 4.0)"},
        not_reproduced=(
            "Regions and descriptions, which experts made: they are the inputs.",
            "The released split is by row, so that train and test share regions; ours is by case.",
            "Qwen-72B-Chat, which the authors asked: any model reference takes its place.",
        ),
    )


def _region_fault(source: Source) -> str:
    return "" if source.facts["area"] else f"{source.facts['mask']} has no voxel of {source.facts['region']}"

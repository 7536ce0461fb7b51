"""The pipeline `m3d-vqa`: a model that reads report and file name asks nine questions, which are filtered and checked.

Source: Bai et al., arXiv:2404.00578, section 3.2 and the released scripts of generation and check.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from pathlib import Path

from harness.data.construction.checks.checked_item import CheckedItem, Limits
from harness.data.construction.checks.checklist import item_checks
from harness.data.construction.checks.tokens import mentions, tokens
from harness.data.construction.listing import file_digest
from harness.data.construction.m3d.vqa_replies import LETTERS, NUMBERS, read_questions, read_verdict
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
from harness.data.construction.records import Item, Question, Rejection, Source
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_lists
from harness.data.releases.m3d import vqa
from harness.data.releases.m3d.cap import READER as CAP
from harness.data.releases.m3d.cap import find_listing, series_strata
from harness.data.releases.m3d.scans import case_of, raw_path, without_suffix
from harness.data.releases.m3d.wording import report_of
from harness.errors import DataError
from harness.records import Media

SPLITS = ("train", "validation", "test")
# Of the splits that models are measured on each question is checked by the model, too, as the paper does with test.
CHECKED_SPLITS = ("validation", "test")
# A text with fewer characters, blanks aside, says nothing; the released code has the same number for its parts.
LEAST_CHARACTERS = 5
LIMITS = Limits(question_words=60, answer_words=40)


@cache
def prompts() -> PromptFile:
    """Return the prompts of this pipeline."""
    return read_prompt_file(Path(__file__).parent / "m3d_vqa.yaml")


def sources(inputs: Inputs) -> Iterator[Candidate]:
    """List the volumes of M3D-Cap's train, validation and test lists in their order; pools repeat those of test."""
    files = ReleaseFiles(root=inputs.root, derived=inputs.cache / "derived")
    listing = find_listing(files)
    seen: set[str] = set()
    for split, value in stream_lists(files, listing, SPLITS):
        record = value if isinstance(value, dict) else {}
        image, text = (str(record.get(key) or "").strip() for key in ("image", "text"))
        if not image:
            raise DataError(f"{listing}: {split}: expected an entry with image and text, found {str(value)[:60]!r}")
        if image not in seen:  # a volume of two lists belongs to the first, so that none is in train and test
            seen.add(image)
            yield Candidate(id=without_suffix(image), load=partial(_load, files, inputs, split, image, text))


def _load(files: ReleaseFiles, inputs: Inputs, split: str, image: str, text: str) -> Source:
    found = _first(files, image, raw_path(without_suffix(image)))
    report_path = _first(files, text, raw_path(text))
    content = (files.read(report_path) or b"") if report_path else b""
    digests = {path: file_digest(files.path(path), inputs.cache) for path in (found, report_path) if path}
    return Source(
        id=without_suffix(image),
        media=(Media(path=found, sha256=digests[found], kind="volume"),) if found else (),
        inputs=digests,
        facts={"image": image, "report": content.decode("utf-8-sig", errors="replace").strip()},
        cluster=case_of(image),
        split=split,
        origin=case_of(image).partition("/")[0],
        strata=series_strata(image),
    )


def _first(files: ReleaseFiles, *paths: str | None) -> str:
    """Return the first path that is there; empty if none is."""
    return next((path for path in paths if path and files.has(path)), "")


def series_name(source: Source) -> str:
    """Return the name of the volume's file, which says plane and phase; the released prompt shows it."""
    return str(source.facts["image"]).rpartition("/")[2]


def ask_questions(draft: Draft) -> Iterator[Question]:
    """Ask for nine questions on a volume."""
    source = draft.source
    yield prompts().prompts["generate"].ask("generate", image=series_name(source), report=str(source.facts["report"]))


def make_items(draft: Draft) -> Outcome:
    """Make an item of each question in the reply, and reject a reply without any and every number that is missing."""
    reply = draft.replies.get("generate")
    if reply is None:
        return Outcome()
    items = [
        Item(
            id=f"{draft.source.id}#{one.number}",
            source=draft.source,
            kind=vqa.TYPES[one.type],
            question=one.question,
            answer=one.answer or _option(one.choices, one.letter),
            choices=one.choices,
            choice=one.letter,
            fields={"type": one.type},
            replies=("generate",),
        )
        for one in read_questions(reply.text)
    ]
    if not items:
        found = reply.text.strip()[:80]
        detail = f"expected `Question-1: ... Choice: A. ... Answer: A. ...`, found {found!r}"
        return Outcome(rejections=[Rejection(reason="unreadable_reply", detail=detail, replies=("generate",))])
    made = {item.id for item in items}
    missing = [number for number in NUMBERS if f"{draft.source.id}#{number}" not in made]
    return Outcome(
        items=items,
        rejections=[
            Rejection(
                reason="missing_question", detail=f"expected question {number}, found none", replies=("generate",)
            )
            for number in missing
        ],
    )


def _option(choices: tuple[str, ...], letter: str) -> str:
    place = LETTERS.find(letter) if letter else -1
    return choices[place] if 0 <= place < len(choices) else ""


def has_four_options(item: Item) -> str:
    """Return what is wrong with the number of options: the release has four columns, and writes NA for what lacks."""
    if len(item.choices) == len(LETTERS) and all(item.choices):
        return ""
    return f"expected 4 options, found {len(item.choices)}"


def is_not_missing(item: Item) -> str:
    """Return the option that readers of the release would take for a missing value."""
    found = [option for option in (*item.choices, item.answer) if option in vqa.READ_AS_MISSING]
    return f"{found[0]!r} reads as a missing value" if found else ""


def says_nothing_of_its_report(item: Item) -> str:
    """Return the words by which a question says that it was made from a report, which whoever sees the image lacks."""
    text = f" {item.question.lower()} {item.answer.lower()} "
    found = [words for words in prompts().lists["of_the_report"] if f" {words}" in text]
    return f"says {found[0]!r}" if found else ""


def view(item: Item) -> CheckedItem:
    """Return an item as the checks see it: the model had the report and the file name, and no image."""
    source = item.source
    name = series_name(source).replace("_", " ")
    return CheckedItem(
        image=str(source.facts["image"]),
        question=item.question,
        answer=item.answer,
        options=item.choices,
        choice=item.choice,
        material=f"{name}. {source.facts['report']}",
        sides=sides_in(str(source.facts["report"])),
    )


@lru_cache(maxsize=1)
def sides_in(report: str) -> Mapping[str, frozenset[str]]:
    """Return on which sides a report puts each structure; one that it names without a side, too, is left out."""
    words, found, unsided = tokens(report), dict[str, set[str]](), set[str]()
    for mention in mentions(report):
        before = words[mention.start - 1] if mention.start else ""
        if before in ("left", "right"):
            found.setdefault(mention.structure.name, set()).add(before)
        else:
            unsided.add(mention.structure.name)
    return {name: frozenset(sides) for name, sides in found.items() if name not in unsided}


def ask_verdicts(draft: Draft) -> Iterator[Question]:
    """Ask of each question whether report and answer agree; only where models are measured."""
    if draft.source.split not in CHECKED_SPLITS:
        return
    for item in draft.items:
        yield (
            prompts()
            .prompts["check"]
            .ask(
                f"check/{item.id.rpartition('#')[2]}",
                image=series_name(draft.source),
                report=str(draft.source.facts["report"]),
                question=item.question,
                letter=item.choice,
                answer=item.answer,
                a=item.choices[0],
                b=item.choices[1],
                c=item.choices[2],
                d=item.choices[3],
            )
        )


def read_verdicts(draft: Draft) -> Outcome:
    """Reject the items that the model finds wrong, or of which it says neither yes nor no."""
    if draft.source.split not in CHECKED_SPLITS:
        return Outcome(items=draft.items)
    kept, rejections = [], []
    for item in draft.items:
        name = f"check/{item.id.rpartition('#')[2]}"
        reply = draft.replies.get(name)
        verdict = None if reply is None else read_verdict(reply.text)
        both = item if reply is None else replace(item, replies=(*item.replies, name))
        if verdict:
            kept.append(both)
        elif verdict is None:
            found = "no reply" if reply is None else repr(reply.text.strip()[:60])
            rejections.append(
                Rejection(reason="no_verdict", detail=f"expected yes or no first, found {found}", item=both)
            )
        else:
            assert reply is not None
            rejections.append(Rejection(reason="found_wrong", detail=reply.text.strip()[:200], item=both))
    return Outcome(items=kept, rejections=rejections)


class VqaWriter(CsvTables):
    """Writes the tables of M3D-VQA, and puts the volumes beside them."""

    def __init__(self, release: ReleaseFolder) -> None:
        self._release = release
        self._tables = {split: CsvFile(release.path / vqa.FILES[split], vqa.COLUMNS) for split in SPLITS}

    def add(self, item: Item, split: str) -> str:
        """Write one row."""
        source = item.source
        row = {
            vqa.IMAGE: str(source.facts["image"]),
            vqa.TEXT: report_of(str(source.facts["report"])),
            vqa.TYPE: str(item.fields["type"]),
            vqa.QUESTION: item.question,
            **{column: item.choices[LETTERS.index(letter)] for letter, column in vqa.CHOICES.items()},
            vqa.ANSWER: item.answer,
            vqa.LETTER: item.choice,
        }
        for media in source.media:
            self._release.link(media.path)
        return f"{vqa.FILES[split]}[{self._tables[split].add(row)}]"


def m3d_vqa() -> Pipeline:
    """Return the pipeline."""
    return Pipeline(
        name="m3d-vqa",
        version=1,
        title="M3D-VQA: questions of five types on CT volumes with reports",
        paper="Bai et al., M3D, arXiv:2404.00578, section 3.2",
        reads=CAP,
        sources=sources,
        steps=(
            selected_by(
                "no_volume",
                "The volume that the listing names is there.",
                lambda source: "" if source.media else "missing",
            ),
            selected_by("no_report", "The volume has a report.", _report_fault),
            Ask(name="generate", about="A model asks nine questions on file name and report.", build=ask_questions),
            Read(name="read_questions", about="Its questions are read, nine of each reply.", apply=make_items),
            checked_by("four_options", "The question has four options.", has_four_options),
            checked_by("reads_as_missing", "No option reads as a missing value.", is_not_missing),
            *item_checks(
                view, LIMITS, without=("mask_missing", "mask_faulty", "mask_of_other_class", "entity_not_named")
            ),
            checked_by("of_the_report", "Nothing says that a report or a file was read.", says_nothing_of_its_report),
            Ask(name="check", about="The model checks each question of validation and test.", build=ask_verdicts),
            Read(name="verdict", about="Those that it finds wrong are left out.", apply=read_verdicts),
        ),
        shares={"train": 0.96, "validation": 0.02, "test": 0.02},
        writer=VqaWriter,
        read_back=(ReadBack(reader="harness.data.releases.m3d.vqa:READER", splits=SPLITS),),
        data={"m3d/m3d_vqa.yaml": prompts().text},
        licences=dict.fromkeys(
            ("ct_case", "ct_quizze"), "terms of Radiopaedia, by way of M3D-Cap; not for redistribution"
        ),
        not_reproduced=(
            "Qwen-72B-Chat, which the authors asked: any model reference takes its place, and its name is above.",
            "The check of the test set by experts (13,814 questions, 13,729 of them kept): `harness construct review` "
            "shows a sample, and people decide.",
            "`M3D_VQA_yn_train.csv`, added in 2024 without a word on how it was made.",
        ),
    )


def _report_fault(source: Source) -> str:
    report = str(source.facts["report"])
    blanks = report.replace("\n", "").replace(" ", "")
    return "" if len(blanks) >= LEAST_CHARACTERS else f"found {report[:20]!r}"

"""Questions in a table: the task maps its columns and names the folder of the images."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.question_tables.answers import (
    AnswerForms,
    Options,
    answer_texts,
    read_options,
    right_option,
)
from harness.data.releases.question_tables.cell_images import CellImages, is_reference, sources
from harness.data.releases.question_tables.columns import Columns, resolve, strata_of
from harness.data.releases.question_tables.options import OPTIONS, SPLIT, TableOptions
from harness.data.releases.question_tables.rows import Row, cell_text
from harness.data.releases.reader import ALL, UNKNOWN, Reader, ReleaseRequest
from harness.data.releases.selection import Selection
from harness.data.releases.train_overlap import SplitImages, digest_of
from harness.data.releases.vqa.closed_options import YES_NO
from harness.errors import DataError
from harness.records import Sample, Target

if TYPE_CHECKING:
    from harness.data.releases.images import ReleaseImage

EMBEDDED = "vqa_table"  # folder below the derived one for images that the table itself holds


def splits(options: TableOptions, root: Path) -> tuple[str, ...]:
    """Return the splits of a table: by the names of its files, else by its column, else `all`."""
    files = ReleaseFiles(root=root, derived=root)
    paths = options.paths(files)
    if SPLIT in options.file or not paths:
        return tuple(sorted({split for _, split in paths}))
    columns = resolve(options.columns, options.table(files, paths[0][0]).columns(), paths[0][0])
    if columns.split is None:
        return (ALL,)
    rows = (row for path, _ in paths for row in options.table(files, path).rows(Integrity(), columns=(columns.split,)))
    found = {cell_text(row.cells.get(columns.split), "", "split", Integrity()) for row in rows}
    return tuple(sorted(found - {""}))


def read(files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity) -> Iterator[tuple[str, Sample]]:
    """Yield (place, sample) of one split in the order of the table.

    Raises:
        DataError: The table cannot be read, or it is ambiguous whether right options are letters or texts.
        SpecError: The column map names columns that the table does not have, or `where` no field of the samples.
    """
    options = TableOptions.of(request)
    reading = _Reading(files, request, integrity, options)
    selection = Selection.of(request, (*strata_of(options.columns), "patient"))
    unanswered: list[str] = []
    for row in reading.rows(request.split, integrity):
        selection.before += 1
        question = _Question(row, reading)
        fields = {**question.strata, "patient": question.patient}
        if selection.admits(fields):
            selection.after += 1
            sample = question.sample()
            if sample.defect is None and not sample.target.answers:
                unanswered.append(row.place)
            yield row.place, sample
    if unanswered:
        first = ", ".join(unanswered[:3])
        integrity.find("no_answer", unanswered[0], f"{len(unanswered):,} questions, the first at {first}")
    selection.report(integrity)
    reading.report_overlap()


class _Reading:
    """The reading of one split, with what its rows share."""

    def __init__(
        self, files: ReleaseFiles, request: ReleaseRequest, integrity: Integrity, options: TableOptions
    ) -> None:
        self.files, self.request, self.integrity, self.options = files, request, integrity, options
        self.paths = options.paths(files)
        own = [path for path, split in self.paths if SPLIT not in options.file or split == request.split]
        if not own:
            raise DataError(f"{options.file}: expected a table below the data root, found none; check its name")
        self.columns: Columns = resolve(options.columns, options.table(files, own[0]).columns(), own[0])
        self.cells = CellImages(
            SplitImages(files, request, integrity, EMBEDDED, upright=True),
            folder=options.image_folder(request.split),
            prefix=options.image_prefix,
            separator=options.separators.get("image"),
        )
        self.patients: set[str] = set()
        self.form = self._survey()

    def rows(
        self, split: str, integrity: Integrity, columns: tuple[str, ...] | None = None, *, whole: bool = False
    ) -> Iterator[Row]:
        """Yield the rows of a split; a row with an empty split belongs to none and is reported.

        Args:
            split: The split.
            integrity: The report.
            columns: Read only these of a parquet file; None for all that the map names.
            whole: Also yield the rows of other splits in the same files.
        """
        start = 0
        wanted = self.columns.all if columns is None else columns
        for path, file_split in self.paths:
            if SPLIT in self.options.file and file_split != split:
                continue
            table = self.options.table(self.files, path)
            for row in table.rows(integrity, start=start, columns=(*wanted, "conversations", "messages")):
                start = row.number + 1
                if self.columns.split is not None and SPLIT not in self.options.file and not whole:
                    named = cell_text(row.cells.get(self.columns.split), row.place, "split", Integrity())
                    if not named:
                        integrity.find("missing_value", row.place, "split")
                    if named != split:
                        continue
                yield row

    def _survey(self) -> str:
        """Read the files once, to see how answers are named and which rows other rows take their image from."""
        forms, columns = AnswerForms(), self.columns
        referred: set[str] = set()
        # The images of parquet are not read here: their cells are bytes, never references.
        quick = tuple(name for name in columns.all if name not in columns.image)
        for row in self.rows(self.request.split, Integrity(), quick, whole=True):
            options = self.options_of(row)
            answers = answer_texts(row.cells.get(columns.answer), None)
            answer = cell_text(answers[0] if answers else None, row.place, "answer", Integrity())
            if options.texts and answer:
                forms.add(answer, options.texts, row.place)
            if columns.id is not None:
                cells = [row.cells.get(name) for name in columns.image]
                referred |= {cell_text(cell, "", "", Integrity()) for cell in cells if is_reference(cell)}
        if referred:
            # Images that other rows refer to, by their index, come first: a row may refer to a later one.
            for row in self.rows(self.request.split, Integrity(), whole=True):
                row_id = self.id_of(row)
                cells = [row.cells.get(name) for name in columns.image]
                if row_id in referred and not any(map(is_reference, cells)):
                    self.cells.remember(row.place, row_id, cells)
        return forms.decide(self.options.answers)

    def id_of(self, row: Row) -> str:
        """Return the source id of a row, the number of the row if the table has no column of ids."""
        if self.columns.id is None:
            return str(row.number)
        return cell_text(row.cells.get(self.columns.id), row.place, "id", Integrity())

    def options_of(self, row: Row) -> Options:
        """Return the options of a row."""
        return read_options(
            [row.cells.get(name) for name in self.columns.options], self.options.separators.get("options")
        )

    def report_overlap(self) -> None:
        """Report the images and patients of this split that also occur in the train split."""
        train = "train"
        held = {split for _, split in self.paths} if SPLIT in self.options.file else {train}
        if self.request.split in (train, ALL) or train not in held:
            return
        paths, digests = set(self.cells.images.paths), self.cells.images.digests
        found: dict[str, str] = {}
        patients: set[str] = set()
        folder = self.options.image_folder(train)
        locate = CellImages(
            SplitImages(self.files, self.request, Integrity()), folder, self.cells.prefix, self.cells.separator
        ).locate
        for row in self.rows(train, Integrity()):
            for cell in (row.cells.get(name) for name in self.columns.image):
                for source in sources(cell, self.cells.separator):
                    same = digests.get(digest_of(source.content)) if source.content is not None else None
                    named = locate(source.name, "")[0] if source.name else None
                    same = same or (named if named in paths else None)
                    if same is not None:
                        found.setdefault(same, row.place)
            if self.columns.patient is not None:
                patients.add(cell_text(row.cells.get(self.columns.patient), "", "patient", Integrity()))
        self.integrity.checked["train_test_overlap"] = len(paths)
        for path, place in sorted(found.items()):
            self.integrity.find("train_test_overlap", path, f"in train at {place}")
        for patient in sorted(self.patients & patients - {""}):
            self.integrity.find("patient_overlap", self.options.file, f"patient {patient} is in train too")


class _Question:
    """One row as a question; remembers the first reason why it cannot be asked."""

    def __init__(self, row: Row, reading: _Reading) -> None:
        self.row, self.reading, self.integrity = row, reading, reading.integrity
        self.defect: str | None = None
        columns = reading.columns
        self.question = self._text(columns.question, "question")
        if not self.question:
            self._fail("missing_value", "question", "the record has no question")
        self.options = self._read_options()
        self.answers = self._read_answers()
        self.patient = "" if columns.patient is None else self._text(columns.patient, "patient")
        strata = {name: self._text(column, name).lower() or UNKNOWN for name, column in columns.strata.items()}
        named = "" if columns.answer_type is None else self._text(columns.answer_type, "answer_type").lower()
        self.strata: Mapping[str, str] = {
            "answer_type": named or self._derived_type(),
            "form": "options" if self.options else "words",
            **strata,
        }

    def _text(self, column: str, field: str) -> str:
        return cell_text(self.row.cells.get(column), self.row.place, field, self.integrity)

    def _fail(self, kind: str, detail: str, defect: str) -> None:
        self.integrity.find(kind, self.row.place, detail)
        self.defect = self.defect or defect

    def _read_options(self) -> tuple[str, ...]:
        found = self.reading.options_of(self.row)
        if found.fault:
            self._fail("unreadable_options", found.fault, "the options cannot be read")
        if found.letters_removed:
            self.integrity.repair("option_letter_removed", self.row.place)
        return found.texts

    def _read_answers(self) -> tuple[str, ...]:
        separator = None if self.options else self.reading.options.separators.get("answer")
        cells = answer_texts(self.row.cells.get(self.reading.columns.answer), separator)
        texts = (cell_text(cell, self.row.place, "answer", self.integrity) for cell in cells)
        return tuple(text for text in texts if text)

    def _derived_type(self) -> str:
        if self.options:
            return "closed"
        if not self.answers:
            return UNKNOWN
        return "closed" if self.answers[0].casefold().rstrip(".") in YES_NO else "open"

    def _target(self) -> Target:
        if not self.answers or not self.options:
            return Target(answers=self.answers)
        if len(self.answers) > 1:
            detail = f"expected one right option, found {len(self.answers)}: {', '.join(self.answers)}"
            self._fail("answer_not_among_options", detail, "there are several right options")
            return Target()
        right = right_option(self.answers[0], self.options, self.reading.form)
        if right.place is None:
            self._fail("answer_not_among_options", right.fault, "the right answer is not one of the options")
            return Target()
        if right.remark:
            self.integrity.find("mixed_answers", self.row.place, right.remark)
        return Target(answers=(self.options[right.place],), choice=ascii_uppercase[right.place])

    def sample(self) -> Sample:
        """Return the question as a sample."""
        reading, row = self.reading, self.row
        request, columns = reading.request, reading.columns
        row_id = reading.id_of(row)
        if not row_id:
            raise DataError(f"{row.place}: column '{columns.id}': expected an id, found an empty cell")
        images: list[ReleaseImage] = []
        if columns.image:
            images = reading.cells.of_row(row.place, [row.cells.get(name) for name in columns.image])
        later = row.cells.get("later_turns", 0)
        if later:
            self.integrity.find("later_turn", row.place, f"{later} more")
        if row.cells.get("system"):
            self.integrity.find("not_asked", row.place, "the system turn of the chat")
        if self.patient:
            reading.patients.add(self.patient)
        target = self._target()
        return Sample(
            id=f"{request.dataset}/{request.split}/{row_id}",
            media=tuple(image.media for image in images),
            question=self.question,
            choices=self.options,
            target=target,
            strata=self.strata,
            cluster=self.patient or (images[0].media.path if images else row_id),
            defect=next((image.defect for image in images if image.defect is not None), None) or self.defect,
        )


def _fit(request: ReleaseRequest) -> Reader:
    options = TableOptions.of(request)
    fixed = SPLIT not in options.file and "*" not in options.file
    return replace(
        READER,
        folders=() if fixed else (options.folder or ".",),
        files=(options.file,) if fixed else (),
        strata=strata_of(options.columns),
        splits=partial(splits, options),
    )


READER = Reader(
    name="vqa_table",
    version=1,
    folders=(),
    strata=strata_of({}),
    splits=lambda _: (ALL,),
    read=read,
    obtain=(
        "Put the table there and name it with release.options.file, or let `harness new-task FILE` write the task; see "
        "docs/your-own-questions.md."
    ),
    options=OPTIONS,
    fit=_fit,
)

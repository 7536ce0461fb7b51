"""Recognise the columns of a table of questions by their names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.data.integrity import Integrity
from harness.data.releases.question_tables.answers import read_options
from harness.data.releases.question_tables.columns import FIELDS, lettered_columns
from harness.data.releases.question_tables.rows import Row, TableFile, cell_text
from harness.errors import SpecError
from harness.records import Json
from harness.tasks.new_task.listing import words

# Field -> names of its column, the likeliest first. A column's whole name counts more than one of
# its words. German, French, Spanish and Chinese beside English.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "question": ("question", "questions", "query", "prompt", "frage", "pregunta", "问题", "instruction", "q"),
    "answer": (
        *(
            "answer",
            "answers",
            "gt_answer",
            "ground_truth",
            "groundtruth",
            "gt",
            "correct_answer",
            "reference",
            "target",
        ),
        *("correct_option", "correct_choice", "correct_letter", "answer_key", "correct", "cop"),
        *("antwort", "reponse", "réponse", "respuesta", "答案", "label", "response", "solution", "a"),
    ),
    "options": ("options", "choices", "candidates", "optionen", "选项"),
    "image": (
        *("image", "image_path", "images", "img", "image_name", "img_name", "image_file", "img_path", "image_id"),
        *(
            "filename",
            "file_name",
            "file",
            "path",
            "figure_path",
            "picture",
            "figure",
            "bild",
            "bilddatei",
            "imagen",
            "图像",
        ),
    ),
    "id": ("id", "index", "qid", "question_id", "questionid", "uid", "sample_id", "idx", "nr", "number"),
    "split": ("split", "subset", "fold", "partition", "set"),
    "patient": (
        "patient",
        "patient_id",
        "patientid",
        "subject",
        "subject_id",
        "subjectid",
        "case_id",
        "study_id",
        "pid",
    ),
    "answer_type": ("answer_type", "answertype", "question_form"),
}
# Options in columns of their own: "Option A", "choice_b", "opa", "a".
_OPTION_WORDS = ("option", "choice", "opt", "answer", "antwort", "op", "")
# What sets images of one question apart in the names of their columns: "image2", "image_1".
_NUMBERED = re.compile(r"[\W_]*\d+$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """The first rows of a table, and the columns that were found in it."""

    table: TableFile
    held: Sequence[str]
    rows: Sequence[Row]

    def values(self, column: str) -> list[str]:
        """Return the texts of a column that are not empty."""
        cells = (row.cells.get(column) for row in self.rows)
        texts = (
            "image" if isinstance(cell, bytes | dict | list) else cell_text(cell, "", "", Integrity()) for cell in cells
        )
        return [text for text in texts if text]


def columns_of(path: Path, look: Look) -> dict[str, Json]:
    """Return field -> column or columns.

    Raises:
        SpecError: No column is taken for the question or the answer.
    """
    by_name = {name.strip().lower().replace(" ", "_"): name for name in reversed(look.held) if name}
    found: dict[str, Json] = {}
    lettered = lettered_columns(look.held) or _option_columns(look.held)
    taken: set[str] = set(lettered)
    for whole in (True, False):
        for field, usual in _NAMES.items():
            for name in usual:
                matches = [by_name[name]] if name in by_name else []
                if not whole and len(name) > 1:
                    matches = [held for held in look.held if name in words(held) or name in held.lower().split("_")]
                match = next((held for held in matches if held not in taken and look.values(held)), None)
                if match is not None and field not in found and not (field == "options" and lettered):
                    found[field] = match
                    taken.add(match)
    if lettered:
        found["options"] = list(lettered)
    if "image" in found:
        stem = _NUMBERED.sub("", str(found["image"]).lower())
        # Without the others a question about several images would be asked with one of them.
        together = [held for held in look.held if _NUMBERED.sub("", held.lower()) == stem and look.values(held)]
        found["image"] = together if len(together) > 1 else found["image"]
    lacking = [field for field in ("question", "answer") if field not in found]
    if lacking:
        held = ", ".join(name for name in look.held if name) or "none"
        raise SpecError(
            f"{path}: no column is named like {' or '.join(lacking)}; found {held}. Rename one, or write the task "
            "with release.options.columns (docs/your-own-questions.md)"
        )
    if (
        "options" in found
        and not lettered
        and not any(read_options([row.cells.get(str(found["options"]))], None).texts for row in look.rows)
    ):
        found.pop("options")
    return {field: found[field] for field in FIELDS if field in found}


def _option_columns(held: Sequence[str]) -> tuple[str, ...]:
    """Return columns such as `Option A`, `opa` or `a` in letter order, or `option1` and so on; none if a gap."""
    for marks in ("abcdefghij", "123456789", "0123456789"):
        for word in _OPTION_WORDS if marks[0] == "a" else _OPTION_WORDS[:-1]:
            plain = {"".join(char for char in name.lower() if char.isalnum()): name for name in held}
            columns = []
            for mark in marks:
                if f"{word}{mark}" not in plain:
                    break
                columns.append(plain[f"{word}{mark}"])
            if len(columns) > 1:
                return tuple(columns)
    return ()

"""Tasks over tables of questions: what the columns hold, where the images are, how right options are written."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.question_tables.answers import FROM_0, FROM_1, TEXT, AnswerForms, meaning_of, read_options
from harness.data.releases.question_tables.cell_images import Source, is_base64, sources
from harness.data.releases.question_tables.columns import FIELDS
from harness.data.releases.question_tables.rows import UTF_8, Row, TableFile, cell_text
from harness.data.releases.reader import ALL
from harness.errors import DataError, SpecError
from harness.records import Json
from harness.tasks.new_task.column_names import Look, columns_of
from harness.tasks.new_task.draft import Choices, Draft, counted, task_name
from harness.tasks.new_task.listing import usual_split, words

# Answers whose median is longer are reports, which no reply ever equals.
SHORT_WORDS = 8
SHORT_METRICS: tuple[Mapping[str, Json], ...] = (
    {"metric": "vqa_accuracy"},
    {"metric": "vqa_accuracy", "protocol": "vqa-v2"},
    {"metric": "token_prf"},
)
LONG_METRICS: tuple[Mapping[str, Json], ...] = ({"metric": "token_prf"}, {"metric": "rouge"}, {"metric": "bleu"})
# Columns with at most this many different values in the rows that are read become strata.
STRATA_MOST = 20
# Rows that are read, and bytes of images in them; the reader of the task reads all.
LOOKED = 2000
LOOKED_BYTES = 50_000_000
# Of Excel on Windows in China and in Western Europe. Either decodes almost any bytes; `_encoding` tells them apart.
_CHINESE, _WESTERN = "gb18030", "cp1252"
# Usual names of the folder of images beside a table.
_FOLDERS = ("images", "imgs", "img", "image", "Images", "figures", "pictures", "bilder", "data")
_CHECKED = 40  # image names that are looked up in each folder


def table_draft(path: Path, choices: Choices, *, pattern: str = "", splits: Sequence[str] = ()) -> list[Draft]:
    """Return the tasks over a table: one over questions with options, one over questions answered in words, or both.

    Args:
        path: The table.
        choices: What the user has decided on the command line.
        pattern: The names of the table's files, with `{split}`, if each split has one; empty for a single file.
        splits: The splits that such files have.
    Raises:
        SpecError: No column is recognised as that of the questions or the answers, or the images are not found.
        DataError: The table cannot be read.
    """
    look, encoding = _first_rows(path)
    columns = columns_of(path, look)
    options: dict[str, Json] = {"file": path.name}
    taken = [f"{field}: {_shown(column)}" for field, column in columns.items()]
    decide: list[str] = []
    remarks: dict[str, Sequence[str]] = {}
    if encoding != UTF_8:
        odd = _odd_words(look)
        options["encoding"] = encoding
        remarks["encoding"] = (f"Not UTF-8: read as {encoding}. Compare: {odd}",)
        decide.append(f"encoding: read as {encoding}; compare {odd}")
    used = {name for column in columns.values() for name in ([column] if isinstance(column, str) else column)}
    strata = _strata(look, used)
    data_root, folder, found = _images(path, look, columns)
    if folder or data_root != path.parent:
        options["images"] = folder
        options["file"] = path.relative_to(data_root).as_posix()
    taken.append(found)
    mapped = {field: column for field, column in columns.items() if column not in FIELDS[field][:1]}
    options["columns"] = {**mapped, **strata}
    if "image" not in columns:
        options["columns"] = {**mapped, "image": "", **strata}
        remarks["columns"] = ("No column of images was found; if there is one, write its name in place of image: ''.",)
        decide.append("images: no column of images was found, so the questions are asked without")
    if "patient" not in columns and "image" in columns:
        decide.append(
            "patients: no column names them, so questions on one image are one cluster; if there is one, add patient"
        )
    with_options, without = _forms(look, columns, options, remarks, decide)
    if not options["columns"]:
        options.pop("columns")
    split = _table_split(look, columns, choices, splits)
    if pattern:
        options["file"] = str(options["file"]).removesuffix(path.name) + pattern.rpartition("/")[2]
        taken.append(f"files {pattern} of the splits {', '.join(splits)}")
    unused = [name for name in look.held if name and name not in used and name not in strata.values()]
    name = choices.name or task_name(path.parent.name if pattern else path.stem)
    long = without > 0 and median(len(text.split()) for text in look.values(str(columns["answer"]))) > SHORT_WORDS
    if long:
        taken.append("answers: texts of many words, scored by the words in common")
    draft = Draft(
        name=name,
        title=f"Questions of {path.name}",
        data_root=data_root,
        reader="vqa_table",
        split=split,
        options=options,
        gives="text",
        prompt="{question}" if long else "{question}\nAnswer in a word or a short phrase.",
        oracle="{answer}",
        metrics=LONG_METRICS if long else SHORT_METRICS,
        headline={"metric": "token_prf" if long else "vqa_accuracy"},
        strata=("answer_type", *strata),
        cluster="patient" if "patient" in columns else "image",
        model="baseline:random",
        seen=[
            f"{counted(len(look.rows), 'row')}{' or more' if len(look.rows) == LOOKED else ''} in {path.name}: "
            f"{with_options} with options, {without} answered in words",
            *([f"columns that are not used: {', '.join(unused)}"] if unused else []),
        ],
        taken=[*taken, *([f"strata: {', '.join(strata)}"] if strata else []), f"split {split}"],
        open=decide,
        remarks=remarks,
    )
    if with_options and without:
        return [
            replace(_with_options(draft), name=f"{name}_options", dataset=name, where={"form": "options"}),
            replace(draft, name=f"{name}_words", dataset=name, where={"form": "words"}),
        ]
    return [_with_options(draft) if with_options else draft]


def _with_options(draft: Draft) -> Draft:
    """Return a task over questions answered in words as one over questions with options."""
    return replace(
        draft,
        gives="choice",
        prompt="{question}\n{options}\nReply with the letter of the right option and nothing else.",
        oracle="{letter}",
        metrics=(
            {"metric": "choice_accuracy", "protocol": "strict-letter"},
            {"metric": "choice_accuracy", "protocol": "exact"},
        ),
        headline={"metric": "choice_accuracy", "protocol": "strict-letter"},
        strata=tuple(key for key in draft.strata if key != "answer_type"),
    )


def has_questions(path: Path) -> bool:
    """Return whether a file is a table with columns of questions and answers."""
    try:
        columns_of(path, _first_rows(path)[0])
    except (DataError, SpecError, OSError):
        return False
    return True


def _first_rows(path: Path) -> tuple[Look, str]:
    """Return the first rows of a table, and its encoding."""
    files = ReleaseFiles(root=path.parent, derived=path.parent)
    table = TableFile(files=files, path=path.name)
    try:
        return Look(table=table, held=table.columns(), rows=_some(table)), UTF_8
    except DataError as error:
        if "expected UTF-8" not in str(error):
            raise
    encoding = _encoding(path.read_bytes())
    table = replace(table, encoding=encoding)
    return Look(table=table, held=table.columns(), rows=_some(table)), encoding


def _encoding(content: bytes) -> str:
    """Return the likely encoding of a text that is not UTF-8: Chinese if its letters beyond ASCII come in rows."""
    try:
        text = content.decode(_CHINESE)
    except UnicodeDecodeError:
        return _WESTERN
    # Western letters stand alone between others; read as Chinese, they make single characters.
    runs = re.findall(r"[^\x00-\x7f]+", text)
    return _CHINESE if 2 * sum(len(run) > 1 for run in runs) > len(runs) else _WESTERN


def _some(table: TableFile) -> list[Row]:
    """Return the first rows, fewer if they hold large images."""
    rows: list[Row] = []
    size = 0
    for row in table.rows(Integrity()):
        rows.append(row)
        size += sum(len(source.content or b"") for cell in row.cells.values() for source in _embedded(cell))
        if len(rows) == LOOKED or size > LOOKED_BYTES:
            break
    return rows


def _embedded(cell: Json) -> Iterator[Source]:
    """Yield the images that a cell holds itself."""
    if isinstance(cell, bytes | dict) or (isinstance(cell, str) and is_base64(cell)):
        yield from sources(cell, None)


def _odd_words(look: Look) -> str:
    """Return some words with letters beyond ASCII, by which a person sees whether the encoding is right."""
    texts = (str(value) for row in look.rows for value in row.cells.values())
    odd = dict.fromkeys(word for text in texts for word in text.split() if not word.isascii())
    return ", ".join(list(odd)[:6]) or "the first rows"


def _shown(column: Json) -> str:
    return ", ".join(column) if isinstance(column, list) else str(column)


def _strata(look: Look, used: set[str]) -> dict[str, str]:
    """Return stratum -> column of the columns with few values, such as modality or organ."""
    found: dict[str, str] = {}
    for column in look.held:
        key = "_".join(words(column))
        values = look.values(column) if column not in used else []
        short = all(len(value) <= 60 for value in values)
        few = 1 < len(set(values)) <= min(STRATA_MOST, max(2, len(values) // 2))
        if few and short and key.isascii() and key[:1].isalpha() and key not in FIELDS and key not in ("form", *found):
            found[key] = column
    return found


def _images(path: Path, look: Look, columns: Mapping[str, Json]) -> tuple[Path, str, str]:
    """Return (data root, folder of the images below it, what was found) of the images that cells name.

    Raises:
        SpecError: Cells name images that are in none of the folders beside the table.
    """
    column = columns.get("image")
    if column is None:
        return path.parent, "", "images: none"
    shown = column if isinstance(column, list) else [column]
    cells = [row.cells.get(str(name)) for row in look.rows for name in shown]
    if any(source.content for cell in cells for source in _embedded(cell)):
        return path.parent, "", "images: in the table itself"
    names = [source.name for cell in cells for source in sources(cell, None) if source.name][
        :: max(1, len(cells) // _CHECKED)
    ]
    if not names:
        return path.parent, "", "images: no cell names one"
    # Subfolders of the table's folder, then those beside it; the folder with most of the images counts.
    starts = [path.parent, path.parent.parent]
    tried: Counter[Path] = Counter()
    for start in starts:
        below = sorted(one for one in start.iterdir() if one.is_dir() and not one.name.startswith("."))
        near = [start / name for name in _FOLDERS if (start / name).is_dir()]
        for folder in dict.fromkeys([start, *near, *below]):
            tried[folder] = sum(_is_there(folder, name) for name in names)
        if any(tried.values()):
            break
    folder, count = max(tried.items(), key=lambda item: item[1])
    if not count:
        places = ", ".join(f"{one}/" for one in list(tried)[:6])
        raise SpecError(
            f"{path}: column '{_shown(column)}' names images such as {names[0]!r}, which are in none of {places}; put "
            "the images or the table there, or write the task with release.options.images and image_prefix"
        )
    root = (
        path.parent if folder.is_relative_to(path.parent) else folder.parent if folder != path.parent.parent else folder
    )
    inside = folder.relative_to(root).as_posix() if folder != path.parent else ""
    return root, "" if inside == "." else inside, f"images: {count} of {len(names)} names tried are in {folder.name}/"


def _is_there(folder: Path, name: str) -> bool:
    name = name.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/"):
        return False
    try:
        return (folder / name).is_file() or any(
            (folder / f"{name}{suffix}").is_file() for suffix in (".png", ".jpg", ".jpeg") if "." not in name
        )
    except OSError:  # a name longer than the file system allows
        return False


def _forms(
    look: Look,
    columns: Mapping[str, Json],
    options: dict[str, Json],
    remarks: dict[str, Sequence[str]],
    decide: list[str],
) -> tuple[int, int]:
    """Return the numbers of questions with and without options; where the form of the right ones is open, set it."""
    listed = columns.get("options", [])
    names = listed if isinstance(listed, list) else [listed]
    forms, with_options, count_or_text = AnswerForms(), 0, ""
    for row in look.rows:
        found = read_options([row.cells.get(name) for name in names], None)
        with_options += bool(found.texts or found.fault)
        answer = cell_text(row.cells.get(str(columns["answer"])), row.place, "", Integrity())
        if found.texts and answer:
            forms.add(answer, found.texts, row.place)
            means = meaning_of(answer, found.texts)
            if means.text is not None and means.number not in (None, means.text + 1):
                count_or_text = answer
    try:
        if forms.decide("auto") == TEXT and count_or_text:
            decide.append(
                f"answers: '{count_or_text}' is taken as the text of an option; if it counts the options, add answers: "
                f"{FROM_0} or {FROM_1}"
            )
    except DataError as error:
        if forms.numbers:
            form = FROM_0 if 0 in forms.numbers else FROM_1
            sure = (0 in forms.numbers) != (forms.options in forms.numbers)
            options["answers"] = form
            if not sure:
                remarks["answers"] = ("Right options are numbers, which may count from 0 or from 1.",)
                decide.append(f"answers: numbers, taken as {form}; if they count otherwise, change it")
        else:
            options["answers"] = "letter"
            remarks["answers"] = (f"letter or text: {error}",)
            decide.append("answers: taken as letters; they may be the texts of options")
    return with_options, len(look.rows) - with_options


def _table_split(look: Look, columns: Mapping[str, Json], choices: Choices, splits: Sequence[str]) -> str:
    if splits:
        if choices.split not in (None, *splits):
            raise SpecError(f"--split {choices.split}: expected one of {', '.join(splits)}")
        return choices.split or usual_split(splits)
    if "split" not in columns:
        if choices.split not in (None, ALL):
            raise SpecError(f"--split {choices.split}: the table has no column of splits")
        return ALL
    held = sorted(set(look.values(str(columns["split"]))))
    if choices.split is not None:
        return choices.split
    return usual_split(held)

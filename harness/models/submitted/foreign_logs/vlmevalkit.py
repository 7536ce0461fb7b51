"""Prediction files of VLMEvalKit: a table with `index`, `question` and `prediction`, as xlsx, tsv, csv, json or jsonl.

Its `.pkl` files are refused: to read a pickle is to run what its author put into it.
"""

import csv
import importlib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from harness.errors import DataError, SpecError
from harness.models.submitted import prediction_lines
from harness.models.submitted.foreign_logs.logged_answer import (
    MOST_WHOLE_BYTES,
    LoggedAnswer,
    Row,
    UnreadRow,
    digest_of_image,
    ids_in,
    json_of,
    texts_in,
)
from harness.models.submitted.prediction_lines import MOST_LINE_BYTES
from harness.records import Json

REPLY = "prediction"
KINDS = "xlsx, tsv, csv, json or jsonl"
# `vlmeval/smp/file.py`: what stands for a reply where a request failed.
FAILED = "Failed to obtain answer"


def rows(path: Path) -> Iterator[Row]:
    """Yield the answer of every row of the table; a row at fault costs itself only.

    Raises:
        DataError: The file is no table of predictions.
        SpecError: It is an Excel workbook and openpyxl is not installed.
        OSError: It cannot be read.
    """
    kind = path.suffix.lower().removeprefix(".")
    if kind == "pkl":
        raise DataError(
            "is a pickle, which is never read, since it can run code; set PRED_FORMAT=tsv for VLMEvalKit, or write the "
            "table with pandas: pd.read_pickle(FILE).to_csv('predictions.tsv', sep='\\t', index=False)"
        )
    readers = {"xlsx": _workbook, "tsv": _delimited, "csv": _delimited, "json": _document, "jsonl": _lines}
    if kind not in readers:
        raise DataError(f"expected {KINDS}, found a file of the kind '{path.suffix}'")
    if kind != "jsonl" and (size := path.stat().st_size) > MOST_WHOLE_BYTES:
        raise DataError(f"has {size:,} bytes; expected at most {MOST_WHOLE_BYTES:,}; leave out the column 'image'")
    for place, found in readers[kind](path):
        if isinstance(found, str):
            yield UnreadRow(place=place, message=found)
        else:
            yield _row(found, place)


def _row(fields: Mapping[str, Json], place: str) -> Row:
    if REPLY not in fields:
        return UnreadRow(place=place, message=f"has no {REPLY}")
    reply = fields[REPLY]
    if isinstance(reply, float) and reply != reply:  # NaN, as pandas writes an empty cell to JSON
        reply = None
    if isinstance(reply, dict | list):
        return UnreadRow(place=place, message=f"{REPLY}: expected text, found {reply!r:.60}")
    text = None if reply is None else str(reply)
    failed = text is not None and text.startswith(FAILED)
    image = fields.get("image")
    images = image if isinstance(image, list) else [image]
    # A reply and a right answer are no questions.
    words = {name: value for name, value in fields.items() if name not in (REPLY, "answer", "image")}
    question = fields.get("question")
    return LoggedAnswer(
        place=place,
        ids=ids_in(fields) or tuple(str(fields[name]) for name in ("index",) if type(fields.get(name)) in (str, int)),
        questions=tuple(dict.fromkeys(texts_in(words))),
        prompt=question if isinstance(question, str) else "",
        images=tuple(found for one in images if isinstance(one, str) and (found := digest_of_image(one)) is not None),
        text=None if failed else text,
        status="model_error" if failed else "ok" if text else "empty",
        error=text if failed else None,
    )


# Name of the row, and its fields or what is wrong with it.
Found = tuple[str, Mapping[str, Json] | str]


def _delimited(path: Path) -> Iterator[Found]:
    # A field may hold an image in base64; the limit belongs to the module, so it is put back at once.
    before = csv.field_size_limit(MOST_LINE_BYTES)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            header = _checked_header(next(reader, []))
            found = [(f"row {number}", record) for number, record in enumerate(reader, start=2)]
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 (byte {error.start + 1}); expected a table of VLMEvalKit") from None
    except csv.Error as error:
        raise DataError(f"cannot be read as a table ({error})") from None
    finally:
        csv.field_size_limit(before)
    for place, record in found:
        if record and len(record) != len(header):
            yield place, f"has {len(record)} fields; the header has {len(header)}"
        elif record:
            yield place, dict(zip(header, record, strict=True))


def _workbook(path: Path) -> Iterator[Found]:
    try:
        load_workbook = importlib.import_module("openpyxl").load_workbook  # not in the base installation
    except ImportError:
        raise SpecError(
            "is an Excel workbook, which needs openpyxl; pip install openpyxl, or save the table as tsv"
        ) from None
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
        if unpacked > MOST_WHOLE_BYTES:
            raise DataError(f"has {unpacked:,} bytes unpacked; expected at most {MOST_WHOLE_BYTES:,}")
        book = load_workbook(path, read_only=True, data_only=True)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise DataError(f"cannot be read as an Excel workbook ({error})") from None
    try:
        sheet = book.worksheets[0].iter_rows(values_only=True)
        header = _checked_header(["" if cell is None else str(cell) for cell in next(sheet, ())])
        for number, record in enumerate(sheet, start=2):
            if any(cell is not None for cell in record):
                yield f"row {number}", dict(zip(header, record, strict=False))
    finally:
        book.close()


def _checked_header(header: Sequence[str]) -> Sequence[str]:
    if REPLY not in header:
        raise DataError(f"has no column '{REPLY}'; its columns are {', '.join(header)[:200] or 'none'}")
    return header


def _document(path: Path) -> Iterator[Found]:
    table = json_of(path.read_bytes())
    if not isinstance(table, list):
        raise DataError(f"expected a JSON list of rows, found {type(table).__name__}")
    for number, record in enumerate(table, start=1):
        yield f"row {number}", record if isinstance(record, dict) else f"expected an object, found {record!r:.60}"


def _lines(path: Path) -> Iterator[Found]:
    with path.open("rb") as file:
        for line in prediction_lines.lines_of(file):
            if not line.content.strip():
                continue
            place = f"row {line.number}"
            try:
                if line.size > MOST_LINE_BYTES:
                    raise DataError(f"has {line.size:,} bytes; expected at most {MOST_LINE_BYTES:,}")
                record = json_of(line.content)
            except DataError as error:
                yield place, str(error)
            else:
                yield place, record if isinstance(record, dict) else f"expected an object, found {record!r:.60}"

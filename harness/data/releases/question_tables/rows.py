"""Read the rows of a table of questions in any supported format, each with its place for messages."""

import codecs
import contextlib
import csv
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.data.integrity import Integrity
from harness.data.releases.files import ReleaseFiles
from harness.data.releases.json_stream import stream_list
from harness.errors import DataError
from harness.records import Json

DELIMITED = (".csv", ".tsv", ".txt")
JSON_LIKE = (".json", ".jsonl", ".ndjson")
SUFFIXES = (*DELIMITED, *JSON_LIKE, ".parquet")
DELIMITERS = (",", ";", "\t", "|")  # the first of several that find equally many columns
AUTO = "auto"
UTF_8 = "utf-8"

# Characters in a cell. Python's own limit of 131,072 is less than an image in base64 has.
CELL_MOST = 200_000_000
# Rows of a parquet file in memory at a time, with the images embedded in them.
_ROWS = 64
# The longer mark first: that of UTF-32 begins with that of UTF-16.
_MARKS: Mapping[bytes, str] = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_ASKS = frozenset({"human", "user"})
_ANSWERS = frozenset({"gpt", "assistant", "model", "bot"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a table.

    Attributes:
        place: File and line, of JSON lists and parquet the file and the number of the record from 0.
        number: Number of the row from 0, over all files of a split.
        cells: The value of each column; a JSON record may have fewer.
    """

    place: str
    number: int
    cells: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFile:
    """One file of a table.

    Attributes:
        files: The release.
        path: The file below the data root.
        encoding: Of a text file; a UTF-16 byte order mark goes before it.
        delimiter: What separates the cells of a line; `auto`: the candidate with most columns in the header.
    """

    files: ReleaseFiles
    path: str
    encoding: str = UTF_8
    delimiter: str = AUTO

    def rows(self, integrity: Integrity, *, start: int = 0, columns: Sequence[str] | None = None) -> Iterator[Row]:
        """Yield the rows in the order of the file.

        Args:
            integrity: Takes the repairs that concern the whole file.
            start: Number of the first row.
            columns: Read only these of a parquet file; None for all.
        Raises:
            DataError: The file is missing, is not what its name says, or a row does not have the header's cells.
        """
        if self.path.endswith(".parquet"):
            found = self._parquet(columns)
        elif self.path.lower().endswith(JSON_LIKE):
            found = self._records(integrity)
        else:
            found = self._delimited(integrity)
        for number, (place, cells) in enumerate(found, start=start):
            yield Row(place=place, number=number, cells=cells)

    def columns(self) -> tuple[str, ...]:
        """Return the names of the columns; of JSON those of all records, in order of appearance.

        Raises:
            DataError: As `rows`.
        """
        if self.path.endswith(".parquet"):
            from pyarrow import ArrowException, parquet

            with self.files.open(self.path) as source:
                try:
                    names = tuple(parquet.ParquetFile(source).schema_arrow.names)
                except (ArrowException, OSError) as error:
                    raise DataError(f"{self.path}: expected parquet, found {error}; is the file complete?") from error
            chats = ("question", "answer") if {"conversations", "messages"} & set(names) else ()
            return (*names, *(name for name in chats if name not in names))
        if self.path.lower().endswith(JSON_LIKE):
            return tuple(dict.fromkeys(name for row in self.rows(Integrity()) for name in row.cells))
        with self._text(Integrity()) as text:
            return tuple(self._header(text)[0])

    def _text(self, integrity: Integrity) -> io.TextIOWrapper:
        """Return the file opened as text in its encoding, its byte order mark skipped."""
        source = self.files.open(self.path)
        head = source.read(4096)
        source.seek(0)
        encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), self.encoding)
        if encoding in _MARKS.values():
            integrity.repair(f"decoded_{encoding.replace('-', '_')}", self.path)
        elif b"\0" in head and codecs.lookup(encoding).name == UTF_8:
            source.close()
            raise DataError(
                f"{self.path}: expected UTF-8 text, found zero bytes; if it is UTF-16, save it as UTF-8 or set "
                "release.options.encoding to utf-16-le"
            )
        if codecs.lookup(encoding).name == UTF_8:
            encoding = "utf-8-sig"
        return io.TextIOWrapper(source, encoding=encoding, newline="")

    def _undecodable(self) -> DataError:
        """Return the error of a file that is not in its encoding, with the first line at fault."""
        with self.files.open(self.path) as source:
            for number, line in enumerate(source, start=1):
                try:
                    line.decode(self.encoding)
                except UnicodeDecodeError as error:
                    found = f"byte 0x{line[error.start]:02X} behind {line[max(0, error.start - 20) : error.start]!r}"
                    return DataError(
                        f"{self.path}:{number}: expected {self.encoding.upper()}, found {found}; save the file as "
                        "UTF-8, or set release.options.encoding (cp1252 for Excel on Windows in Western Europe)"
                    )
        return DataError(f"{self.path}: expected {self.encoding.upper()}; save the file as UTF-8")

    # --- text with delimiters

    def _header(self, text: io.TextIOWrapper) -> tuple[list[str], str]:
        """Return the names of the columns and the delimiter, from the first line of an open file."""
        try:
            # One line is enough: the name of a column has no line end.
            line = text.readline(1_000_000)
        except UnicodeDecodeError as error:
            raise self._undecodable() from error
        candidates = DELIMITERS if self.delimiter == AUTO else (self.delimiter,)
        if self.delimiter == AUTO and self.path.lower().endswith(".tsv"):
            candidates = ("\t",)
        parsed = {mark: next(csv.reader([line], delimiter=mark), []) for mark in candidates}
        mark = max(candidates, key=lambda one: len(parsed[one]))
        header = [name.strip() for name in parsed[mark]]
        if not any(header):
            raise DataError(f"{self.path}:1: expected the names of the columns, found {line.strip()[:60]!r}")
        repeated = sorted({name for name in header if name and header.count(name) > 1})
        if repeated:
            raise DataError(f"{self.path}:1: column '{repeated[0]}' occurs in the header twice; rename one of the two")
        return header, mark

    def _delimited(self, integrity: Integrity) -> Iterator[tuple[str, Mapping[str, Json]]]:
        # The limit holds for the whole process, so it is restored: other readers rely on it to detect damaged files.
        before = csv.field_size_limit(CELL_MOST)
        with contextlib.ExitStack() as stack:
            stack.callback(csv.field_size_limit, before)
            text = stack.enter_context(self._text(integrity))
            header, mark = self._header(text)
            # Not pandas, which reads words such as "NA" and "None" as missing values; here they may be answers.
            rows = csv.reader(text, delimiter=mark, strict=True)
            line = 2
            try:
                for cells in rows:
                    place, line = f"{self.path}:{line}", rows.line_num + 2
                    if not any(cell.strip() for cell in cells):
                        continue
                    if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                        raise DataError(
                            f"{place}: expected {len(header)} cells as in the header, found {len(cells)}; put a cell "
                            f"that holds {mark!r} in double quotes, or set release.options.delimiter"
                        )
                    if len(cells) < len(header):
                        integrity.repair("short_row_padded", place)
                    padded = [*cells, *("" for _ in header[len(cells) :])]
                    yield place, dict(zip(header, padded, strict=False))
            except csv.Error as error:
                raise DataError(
                    f"{self.path}:{line}: cells and quotes do not fit: {error}; put a cell with quotes or line ends in "
                    "double quotes and double the quotes inside"
                ) from error
            except UnicodeDecodeError as error:
                raise self._undecodable() from error

    # --- JSON

    def _records(self, integrity: Integrity) -> Iterator[tuple[str, Mapping[str, Json]]]:
        with self._text(integrity) as text:
            try:
                first = text.read(4096).lstrip()[:1]
            except UnicodeDecodeError as error:
                raise self._undecodable() from error
            encoding = codecs.lookup(text.encoding).name
        if first == "[":
            if encoding not in (UTF_8, "utf-8-sig"):
                raise DataError(
                    f"{self.path}: expected a JSON list in UTF-8, found {encoding.upper()}; save it as UTF-8"
                )
            places: Iterator[tuple[str, Json]] = (
                (f"{self.path}[{number}]", value) for number, value in enumerate(stream_list(self.files, self.path))
            )
        else:
            places = self._lines()
        for place, record in places:
            if not isinstance(record, dict):
                raise DataError(f"{place}: expected a JSON object with a question, found {str(record)[:60]!r}")
            whole = _without_surrogates(record)
            if whole != record:
                integrity.repair("broken_character_replaced", place)
            yield place, flat_chat(whole)

    def _lines(self) -> Iterator[tuple[str, Json]]:
        with self._text(Integrity()) as text:
            try:
                for number, line in enumerate(text, start=1):
                    if not line.strip():
                        continue
                    place = f"{self.path}:{number}"
                    try:
                        yield place, json.loads(line)
                    except ValueError as error:
                        raise DataError(
                            f"{place}: expected one JSON object a line, or a file that is one JSON list, found "
                            f"{line.strip()[:60]!r} ({error})"
                        ) from error
            except UnicodeDecodeError as error:
                raise self._undecodable() from error

    # --- parquet

    def _parquet(self, columns: Sequence[str] | None) -> Iterator[tuple[str, Mapping[str, Json]]]:
        import pyarrow  # loaded here, so that the table of readers can be listed without it
        from pyarrow import parquet

        with self.files.open(self.path) as source:
            try:
                table = parquet.ParquetFile(source)
                wanted = None if columns is None else [name for name in table.schema_arrow.names if name in columns]
                number = 0
                for batch in table.iter_batches(batch_size=_ROWS, columns=wanted):
                    for record in batch.to_pylist():
                        yield f"{self.path}[{number}]", flat_chat(record)
                        number += 1
            except (pyarrow.ArrowException, OSError) as error:
                raise DataError(f"{self.path}: expected parquet, found {error}; is the file complete?") from error


def _without_surrogates(value: Json) -> Json:
    """Return a JSON value with U+FFFD for each half of a character, which JSON can escape and UTF-8 cannot hold."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(one) for one in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(one) for key, one in value.items()}
    return value


def flat_chat(record: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return the record of a chat with cells for its first question and answer, and other records as they are.

    Chats are lists of turns under `conversations` (LLaVA: `from`, `value`) or `messages` (`role`, `content`). The cell
    `later_turns` counts the questions after the first, and `system` holds the text of a system turn.
    """
    turns = record.get("conversations") or record.get("messages")
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return record
    flat: dict[str, Json] = {}
    asked = 0
    for turn in turns:
        role = str(turn.get("from") or turn.get("role") or "").lower()
        text = _said(turn.get("value") if "value" in turn else turn.get("content"))
        asked += role in _ASKS
        if role in _ASKS and asked == 1:
            flat["question"] = text
        elif role in _ANSWERS and asked == 1:
            flat.setdefault("answer", text)
        elif role == "system":
            flat["system"] = text
    # Fields of the record go first: some releases store the question in addition to the chat.
    return {**flat, **record, "later_turns": max(0, asked - 1)}


def _said(content: Json) -> str:
    """Return the words of a turn; parts that are images become the mark of an image."""
    if not isinstance(content, list):
        return "" if content is None else str(content)
    parts = [part if isinstance(part, dict) else {"text": part} for part in content]
    return "\n".join(str(part["text"]) if part.get("text") is not None else "<image>" for part in parts)


def cell_text(value: Json, place: str, field: str, integrity: Integrity) -> str:
    """Return a cell as text, ends trimmed; empty for a missing value.

    Numbers and truth values become text, which is counted as a repair; 3.0 becomes 3, because pandas stores whole
    numbers as floats in columns with empty cells.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    integrity.repair(f"{field}_cast_to_text", place)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict) else str(value)


def is_table(path: str) -> bool:
    """Return whether a file may hold a table of questions, by its name."""
    return PurePosixPath(path).suffix.lower() in SUFFIXES

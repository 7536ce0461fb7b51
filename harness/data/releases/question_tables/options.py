"""The options with which a task names a table of questions, and the files that they mean."""

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from harness.data.releases.files import ReleaseFiles
from harness.data.releases.question_tables.answers import FORMS, separators_fault
from harness.data.releases.question_tables.columns import columns_fault
from harness.data.releases.question_tables.rows import AUTO, SUFFIXES, UTF_8, TableFile
from harness.data.releases.reader import ALL, Free, Options, ReleaseRequest
from harness.errors import SpecError
from harness.records import Json

SPLIT = "{split}"


def _is_below(value: Json) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    return not PurePosixPath(value).is_absolute() and ".." not in PurePosixPath(value).parts


def file_fault(value: Json) -> str:
    """Return what is wrong with the name of a table, or an empty string if it is right."""
    if not _is_below(value) or not value.strip("/."):
        return f"expected the path of a table below the data root, found {value!r}"
    if not value.lower().endswith(SUFFIXES):
        hint = "; save the sheet as CSV in UTF-8" if value.lower().endswith((".xlsx", ".xls", ".ods")) else ""
        return f"expected a file that ends in {', '.join(SUFFIXES)}, found {value!r}{hint}"
    return "" if value.count("*") + value.count(SPLIT) <= 4 else f"expected fewer '*' and '{SPLIT}', found {value!r}"


def _text_fault(value: Json) -> str:
    return "" if isinstance(value, str) else f"expected text, found {value!r}"


def _folder_fault(value: Json) -> str:
    return "" if _is_below(value) else f"expected a folder below the data root, found {value!r}"


def _encoding_fault(value: Json) -> str:
    try:
        codecs.lookup(str(value))
    except LookupError:
        return f"expected an encoding such as utf-8, cp1252 or utf-16, found {value!r}"
    return ""


def _delimiter_fault(value: Json) -> str:
    known = isinstance(value, str) and (value == AUTO or len(value) == 1)
    return "" if known else f"expected one character in quotes, or {AUTO}, found {value!r}"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOptions:
    """The table that a request names.

    Attributes:
        file: Path of the file or files below the data root; `{split}` and, in the file's name, `*` stand for anything.
        columns: The column map.
        images: Folder of the images below the data root; it may hold `{split}`.
        image_prefix: Beginning of the image names that is cut off.
        answers: How right options are named.
        separators: Field -> the text between several values in one cell.
        encoding, delimiter: Of a file of text.
    """

    file: str
    columns: Mapping[str, Json]
    images: str
    image_prefix: str
    answers: str
    separators: Mapping[str, str]
    encoding: str
    delimiter: str

    @classmethod
    def of(cls, request: ReleaseRequest) -> "TableOptions":
        """Return the options of a request.

        Raises:
            SpecError: It names no table.
        """
        defaults = {name: known.default if isinstance(known, Free) else known[0] for name, known in OPTIONS.items()}
        values = {**defaults, **request.options}
        if not values["file"]:
            raise SpecError(f"file: expected the path of a table below the data root ({', '.join(SUFFIXES)})")
        return cls(**values)

    @property
    def folder(self) -> str:
        """The folder below which the table lies; empty for the data root itself."""
        return re.split(r"[{*]", self.file)[0].rpartition("/")[0]

    def image_folder(self, split: str) -> str:
        """Return the folder of a split's images: the one named, else the table's own."""
        named = self.images or self.file.rpartition("/")[0]
        return named.replace(SPLIT, split)

    def paths(self, files: ReleaseFiles) -> list[tuple[str, str]]:
        """Return (path, split) of every file of the table, sorted; the split is `all` where the name does not tell."""
        if SPLIT not in self.file and "*" not in self.file:
            return [(self.file, ALL)] if files.has(self.file) else []
        return sorted(_expanded(files, self.file.split("/"), "", ""))

    def table(self, files: ReleaseFiles, path: str) -> TableFile:
        """Return one file of the table."""
        return TableFile(files=files, path=path, encoding=self.encoding, delimiter=self.delimiter)


def _expanded(files: ReleaseFiles, parts: Sequence[str], below: str, split: str) -> Iterator[tuple[str, str]]:
    """Yield (path, split) of the files that a pattern names below a folder; only folders on its way are listed."""
    part, rest = parts[0], parts[1:]
    if SPLIT in part or "*" in part:
        expression = re.escape(part).replace(r"\*", ".*")
        expression = expression.replace(re.escape(SPLIT), re.escape(split) if split else "(?P<split>.+?)", 1)
        pattern = re.compile(expression.replace(re.escape(SPLIT), re.escape(split) if split else "(?P=split)"))
        listed = files.folders(below or ".") if rest else files.names(below or ".")
        matches = ((name, pattern.fullmatch(name)) for name in sorted(listed))
        found = [(name, split or match.groupdict().get("split", "")) for name, match in matches if match is not None]
    else:
        found = [(part, split)] if rest or files.has(f"{below}{part}") else []
    for name, own in found:
        if rest:
            yield from _expanded(files, rest, f"{below}{name}/", own)
        elif not name.startswith("."):
            yield f"{below}{name}", own or ALL


OPTIONS: Options = {
    "file": Free(default="", fault=file_fault),
    "columns": Free(default={}, fault=columns_fault),
    "images": Free(default="", fault=_folder_fault),
    "image_prefix": Free(default="", fault=_text_fault),
    "answers": FORMS,
    "separators": Free(default={}, fault=separators_fault),
    "encoding": Free(default=UTF_8, fault=_encoding_fault),
    "delimiter": Free(default=AUTO, fault=_delimiter_fault),
}

"""Files of a release: tables and lists that are written row by row, and media that are linked or copied."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TextIO

from harness.errors import DataError
from harness.records import Json


class CsvFile:
    """A CSV table with a header, written row by row.

    Args:
        path: The file; its folder is made.
        columns: Names of the columns, in order.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self._columns = tuple(columns)
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer: Any = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self._columns)

    def add(self, row: Mapping[str, str]) -> int:
        """Write a row; return its 0-based number."""
        self._writer.writerow([row[column] for column in self._columns])
        self.rows += 1
        return self.rows - 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CsvTables:
    """A writer of a release that consists of CSV tables, which are closed together."""

    _tables: Mapping[str, CsvFile]

    def close(self) -> None:
        """Close the tables."""
        for table in self._tables.values():
            table.close()


class JsonListFile:
    """A JSON list of objects, one per line, written object by object.

    Args:
        path: The file; its folder is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.rows = 0
        self._file: TextIO = path.open("w", encoding="utf-8")
        self._file.write("[")

    def add(self, value: Mapping[str, Json]) -> int:
        """Write an object; return its 0-based number."""
        self._file.write(",\n" if self.rows else "\n")
        json.dump(value, self._file, ensure_ascii=False)
        self.rows += 1
        return self.rows - 1

    def close(self) -> None:
        """Write what closes the list."""
        self._file.write("\n]\n" if self.rows else "]\n")
        self._file.close()


def write_json(path: Path, value: Json) -> None:
    """Write a JSON file with sorted keys, and its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")


class MediaLinks:
    """Puts files of a data root into a release: a link each, or a copy.

    Attributes:
        paths: The paths below the release so far.

    Args:
        root: The data root.
        release: The release's folder.
        copies: Copy the files, for a release that is to be moved to another machine.
    """

    def __init__(self, root: Path, release: Path, *, copies: bool = False) -> None:
        self.paths: set[str] = set()
        self._root, self._release, self._copies = root.resolve(), release, copies

    def __call__(self, path: str, target: str | None = None) -> None:
        """Put one file, or every file of a folder, into the release.

        Args:
            path: Below the data root.
            target: Below the release; None: the same as `path`.
        Raises:
            DataError: A path leaves its folder, or there is no such file.
        """
        place = path if target is None else target
        if place in self.paths:
            return
        for one in (path, place):
            parts = PurePosixPath(one)
            if parts.is_absolute() or ".." in parts.parts or "\0" in one:
                raise DataError(
                    f"{one!r}: expected a path below the data root; the listing may have been tampered with"
                )
        source, end = self._root / path, self._release / place
        if source.is_dir():
            for file in sorted(source.iterdir()):
                self(f"{path}/{file.name}", f"{place}/{file.name}")
            return
        if not source.is_file():
            raise DataError(f"{path}: expected a file below {self._root}, found none")
        self.paths.add(place)
        if end.exists():  # two items that name the file by different paths
            return
        end.parent.mkdir(parents=True, exist_ok=True)
        if self._copies:
            shutil.copyfile(source, end)
            return
        try:
            # To the end of the chain: the link must survive when a release that it was made from is made anew.
            end.symlink_to(source.resolve())
        except OSError:  # a file system without links
            shutil.copyfile(source, end)

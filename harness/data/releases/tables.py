"""Parquet and CSV tables of a release, read a few rows at a time."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError
from harness.records import Json

# Rows in memory at a time, with the images embedded in them: few, because a figure may be large.
ROWS = 64


def stream_parquet(
    files: ReleaseFiles, relative: str, *, images: Sequence[str] = (), columns: Sequence[str] = ()
) -> Iterator[dict[str, Json]]:
    """Yield the rows of a parquet file; an image is the bytes of its file, or None if the row has none.

    Args:
        files: The release.
        relative: The file.
        images: Columns of embedded images, which are structs that begin with the bytes of an image file.
        columns: The other columns to read.
    Raises:
        DataError: The file is missing, is not parquet, or lacks a column.
    """
    # Loaded here, so that the table of readers can be listed without it.
    import pyarrow
    from pyarrow import parquet

    with files.open(relative) as source:
        try:
            table = parquet.ParquetFile(source)
            _check_columns(table.schema_arrow, images, columns, relative)
            for batch in table.iter_batches(batch_size=ROWS, columns=[*images, *columns]):
                for row in batch.to_pylist():
                    yield row | {name: (row[name] or {}).get("bytes") for name in images}
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{relative}: expected parquet, found {error}; the download may be incomplete") from error


def _check_columns(schema: Any, images: Sequence[str], columns: Sequence[str], relative: str) -> None:
    found = {item.name: str(item.type) for item in schema}
    # A column without any image has the type null.
    are_images = all(found.get(name, "").startswith(("struct<bytes: binary", "null")) for name in images)
    if are_images and found.keys() >= set(columns):
        return
    wanted = [*(f"{name} (a struct that begins with bytes)" for name in images), *columns]
    held = ", ".join(f"{name}: {kind}" for name, kind in found.items())
    raise DataError(f"{relative}: expected the columns {', '.join(wanted)}, found {held}")


def stream_csv(files: ReleaseFiles, relative: str, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yield the rows of a CSV file as mappings from the trimmed names of its header to text, empty if a row is short.

    Raises:
        DataError: The file is missing, is not UTF-8 CSV, or its header lacks one of `columns`.
    """
    with files.open(relative) as source, io.TextIOWrapper(source, encoding="utf-8-sig", newline="") as text:
        try:
            # Not pandas, which reads words such as "NA" and "None" as missing values; here they may be answers.
            rows = csv.reader(text)
            header = [name.strip() for name in next(rows, [])]
            if not set(columns) <= set(header):
                raise DataError(
                    f"{relative}: expected the columns {', '.join(columns)}, found {', '.join(header) or 'none'}; "
                    "is it another file?"
                )
            for row in rows:
                # `csv.DictReader` would give None for a short row and a list for a long one.
                padded = [*row, *("" for _ in header[len(row) :])]
                yield dict(zip(header, padded, strict=False))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(f"{relative}: expected CSV in UTF-8, found {error}; the download may be damaged") from error

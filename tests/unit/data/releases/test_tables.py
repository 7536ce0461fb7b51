"""Parquet and CSV tables of a release: rows as they stand, and errors that say which file lacks what."""

from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from harness.data.releases.files import ReleaseFiles
from harness.data.releases.tables import stream_csv, stream_parquet
from harness.errors import DataError


def rows(root: Path, content: bytes, *columns: str) -> list[dict[str, str]]:
    (root / "t.csv").write_bytes(content)
    return list(stream_csv(ReleaseFiles(root=root, derived=root), "t.csv", columns))


def test_csv_rows_go_by_the_trimmed_names_of_the_header(tmp_path: Path) -> None:
    content = '\ufeff Figure ,Question\na.jpg,"Left, or\nright?"\nb.jpg\nc.jpg,?,more\n'.encode()
    assert rows(tmp_path, content, "Question") == [
        {"Figure": "a.jpg", "Question": "Left, or\nright?"},
        {"Figure": "b.jpg", "Question": ""},
        {"Figure": "c.jpg", "Question": "?"},
    ]


@pytest.mark.parametrize(("content", "found"), [(b"", "found none"), (b"a,b\n1,2\n", "found a, b")])
def test_a_csv_file_of_other_columns_is_named(tmp_path: Path, content: bytes, found: str) -> None:
    with pytest.raises(DataError, match=rf"t.csv: expected the columns Question, {found}; is it another file\?"):
        rows(tmp_path, content, "Question")


@pytest.mark.parametrize("content", [b"Question\n\xff\xfe\n", b"Question\n" + b"x" * 200_000])
def test_a_damaged_csv_file_is_named(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match=r"t.csv: expected CSV in UTF-8, found .*; the download may be damaged"):
        rows(tmp_path, content, "Question")


def test_images_of_a_parquet_file_are_bytes_or_none(tmp_path: Path) -> None:
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    images = pyarrow.array([{"bytes": b"one", "path": "1.png"}, None], kind)
    table = pyarrow.table({"image": images, "second": pyarrow.nulls(2), "id": ["a", "b"], "other": [1, 2]})
    parquet.write_table(table, tmp_path / "t.parquet")
    files = ReleaseFiles(root=tmp_path, derived=tmp_path)
    assert list(stream_parquet(files, "t.parquet", images=("image", "second"), columns=("id",))) == [
        {"image": b"one", "second": None, "id": "a"},
        {"image": None, "second": None, "id": "b"},
    ]
    with pytest.raises(
        DataError, match=r"expected the columns id \(a struct that begins with bytes\), x, found image: s"
    ):
        list(stream_parquet(files, "t.parquet", images=("id",), columns=("x",)))

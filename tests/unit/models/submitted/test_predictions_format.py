"""What a submitted file is as a whole: files that are no JSON lines get one message, and broken lines none here."""

import codecs
import gzip
import io
import json
import zipfile
from pathlib import Path

import pytest

from harness.errors import DataError
from harness.models.submitted.predictions_format import check

OBJECTS = [{"sample_id": f"s/{number}", "text": "ja, größer"} for number in range(3)]
LINES = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in OBJECTS)


def zipped(*names: str) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (LINES.encode("utf-16"), "is UTF-16, save it as UTF-8 (`>` of Windows PowerShell writes UTF-16)"),
        (codecs.BOM_UTF16_BE + LINES.encode("utf-16-be"), "is UTF-16, save it as UTF-8"),
        (LINES.encode("utf-16-le"), "is UTF-16 without a byte order mark, save it as UTF-8"),
        (LINES.encode("utf-16-be"), "is UTF-16 without a byte order mark, save it as UTF-8"),
        (LINES.encode("utf-32"), "is UTF-32, save it as UTF-8"),
        (LINES.encode("utf-32-le"), "is UTF-32 without a byte order mark, save it as UTF-8"),
        (LINES.encode("utf-32-be"), "is UTF-32 without a byte order mark, save it as UTF-8"),
        (json.dumps(OBJECTS).encode("utf-16"), "is UTF-16, save it as UTF-8"),
        (json.dumps(OBJECTS).encode(), "is a JSON list, write one object a line"),
        (json.dumps(OBJECTS, indent=2).encode(), "is a JSON list, write one object a line"),
        (b"\xef\xbb\xbf\r\n" + json.dumps(OBJECTS, indent=1).encode(), "is a JSON list, write one object a line"),
        (("[" + ",\n".join(map(json.dumps, OBJECTS)) + "]").encode(), "is a JSON list, write one object a line"),
        (("[\n" + ",\n".join(map(json.dumps, OBJECTS)) + "\n").encode(), "is a JSON list, write one object a line"),
        (b"[]", "is a JSON list, write one object a line"),
        (json.dumps(OBJECTS * 30_000).encode(), "is a JSON list, write one object a line"),
        (json.dumps(OBJECTS * 30_000, indent=1).encode(), "is a JSON list, write one object a line"),
        (
            json.dumps({"predictions": OBJECTS}, indent=1).encode(),
            "is JSON spread over several lines, write one object a line (`jq -c` does)",
        ),
        (
            "\n".join(json.dumps(line, indent=1) for line in OBJECTS).encode(),
            "is JSON spread over several lines, write one object a line",
        ),
        (
            json.dumps({"predictions": OBJECTS * 30_000}, indent=1).encode(),
            "is JSON spread over several lines, write one object a line",
        ),
        (
            b'{"s/1": "yes", "s/2": "no"}',
            "is one JSON object without sample_id, write one object a line, each with its",
        ),
        (b"", "is empty; expected JSON lines"),
        (b"\xef\xbb\xbf", "holds blank lines only; expected JSON lines"),
        (b"\r\n \n", "holds blank lines only; expected JSON lines"),
        (gzip.compress(LINES.encode()), "is gzip-compressed data; expected JSON lines; unpack it first"),
        (zipped("p.jsonl"), "is a ZIP archive; expected JSON lines; unpack it first"),
        (zipped("[Content_Types].xml", "xl/workbook.xml"), "is an Excel workbook (.xlsx); expected JSON lines"),
        (b"PAR1\x15\x04", "is a Parquet table; expected JSON lines;"),
        (b"\x80\x04\x95\x00", "is a Python pickle; expected JSON lines;"),
        (
            b"\x5c\x01\x00\x00" + bytes(340) + b"n+1\x00",
            "is a NIfTI file; expected JSON lines; masks are submitted as a",
        ),
        (bytes(400), "is binary data; expected JSON lines"),
        (b"\x00\x01\x02\x03" * 30, "is binary data; expected JSON lines"),
        (
            b"sample_id,text\ns/1,yes\n",
            "is a table (CSV), not JSON; write one object a line; it begins with 'sample_id,",
        ),
        (b"sample_id;text\ns/1;yes\n", "is a table (CSV), not JSON"),
        (b"sample_id\ttext\ns/1\tyes\n", "is a table (TSV), not JSON"),
        (b"yes\nno\n", "is text, not JSON; write one object a line; it begins with 'yes'"),
        (LINES.replace("\n", "\r").encode(), "ends its lines with CR alone; save it with LF or CRLF"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_a_file_that_is_no_json_lines_gets_one_message(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        check(path, "given/p.jsonl")
    message = str(caught.value)
    assert message.startswith(f"--predictions given/p.jsonl: {expected}")
    assert message.endswith("; see docs/hand-in-predictions.md")


@pytest.mark.parametrize(
    "content",
    [
        LINES.encode(),
        b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode(),
        b'{"sample_id": "s/1", "text": "cut o\n' + LINES.encode(),
        b"[1, 2]\n" + LINES.encode(),
        b'[{"sample_id": "s/1"}]\n' + LINES.encode(),
        b"[" * 100_000 + b"\n" + LINES.encode(),
        b"# made by hand\n" + LINES.encode(),
        b'{"sample_id": "s/1", "text": "\x00"}\n' + LINES.encode(),
        b'{"sample_id": "s/1"}',
        b'{"sample_id": "s/1", "text": "' + b"a" * 2**20 + b'"}',
        b'{"sample_id": "s/1", "text": "cut o',
        LINES.encode() * 20_000,
    ],
    ids=lambda _: "",
)
def test_a_file_with_some_broken_lines_is_left_to_its_lines(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(content)
    check(path, str(path))


def test_what_is_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--predictions p: no such file; expected JSON lines; see docs/"):
        check(tmp_path / "p", "p")
    with pytest.raises(DataError, match="--predictions null: is not a regular file; expected JSON lines in a file;"):
        check(Path("/dev/null"), "null")


def test_a_file_that_may_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(LINES)

    def refuses(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuses)
    with pytest.raises(DataError, match=r"--predictions p\.jsonl: cannot be read: Permission denied;"):
        check(path, "p.jsonl")

"""Refuse a submitted file as a whole, in one message, if it is of another kind: UTF-16, a JSON list, an archive."""

import json
from pathlib import Path

from harness.errors import DataError

# What `harness export` writes into a folder: lines beside mask files; or COCO's images with their samples, its results,
# and the status and words of each answer.
LINES = "predictions.jsonl"
INSTANCES, RESULTS, ANSWERS = "instances.json", "results.json", "answers.jsonl"

# Bytes at the start of a file that decide what it is.
HEAD = 2**20
# Lines of the head that are tried; JSON lines with some broken ones do not have as many broken ones in a row.
TRIED = 200

UTF_8 = "save it as UTF-8"
ONE_A_LINE = "write one object a line"

_BYTE_ORDER_MARKS = (  # that of UTF-32 first, since it begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_SIGNATURES = (  # (offset, bytes, kind of file)
    (0, b"\x1f\x8b", "gzip-compressed data; unpack it first"),
    (0, b"\x28\xb5\x2f\xfd", "Zstandard-compressed data; unpack it first"),
    (0, b"\xfd7zXZ\x00", "xz-compressed data; unpack it first"),
    (4, b"1AY&SY", "bzip2-compressed data; unpack it first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it first"),
    (0, b"Rar!\x1a\x07", "a RAR archive; unpack it first"),
    (257, b"ustar", "a tar archive; unpack it first"),
    (0, b"PAR1", "a Parquet table"),
    (0, b"ARROW1", "an Arrow table"),
    (0, b"\xd0\xcf\x11\xe0", "an Excel workbook (.xls)"),
    (0, b"SQLite format 3\x00", "an SQLite database"),
    (0, b"\x89HDF\r\n", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"\x80\x02", "a Python pickle"),
    (0, b"\x80\x03", "a Python pickle"),
    (0, b"\x80\x04", "a Python pickle"),
    (0, b"\x80\x05", "a Python pickle"),
    (0, b"\x89PNG", "a PNG image; masks are submitted as a folder or named in JSON lines"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (128, b"DICM", "a DICOM file; masks are submitted as a folder or named in JSON lines"),
    (344, b"n+1\x00", "a NIfTI file; masks are submitted as a folder or named in JSON lines"),
    (0, b"%PDF", "a PDF"),
)


def exported(path: Path) -> Path:
    """Return what is read of a path: lines in a folder of `harness export`, a folder of COCO results, or itself."""
    if (path / LINES).is_file():
        return path / LINES
    return path.parent if path.name == RESULTS and is_coco(path.parent) else path


def is_coco(folder: Path) -> bool:
    """Say whether a folder holds COCO results and the images that they belong to."""
    return (folder / INSTANCES).is_file() and (folder / RESULTS).is_file()


def check(path: Path, given: str) -> None:
    """Raise a DataError unless a file can hold JSON lines; faults of single lines are not looked for.

    Args:
        path: The file.
        given: The path as the user wrote it, for messages.
    Raises:
        DataError: There is no such file; it is empty, UTF-16 or UTF-32, compressed, a table, one JSON document or other
            text without a JSON object in its lines. The message says what was found and what to do.
    """
    fault = _fault(path)
    if fault:
        raise DataError(f"--predictions {given}: {fault}; see docs/hand-in-predictions.md")


def _fault(path: Path) -> str | None:
    if not path.exists():
        return "no such file; expected JSON lines"
    if not path.is_file():
        return "is not a regular file; expected JSON lines in a file"
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            whole = not file.read(1)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    text = head.removeprefix(b"\xef\xbb\xbf")
    if not text.strip():
        return "is empty; expected JSON lines" if not head else "holds blank lines only; expected JSON lines"
    return _fault_of_bytes(head) or _fault_of_text(text, whole=whole)


def encoding_fault(head: bytes) -> str | None:
    """Return why text is not UTF-8, if its first bytes are those of UTF-16 or UTF-32; else None."""
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return f"is {name}, {UTF_8} (`>` of Windows PowerShell writes UTF-16)"
    # Without a mark, ASCII characters leave zero bytes at every other place, or at three of four.
    start = head[: min(64, len(head) // 4 * 4)]
    zeros = [start[place::4].count(0) / max(1, len(start) // 4) for place in range(4)]
    if min(zeros) < 0.5 and sorted(zeros)[1] > 0.9 and max(zeros[0], zeros[3]) == 1:
        return f"is UTF-32 without a byte order mark, {UTF_8}"
    for odd, even in ((zeros[1] + zeros[3], zeros[0] + zeros[2]), (zeros[0] + zeros[2], zeros[1] + zeros[3])):
        if odd > 1 and even < 0.2:
            return f"is UTF-16 without a byte order mark, {UTF_8}"
    return None


def _fault_of_bytes(head: bytes) -> str | None:
    if head.startswith(b"PK\x03\x04"):
        if b"xl/" in head or b"[Content_Types].xml" in head[:100]:
            return "is an Excel workbook (.xlsx); expected JSON lines"
        return "is a ZIP archive; expected JSON lines; unpack it first"
    for place, signature, name in _SIGNATURES:
        if head[place:].startswith(signature):
            what, _, remedy = name.partition("; ")
            return f"is {what}; expected JSON lines" + (f"; {remedy}" if remedy else "")
    return encoding_fault(head)


def _fault_of_text(head: bytes, *, whole: bool) -> str | None:
    """Return why text as a whole is not JSON lines.

    Args:
        head: Its first bytes, without a byte order mark.
        whole: There are no others.
    """
    lines = [line.strip() for line in head.split(b"\n")]
    if not whole:
        lines = lines[:-1]  # cut off
    lines = [line for line in lines if line][:TRIED]
    start = head.lstrip()
    if start[:1] in (b"[", b"{"):
        found = _document(head, lines, whole=whole)
        if found or b"\n" in start.rstrip():
            return found
        if start.count(b"\r{") and b"\n" not in head:
            return "ends its lines with CR alone; save it with LF or CRLF"
        return None
    if any(line.startswith(b"{") for line in lines):
        return None
    if b"\x00" in head:
        return "is binary data; expected JSON lines"
    first = start.splitlines()[0][:60].decode(errors="replace")
    table = next((name for sign, name in ((b"\t", "TSV"), (b",", "CSV"), (b";", "CSV")) if sign in start[:4096]), "")
    what = f"a table ({table})" if table and len(lines) > 1 else "text"
    return f"is {what}, not JSON; {ONE_A_LINE}; it begins with {first!r}"


def _document(head: bytes, lines: list[bytes], *, whole: bool) -> str | None:
    """Return why text that begins with a bracket is one JSON document and no lines; None if it may be lines.

    Args:
        head: The first bytes.
        lines: Its whole lines that are not blank.
        whole: `head` is the whole text.
    """
    objects = [value for value in map(_object, lines) if value is not None]
    text = head.decode("utf-8", errors="replace").strip()
    try:
        value, end = json.JSONDecoder().raw_decode(text)
    except RecursionError:
        return None  # one line that is nested too deeply is a fault of that line
    except ValueError:
        value, end = None, None
    is_list = text[0] == "[" and text[1:].lstrip()[:1] in ("{", "[", "]")
    if is_list and (end == len(text) or (len(lines) != 1 and len(objects) * 2 < len(lines)) or (not lines)):
        return f"is a JSON list, {ONE_A_LINE}"
    if text[0] == "{":
        if whole and len(lines) == 1 and end == len(text) and "sample_id" not in value:
            return f"is one JSON object without sample_id, {ONE_A_LINE}, each with its sample_id"
        # A first line that was cut off is not the start of a document, because the next one does not continue it.
        spread = end is not None and "\n" in text[:end]
        if spread or (not whole and len(lines) > 2 and not objects):
            return f"is JSON spread over several lines, {ONE_A_LINE} (`jq -c` does)"
    return None


def _object(line: bytes) -> dict[str, object] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None

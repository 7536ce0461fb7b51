"""JSON lines that end with a checksum, so that a kill, a loss of power or a bad disk is noticed when they are read.

A checked line is a JSON object whose last field is `crc32`: eight hexadecimal digits, the CRC-32 of every byte before
that field.
"""

import json
import zlib
from typing import Any

LINE_CHECK = b',"crc32":"%08x"}'
CHECK_BYTES = len(LINE_CHECK % 0)
_FIELD = LINE_CHECK[: LINE_CHECK.index(b"%")]


def checked_line(line: bytes) -> bytes:
    """Return a JSON object of at least one field, without newline, with its checksum as the last field."""
    body = line[:-1]
    return body + LINE_CHECK % zlib.crc32(body)


def is_whole(line: bytes) -> bool:
    """Say whether a stored line, newline included, has the checksum with which it was written."""
    body, check = line[: -CHECK_BYTES - 1], line[-CHECK_BYTES - 1 : -1]
    return line[-1:] == b"\n" and check == LINE_CHECK % zlib.crc32(body)


def is_damaged(line: bytes) -> bool:
    """Say whether a stored line, newline included, is visibly not what was written; it is not parsed.

    Lines without a checksum, which older versions wrote, only have to end as an object does.
    """
    has_check = line[-CHECK_BYTES - 1 :].startswith(_FIELD)
    return not is_whole(line) if has_check else not line.endswith(b"}\n")


def read_checked(line: bytes) -> dict[str, Any] | None:
    """Return the object of a stored line, newline included, without its checksum; None if the line is damaged.

    Lines without a checksum, which older versions wrote, are taken as they are.
    """
    if is_damaged(line):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    value.pop("crc32", None)
    return value

"""Lines with a checksum at their end."""

import json

import pytest

from harness.records.checked_lines import checked_line, is_damaged, is_whole, read_checked

LINE = checked_line(b'{"key":"a","text":"yes"}') + b"\n"


def test_a_checked_line_is_an_object_with_its_checksum_last() -> None:
    assert is_whole(LINE)
    assert list(json.loads(LINE)) == ["key", "text", "crc32"]
    assert read_checked(LINE) == {"key": "a", "text": "yes"}


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 200, LINE[:-1]])
def test_a_line_without_its_checksum_is_not_whole(damage: bytes) -> None:
    assert not is_whole(damage)
    assert is_damaged(damage)
    assert read_checked(damage) is None


def test_no_flipped_bit_of_a_line_is_read_as_another_value() -> None:
    for bit in range(8 * len(LINE)):
        content = bytearray(LINE)
        content[bit // 8] ^= 1 << bit % 8
        value = read_checked(bytes(content))
        # In the name of the checksum a flip makes a line without one, whose other fields are as they were.
        assert value is None or {name: value[name] for name in ("key", "text")} == {"key": "a", "text": "yes"}


def test_lines_of_older_versions_have_no_checksum() -> None:
    assert read_checked(b'{"event":"stopped"}\n') == {"event": "stopped"}
    assert not is_damaged(b'{"event":"stopped"}\n')
    assert read_checked(b"[1]\n") is None
    assert read_checked(b'{"event":}\n') is None

"""JSON files of any size, read value by value."""

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from harness.data.releases.files import ReleaseFiles
from harness.errors import DataError
from harness.records import Json

# ijson would not do in place of this module: its C parser refuses integers above 64 bits, overflowing numbers, NaN and
# a byte-order mark, all of which `json` reads, and it cannot quote the text at which a file breaks off.

# 1 MiB: far more than any record, so that almost every value is decoded at the first try.
_CHUNK = 1 << 20
# The white space of JSON (RFC 8259, section 2); `str.isspace` would take more.
_BLANKS = " \t\r\n"
# Brackets, and strings, whose brackets are none. A string that the chunk cuts off is not closed yet.
_MARKS = re.compile(r'[\[\]{}]|"(?:[^"\\]|\\.)*(?:"|\\?$)', re.DOTALL)
# No release nests deeper than ten levels or so; Python's own reader gives up at a thousand.
DEPTH = 100
MOST_DIGITS = 300


def stream_object(files: ReleaseFiles, relative: str) -> Iterator[tuple[str, Json]]:
    """Yield (key, value) of a JSON file that holds one object, in file order, without holding the file in memory.

    Raises:
        DataError: The file is missing, is not one JSON object, or ends early.
    """
    decoder = json.JSONDecoder(parse_int=whole)
    with files.open(relative) as file:
        buffer = _Buffer(file, relative, "object")
        for key in buffer.keys(decoder):
            yield key, buffer.value(decoder)
        buffer.finish()


def stream_list(files: ReleaseFiles, relative: str) -> Iterator[Json]:
    """Yield the values of a JSON file that holds one list, in file order, without holding the file in memory.

    Raises:
        DataError: The file is missing, is not one JSON list, or ends early.
    """
    decoder = json.JSONDecoder(parse_int=whole)
    with files.open(relative) as file:
        buffer = _Buffer(file, relative, "list")
        yield from buffer.values(decoder)
        buffer.finish()


def stream_lists(files: ReleaseFiles, relative: str, keys: Sequence[str] | None = None) -> Iterator[tuple[str, Json]]:
    """Yield (key, value) for every value of every list of a JSON file that holds one object of lists, in file order.

    One value is in memory at a time.

    Args:
        files: The release.
        relative: The file.
        keys: The wanted keys, or None for all. The values of other keys are skipped and need not be lists.
    Raises:
        DataError: The file is missing, is not one JSON object of lists, or ends early.
    """
    decoder = json.JSONDecoder(parse_int=whole)
    with files.open(relative) as file:
        buffer = _Buffer(file, relative, "object of lists")
        for key in buffer.keys(decoder):
            if keys is not None and key not in keys:
                buffer.value(decoder)
                continue
            for value in buffer.values(decoder):
                yield key, value
        buffer.finish()


def whole(text: str) -> int | float:
    """Return a whole number; one of more than MOST_DIGITS digits, which Python refuses to read, as a float."""
    return int(text) if len(text) <= MOST_DIGITS else float(text)


def nested_end(text: str, at: int) -> int:
    """Return where the list or object ends that begins at `at`, whatever its depth; -1 if the text ends before it."""
    depth = 0
    for mark in _MARKS.finditer(text, at):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(mark[0], 0)
        if depth == 0 and mark[0] in "]}":
            return mark.end()
    return -1


def shallow(text: str) -> Json:
    """Return the value of a list or object without what is nested more than DEPTH levels deep, which becomes None."""
    kept: list[str] = []
    depth = begin = 0
    for mark in _MARKS.finditer(text):
        if mark[0] in "[{":
            depth += 1
            if depth == DEPTH + 1:
                kept += [text[begin : mark.start()], "null"]
        elif mark[0] in "]}":
            depth -= 1
            if depth == DEPTH:
                begin = mark.end()
    return json.loads("".join([*kept, text[begin:]]))


class _Buffer:
    """The part of a JSON text that has not been read yet."""

    def __init__(self, file: BinaryIO, where: str, holds: str) -> None:
        self._file = file
        self._where = where
        self._holds = holds
        # A chunk may end within a character, so bytes are decoded incrementally; `-sig` drops a byte-order mark.
        self._decode = codecs.getincrementaldecoder("utf-8-sig")()
        self._text = ""
        self._at = 0

    def broken(self, found: str) -> DataError:
        return DataError(f"{self._where}: expected one JSON {self._holds}: {found}; the download may be incomplete")

    def ahead(self, character: str) -> bool:
        """Return whether the next character after blanks is this one."""
        self._skip_blanks()
        return self._text.startswith(character, self._at)

    def expect(self, character: str) -> None:
        if not self.ahead(character):
            raise self.broken(f"expected {character!r}, found {self._text[self._at : self._at + 20]!r}")
        self._at += 1

    def finish(self) -> None:
        """Check that nothing follows."""
        self._skip_blanks()
        if self._at < len(self._text):
            raise self.broken(f"expected nothing more, found {self._text[self._at : self._at + 20]!r}")

    def keys(self, decoder: json.JSONDecoder) -> Iterator[str]:
        """Yield the keys of the next object; the caller reads the value of a key before it asks for the next key."""
        self.expect("{")
        more = not self.ahead("}")
        if not more:
            self.expect("}")
        while more:
            key = self.value(decoder)
            if not isinstance(key, str):
                raise self.broken(f"expected a key in quotes, found {key!r}")
            self.expect(":")
            yield key
            more = self.ahead(",")
            self.expect("," if more else "}")

    def values(self, decoder: json.JSONDecoder) -> Iterator[Json]:
        """Yield the values of the next list."""
        self.expect("[")
        more = not self.ahead("]")
        if not more:
            self.expect("]")
        while more:
            yield self.value(decoder)
            more = self.ahead(",")
            self.expect("," if more else "]")

    def value(self, decoder: json.JSONDecoder) -> Json:
        """Return the next value, reading more of the file until the text holds all of it."""
        self._skip_blanks()
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._at)
            except RecursionError:
                while (end := nested_end(self._text, self._at)) < 0:
                    if not self._more():
                        raise self.broken("found lists or objects that never end") from None
                value = shallow(self._text[self._at : end])
            except ValueError as error:
                # An error may only mean that the value goes on in the next chunk.
                if not self._more():
                    raise self.broken(str(error)) from error
                continue
            length = end - self._at
            # A number has ended only at a separator: the `12` of `12.5` or of `123` would decode too.
            ended = not isinstance(value, int | float) or self._text[end : end + 1] in (*_BLANKS, ",", "}", "]")
            if ended or not self._more():
                self._at += length
                return value

    def _skip_blanks(self) -> None:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._text) or not self._more():
                return

    def _more(self) -> bool:
        """Drop what has been read, append the next chunk, and return whether there was one."""
        chunk = self._file.read(_CHUNK)
        try:
            text = self._decode.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise self.broken(f"not UTF-8 text: {error.reason}") from error
        self._text = self._text[self._at :] + text
        self._at = 0
        return bool(chunk)

"""YAML text -> values that know their file and line.

YAML 1.2 scalars only (`no` stays text). Duplicate keys, anchors, tags and merge keys are faults that are collected
beside all others; nothing in a file can construct an object.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

from harness.errors import HarnessError, together

MAX_DEPTH = 16  # far deeper than a task file is; beyond, a hostile file would exhaust Python's stack
MAX_BYTES = 1_000_000  # the largest of our own files has some kilobytes

Scalar = str | int | float | bool | None


class Unreadable:
    """Replaces a refused value, so that no further fault is reported for it."""


@dataclass(frozen=True, slots=True)
class Node:
    """One value of a file.

    Attributes:
        value: A scalar, a tuple of nodes, a dict from key to node, or `Unreadable`.
        file: The path as the user gave it.
        line: 1-based; the line of the key if the value has one.
    """

    value: "Scalar | tuple[Node, ...] | dict[str, Node] | Unreadable"
    file: str
    line: int


def plain(node: Node) -> Any:
    """Return a value without its places in the file, as scalars, lists and dicts; None for a refused value."""
    value = node.value
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return None if isinstance(value, Unreadable) else value


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One thing that is wrong, and where."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Faults:
    """Everything that is wrong with the files read so far."""

    found: list[Fault] = field(default_factory=list)

    def add(self, file: str, line: int, message: str) -> None:
        """Note one fault."""
        self.found.append(Fault(file, line, message))

    def lines(self) -> list[str]:
        """Return the faults as `file:line: message`, by file and line, each once."""
        return [str(fault) for fault in sorted(set(self.found))]

    def error(self) -> HarnessError:
        """Return one SpecError that names all of them."""
        return together(self.lines())


def read_yaml(path: Path, faults: Faults) -> Node | None:
    """Return the file's one document, or None after noting the reason for having none.

    Args:
        path: A UTF-8 file of at most `MAX_BYTES` bytes.
        faults: Takes the faults: a syntax error once, at its line; duplicate keys and refused values each.
    """
    text = read_text(path, faults)
    if text is None:
        return None
    events = _events(text)
    try:
        first = next(events, None)
        if first is None:
            faults.add(str(path), 1, "the file is empty; expected keys and values")
            return None
        document = _Composer(str(path), events, faults).node(first, first.start_mark.line + 1, 0)
        for event in events:
            if not isinstance(event, DocumentEndEvent):
                faults.add(str(path), event.start_mark.line + 1, "a second document begins; expected one per file")
                break
    except YAMLError as error:
        faults.add(str(path), _line_of(error, text), f"cannot be read as YAML: {_problem(error)}")
        return None
    return document


def read_mapping(path: Path, faults: Faults) -> Node | None:
    """Return the file's document if it is a mapping, else None after noting the reason; see `read_yaml`."""
    document = read_yaml(path, faults)
    if document is None or isinstance(document.value, dict):
        return document
    faults.add(document.file, document.line, "expected 'key: value' lines at the top level")
    return None


def read_text(path: Path, faults: Faults) -> str | None:
    """Return the text of a file, or None after noting the reason why it cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        faults.add(str(path), 1, f"cannot be read: {error.strerror}")
        return None
    if len(content) > MAX_BYTES:
        faults.add(str(path), 1, f"is larger than {MAX_BYTES} bytes; is it a task file?")
        return None
    try:
        return content.decode("utf-8-sig")  # editors on Windows write a byte order mark
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        faults.add(str(path), line, "not UTF-8; save the file in that encoding")
        return None


def read_heads(path: Path, keys: frozenset[str], faults: Faults) -> dict[str, Node]:
    """Return those of `keys` that have a scalar at the top level, the first of each.

    Reading stops once all are found, so that many files can be listed quickly; the rest of the file stays unchecked.
    """
    text = read_text(path, faults)
    found: dict[str, Node] = {}
    if text is None:
        return found
    try:
        for key, value in _top_level(_events(text)):
            if key.value in keys and isinstance(value, ScalarEvent):
                line = key.start_mark.line + 1
                found.setdefault(key.value, Node(_scalar(value), str(path), line))
            if len(found) == len(keys):
                break
    except YAMLError as error:
        if not found:
            faults.add(str(path), _line_of(error, text), f"cannot be read as YAML: {_problem(error)}")
    return found


def _events(text: str) -> Iterator[Any]:
    """Yield the parser's events without the frame of the stream and of its first document."""
    framed = False
    # Events and not `load`: they keep line numbers and duplicate keys, and construct nothing.
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, DocumentStartEvent) and not framed:
            framed = True
        elif not isinstance(event, StreamStartEvent | StreamEndEvent):
            yield event


def _top_level(events: Iterator[Any]) -> Iterator[tuple[ScalarEvent, Event]]:
    """Yield the scalar keys of the outermost mapping, each with the event that begins its value."""
    depth = 0
    key: Event | None = None
    for event in events:
        if depth == 1 and not isinstance(event, MappingEndEvent):
            if key is not None and isinstance(key, ScalarEvent):
                yield key, event
            key = event if key is None else None
        if isinstance(event, MappingStartEvent | SequenceStartEvent):
            depth += 1
        elif isinstance(event, MappingEndEvent | SequenceEndEvent):
            depth -= 1


def _line_of(error: YAMLError, text: str) -> int:
    """Return the 1-based line of the parser's error."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return int(error.problem_mark.line) + 1
    if isinstance(error, ReaderError):
        return text.count("\n", 0, error.position) + 1
    return 1


def _problem(error: YAMLError) -> str:
    if isinstance(error, MarkedYAMLError):
        return " ".join(str(part) for part in (error.problem, error.context) if part)
    if isinstance(error, ReaderError):
        return f"the character {chr(error.character)!a} is not allowed"
    return str(error)


@dataclass(frozen=True, slots=True)
class _Composer:
    """Builds nodes from the parser's events."""

    file: str
    events: Iterator[Any]
    faults: Faults

    def node(self, event: Any, line: int, depth: int) -> Node:
        """Return the value that begins with `event`.

        Anchors, aliases and tags are refused, because they make the meaning of a line depend on other lines.

        Args:
            event: The parser's event.
            line: 1-based, where a reader would look for the value.
            depth: Levels above the value.
        Raises:
            MarkedYAMLError: The value is nested deeper than MAX_DEPTH levels.
        """
        if depth > MAX_DEPTH:
            raise MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=event.start_mark)
        refusal = None
        if isinstance(event, AliasEvent):
            refusal = f"'*{event.anchor}' is an alias, which is not read; write the value out"
        elif event.anchor is not None:
            refusal = f"'&{event.anchor}' is an anchor, which is not read; write the value out where it is meant"
        elif event.tag is not None:
            refusal = f"'{event.tag}' is a tag, which is not read; write the plain value"
        if refusal:
            self.faults.add(self.file, event.start_mark.line + 1, refusal)
        value: Any = None
        if isinstance(event, MappingStartEvent):
            value = self._mapping(depth)
        elif isinstance(event, SequenceStartEvent):
            value = self._sequence(depth)
        elif isinstance(event, ScalarEvent):
            value = _scalar(event)
        return Node(Unreadable() if refusal else value, self.file, line)

    def _sequence(self, depth: int) -> tuple[Node, ...]:
        items: list[Node] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            items.append(self.node(event, event.start_mark.line + 1, depth + 1))
        return tuple(items)

    def _mapping(self, depth: int) -> dict[str, Node]:
        items: dict[str, Node] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            line = event.start_mark.line + 1
            key = self.node(event, line, depth + 1).value
            after = next(self.events)
            value = self.node(after, line, depth + 1)
            if isinstance(event, ScalarEvent) and event.value == "<<" and event.style is None:  # plain, not quoted
                self.faults.add(self.file, line, "'<<' merges are not read; write the keys out, or use include:")
            elif not isinstance(event, ScalarEvent):
                self.faults.add(self.file, line, "a key must be one word")
            elif str(event.value) in items:
                first = items[str(event.value)].line
                self.faults.add(
                    self.file, line, f"{event.value}: duplicate key, first in line {first}; keep one of them"
                )
            elif not isinstance(key, Unreadable):
                items[str(event.value)] = value
        return items


_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")  # what fits into 64 bits; more digits stay text
# Decimal numbers only: `1_000`, `0x1F` and `12:30` stay text.
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,4})?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def _scalar(event: Any) -> Scalar:
    """Return a scalar's value in YAML 1.2's core schema; quoted scalars are text, and so are infinity and NaN."""
    text = str(event.value)
    if event.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text

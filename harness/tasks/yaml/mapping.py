"""Typed reading of one YAML mapping: every wrong key and value becomes a located fault, none stops the reading."""

from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from harness.errors import nearest
from harness.tasks.yaml.nodes import Faults, Node, Unreadable

T = TypeVar("T")
Word = TypeVar("Word", bound=str)


def describe(node: Node) -> str:
    """Return a value in words, for messages: `'dise'`, `the number 3`, `a list`, `nothing`."""
    value = node.value
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"'{value}'"
    return "a list" if isinstance(value, tuple) else "keys and values"


def one_of(words: Sequence[str]) -> str:
    """Return `one of 'a', 'b'`, or `'a'` alone."""
    quoted = ", ".join(f"'{word}'" for word in words)
    return quoted if len(words) == 1 else f"one of {quoted}"


class Table:
    """A mapping being read. Each method takes one key, notes what is wrong with it and then returns a stand-in."""

    def __init__(self, node: Node, where: str, known: Sequence[str] | None, faults: Faults) -> None:
        """Begin to read `node`.

        Args:
            node: The mapping; anything else is a fault, and is read as an empty mapping.
            where: Its place in the file, such as `metrics[0]`; empty for the file itself.
            known: The keys that it may have; None allows any.
            faults: Takes the faults.
        """
        self.node = node
        self.where = where
        self.faults = faults
        self.items: dict[str, Node] = node.value if isinstance(node.value, dict) else {}
        if not isinstance(node.value, dict | Unreadable):
            self._expected(node, "keys and values", where)
        for key, value in self.items.items():
            if known is not None and key not in known:
                hint = nearest(key, known) or f"; known here: {', '.join(known)}"
                self.fault(key, f"unknown key{hint}", value)

    def __contains__(self, key: str) -> bool:
        return key in self.items

    def says(self, key: str, value: str) -> bool:
        """Return whether the file itself gives `key` this value; a stand-in for a wrong value does not count."""
        return key in self.items and self.items[key].value == value

    def means(self, key: str, value: str) -> bool:
        """Return whether the file says `value`, or is silent and so means the default."""
        return key not in self.items or self.says(key, value)

    def place(self, key: str) -> str:
        """Return the key's place in the file, as messages name it."""
        return f"{self.where}.{key}" if self.where else key

    def fault(self, key: str, message: str, node: Node | None = None) -> None:
        """Note a fault of one key, at `node`, else at the key, else where the mapping begins."""
        at = node or self.items.get(key) or self.node
        self.faults.add(at.file, at.line, f"{self.place(key)}: {message}")

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text that is not empty; without a default the key is required."""
        return self._read(key, default, "", lambda node, where: self._text(node, where) or "")

    def optional_text(self, key: str) -> str | None:
        """Return a text that is not empty, or None if the key is absent."""
        return self.text(key) if key in self else None

    def choice(self, key: str, options: Sequence[Word], default: Word | None = None) -> Word:
        """Return one of `options`, the first in place of a wrong one; without a default the key is required."""

        def read(node: Node, where: str) -> Word:
            if isinstance(node.value, str) and node.value in options:
                return options[options.index(cast(Word, node.value))]
            hint = nearest(node.value, options) if isinstance(node.value, str) else ""
            self._expected(node, one_of(options), where, hint)
            return options[0]

        return self._read(key, default, options[0], read)

    def integer(self, key: str, default: int | None = None, *, least: int = 1, most: int | None = None) -> int:
        """Return a whole number of at least `least`, and of at most `most` unless that is None."""

        def read(node: Node, where: str) -> int:
            # True is an int in Python.
            if (
                isinstance(node.value, int)
                and not isinstance(node.value, bool)
                and node.value >= least
                and (most is None or node.value <= most)
            ):
                return node.value
            range_of = f"of at least {least}" if most is None else f"from {least} to {most:,}"
            self._expected(node, f"a whole number {range_of}", where)
            return least

        return self._read(key, default, least, read)

    def number(self, key: str, *, least: float, most: float) -> float:
        """Return a required number in [least, most]."""

        def read(node: Node, where: str) -> float:
            if isinstance(node.value, int | float) and not isinstance(node.value, bool) and least <= node.value <= most:
                return float(node.value)
            self._expected(node, f"a number from {least:g} to {most:g}", where)
            return least

        return self._read(key, None, least, read)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false; YAML 1.2 knows no other spelling."""

        def read(node: Node, where: str) -> bool:
            if isinstance(node.value, bool):
                return node.value
            self._expected(node, "true or false", where)
            return default

        return self._read(key, default, default, read)

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a list of texts, each of which may occur once; without a default the key is required."""

        def read(node: Node, where: str) -> tuple[str, ...]:
            found: dict[str, int] = {}
            for index, item in enumerate(self._list(node, where)):
                text = self._text(item, f"{where}[{index}]")
                if text in found:
                    self.faults.add(item.file, item.line, f"{where}[{index}]: '{text}' stands in the list twice")
                elif text is not None:
                    found[text] = index
            return tuple(found)

        return self._read(key, default, (), read)

    def text_or_texts(self, key: str) -> tuple[str, ...]:
        """Return a required text as a tuple of one, or a list of texts."""
        return self.texts(key) if isinstance(self.items[key].value, tuple) else (self.text(key),)

    def numbers(self, key: str, length: int) -> tuple[float, ...]:
        """Return a required list of exactly `length` numbers."""

        def read(node: Node, where: str) -> tuple[float, ...]:
            values = [item.value for item in node.value] if isinstance(node.value, tuple) else []
            found = tuple(float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool))
            if len(found) == len(values) == length:
                return found
            self._expected(node, f"a list of {length} numbers", where)
            return stand_in

        stand_in = tuple(float(index) for index in range(length))
        return self._read(key, None, stand_in, read)

    def table(self, key: str, known: Sequence[str] | None) -> "Table":
        """Return the mapping behind `key`, an empty one if the key is absent."""
        node = self.items.get(key) or Node({}, self.node.file, self.node.line)
        return Table(node, self.place(key), known, self.faults)

    def tables(self, key: str, known: Sequence[str] | None) -> list["Table"]:
        """Return the list of mappings behind `key`, empty if the key is absent."""
        if key not in self:
            return []
        items = self._list(self.items[key], self.place(key))
        return [Table(item, f"{self.place(key)}[{index}]", known, self.faults) for index, item in enumerate(items)]

    def _read(self, key: str, default: T | None, stand_in: T, read: Callable[[Node, str], T]) -> T:
        node = self.items.get(key)
        # A mapping that was refused as a whole is reported once, not again for each of its keys.
        if node is None and default is None and isinstance(self.node.value, dict):
            self.fault(key, "required key is missing")
        if node is None:
            return stand_in if default is None else default
        return stand_in if isinstance(node.value, Unreadable) else read(node, self.place(key))

    def _text(self, node: Node, where: str) -> str | None:
        if isinstance(node.value, str) and node.value:
            return node.value
        quoting = isinstance(node.value, int | float)
        self._expected(node, "text", where, " (put it in quotes)" if quoting else "")
        return None

    def _list(self, node: Node, where: str) -> tuple[Node, ...]:
        if isinstance(node.value, tuple):
            return node.value
        self._expected(node, "a list", where)
        return ()

    def _expected(self, node: Node, what: str, where: str, hint: str = "") -> None:
        if not isinstance(node.value, Unreadable):
            self.faults.add(node.file, node.line, f"{where}: expected {what}, got {describe(node)}{hint}")

"""Typed values taken out of a JSON file that comes from outside: every fault is noted with its place."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

# Longer texts are refused before they fill a page.
MOST_CHARACTERS = 2_000
MOST_BRIEF = 80
MOST_NUMBER = 1e300
MOST_COUNT = 10**18


class EntryReader:
    """Takes typed values out of JSON; a fault is noted with its place, and reading continues with a stand-in.

    So all faults of a file are named at once.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.faults: list[str] = []

    def fault(self, where: str, message: str) -> None:
        """Note a fault."""
        # Keys of the file are part of places, and may hold what no page can.
        self.faults.append(escaped(f"{self.file}: {where}: {message}" if where else f"{self.file}: {message}"))

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        """Return an object."""
        if isinstance(value, dict):
            return value
        self.fault(where, f"expected an object, got {_kind(value)}")
        return {}

    def sequence(self, value: Any, where: str) -> Sequence[Any]:
        """Return a list."""
        if isinstance(value, list):
            return value
        self.fault(where, f"expected a list, got {_kind(value)}")
        return []

    def text(self, value: Any, where: str, options: Sequence[str] = ()) -> str:
        """Return a text, one of `options` if there are any."""
        if not isinstance(value, str) or not value or len(value) > MOST_CHARACTERS:
            self.fault(where, f"expected text of at most {MOST_CHARACTERS} characters, got {_kind(value)}")
            return ""
        if options and value not in options:
            self.fault(where, f"expected {' or '.join(options)}, got '{value}'")
        # JSON can hold such halves as escapes, and the page could not be written with them.
        if any("\ud800" <= letter <= "\udfff" for letter in value):
            self.fault(where, "holds half of a surrogate pair; expected text that can be written as UTF-8")
        return value

    def flag(self, value: Any, where: str) -> bool:
        """Return true or false."""
        if not isinstance(value, bool):
            self.fault(where, f"expected true or false, got {_kind(value)}")
        return value is True

    def number(self, value: Any, where: str) -> float:
        """Return a finite number."""
        # To Python, true is the number 1. An integer of 400 digits cannot be made a float.
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= MOST_NUMBER:
            return float(value)
        self.fault(where, f"expected a finite number, got {_kind(value)}")
        return 0.0

    def count(self, value: Any, where: str) -> int:
        """Return a whole number of at least 0."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_COUNT:
            return value
        most = f" and at most {MOST_COUNT:,}" if isinstance(value, int) and value > MOST_COUNT else ""
        self.fault(where, f"expected a whole number of at least 0{most}, got {_kind(value)}")
        return 0

    def brief(self, value: Any, where: str) -> str:
        """Return any value in at most 80 characters."""
        try:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        except ValueError:  # an integer of thousands of digits
            text = _kind(value)
        text = text if len(text) <= MOST_BRIEF else f"{text[: MOST_BRIEF - 1]}…"
        return self.text(text, where) if text else ""


def _kind(value: Any) -> str:
    words = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "nothing"}
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Python refuses to write an integer of more than 4,300 digits.
        return f"the number {value}" if not abs(value) > MOST_NUMBER else "a number beyond all measure"
    return words[type(value)] if value != "" else "empty text"


def escaped(name: str) -> str:
    """Return a text; halves of surrogate pairs, and bytes of a file's name that are no UTF-8, are escaped."""
    return name.encode(errors="backslashreplace").decode()

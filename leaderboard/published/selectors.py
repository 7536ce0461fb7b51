"""Parts of an entry of mapping.yaml: conditions on the fields of published cells, and words that the cells get.

Reading notes faults of the text; `check` notes what does not fit the cells. Both name file and line.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from harness.errors import nearest
from harness.tasks.yaml.mapping import Table, one_of
from leaderboard.published.printed import FIELDS, PublishedCell

Word = TypeVar("Word", str, int)


@dataclass(frozen=True, slots=True)
class Conditions:
    """Fields with the values they may have.

    Attributes:
        table: Their place in the file.
        values: Field -> its values, at least one.
    """

    table: Table
    values: Mapping[str, tuple[str, ...]]

    def all_hold(self, cell: PublishedCell) -> bool:
        """Return whether every field of the cell has one of its values."""
        return all(cell.field(field) in values for field, values in self.values.items())

    def any_holds(self, cell: PublishedCell) -> bool:
        """Return whether some field of the cell has one of its values."""
        return any(cell.field(field) in values for field, values in self.values.items())

    def check(self, cells: Sequence[PublishedCell]) -> None:
        """Note every value that none of `cells` has."""
        # Such a value is misspelt or left over; ignored, it would leave numbers in the wrong place.
        for field, values in self.values.items():
            seen = sorted({found for cell in cells if (found := cell.field(field)) is not None})
            for value in values:
                if value not in seen:
                    self.table.fault(field, f"no cell meant here has '{value}'{nearest(value, seen)}")


def read_conditions(table: Table, key: str) -> Conditions:
    """Return the conditions behind `key`; none if the key is absent."""
    found = table.table(key, FIELDS)
    return Conditions(found, {field: found.text_or_texts(field) for field in found.items if field in FIELDS})


@dataclass(frozen=True, slots=True)
class Words(Generic[Word]):
    """One word for all cells, or one by the value of a field of the cell.

    Attributes:
        table: The table that holds it.
        key: Its key there.
        word: The word for all cells; None if there is none, or a field decides.
        field: The field that decides.
        by_value: Values of the field with their words.
    """

    table: Table
    key: str
    word: Word | None = None
    field: str | None = None
    by_value: Mapping[str, Word] | None = None

    def of(self, cell: PublishedCell) -> Word | None:
        """Return the cell's word; None if it has none."""
        if self.field is None or self.by_value is None:
            return self.word
        return self.by_value.get(cell.field(self.field) or "")

    def check(self, cells: Sequence[PublishedCell]) -> None:
        """Note values in `is` that none of `cells` has, and values of `cells` without a word."""
        if self.field is None or self.by_value is None:
            return
        lookup = self.table.table(self.key, ("by", "is")).table("is", None)
        seen = sorted({cell.field(self.field) or "" for cell in cells})
        for value in self.by_value:
            if value not in seen:
                lookup.fault(value, f"no cell of this selector has this {self.field}{nearest(value, seen)}")
        for value in seen:
            if value not in self.by_value:
                message = f"is: cells of this selector have the {self.field} '{value}', for which no word stands here"
                self.table.fault(self.key, message)


def read_words(table: Table, key: str, options: Sequence[str] | None = None, *, required: bool = False) -> Words[str]:
    """Return the text, or the lookup of texts, behind `key`.

    Args:
        table: The selector.
        key: Its key.
        options: The allowed texts; None: any text.
        required: Whether an absent key is a fault.
    """

    def read(at: Table, name: str) -> str:
        word = at.text(name)
        if options is not None and word and word not in options:
            at.fault(name, f"expected {one_of(options)}, got '{word}'{nearest(word, options)}")
        return word

    if key not in table and not required:
        return Words(table, key)
    return _read(table, key, read)


def read_counts(table: Table, key: str) -> Words[int]:
    """Return the whole number, or the lookup of whole numbers, behind `key`."""
    return _read(table, key, lambda at, name: at.integer(name)) if key in table else Words(table, key)


def _read(table: Table, key: str, read: Callable[[Table, str], Word]) -> Words[Word]:
    node = table.items.get(key)
    if node is None or not isinstance(node.value, dict):
        return Words(table, key, word=read(table, key))
    lookup = table.table(key, ("by", "is"))
    field = lookup.choice("by", FIELDS)
    if "is" not in lookup:
        lookup.fault("is", "required key is missing")
    words = lookup.table("is", None)
    return Words(table, key, field=field, by_value={value: read(words, value) for value in words.items})

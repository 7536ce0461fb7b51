"""Cells of CSV files that come from outside: a spreadsheet must take none of them for a formula."""

from typing import TypeVar

Value = TypeVar("Value")

# A spreadsheet runs a cell that begins with one of these, and some do so after blanks, a tab or a new line, or take the
# full-width form for the plain one.
FORMULA_STARTS = "=+-@\uff1d\uff0b\uff0d\uff20"
# These alone make some spreadsheets drop what is before the formula.
LEADING_CONTROLS = ("\t", "\r", "\n", "\0")


def harmless(value: Value) -> Value | str:
    """Return the value; text that begins like a formula, also after blanks, gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    # Marks of the direction of writing and blanks of no width are not shown, so a formula may follow them.
    start = next((letter for letter in value if letter.isprintable() and not letter.isspace()), "")
    formula = start != "" and start in FORMULA_STARTS
    return f"'{value}" if formula or value.startswith(LEADING_CONTROLS) else value

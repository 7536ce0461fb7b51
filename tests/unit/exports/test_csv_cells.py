"""Cells that a spreadsheet would run begin with an apostrophe; all others stay as they are."""

import pytest

from harness.exports.csv_cells import harmless


@pytest.mark.parametrize(
    "text",
    [
        *("=1+1", "+1", "-1", "@sum", "  =cmd|' /C calc'!A0", "\t=1", "\n=1", "\r\n@x", "\u00a0=1"),
        *("\u200b=1", "\u202e=1", "\uff1d1", "\tplain", "\0"),
    ],
)
def test_text_that_begins_like_a_formula_is_quoted(text: str) -> None:
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("value", ["", "plain", " plain", "a=1", "'=1", "1-2", -1, -0.5, None, True])
def test_everything_else_stays(value: object) -> None:
    assert harmless(value) is value

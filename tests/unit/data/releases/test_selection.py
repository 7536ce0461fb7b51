"""`release.where`: which samples are kept, and how many."""

from typing import Any

import pytest

from harness.data.integrity import Integrity
from harness.data.releases.reader import ReleaseRequest
from harness.data.releases.selection import Selection
from harness.errors import SpecError


def asked(**changes: Any) -> ReleaseRequest:
    return ReleaseRequest(**{"dataset": "d", "split": "test"} | changes)


def test_selection_ignores_case_and_blanks_and_counts() -> None:
    selection = Selection.of(asked(where={"organ": ("Head", "abd")}), ("organ", "plane"))
    assert selection.admits({"organ": " HEAD "})
    assert not selection.admits({"organ": "chest"})
    assert selection.admits({"plane": "axial"})
    selection.before, selection.after = 4, 2
    integrity = Integrity()
    selection.report(integrity)
    assert integrity.selected == (4, 2)


def test_no_selection_is_not_reported() -> None:
    selection = Selection.of(asked(), ("organ",))
    integrity = Integrity()
    selection.report(integrity)
    assert selection.admits({"organ": "chest"})
    assert integrity.selected is None


def test_an_unknown_field_of_where_lists_the_fields() -> None:
    message = (
        r"release.where.orgna: expected a field of the records \(organ, plane\), found 'orgna' \(did you mean 'organ'"
    )
    with pytest.raises(SpecError, match=message):
        Selection.of(asked(where={"orgna": ("head",)}), ("plane", "organ"))

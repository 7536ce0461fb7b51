"""Text between two marks of a page."""

import pytest

from benchmarks.markdown import put
from harness.errors import DataError


def test_only_the_text_between_the_marks_is_replaced() -> None:
    page = "before\n<!-- a begins -->old<!-- a ends -->\n<!-- b begins -->kept<!-- b ends -->"
    expected = "before\n<!-- a begins -->\n\nnew\n\n<!-- a ends -->\n<!-- b begins -->kept<!-- b ends -->"
    assert put(page, "a", "\nnew\n") == expected


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("", 0),
        ("<!-- table begins -->", 1),
        ("<!-- table ends --><!-- table begins -->", 2),
        ("<!-- table begins --><!-- table begins --><!-- table ends -->", 3),
    ],
)
def test_a_page_without_its_marks_is_refused(page: str, found: int) -> None:
    expected = "expected '<!-- table begins -->' and then '<!-- table ends -->' in the page, each once"
    with pytest.raises(DataError, match=f"{expected}, found {found} marks"):
        put(page, "table", "text")

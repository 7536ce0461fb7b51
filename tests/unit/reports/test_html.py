"""The environment of the pages: text is escaped, and a misspelt name is an error."""

import pytest
from jinja2 import UndefinedError

from harness.reports.html import environment


def test_text_from_models_and_releases_is_escaped() -> None:
    page = environment().from_string("<p>{{ answer }}</p>").render(answer="<script>")
    assert page == "<p>&lt;script&gt;</p>"


def test_a_name_without_a_value_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'answr' is undefined"):
        environment().from_string("{{ answr }}").render(answer="yes")


def test_the_templates_of_both_pages_are_found() -> None:
    assert {"report.html", "integrity.html"} <= set(environment().list_templates())

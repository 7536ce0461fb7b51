"""Placeholders of prompt templates."""

import pytest

from harness.tasks.prompt_template import template_faults


def test_templates_allow_marks_doubled_braces_and_plain_text() -> None:
    assert template_faults("<image> <box> {{x}} {question}", ("question",)) == []
    assert template_faults("", ("question",)) == []


@pytest.mark.parametrize("bad", ["{}", "{0}", "{a[0]}", "{a:>3}", "{a:{a}}", "{a!s}", "}", "{a}}", "{ a }"])
def test_templates_refuse_all_but_plain_names(bad: str) -> None:
    assert len(template_faults(bad, ("a",))) == 1

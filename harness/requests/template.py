"""Prompt templates filled with what a sample has."""

import re
from collections.abc import Mapping

from harness.errors import DataError
from harness.records import (
    Sample,
)
from harness.text.choices.reading import lettered


def names(sample: Sample, *, with_target: bool = False) -> dict[str, str]:
    """Return what a template may name: question, options, the strata, class; with the target answer, letter, option.

    The options are there in five ways: `options` a line each, `options_bracketed` so with their letters in brackets,
    `options_line` all in one line, `option_list` as Python writes a list of them, and `option_count`.
    """
    result = dict(sample.strata)
    result["question"] = sample.question
    options = [f"{letter}. {option}" for letter, option in lettered(sample.choices).items()]
    result["options"] = "\n".join(options)
    bracketed = (f"({letter}) {option}" for letter, option in lettered(sample.choices).items())
    result["options_bracketed"] = "\n".join(bracketed)
    result["options_line"] = " ".join(options)
    result["option_list"] = repr(list(sample.choices))
    result["option_count"] = str(len(sample.choices))
    if len(sample.target.entities) == 1:
        result["class"] = sample.target.entities[0].name
    if with_target:
        result["answer"] = sample.target.answers[0] if sample.target.answers else ""
        result["letter"] = sample.target.choice or ""
        result["option"] = _right_option(sample)
    return result


def _right_option(sample: Sample) -> str:
    return lettered(sample.choices).get(sample.target.choice or "", "")


def fill(template: str, values: Mapping[str, str], *, where: str) -> str:
    """Return the template with every `{name}` replaced; plain names only, doubled braces stand for one.

    Args:
        template: Of the task.
        values: What the sample has; what they hold is not looked into again.
        where: The sample, named in the error.
    Raises:
        DataError: The sample has no value for a name.
    """

    def value(match: re.Match[str]) -> str:
        if match.group(0) in ("{{", "}}"):
            return match.group(0)[0]
        if match.group(1) not in values:
            known = ", ".join(sorted(values))
            raise DataError(f"{where}: the template names '{match.group(1)}', the sample has only {known}")
        return values[match.group(1)]

    return re.sub(r"\{\{|\}\}|\{(\w+)\}", value, template)

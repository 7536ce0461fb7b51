"""Prompt templates filled with the fields of a sample."""

import re
from collections.abc import Mapping

from harness.errors import DataError
from harness.records import Sample
from harness.text.choices.reading import lettered

PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def names(sample: Sample, *, with_target: bool = False) -> dict[str, str]:
    """Return the values that a template may name: question, options, strata and class.

    The options come in five forms: `options` has one line each, `options_bracketed` the same with the letters in
    brackets, `options_line` all in one line, `option_list` is a list as Python writes it, and `option_count` their
    number; M3D, OmniMedVQA and MMMU print their prompts in different ones of these.

    Args:
        sample: The sample; `class` is there only if its target has exactly one entity.
        with_target: Add `answer`, `letter` and `option` of the target, for templates of a perfect model's reply.
    """
    # Most questions have no options, and a release may have a million.
    letters = lettered(sample.choices) if sample.choices else {}
    options = [f"{letter}. {option}" for letter, option in letters.items()]
    result = {
        **sample.strata,
        "question": sample.question,
        "options": "\n".join(options),
        "options_bracketed": "\n".join(f"({letter}) {option}" for letter, option in letters.items()),
        "options_line": " ".join(options),
        "option_list": repr(list(sample.choices)),
        "option_count": str(len(sample.choices)),
    }
    if len(sample.target.entities) == 1:
        result["class"] = sample.target.entities[0].name
    if with_target:
        result["answer"] = sample.target.answers[0] if sample.target.answers else ""
        result["letter"] = sample.target.choice or ""
        result["option"] = letters.get(sample.target.choice or "", "")
    return result


def fill(template: str, values: Mapping[str, str], *, where: str) -> str:
    """Return the template with every `{name}` replaced; doubled braces become single ones.

    `str.format` is not used, because a question or an option may hold braces of its own: a value is inserted as it is.

    Args:
        template: A template of the task, with plain names only.
        values: The values by name, from `names`.
        where: The sample's id, for the error.
    Raises:
        DataError: The sample has no value for a name.
    """
    filled, end = "", 0
    for match in PLACEHOLDER.finditer(template):
        name = match[1]
        if name is not None and name not in values:
            known = ", ".join(sorted(values))
            raise DataError(f"{where}: the template names '{name}', the sample has only {known}")
        filled += template[end : match.start()] + (match[0][0] if name is None else values[name])
        end = match.end()
    return filled + template[end:]

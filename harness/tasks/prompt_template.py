"""Placeholders of prompt templates, and the check of a template against them."""

import re
from collections.abc import Sequence
from string import Formatter

from harness.errors import nearest

PROMPT_NAMES = (
    *("question", "options", "options_bracketed", "options_line", "option_list", "option_count"),
    *("class", "modality"),
)
ORACLE_NAMES = ("answer", "letter", "option")


def template_faults(template: str, names: Sequence[str]) -> list[str]:
    """Return the faults of a template that may use only the placeholders `names`, each as plain `{name}`."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        return ["unbalanced braces; write {name} for a placeholder, {{ and }} for braces themselves"]
    known = f"; known here: {', '.join(names)}"
    found = []
    for _, name, form, conversion in parts:
        if name is None or (name in names and not form and not conversion):
            continue
        # `requests.template.fill` replaces plain names only; anything else would reach the model as it is written.
        if form or conversion or not re.fullmatch(r"\w+", name):
            found.append(
                f"placeholder '{{{name}}}' is not a plain name (no attribute, index, format or conversion){known}"
            )
        else:
            found.append(f"unknown placeholder '{{{name}}}'{nearest(name, names) or known}")
    return found

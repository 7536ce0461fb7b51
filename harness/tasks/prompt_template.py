"""Placeholders of prompt templates, and what may be wrong with them."""

import re
from collections.abc import Sequence
from string import Formatter
from typing import TYPE_CHECKING

from harness.errors import nearest

if TYPE_CHECKING:
    pass


PROMPT_NAMES = (
    *("question", "options", "options_bracketed", "options_line", "option_list", "option_count"),
    *("class", "modality"),
)
ORACLE_NAMES = ("answer", "letter", "option")


def template_faults(template: str, names: Sequence[str]) -> list[str]:
    """Return what is wrong with a template that may name only `names`, each as plain `{name}`."""
    try:
        parts = list(Formatter().parse(template))
    except ValueError:
        return ["unbalanced braces; write {name} for a placeholder, {{ and }} for braces themselves"]
    found = [_placeholder_fault(name, bool(form or conversion), names) for _, name, form, conversion in parts]
    return [message for message in found if message]


def _placeholder_fault(name: str | None, formatted: bool, names: Sequence[str]) -> str | None:
    if name is None or (name in names and not formatted):
        return None
    known = f"; known here: {', '.join(names)}"
    if formatted or not re.fullmatch(r"\w+", name):
        return f"placeholder '{{{name}}}' is not a plain name (no attribute, index, format or conversion){known}"
    return f"unknown placeholder '{{{name}}}'{nearest(name, names) or known}"

"""The result of reading a reply to a question with options."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase


@dataclass(frozen=True, slots=True)
class ChoiceReading:
    """The letter that a rule reads out of a reply.

    Attributes:
        letter: The letter as the rule reads it, which need not be the letter of an option; None if there is no answer.
        rule: Stable short name of the step that decided.
    """

    letter: str | None
    rule: str


def lettered(options: Sequence[str]) -> dict[str, str]:
    """Return the options by letter: A, B, C, ...; options beyond the 26th are left out."""
    return dict(zip(ascii_uppercase, options, strict=False))

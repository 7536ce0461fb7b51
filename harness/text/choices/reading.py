"""The outcome of reading a reply to a question with options."""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_uppercase


@dataclass(frozen=True, slots=True)
class ChoiceReading:
    """What a rule reads out of a reply.

    Attributes:
        letter: As the rule reads it, which need not be the letter of an option; None when it finds no answer.
        rule: Stable short name of the step that decided.
    """

    letter: str | None
    rule: str


def lettered(options: Sequence[str]) -> dict[str, str]:
    """Return the options by letter: A, B, C, ...; there are 26."""
    return dict(zip(ascii_uppercase, options, strict=False))

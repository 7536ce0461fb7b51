"""What an entry says of the judge behind a number, read with the same suspicion as the number itself."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from harness.metrics.answers.judge_words import judge_words

# Summaries of agreement and the sums of tokens and money that the words beside a number are made of.
_AGREEMENT = ("accuracy", "kappa", "alpha", "mean_error")
_USAGE = ("prompt_tokens", "completion_tokens", "cost")


class Reader(Protocol):
    """Takes typed values out of JSON and notes faults; see `leaderboard.entry_file`."""

    def mapping(self, value: Any, where: str) -> Mapping[str, Any]:
        """Return an object."""

    def text(self, value: Any, where: str) -> str:
        """Return a text."""

    def number(self, value: Any, where: str) -> float:
        """Return a finite number."""

    def count(self, value: Any, where: str) -> int:
        """Return a whole number of at least 0."""


def read_judge(reader: Reader, value: Any, protocol: str, where: str) -> tuple[str, str, str] | None:
    """Return (rubric, name of the judge's column, words beside its numbers); None for a number without a judge.

    Args:
        reader: Notes the faults.
        value: `judge` of a row of results.json, or nothing.
        protocol: Of the row, `RUBRIC@JUDGE~DIGEST`.
        where: Place of the value.
    """
    if value is None:
        return None
    given = reader.mapping(value, where)

    def some(mapping: Mapping[str, Any], names: tuple[str, ...], read: Callable[[Any, str], Any]) -> dict[str, Any]:
        return {name: read(mapping[name], f"{where}.{name}") for name in names if mapping.get(name) is not None}

    about = some(given, ("id", "rule", "rubric"), reader.text) | some(given, ("coverage",), reader.number)
    about["rubric_version"] = reader.count(given.get("rubric_version"), f"{where}.rubric_version")
    if "rubric" not in about or not ("id" in about or isinstance(given.get("panel"), list)):
        reader.text(None, f"{where}.rubric and {where}.id")
        return None
    if isinstance(given.get("panel"), list):
        about["panel"] = [reader.text(name, f"{where}.panel") for name in given["panel"]]
        about.setdefault("rule", "")
    about["usage"] = some(reader.mapping(given.get("usage") or {}, f"{where}.usage"), _USAGE, reader.number)
    if given.get("calibration") is not None:
        summary = reader.mapping(given["calibration"], f"{where}.calibration")
        found = some(summary, _AGREEMENT, reader.number)
        found["n"] = reader.count(summary.get("n"), f"{where}.calibration.n")
        about["calibration"] = found
    return about["rubric"], protocol.partition("@")[2] or str(about.get("id", "panel")), judge_words(about)

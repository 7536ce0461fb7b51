"""Gaming certificates: how a row can be gamed, and what the best blind answer that was found reaches.

The row of the table says why (`Metric.certificate`); answers and scores stand in certificates.json, which
`python -m harness.evaluation.certify` computes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from harness.metrics.metric import Metric

FILE = Path(__file__).with_name("certificates.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a row gives to answers that do not look at the image.

    Attributes:
        reason: How an answer that does not look, or fails, gains, as a sentence.
        answer, value: The best blind answer that fails, hedges or floods, in words, and the row's number for it; None
            if no such answer has a number.
        plain, plain_value: The best blind answer that commits itself, such as a letter or a box, and its number.
        data: The data root, such as `phantom:0`.
        task: The task whose samples were answered.
        n: Number of samples.
    """

    reason: str
    answer: str | None
    value: float | None
    plain: str | None
    plain_value: float | None
    data: str
    task: str
    n: int

    @property
    def text(self) -> str:
        """Return the certificate as sentences."""
        found = [
            f"{said} reaches {value:.3f}"
            for said, value in ((self.answer, self.value), (self.plain, self.plain_value))
            if value is not None
        ]
        if not found:
            return self.reason
        return f"{self.reason} To answer {', '.join(found)} ({self.data}, {self.task}, n = {self.n})."


@cache
def _stored() -> Mapping[str, Mapping[str, Any]]:
    stored: Mapping[str, Mapping[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))
    return stored


def certificate_of(row: Metric) -> Certificate | None:
    """Return the certificate of a row; None if no way to game it is known.

    A row that was searched under another version, or never, has its reason alone.
    """
    if row.certificate is None:
        return None
    found = _stored().get(f"{row.name}/{row.protocol}/v{row.version}", {})
    names = ("answer", "value", "plain", "plain_value")
    return Certificate(
        reason=row.certificate,
        **{name: found.get(name) for name in names},
        data=found.get("data", ""),
        task=found.get("task", ""),
        n=found.get("n", 0),
    )

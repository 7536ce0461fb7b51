"""What is said beside a judged number: how far its judge agrees with people."""

from collections.abc import Mapping
from typing import Any

UNCALIBRATED = "uncalibrated"


def calibration_words(summary: Mapping[str, Any] | None) -> str:
    """Return the agreement of a judge with people in a few words; `uncalibrated` if nobody compared them.

    Args:
        summary: `calibration` beside a judged number in `results.json`: n, accuracy, accuracy_ci, kappa, alpha,
            mean_error; None if there is none.
    """
    if summary is None:
        return UNCALIBRATED
    parts = []
    if summary.get("accuracy") is not None:
        ci = summary.get("accuracy_ci")
        parts.append(f"accuracy {summary['accuracy']:.2f}" + (f" [{ci[0]:.2f}, {ci[1]:.2f}]" if ci else ""))
    parts += [f"{name} {summary[name]:.2f}" for name in ("kappa", "alpha") if summary.get(name) is not None]
    if summary.get("mean_error") is not None:
        parts.append(f"mean error {summary['mean_error']:+.1f} points")
    return f"agrees with people: {', '.join(parts) or 'undefined'}, n {summary['n']}"

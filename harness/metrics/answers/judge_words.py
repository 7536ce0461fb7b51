"""What is said beside a judged number: who judged, by what, how far that agrees with people, and what it took."""

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


def judge_words(about: Mapping[str, Any]) -> str:
    """Return what must be read beside a judged number.

    Args:
        about: `judge` beside the number in `results.json`: id or panel, rubric, rubric_version, coverage, usage,
            calibration; what is missing is left out, but for the calibration.
    """
    who = f"panel of {', '.join(about['panel'])} ({about['rule']})" if about.get("panel") else f"judge {about['id']}"
    parts = [f"{who}, rubric {about['rubric']} version {about['rubric_version']}"]
    parts.append(calibration_words(about.get("calibration")))
    if about.get("coverage") is not None:
        parts.append(f"judged {about['coverage']:.1%}")
    usage = about.get("usage") or {}
    if tokens := sum(usage.get(name, 0) for name in ("prompt_tokens", "completion_tokens")):
        parts.append(f"{tokens:,.0f} tokens")
    if usage.get("cost"):
        parts.append(f"cost {usage['cost']:.4g}")
    return "; ".join(parts)

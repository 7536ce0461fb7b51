"""The metrics: one constant table, one row per metric and protocol."""

from harness.errors import SpecError, nearest
from harness.metrics.overlap import METRICS as OVERLAP
from harness.metrics.row import Metric, Outcome, sample_values
from harness.metrics.text import METRICS as TEXT

METRICS: tuple[Metric, ...] = (*TEXT, *OVERLAP)

__all__ = ["METRICS", "Metric", "Outcome", "find", "names", "protocols", "sample_values"]


def names() -> list[str]:
    """Return the metric names in table order, each once."""
    return list(dict.fromkeys(metric.name for metric in METRICS))


def protocols(name: str) -> list[str]:
    """Return the protocols of one metric in table order."""
    return [metric.protocol for metric in METRICS if metric.name == name]


def find(name: str, protocol: str | None = None) -> Metric:
    """Return the row of `name` under `protocol`; without one `standard`, else the first of its rows.

    Raises:
        SpecError: The metric or the protocol does not exist; the message lists what does.
    """
    known = protocols(name)
    if not known:
        raise SpecError(f"metric: expected one of {', '.join(names())}, got '{name}'{nearest(name, names())}")
    wanted = protocol or ("standard" if "standard" in known else known[0])
    if wanted not in known:
        raise SpecError(f"{name}: expected a protocol of {', '.join(known)}, got '{wanted}'{nearest(wanted, known)}")
    return next(metric for metric in METRICS if (metric.name, metric.protocol) == (name, wanted))

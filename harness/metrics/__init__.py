"""The metrics: one constant table, one row per metric and protocol."""

from harness.errors import SpecError, nearest
from harness.metrics.average_precision import METRICS as AVERAGE_PRECISION
from harness.metrics.bertscore import METRICS as BERTSCORE
from harness.metrics.boxes import METRICS as BOXES
from harness.metrics.choice import METRICS as CHOICE
from harness.metrics.cider import METRICS as CIDER
from harness.metrics.clinical import METRICS as CLINICAL
from harness.metrics.closed import METRICS as CLOSED
from harness.metrics.grounding import METRICS as GROUNDING
from harness.metrics.instance import METRICS as INSTANCE
from harness.metrics.judge import METRICS as JUDGE
from harness.metrics.meteor import METRICS as METEOR
from harness.metrics.meteor_java import METRICS as METEOR_JAVA
from harness.metrics.ngrams import METRICS as NGRAMS
from harness.metrics.overlap import METRICS as OVERLAP
from harness.metrics.phrase_bert import METRICS as PHRASE_BERT
from harness.metrics.pointing_game import METRICS as POINTING_GAME
from harness.metrics.retrieval import METRICS as RETRIEVAL
from harness.metrics.rouge import METRICS as ROUGE
from harness.metrics.row import Metric, Outcome, bind, sample_values, settle
from harness.metrics.surface import METRICS as SURFACE
from harness.metrics.text import METRICS as TEXT

METRICS: tuple[Metric, ...] = (
    *CHOICE,
    *TEXT,
    *CLOSED,
    *NGRAMS,
    *ROUGE,
    *METEOR,
    *METEOR_JAVA,
    *BERTSCORE,
    *CIDER,
    *CLINICAL,
    *OVERLAP,
    *SURFACE,
    *AVERAGE_PRECISION,
    *INSTANCE,
    *GROUNDING,
    *PHRASE_BERT,
    *POINTING_GAME,
    *BOXES,
    *RETRIEVAL,
    *JUDGE,
)

__all__ = ["METRICS", "Metric", "Outcome", "bind", "find", "names", "protocols", "sample_values", "settle"]


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

"""The table of metrics: one row per metric and protocol."""

from harness.errors import SpecError, nearest
from harness.metrics.answers.choice import METRICS as CHOICE
from harness.metrics.answers.closed import METRICS as CLOSED
from harness.metrics.answers.judge import METRICS as JUDGE
from harness.metrics.answers.short_answer import METRICS as TEXT
from harness.metrics.grounding.glamm_bert import METRICS as PHRASE_BERT
from harness.metrics.grounding.mask_to_entity import METRICS as GROUNDING
from harness.metrics.grounding.pointing_game import METRICS as POINTING_GAME
from harness.metrics.grounding.rec import METRICS as BOXES
from harness.metrics.grounding.rec_harnesses import METRICS as BOXES_OF_HARNESSES
from harness.metrics.instances.average_precision import METRICS as AVERAGE_PRECISION
from harness.metrics.instances.detections import METRICS as DETECTIONS
from harness.metrics.instances.instance import METRICS as INSTANCE
from harness.metrics.instances.panoptic_released import METRICS as PANOPTIC_RELEASED
from harness.metrics.instances.rexrank import METRICS as REXRANK
from harness.metrics.instances.sa_co import METRICS as SA_CO
from harness.metrics.masks.overlap import METRICS as OVERLAP
from harness.metrics.masks.overlap_summaries import METRICS as OVERLAP_SUMMARIES
from harness.metrics.masks.surface import METRICS as SURFACE
from harness.metrics.masks.surface_monai import METRICS as SURFACE_MONAI
from harness.metrics.metric import Metric, Outcome, bind, sample_values, settle
from harness.metrics.reports.bertscore import METRICS as BERTSCORE
from harness.metrics.reports.bleu import METRICS as NGRAMS
from harness.metrics.reports.cider import METRICS as CIDER
from harness.metrics.reports.clinical_entities import METRICS as CLINICAL
from harness.metrics.reports.meteor import METRICS as METEOR
from harness.metrics.reports.meteor_java import METRICS as METEOR_JAVA
from harness.metrics.reports.rouge import METRICS as ROUGE
from harness.metrics.retrieval import METRICS as RETRIEVAL

# The order is that of `harness list metrics`, and of the protocols on the page docs/metrics.md.
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
    *OVERLAP_SUMMARIES,
    *SURFACE,
    *SURFACE_MONAI,
    *AVERAGE_PRECISION,
    *DETECTIONS,
    *INSTANCE,
    *PANOPTIC_RELEASED,
    *SA_CO,
    *REXRANK,
    *GROUNDING,
    *PHRASE_BERT,
    *POINTING_GAME,
    *BOXES,
    *BOXES_OF_HARNESSES,
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
    """Return the row of a metric under a protocol.

    Args:
        name: As in task files.
        protocol: None means `standard`, or the first protocol of the metric if it has no `standard`.
    Raises:
        SpecError: The metric or the protocol does not exist; the message lists those that do.
    """
    known = protocols(name)
    if not known:
        raise SpecError(f"metric: expected one of {', '.join(names())}, got '{name}'{nearest(name, names())}")
    wanted = protocol or ("standard" if "standard" in known else known[0])
    if wanted not in known:
        raise SpecError(f"{name}: expected a protocol of {', '.join(known)}, got '{wanted}'{nearest(wanted, known)}")
    return next(metric for metric in METRICS if (metric.name, metric.protocol) == (name, wanted))

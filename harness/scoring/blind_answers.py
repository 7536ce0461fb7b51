"""What a row gives an answer that does not look at the image."""

from collections.abc import Iterable
from math import fsum

import numpy as np

from harness.metrics.metric import Metric
from harness.records import Score


def run_number(metric: Metric, scores: Iterable[Score | None]) -> float | None:
    """Return the headline number of a run: the mean over its samples, or the pooled value of a corpus metric.

    Args:
        metric: The row that all scores come from.
        scores: In the order of the samples; None for a sample that the model was not asked.
    """
    counted = [score for score in scores if score is not None and score.status in ("ok", "unparsed")]
    if not counted:
        return None
    if not metric.corpus:
        values = [score.values[0] for score in counted if score.values[0] is not None]
        return fsum(values) / len(values) if values else None
    if metric.pool is not None:
        value = metric.pool([score.stats for score in counted], np.ones(len(counted)))[0]
    else:
        stats = zip(*(score.stats for score in counted), strict=True)
        value = metric.combine(np.asarray([fsum(column) for column in stats]))[0]
    return None if np.isnan(value) else float(value)

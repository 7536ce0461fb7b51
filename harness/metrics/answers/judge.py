"""The score that an LLM judge writes in its reply, read by two rules. This module does not call the judge."""

import math
import re
from collections.abc import Callable

from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome
from harness.metrics.ratios import MISS, ratio
from harness.records import Prediction, Sample
from harness.text.judgement import BEST, stated_points

_M3D = re.compile(r"Score: (\d+\.\d+)")  # M3D, Bench/eval/eval_with_llm.py


def m3d_points(reply: str) -> float | None:
    """Return the decimal after the first "Score: " that is followed by one; None if there is none, as in "Score: 75.".

    The number is at least 0 and has no upper bound; an empty reply holds none. The prompt asks for whole numbers in
    this very form, which the released expression does not match.

    Source: M3D's Bench/eval/eval_with_llm.py.
    """
    match = _M3D.search(reply)
    points = float(match[1]) if match else math.inf  # more digits than a float holds are infinite as well
    return points if math.isfinite(points) else None


def _by_points(points: Callable[[str], float | None], rule: str) -> Callable[[Sample, Prediction], Outcome]:
    """Return a `score` that reads the judge's reply, the prediction's text; a reply without a score is `unjudged`."""

    def score(sample: Sample, prediction: Prediction) -> Outcome:  # noqa: ARG001 - the judge has seen the sample
        found = points(prediction.text or "")
        if found is None:
            return Outcome("unjudged", detail={"rule": rule})
        return Outcome("ok", (found, 1.0), {"rule": rule})

    return score


JUDGE = Family(
    name="judge",
    stats=("points", "samples"),
    line="judge",
    suits=frozenset({"text"}),
    combine=ratio,
    worst=lambda _: MISS,
    ceiling=lambda _: BEST,
    unit="points",
    empty=EmptyCases(prediction="unjudged", note="Empty: the judge's reply."),
    protocols=(
        Protocol(
            "standard",
            version=2,
            score=_by_points(stated_points, "stated_score"),
            summary="Mean of the scores from 0 to 100 that a judge states; ranges and several scores are not read.",
            formula="Without reasoning and wrapping, the first of: overall score: N; score: N; score is N, I give N; N "
            "alone. N/10, N/5 and N% are scaled to 100; clamped to 0..100.",
            range=(0.0, BEST),
            source="ours",
        ),
        Protocol(
            "m3d",
            version=1,
            score=_by_points(m3d_points, "score_and_decimal"),
            certificate="A reply of the judge with a whole number is not read and leaves the mean.",
            summary="Mean of a judge's scores as M3D reads them: whole numbers are not read and leave the mean.",
            formula="The decimal of the first `Score: ` that has one, as written; a whole number is none.",
            range=(0.0, None),
            source="Bench/eval/eval_with_llm.py of M3D, arXiv:2404.00578",
        ),
    ),
)

METRICS: tuple[Metric, ...] = JUDGE.rows()

"""The score that a judge writes in its reply, by two rules of reading it; calling the judge is not done here."""

import math
import re
from collections.abc import Callable

from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome
from harness.metrics.ratios import MISS, ratio
from harness.records import Prediction, Sample

_BEST = 100.0
_SCORE = re.compile("score", re.IGNORECASE)
_NUMBER = re.compile(r"(?:(?<=[\s:(])-)?\d+(?:\.\d+)?")
_M3D = re.compile(r"Score: (\d+\.\d+)")


def standard_points(reply: str) -> float | None:
    """Return the first integer or decimal after the word "score", case aside, clamped to 0..100.

    None without one, as for an empty reply. A hyphen is a minus sign where it stands right before a digit and after a
    blank, a colon or a bracket.
    """
    word = _SCORE.search(reply)
    number = _NUMBER.search(reply, word.end()) if word else None
    return None if number is None else min(max(float(number[0]), 0.0), _BEST)


def m3d_points(reply: str) -> float | None:
    """Return the decimal of the first "Score: " that has one, as written; None without one, as for "Score: 75.".

    At least 0, without a bound above; an empty reply has none. The prompt asks for whole numbers in just that form,
    which the released expression does not match.

    Source: M3D's Bench/eval/eval_with_llm.py.
    """
    match = _M3D.search(reply)
    points = float(match[1]) if match else math.inf
    return points if math.isfinite(points) else None


def _by_points(points: Callable[[str], float | None], rule: str) -> Callable[[Sample, Prediction], Outcome]:
    """Return a score of the judge's reply, which is the prediction's text; `unjudged` where it holds none."""

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
    ceiling=lambda _: _BEST,
    unit="points",
    empty=EmptyCases(prediction="unjudged", note="Empty: the judge's reply."),
    protocols=(
        Protocol(
            "standard",
            version=1,
            score=_by_points(standard_points, "first_number_after_score"),
            summary="Mean of a judge's scores from 0 to 100: the first number after the word score.",
            formula="The first whole number or decimal after the word score, case aside, clamped to 0..100.",
            range=(0.0, _BEST),
            source="ours",
        ),
        Protocol(
            "m3d",
            version=1,
            score=_by_points(m3d_points, "score_and_decimal"),
            summary="Mean of a judge's scores as M3D reads them: whole numbers are not read and leave the mean.",
            formula="The decimal of the first `Score: ` that has one, as written; a whole number is none.",
            range=(0.0, None),
            source="Bench/eval/eval_with_llm.py of M3D, arXiv:2404.00578",
        ),
    ),
)

METRICS: tuple[Metric, ...] = JUDGE.rows()

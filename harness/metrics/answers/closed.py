"""Short answers as released code compares them: the closed questions of MedEvalKit and the open ones of MMMU."""

from dataclasses import replace

from harness.metrics.answers.short_answer import VQA_ACCURACY, VQA_EMPTY
from harness.metrics.family import Family, Protocol
from harness.metrics.metric import EmptyCases, Metric, Outcome
from harness.metrics.ratios import miss_if_answered, ratio
from harness.records import Prediction, Sample
from harness.text.choices.medevalkit import unwrapped
from harness.text.choices.mmmu import mmmu_candidates, mmmu_match


def medevalkit_closed(sample: Sample, prediction: Prediction) -> Outcome:
    """Compare the unwrapped reply without line ends and full stops with the first answer, both in lower case.

    The score is 0 or 1; without an answer to compare with it is undefined. As in the released code, an answer that
    holds a full stop is never met. An empty reply scores 0 against every answer but the empty one.

    Source: `judge_close_end_vqa` of github.com/alibaba-damo-academy/MedEvalKit (9b12e3b), which scores the closed
    questions of SLAKE, VQA-RAD and PathVQA whose answer is not yes or no.
    """
    if not sample.target.answers:
        return Outcome("undefined")
    # The full stops go from the reply only: the released code leaves the answer as it is.
    text = unwrapped(prediction.text or "").replace("\n", "").replace(".", "")
    return Outcome("ok", (float(text == sample.target.answers[0].lower()), 1.0), {"rule": "equal_text"})


def mmmu_open(sample: Sample, prediction: Prediction) -> Outcome:
    """Search the texts and numbers that an open reply may mean for any of the answers.

    The score is 0 or 1: a text counts if it holds an answer's text, a number if it equals an answer's to two decimals.
    Without an answer to compare with it is undefined.

    Source: `parse_open_response` and `eval_open` of github.com/MMMU-Benchmark/MMMU.
    """
    if not sample.target.answers:
        return Outcome("undefined")
    candidates = mmmu_candidates(prediction.text or "")
    found = mmmu_match(candidates, sample.target.answers)
    rule = {str: "holds_text", float: "equal_number"}.get(type(found), "none")
    return Outcome("ok", (float(found is not None), 1.0), {"rule": rule, "candidates": list(map(str, candidates))})


def mmmu_open_ceiling(sample: Sample) -> float | None:
    """Return 1, or 0 if no reply can be right; None if there is no answer to compare with.

    No reply can be right if too little of the answer is left behind a key: "stenosis left" holds the key "is ".
    """
    answers = sample.target.answers
    if not answers:
        return None
    replies = (form for answer in answers for form in (answer, f"is {answer}\n."))
    return float(any(mmmu_match(mmmu_candidates(reply), answers) is not None for reply in replies))


_MEDEVALKIT_CLOSED = Protocol(
    "medevalkit-closed",
    version=1,
    score=medevalkit_closed,
    # The reply loses full stops and line ends and the answer keeps them, so an answer that holds one is never met.
    ceiling=lambda sample: float(not set(sample.target.answers[0]) & {".", "\n"}) if sample.target.answers else None,
    summary="Share of replies equal to the first answer once MedEvalKit has taken them out of their wrapping.",
    formula="1 if the unwrapped reply, without line ends and full stops, equals the first answer in lower case.",
    empty=replace(VQA_EMPTY, note="An answer that holds a full stop is never met."),
    source="judge_close_end_vqa of github.com/alibaba-damo-academy/MedEvalKit (9b12e3b)",
)

MMMU_OPEN = Family(
    name="mmmu_open",
    stats=("hits", "samples"),
    line="text",
    suits=frozenset({"text"}),
    combine=ratio,
    worst=miss_if_answered,
    protocols=(
        Protocol(
            "mmmu",
            version=1,
            score=mmmu_open,
            ceiling=mmmu_open_ceiling,
            certificate="A reply that names many answers holds the right one.",
            summary="Share of open replies whose key parts hold an answer's text or equal its number, as MMMU scores "
            "them.",
            formula="1 if a key part of the reply holds an answer's text, or a number in it equals an answer's to two "
            "decimals.",
            empty=EmptyCases(prediction=0.0, target=1.0, both=1.0, note="Every text holds an empty answer."),
            source="parse_open_response and eval_open of github.com/MMMU-Benchmark/MMMU",
        ),
    ),
)

METRICS: tuple[Metric, ...] = (VQA_ACCURACY.row(_MEDEVALKIT_CLOSED), *MMMU_OPEN.rows())

"""The judgement: what a judge, itself a model, said of one answer of a model, as it was read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

JudgementStatus = Literal["ok", "unjudged"]
# In what order a pairwise judge saw the two answers: that of this run first, or second; empty for all other rubrics.
Order = Literal["", "first", "second"]
# Digits of a judge's digest in the name of a column: a run has few judges, and a name is to be read.
DIGEST_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One answer of a model, as one judge sees it under one rubric, once.

    Attributes:
        key: sha256 of the judge's identity, the rubric, the decoding, the sample and the answer; empty if the judge is
            not asked, because the model gave no answer.
        task, sample_id, repeat: The answer that is judged; `repeat` is the 0-based repetition of the model's answer.
        ask: 0-based number of the time that the judge is asked about this same answer.
        order: For `pairwise`, in which place the answer of this run stood.
        rubric, rubric_version: The rubric.
        judge: Public name of the judge, such as `openai:gpt-4o`.
        judge_digest: sha256 of the judge's identity: two judges of one name differ in it.
        status: `ok`, or `unjudged`: there is no reply, or it cannot be read.
        failed: The model gave no answer, so the worst value stands here, and no judge was asked.
        value: On the rubric's scale, 0 to 100; None if it is unjudged. M3D's released reader has no upper bound.
        verdict: The word that the judge chose, such as `correct`; empty if the rubric has none.
        counts: What the judge counted, such as findings by kind.
        reply: The raw text of the reply that decided; empty if there is none.
        reason: Why it is unjudged, or why a value stands without a judge; empty for a reply that was read.
        attempts: How often the judge was asked until then: a reply that cannot be read is asked for once more.
        answer_length: Length of the judged answer, in characters.
        cluster, strata: Of the sample.
        seconds: Time that the judge took for all attempts.
        usage: Tokens and cost of all attempts, as the judge reports them.
    """

    key: str
    task: str
    sample_id: str
    repeat: int = 0
    ask: int = 0
    order: Order = ""
    rubric: str
    rubric_version: int
    judge: str
    judge_digest: str
    status: JudgementStatus
    failed: bool = False
    value: float | None = None
    verdict: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    reply: str = ""
    reason: str = ""
    attempts: int = 0
    answer_length: int = 0
    cluster: str = ""
    strata: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    usage: Mapping[str, float] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """Name of the column in which its number stands: the rubric, and the judge with the head of its digest."""
        return judge_protocol(self.rubric, self.judge, self.judge_digest)


def judge_protocol(rubric: str, judge: str, judge_digest: str) -> str:
    """Return the protocol of a judged number, which is also part of a file's name.

    Two judges never share a column, whatever they are called, because the head of the digest tells them apart.
    """
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", judge).strip("-")
    return f"{rubric}@{plain}~{judge_digest[:DIGEST_SHOWN]}"

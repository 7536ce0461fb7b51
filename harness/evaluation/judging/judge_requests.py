"""What is asked of one judge, in an order that no kill changes, each request once."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from harness.evaluation.judging.answers import AnswersToJudge, AnswerToJudge
from harness.evaluation.judging.prompts import PROMPT_VERSION, judge_request
from harness.evaluation.judging.rubrics import Rubric
from harness.records import Json, Request
from harness.records.atomic_files import replacing
from harness.records.codec import canonical, to_json
from harness.records.judgement import Order
from harness.requests.key import request_key
from harness.runs import plan_file
from harness.runs.judgements import JudgedSample, JudgeFolder, attempt_key, settle
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore

# Numbers of the times that a judge is asked lie this far apart from round to round of `--retry-unjudged`, so that a
# judge that samples by seed and number gives another reply.
ROUND = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One answer with everything that a request to the judge is made of.

    Attributes:
        sample: The line of `samples.jsonl`.
        answer: The answer, or the pair.
        request: The first request, with its key; None if no judge is asked.
    """

    sample: JudgedSample
    answer: AnswerToJudge
    request: Request | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """All that one judge is asked under one rubric; they can be read any number of times, in the same order.

    Attributes:
        answers: The answers of the run.
        rubric: What is asked.
        identity: The judge's.
        seed: Seed of the run.
        repeats: How often each answer is judged.
        roots: Folders of the images that the judge sees.
        per_sample: The judge gets the id of the sample, as scripted ones do.
    """

    answers: AnswersToJudge
    rubric: Rubric
    identity: Mapping[str, Json]
    seed: int
    repeats: int = 1
    roots: tuple[Path, ...] = ()
    per_sample: bool = False

    def __iter__(self) -> Iterator[Question]:
        orders: tuple[Order, ...] = ("first", "second") if self.rubric.is_pairwise else ("",)
        for answer in self.answers:
            for ask in range(self.repeats):
                for order in orders:
                    request = None
                    if answer.decided is None:
                        request = self.request(answer, ask, order)
                    sample = JudgedSample(
                        task=answer.task,
                        sample_id=answer.sample.id,
                        repeat=answer.repeat,
                        ask=ask,
                        order=order,
                        key="" if request is None else request.key,
                        decided=answer.decided,
                        why=answer.why,
                        failed=answer.failed,
                        answer_length=answer.length,
                        cluster=answer.sample.cluster,
                        strata=dict(answer.sample.strata),
                    )
                    yield Question(sample=sample, answer=answer, request=request)

    def request(self, answer: AnswerToJudge, ask: int, order: Order, number: int = 0, attempt: int = 0) -> Request:
        """Return a request to the judge, with its key.

        Args:
            answer: The answer, or the pair.
            ask: 0-based number of the time that it is judged.
            order: Place of the run's own answer in a pair.
            number, attempt: The round, and the attempt within it.
        """
        texts = dict(answer.texts)
        if order:
            own, other = texts.pop("own"), texts.pop("other")
            texts |= {"first": own, "second": other} if order == "first" else {"first": other, "second": own}
        request = judge_request(
            self.rubric,
            texts,
            repeat=ask + ROUND * number,
            seed=self.seed,
            again=attempt > 0,
            media=answer.media,
        )
        if self.per_sample:
            request = replace(request, sample_id=answer.sample.id)
        if (number, attempt) != (0, 0):
            first = self.request(answer, ask, order)
            return replace(request, key=attempt_key(first.key, number, attempt))
        rubric = self.rubric.record()
        asked = {"rubric": rubric["name"], "version": rubric["version"], "digest": rubric["digest"]}
        whole: dict[str, Json] = {
            "judge": dict(self.identity),
            "rubric": asked,
            "prompt_version": PROMPT_VERSION,
            # Equal answers to two samples are judged apart, since a judge may see more of the sample than its words.
            "sample": [answer.sample.id, answer.repeat],
        }
        return replace(request, key=request_key(request, whole))


def write_samples(folder: JudgeFolder, questions: Questions) -> int:
    """Write `samples.jsonl`, whole or not at all; return the number of its lines.

    Raises:
        InterruptedRunError: The disk refuses it.
    """
    count, checks = 0, folder.directory.checks
    checks.forget(folder.samples_path)
    with replacing(folder.samples_path) as file:
        for question in questions:
            file.write(json.dumps(asdict(question.sample), ensure_ascii=False).encode() + b"\n")
            count += 1
    checks.seal([folder.samples_path])
    return count


@dataclass(slots=True)
class Asking:
    """The requests of one judge that are still to be made.

    Attributes:
        questions: What is asked.
        folder, store: Where the replies are.
        size: Requests in a batch.
        batch_invariant: A reply does not depend on its batch.
        retry_unjudged: Ask again what is stored as unjudged.
    """

    questions: Questions
    folder: JudgeFolder
    store: RunStore
    size: int
    batch_invariant: bool
    retry_unjudged: bool = False

    def first(self) -> dict[str, tuple[int, int]]:
        """Return (round, attempt) of the requests that are known to be due now, by the key of the first attempt."""
        replies, found = self.folder.replies(), {}
        form, retries = self.questions.rubric.reply, self.questions.rubric.retries
        for sample in self.folder.samples():
            if not sample.key:
                continue
            settled = settle(sample.key, replies, form, retries=retries)
            if settled.due is not None:
                found[sample.key] = settled.due
            elif settled.reading.value is None and self.retry_unjudged:
                found[sample.key] = (settled.round + 1, 0)
        return found

    def batches(self, due: Mapping[str, tuple[int, int]], grown: Callable[[int], None]) -> Iterator[list[Ask]]:
        """Yield the batches of what is due, then of the second attempts that the new replies make due.

        Args:
            due: From `first`.
            grown: Called with the number of further requests.
        """
        first = dict(due)
        if not self.batch_invariant and (0, 0) in due.values():
            # Where replies depend on their batch, batches are cut from everything that is asked, finished or not.
            first |= {sample.key: (0, 0) for sample in self.folder.samples() if sample.key and sample.key not in due}
        yield from self._pass(first)
        yield []  # a batch is read before the last one is stored, but for this: all replies are needed
        replies = self.folder.replies()
        form, retries = self.questions.rubric.reply, self.questions.rubric.retries
        again: dict[str, tuple[int, int]] = {}
        for key in first:
            second = settle(key, replies, form, retries=retries).due
            if second is not None and second[1] == 1:
                again[key] = second
        if not again:
            return
        grown(len(again))
        if not self.batch_invariant:
            again = {key: (0, 1) for key in first if attempt_key(key, 0, 1) in replies} | again
        yield from self._pass(again)

    def _pass(self, chosen: Mapping[str, tuple[int, int]]) -> Iterator[list[Ask]]:
        def whole() -> Iterator[list[Ask]]:
            batch: list[Ask] = []
            seen: set[str] = set()
            for question in self.questions:
                key = question.sample.key
                place = chosen.get(key)
                if not key or place is None or key in seen:  # several tasks may hold one sample
                    continue
                seen.add(key)
                request = question.request
                if place != (0, 0):
                    request = self.questions.request(
                        question.answer, question.sample.ask, question.sample.order, *place
                    )
                assert request is not None
                batch.append(Ask(request.key, canonical(to_json(request)), question.sample.sample_id))
                if len(batch) == self.size:
                    yield batch
                    batch = []
            if batch:
                yield batch

        yield from plan_file.due(whole(), self.store.is_done, batch_invariant=self.batch_invariant, size=self.size)

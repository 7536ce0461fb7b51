"""The folder `judgements/` of a run: what judges were asked about its answers, what they replied, and how that reads.

    judgements/001-correctness-3f2a1c9d/    one judge under one rubric; a run directory of its own: run.json,
                                            predictions/, events.jsonl, model/, ...
    judgements/.../samples.jsonl            the answers that it judges, one per line, each with the key of its request
    judgements/panels.json                  the panels: which judges they join, and how
    judgements/calibration.json             how far judges and panels agree with people

Nothing is stored as read: a judgement is read from the raw reply whenever it is needed. So it follows from what is
stored alone, and a run that was killed half-way says which of its answers are not judged.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import DataError, listed
from harness.metrics.answers.judge_replies import ReadReply, read_reply
from harness.records import Judgement, Prediction
from harness.records.checked_lines import is_whole
from harness.records.codec import digest, prediction_from_json
from harness.records.judgement import judge_protocol
from harness.runs.directory import RunDirectory
from harness.text.judgement import BEST

FOLDER = "judgements"
SAMPLES = "samples.jsonl"
PANELS = "panels.json"
CALIBRATION = "calibration.json"
LINES_NAMED = 5
NOT_ASKED = "the judge has not been asked yet"
JUDGE_AGAIN = "run the same `harness judge` command again: it writes the file anew"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedSample:
    """One line of `samples.jsonl`: an answer that is judged.

    Attributes:
        task, sample_id, repeat: The answer; `repeat` is the 0-based repetition of the model's answer.
        ask: 0-based number of the time that the judge is asked about it.
        order: For `pairwise`, in which place the answer of this run stands: `first` or `second`.
        key: Key of the first request; empty if the judge is not asked.
        decided: Value that stands without asking a judge, 0 to 100: the worst of an answer that failed; else None.
        why: Why it stands.
        failed: The model's answer failed.
        answer_length: Length of the answer, in characters.
        cluster, strata: Of the sample.
    """

    task: str
    sample_id: str
    repeat: int = 0
    ask: int = 0
    order: Any = ""
    key: str = ""
    decided: float | None = None
    why: str = ""
    failed: bool = False
    answer_length: int = 0
    cluster: str = ""
    strata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Settled:
    """What has become of one request to a judge, retries included.

    Attributes:
        reading: The last reply, as it reads.
        reply: Its raw text.
        attempts: Number of requests that are finished.
        round: Number of the last round; a further one begins with each `--retry-unjudged`.
        due: (round, attempt) of the request that is to be made now; None if there is none.
        seconds, usage: Of all attempts.
    """

    reading: ReadReply
    reply: str
    attempts: int
    round: int
    due: tuple[int, int] | None
    seconds: float
    usage: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class JudgeFolder:
    """The judgements of one judge under one rubric.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def directory(self) -> RunDirectory:
        """The folder as the run directory that it is."""
        return RunDirectory(self.path)

    @property
    def samples_path(self) -> Path:
        """The answers that are judged."""
        return self.path / SAMPLES

    def samples(self) -> Iterator[JudgedSample]:
        """Yield the answers that are judged, in the order of the run's plan.

        Raises:
            DataError: The file is damaged.
        """
        self.directory.checks.check(self.samples_path, JUDGE_AGAIN)
        with self.samples_path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                try:
                    yield JudgedSample(**json.loads(line))
                except (ValueError, TypeError) as error:
                    raise DataError(
                        f"{self.samples_path}:{number}: expected an answer to be judged, found {line.strip()[:80]!r}; "
                        f"{JUDGE_AGAIN}"
                    ) from error

    def replies(self) -> dict[str, Prediction]:
        """Return the judge's finished replies by key; torn and damaged lines count as absent."""
        found: dict[str, Prediction] = {}
        if self.directory.predictions_path.is_file():
            with self.directory.predictions_path.open("rb") as file:
                for line in filter(is_whole, file):
                    reply = prediction_from_json(json.loads(line))
                    found.setdefault(reply.key, reply)  # of two lines with one key the first counts, as in the store
        return found

    def _damaged_lines(self) -> list[int]:
        """Return the numbers of the damaged lines of replies; a torn last line was never finished, and is none."""
        if not self.directory.predictions_path.is_file():
            return []
        with self.directory.predictions_path.open("rb") as file:
            return [number for number, line in enumerate(file, 1) if line.endswith(b"\n") and not is_whole(line)]

    def record(self) -> dict[str, Any]:
        """Return the content of its `run.json`: `judge`, its identity; `rubric`; `against`, the other run of a pair."""
        return self.directory.read_run()

    def judgements(self) -> Iterator[Judgement]:
        """Yield what the judge said of every answer, in the order of `samples`."""
        run = self.record()
        rubric, judge, judge_digest = run["rubric"], run["judge"], digest_of_judge(run)
        replies, damaged = self.replies(), self._damaged_lines()
        for sample in self.samples():
            settled = settle(sample.key, replies, rubric["reply"], retries=rubric["retries"]) if sample.key else None
            if settled is not None and settled.due is not None and damaged:
                raise DataError(
                    f"{self.directory.predictions_path}: damaged in line {listed(damaged, LINES_NAMED)}, and there is "
                    f"no reply about {sample.sample_id}; run the same `harness judge` command again: it is asked again"
                )
            reading = ReadReply(value=sample.decided, reason=sample.why) if settled is None else settled.reading
            value = reading.value
            if value is not None and sample.order == "second" and settled is not None:
                value = BEST - value  # of the run's own answer, whichever place it stood in
            yield Judgement(
                key=sample.key,
                task=sample.task,
                sample_id=sample.sample_id,
                repeat=sample.repeat,
                ask=sample.ask,
                order=sample.order,
                rubric=rubric["name"],
                rubric_version=rubric["version"],
                judge=str(judge["id"]),
                judge_digest=judge_digest,
                status="unjudged" if value is None else "ok",
                failed=sample.failed,
                value=value,
                verdict=reading.verdict,
                counts=reading.counts,
                reply="" if settled is None else settled.reply,
                reason=reading.reason,
                attempts=0 if settled is None else settled.attempts,
                answer_length=sample.answer_length,
                cluster=sample.cluster,
                strata=sample.strata,
                seconds=0.0 if settled is None else settled.seconds,
                usage={} if settled is None else settled.usage,
            )

    @property
    def protocol(self) -> str:
        """Name of the column of this judge under this rubric."""
        run = self.record()
        return judge_protocol(run["rubric"]["name"], str(run["judge"]["id"]), digest_of_judge(run))


def digest_of_judge(record: Mapping[str, Any]) -> str:
    """Return the digest of a judge's identity and, for pairs, of the run that it compares with."""
    against = record.get("against")
    return digest(record["judge"] if against is None else {"judge": record["judge"], "against": against})


def judge_folders(run_dir: Path) -> list[JudgeFolder]:
    """Return the judges of a run, each under each rubric once: of several versions of a rubric the last one asked."""
    found: dict[str, JudgeFolder] = {}
    for path in sorted((run_dir / FOLDER).glob("*/run.json")):
        folder = JudgeFolder(path.parent)
        if folder.samples_path.is_file():  # else it was killed before anything was asked
            found[folder.protocol] = folder
    return list(found.values())


def read_judgements(run_dir: Path) -> Iterator[Judgement]:
    """Yield the judgements of a run directory, judge by judge, in the order of the run's plan; none if it has none.

    Raises:
        DataError: A file is damaged.
    """
    for folder in judge_folders(run_dir):
        yield from folder.judgements()


def read_calibrations(run_dir: Path) -> list[dict[str, Any]]:
    """Return the calibrations of a run's judges and panels; none if nobody compared them with people.

    Raises:
        DataError: The file is damaged.
    """
    path = run_dir / FOLDER / CALIBRATION
    RunDirectory(run_dir).checks.check(path, "delete it and run `harness judge calibrate` again")
    if not path.is_file():
        return []
    try:
        found = json.loads(path.read_text("utf-8"))["calibrations"]
        if not all({"protocol", "n", "agreement", "bias"} <= entry.keys() for entry in found):
            raise KeyError("protocol, n, agreement or bias")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{path}: expected calibrations of judges ({type(error).__name__}: {error}); delete it and run "
            "`harness judge calibrate` again"
        ) from error
    return list(found)


def attempt_key(key: str, number: int, attempt: int) -> str:
    """Return the key of a further request: attempt 1 asks once more in words, each round begins with attempt 0."""
    return key if (number, attempt) == (0, 0) else hashlib.sha256(f"{key}:{number}:{attempt}".encode()).hexdigest()


def settle(key: str, replies: Mapping[str, Prediction], form: str, *, retries: bool) -> Settled:
    """Return what has become of a request to a judge.

    Args:
        key: Of its first attempt.
        replies: The finished replies by key.
        form: Form of the replies, one of `REPLY_FORMS`.
        retries: Whether a reply that cannot be read is asked for once more.
    """
    number, attempts, seconds = 0, 0, 0.0
    usage: dict[str, float] = {}
    last: Prediction | None = None
    reading = ReadReply(reason=NOT_ASKED)
    due: tuple[int, int] | None = (0, 0)
    while (first := replies.get(attempt_key(key, number, 0))) is not None:
        due = None
        for attempt in (0, 1):
            reply = first if attempt == 0 else replies.get(attempt_key(key, number, 1))
            if reply is None:
                due = (number, 1)
                break
            last, reading = reply, _read(reply, form)
            attempts += 1
            seconds += reply.seconds
            for name, count in reply.usage.items():
                usage[name] = usage.get(name, 0.0) + count
            # Only words can be asked for in another form: a refusal or an error comes again.
            if reading.value is not None or not retries or reply.status not in ("ok", "truncated", "empty"):
                break
        if reading.value is not None:
            break
        number += 1
    rounds = max(0, number - (reading.value is None and attempts > 0))
    text = "" if last is None or last.text is None else last.text
    return Settled(reading, text, attempts, rounds, due, round(seconds, 6), usage)


def _read(reply: Prediction, form: str) -> ReadReply:
    if reply.status == "refused":
        return ReadReply(reason="the judge refused")
    if reply.status in ("timeout", "model_error", "data_error"):
        error = reply.error
        words = f"{error.type}: {error.message}" if error is not None else ""
        return ReadReply(reason=f"the judge failed ({reply.status.replace('_', ' ')}): {words}")
    read = read_reply(form, reply.text or "")
    if read.value is None and reply.status == "truncated":
        return ReadReply(reason=f"{read.reason}; the reply ends at its limit of tokens")
    return read

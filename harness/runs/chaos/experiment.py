"""An undisturbed run, a disturbed one, and whether they agree."""

import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import InterruptedRunError, SpecError
from harness.runs.chaos.killing import POLL_SECONDS, Start
from harness.runs.directory import RunDirectory
from harness.runs.engine.disturbance import Disturbance

UNDISTURBED, DISTURBED, MARKS, LOG = "undisturbed", "disturbed", "dropped", "chaos.log"
EXIT_DONE, EXIT_BAD_INPUT, EXIT_RESUMABLE = 0, 2, 3
# Ends that nobody planned and that the same command goes on from, as after the machine's own faults.
UNPLANNED_ENDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosSpec:
    """What is disturbed, and how.

    Attributes:
        arguments: Words of `harness run` without `--out`.
        out: Folder for both runs.
        seed: Decides every moment, victim, delay and loss.
        kills: Number of kills of drivers and workers.
        delay: Longest time that a call of the model waits, in seconds.
        drop: Share of the calls whose answers are lost with their worker.
        time_limit: Seconds for everything.
    """

    arguments: tuple[str, ...]
    out: Path
    seed: int = 0
    kills: int = 5
    delay: float = 0.05
    drop: float = 0.1
    time_limit: float = 3600.0


@dataclass(slots=True)
class ChaosReport:
    """The outcome.

    Attributes:
        promise: `bytes`, or `interval` for a model of which two runs need agree within the intervals only.
        same: Whether the disturbed run kept the promise.
        differences: What differs, one line each.
        requests: Number of requests of the run.
        starts: How often the disturbed command was given.
        kills: Number of kills by victim.
        dropped: Requests whose answers were lost with their worker.
        asked_again: Requests that were made more than once, because their answers were lost.
        seconds: Seconds of the undisturbed and the disturbed run.
    """

    promise: str = "bytes"
    same: bool = False
    differences: list[str] = field(default_factory=list)
    requests: int = 0
    starts: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    asked_again: int = 0
    seconds: tuple[float, float] = (0.0, 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "same": self.same,
            "promise": self.promise,
            "differences": self.differences,
            "requests": self.requests,
            "starts": self.starts,
            "kills": dict(sorted(self.kills.items())),
            "dropped": self.dropped,
            "asked_again": self.asked_again,
            "seconds": {"undisturbed": self.seconds[0], "disturbed": self.seconds[1]},
        }


def run_chaos(spec: ChaosSpec, notice: Callable[[str], None]) -> ChaosReport:
    """Run the command once in peace and once under fire, and compare the results.

    Args:
        spec: What is disturbed.
        notice: Called with news, one line each.
    Raises:
        SpecError: The command itself is wrong, or `out` holds something else.
        InterruptedRunError: The model fails without any disturbance, or the time is up.
    """
    if spec.out.exists() and any(spec.out.iterdir()):
        raise SpecError(f"--out {spec.out}: holds files already; name an empty or a new folder")
    spec.out.mkdir(parents=True, exist_ok=True)
    ends_by = time.monotonic() + spec.time_limit
    report = ChaosReport()
    began = time.monotonic()
    _undisturbed(spec, ends_by)
    calm = time.monotonic() - began
    status = json.loads(RunDirectory(spec.out / UNDISTURBED).status_path.read_text("utf-8"))
    report.requests = int(status["total"])
    notice(f"undisturbed: {report.requests:,} requests in {calm:.1f} s")
    began = time.monotonic()
    for line in _disturbed(spec, report, ends_by):
        notice(line)
    report.seconds = (round(calm, 3), round(time.monotonic() - began, 3))
    marks = spec.out / MARKS
    report.dropped = sum(1 for _ in marks.iterdir()) if marks.is_dir() else 0
    _compare(spec.out / UNDISTURBED, spec.out / DISTURBED, report)
    return report


def _start(spec: ChaosSpec, name: str, more: Sequence[str] = ()) -> Start:
    out = spec.out / name
    words = [sys.executable, "-m", "harness.cli", "run", *spec.arguments, "--out", str(out), "--quiet", *more]
    return Start(words, out, spec.out / LOG)


def _undisturbed(spec: ChaosSpec, ends_by: float) -> None:
    """Run the command in peace.

    Raises:
        SpecError: It ends with 2.
        InterruptedRunError: It fails, or the time is up.
    """
    start = _start(spec, UNDISTURBED)
    try:
        code = start.process.wait(timeout=max(0.0, ends_by - time.monotonic()))
    except subprocess.TimeoutExpired as error:
        raise _time_is_up(spec) from error
    finally:
        if start.process.poll() is None:
            start.kill_driver()
    if code == EXIT_BAD_INPUT:
        raise SpecError(f"harness run, undisturbed, ended with {code}: {start.last_words().removeprefix('harness: ')}")
    # 3 with results: too many samples failed, which a disturbed run has to end with, too.
    if code not in (EXIT_DONE, EXIT_RESUMABLE) or not RunDirectory(start.out).results_path.is_file():
        raise InterruptedRunError(
            f"harness run, undisturbed, ended with {code}: {start.last_words()}; mend that first, see {start.log}"
        )


def _time_is_up(spec: ChaosSpec) -> InterruptedRunError:
    return InterruptedRunError(
        f"not finished within --time-limit {spec.time_limit:g} s; allow more, or fewer samples by --limit; "
        f"{spec.out / LOG} has what the commands said"
    )


def _disturbed(spec: ChaosSpec, report: ChaosReport, ends_by: float) -> Iterator[str]:
    """Give the command until it is done, and kill it meanwhile; yield what happened.

    Raises:
        InterruptedRunError: It cannot be finished.
    """
    chance = random.Random(f"harness chaos {spec.seed}")
    # At these numbers of stored answers: before the first, which is while the model loads, and after the last, which is
    # while the run is scored, included.
    moments = sorted(chance.sample(range(report.requests + 1), min(spec.kills, report.requests + 1)))
    disturbance = Disturbance(seed=spec.seed, delay=spec.delay, drop=spec.drop, marks=str((spec.out / MARKS).resolve()))
    unplanned = 0
    directory = RunDirectory(spec.out / DISTURBED)
    while True:
        report.starts += 1
        start = _start(spec, DISTURBED, ["--disturb", disturbance.to_text()])
        killed = False
        try:
            while start.process.poll() is None:
                if time.monotonic() > ends_by:
                    raise _time_is_up(spec)
                finished = start.finished()
                if moments and finished >= moments[0] and directory.events_path.is_file():
                    moments.pop(0)
                    workers = start.workers()
                    victim = "worker" if workers and chance.random() < 0.5 else "driver"
                    report.kills[victim] += 1
                    yield f"start {report.starts}: {victim} killed at {finished:,} of {report.requests:,} requests"
                    if victim == "worker":
                        start.kill_worker(chance.choice(workers))
                    else:
                        start.kill_driver()
                        killed = True
                time.sleep(POLL_SECONDS)
        finally:
            if start.process.poll() is None:
                start.kill_driver()
        code = start.process.returncode
        done = code == EXIT_DONE or (code == EXIT_RESUMABLE and _is_finished(directory))
        if done and not killed:
            yield f"start {report.starts}: done"
            return
        if not killed:
            unplanned += 1
            yield f"start {report.starts}: ended with {code}"
        if code == EXIT_BAD_INPUT:
            raise InterruptedRunError(f"harness run, disturbed, ended with 2: {start.last_words()}; see {start.log}")
        # A dropped call ends the process of a model that is in the driver.
        if unplanned > UNPLANNED_ENDS + report.requests:
            raise InterruptedRunError(f"harness run, disturbed, ended {unplanned} times by itself; see {start.log}")


def _is_finished(directory: RunDirectory) -> bool:
    """Say whether a run has its results, and noted that it was done."""
    last = Counter[str]()
    for event in directory.read_events():
        if event["event"] == "stopped":
            last = Counter([str(event.get("state"))])
        elif event["event"] == "session":
            last = Counter()
    return bool(last["done"]) and directory.results_path.is_file()


def _compare(calm: Path, fired: Path, report: ChaosReport) -> None:
    """Note whether the two runs agree, and whether each request was finished once."""
    asked: Counter[str] = Counter()
    finished: set[str] = set()
    again = 0
    for event in RunDirectory(fired).read_events():
        keys = event.get("keys") or []
        if event["event"] == "started":
            again += len(finished & set(keys))
            asked.update(keys)
        elif event["event"] == "finished":
            finished.update(keys)
    report.asked_again = sum(count - 1 for count in asked.values())
    report.promise = str(RunDirectory(fired).read_run().get("promise", "bytes"))
    stored = Counter(line.key for line in RunDirectory(fired).read_lines() if line.key is not None)
    twice = sum(count > 1 for count in stored.values())
    if twice:
        report.differences.append(f"{twice} answers are stored twice")
    if len(stored) != report.requests:
        report.differences.append(f"{len(stored)} of {report.requests} answers are stored")
    # Batches of a model whose answers depend on them are asked again whole.
    if again and report.promise == "bytes" and _is_batch_invariant(fired):
        report.differences.append(f"{again} requests were asked again after they were finished")
    paths = [RunDirectory(run).results_path for run in (calm, fired)]
    if paths[0].read_bytes() != paths[1].read_bytes():
        first, second = (json.loads(path.read_text("utf-8")) for path in paths)
        found = list(_differences(first, second, report.promise))
        if found or report.promise == "bytes":
            report.differences += found or ["results.json differs, though no number does"]
    report.same = not report.differences


def _is_batch_invariant(run: Path) -> bool:
    # The size of batches is part of a run's record if answers may depend on it.
    return RunDirectory(run).read_run().get("batch_size") is None


def _differences(calm: Mapping[str, Any], fired: Mapping[str, Any], promise: str) -> Iterator[str]:
    """Yield the numbers that differ; where the promise is `interval`, by more than either interval allows."""
    for task, block in calm["tasks"].items():
        other = fired["tasks"].get(task, {"metrics": [], "counts": {}})
        if promise == "bytes" and block["counts"] != other["counts"]:
            yield f"{task}: {block['counts']} undisturbed, {other['counts']} disturbed"
        rows = {_name(row): row for row in other["metrics"]}
        for row in block["metrics"]:
            found = rows.get(_name(row))
            if found is None or not _agree(row, found, promise):
                value = None if found is None else found["value"]
                yield f"{task} {_name(row)}: {row['value']} undisturbed, {value} disturbed"


def _name(row: Mapping[str, Any]) -> str:
    stratum = "" if row["stratum"] is None else f" {json.dumps(row['stratum'], sort_keys=True)}"
    return f"{row['metric']} {row['name']} {row['protocol']} {row['mean']}{stratum}"


def _agree(calm: Mapping[str, Any], fired: Mapping[str, Any], promise: str) -> bool:
    if calm["value"] == fired["value"]:
        return True
    if promise == "bytes" or calm["value"] is None or fired["value"] is None:
        return False
    # Without an interval there is nothing to agree within.
    inside = [
        row["ci"] is not None and row["ci"][0] <= other["value"] <= row["ci"][1]
        for row, other in ((calm, fired), (fired, calm))
    ]
    return any(inside)

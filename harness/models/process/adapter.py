"""The adapter `process:COMMAND`: one line of JSON with a batch to the process, one line with its answers back."""

import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

from harness.errors import InterruptedRunError, ModelError, SpecError
from harness.models.process.child import Child, EndedError, ErrorLog, LateError, OutOfStepError
from harness.models.process.command import Command
from harness.models.process.lines import (
    MAX_BATCH,
    MAX_IMAGES,
    TAKEN,
    Ready,
    ids_of,
    read_answers,
    read_ready,
    requests_line,
    words_of,
)
from harness.models.resolve import GIVES, resource_fault
from harness.paths import default_cache
from harness.records import Answer, Capabilities, ErrorInfo, Json, Request, Resources
from harness.records.atomic_files import write_atomically
from harness.records.codec import digest, to_json
from harness.records.file_digests import WeightsDigests

Value = TypeVar("Value", int, bool)

# As long as a sample has by default; models of 70 billion parameters load in less.
START_SECONDS = 600.0
# A request is given up on after this many ends of the process with it alone, and the process after so many ends in a
# row without an answer between: the numbers of the Ray engine for workers that die.
TRIES = 3
MOST_FRUITLESS = 9
MOST_LOGS = 16
# Arguments that decide what is asked, which is part of the key itself, or how fast it is answered.
EXECUTION_ONLY = frozenset(
    {"takes", "gives", "max_batch", "max_images", "batch_invariant", "sends_data_to"}
    | {"cpus", "gpus", "start_timeout", "timeout"}
)
# Part of the model's identity: raised when other lines are sent for the same request.
PROTOCOL = "1"


class Process:
    """A program that reads requests from stdin and writes answers to stdout, as docs/own-process.md says.

    It is started once per copy of the model, restarted when it ends, and ended with the adapter. A batch that was in
    flight is asked again: whole if its answers depend on each other, else one request at a time.

    Args:
        command: The program and its arguments, quoted as in a shell, without a shell.
        takes, gives: As the process would say them, as lists or as words with blanks between. With both, the process
            is not started to find out.
        max_batch, max_images, batch_invariant, version, sends_data_to: Override what the process says.
        weights: Files and folders that belong to the model's identity, beside the files that the command names.
        cpus, gpus: Of one copy; `gpus` None: one where there is one.
        start_timeout: Seconds until the `ready` line.
        timeout: Seconds per request after which the process is restarted and the request recorded as `timeout`; None:
            as for any model, by `--timeout`.
    Raises:
        SpecError: The command cannot be read or its program does not exist, or an argument has another form.
    """

    def __init__(
        self,
        command: str = "",
        *,
        takes: Json = None,
        gives: Json = None,
        max_batch: int | None = None,
        max_images: int | None = None,
        batch_invariant: bool | None = None,
        version: Json = None,
        weights: str | Sequence[str] = (),
        cpus: float = 1.0,
        gpus: float | None = None,
        start_timeout: float = START_SECONDS,
        timeout: float | None = None,
        sends_data_to: str | None = None,
    ) -> None:
        self.command = Command.read(command)
        try:
            self.takes = None if takes is None else words_of("process: takes", takes, TAKEN)
            self.gives = None if gives is None else words_of("process: gives", gives, GIVES)
        except ModelError as error:
            raise SpecError(str(error)) from None
        for name, seconds in (("start_timeout", start_timeout), ("timeout", timeout)):
            fault = None if seconds is None else resource_fault(seconds, whole=False)
            if fault or seconds == 0:
                raise SpecError(f"process: {name}: expected seconds above 0, found {seconds!r}")
        self.max_batch, self.max_images, self.batch_invariant = max_batch, max_images, batch_invariant
        self.given_version = None if version is None else str(version)
        self.weights = (weights,) if isinstance(weights, str) else tuple(weights)
        self.resources = Resources(cpus=cpus, gpus=gpus)
        self.start_timeout, self.timeout = start_timeout, timeout
        self.sends_data_to = sends_data_to
        self.device = "cpu"
        self.log = ErrorLog()
        self.ready: Ready | None = None
        self.child: Child | None = None
        self.fruitless = 0
        self._end: weakref.finalize[..., Process] | None = None
        self._folder: Path | None = None

    @property
    def public_id(self) -> str:
        """The command without the folders of this machine, under which results show the model."""
        return f"process:{self.command.without_folders()}"

    @property
    def version(self) -> str:
        """The version of the protocol and, if the model declares one, its own."""
        declared = self.given_version or (self.ready.version if self.ready is not None else None)
        return PROTOCOL if declared is None else f"{PROTOCOL}+{declared}"

    def capabilities(self) -> Capabilities:
        """Return what was given as arguments, else what the process says: it is started, asked and ended once.

        What it says is remembered in the cache under the command and the bytes of the files that it names.

        Raises:
            ModelError: The process cannot be started, or its `ready` line does not come or cannot be read.
        """
        if self.ready is None:
            self.ready = self._declared() or self._remembered()
        if self.ready is None:
            try:
                self.ready = self._start()
            finally:
                self.close()
            self._remember(self.ready)
        ready = self.ready
        several = MAX_IMAGES if "images" in ready.takes else 1
        return Capabilities(
            takes=ready.takes if self.takes is None else self.takes,
            gives=ready.gives if self.gives is None else self.gives,
            max_batch=_first(self.max_batch, ready.max_batch, MAX_BATCH),
            max_images=_first(self.max_images, ready.max_images, several),
            batch_invariant=_first(self.batch_invariant, ready.batch_invariant, False),
            execution_only=EXECUTION_ONLY,
            weights=tuple(dict.fromkeys((*map(str, self.command.files()), *self.weights))),
            resources=self.resources,
            sends_data_to=self.sends_data_to or ready.sends_data_to,
        )

    def begin_run(self, folder: Path | None, timeout: float) -> None:
        """Keep what the process writes to stderr in the run directory from now on.

        Raises:
            SpecError: The model's own timeout leaves no time to ask again what was in flight with a request that hangs.
        """
        if self.timeout is not None and 2 * self.timeout > timeout:
            raise SpecError(
                f"process: timeout: expected at most half of --timeout, {timeout / 2:g} s, because the others of a "
                f"batch are asked again; found {self.timeout:g}"
            )
        if folder is None:
            return
        # Every session has files of its own; those of the first sessions are of no use after many.
        older = sorted(folder.glob("process-*.log*"), key=lambda path: path.stat().st_mtime)
        for path in older[: max(0, len(older) - MOST_LOGS)]:
            path.unlink(missing_ok=True)
        self.log.path = folder / f"process-{os.getpid()}.log"

    def load(self, device: str) -> None:
        """Start the process, which finds `device` in `$MEDGROUND_DEVICE`, and wait until it is ready.

        Raises:
            ModelError: It cannot be started, does not become ready, or says something else than it was planned with.
        """
        self.device = device
        planned = self.ready or self._declared() or self._remembered()
        found = self._start()
        if planned is None:
            self.ready = found
            return
        declared = self._declared() is not None
        lacks = sorted((planned.takes - found.takes) | (planned.gives - found.gives))
        if declared and lacks:
            self.close()
            raise ModelError(
                f"--model-args takes={' '.join(sorted(planned.takes))},gives={' '.join(sorted(planned.gives))}: the "
                f"process says that it takes {', '.join(sorted(found.takes))} and gives "
                f"{', '.join(sorted(found.gives))}, without {', '.join(lacks)}"
            )
        if not declared and found != planned:
            self.close()
            self._entry().unlink(missing_ok=True)
            said = ((field.name, getattr(planned, field.name), getattr(found, field.name)) for field in fields(Ready))
            changes = (f"{name} was {to_json(old)}, is {to_json(new)}" for name, old, new in said if old != new)
            raise ModelError(
                "the process says something else than before, so what was planned does not hold: "
                f"{', '.join(changes)}; run the same command again"
            )
        self.ready = planned

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer a batch; a request on which the process ends or hangs again and again becomes an error.

        Raises:
            DataError: An image that is shown cropped or painted cannot be written.
        """
        assert self.ready is not None, "load() comes first"
        invariant = self.capabilities().batch_invariant
        answers: dict[int, Answer] = {}
        waiting: list[tuple[list[int], int]] = [(list(range(len(requests))), 0)]
        while waiting:
            places, ends = waiting.pop()
            try:
                found = self._exchange([requests[place] for place in places])
                answers |= zip(places, found, strict=True)
                self.fruitless = 0
                continue
            except (EndedError, LateError, OutOfStepError) as error:
                fault: ModelError = error
            ended, hung = isinstance(fault, EndedError), isinstance(fault, LateError)
            if len(places) > 1 and not ended and not hung:
                # In halves, until the request at fault is alone: it need not be the process that is.
                half = len(places) // 2
                waiting += [(places[half:], 0), (places[:half], 0)]
                continue
            self.fruitless += 1
            ends += 1
            if self.fruitless >= MOST_FRUITLESS:
                words = f"the process failed {self.fruitless} times in a row and answered nothing between: {fault}"
                answers |= {place: Answer(error=ErrorInfo(type="Stop", message=words)) for place in places}
            elif len(places) == 1 and (ends >= TRIES or not ended):
                words = f"{fault} (the {ends} times that it was asked this alone)" if ended else str(fault)
                answers[places[0]] = Answer(error=ErrorInfo(type="Timeout" if hung else "ModelError", message=words))
            # Of a batch whose answers depend on each other the parts could be answered otherwise.
            elif len(places) > 1 and (invariant or hung or ends >= TRIES):
                waiting += [([place], 0) for place in reversed(places)]
            else:
                waiting.append((places, ends))
        return [answers[place] for place in range(len(requests))]

    def _exchange(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask a batch once, of a process that is started if it does not run.

        Raises:
            EndedError: The process ended, or cannot be started.
            LateError: No answer came in time.
            OutOfStepError: It answered something else.
        """
        if self.child is not None and (self.child.has_ended() or not self.child.in_step):
            self._stop(0)  # it ended between two batches, or was interrupted within one
        if self.fruitless >= MOST_FRUITLESS:
            raise EndedError("it is not started any more")
        if self.child is None:
            try:
                self._start()
            except ModelError as error:
                raise EndedError(str(error)) from error  # a start that fails is no fault of the request
        assert self.child is not None
        assert self._folder is not None
        ids = ids_of(requests)
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as folder:
            line = requests_line(requests, ids, Path(folder))
            seconds = None if self.timeout is None else self.timeout * len(requests)
            try:
                return read_answers(self.child.exchange(line, seconds), requests, ids, Path.cwd())
            except (EndedError, LateError, OutOfStepError) as error:
                self.log.note(str(error))
                self._stop(0)  # what it writes next could be about this batch
                raise

    def _start(self) -> Ready:
        """Start the process and return what it says of itself.

        Raises:
            ModelError: It cannot be started, ends, says nothing in time, or something else.
        """
        self.close()
        self._folder = Path(tempfile.mkdtemp(prefix="medground-process-"))
        environment = {
            "MEDGROUND_DEVICE": self.device,
            # A print without a flush would stay in Python's buffer, and both sides would wait for each other.
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": os.environ.get("PYTHONIOENCODING", "utf-8"),
        }
        try:
            self.child = Child(self.command.words, environment, self.log)
            # Also at the end of this process, and when nobody holds the adapter any more.
            self._end = weakref.finalize(self, _end, self.child, self._folder)
            try:
                return read_ready(self.child.exchange(b"", self.start_timeout))
            except LateError as error:
                words = f"the process did not say that it is ready: {error}"
                raise LateError(f"{words}; --model-args start_timeout=SECONDS gives it more time") from error
        except BaseException:
            self._stop(0)
            raise

    def _stop(self, seconds: float) -> None:
        """End the process, which has `seconds` to end by itself; it is started again for the next batch."""
        if self.child is not None:
            self.child.end(seconds)
        self.close()

    def close(self) -> None:
        """End the process and remove its files."""
        if self._end is not None:
            self._end()
        elif self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self.child = self._end = self._folder = None

    def _declared(self) -> Ready | None:
        """Return what the arguments say, if they say both what the model takes and what it gives."""
        if self.takes is None or self.gives is None:
            return None
        return Ready(takes=self.takes, gives=self.gives)

    def _entry(self) -> Path:
        """Return the file of the cache that remembers what the process says."""
        cache = default_cache()
        digests = WeightsDigests(cache / "weights")
        files = {str(path): digests.of(path) for path in self.command.files()}
        told = digest({"protocol": PROTOCOL, "words": self.command.words, "files": files, "folder": str(Path.cwd())})
        return cache / "process" / f"{told}.json"

    def _remembered(self) -> Ready | None:
        try:
            return read_ready(self._entry().read_bytes())
        except (OSError, ModelError):  # nothing is remembered, or by another version of the harness
            return None

    def _remember(self, ready: Ready) -> None:
        entry = self._entry()
        try:
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(entry, json.dumps({"ready": True, **to_json(ready)}), durable=False)
        except (OSError, InterruptedRunError):  # a cache that cannot be written costs a start each time
            return


def _first(given: Value | None, said: Value | None, default: Value) -> Value:
    return next((value for value in (given, said) if value is not None), default)


def _end(child: Child, folder: Path) -> None:
    child.end()
    shutil.rmtree(folder, ignore_errors=True)

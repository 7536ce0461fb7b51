"""The worker that holds one copy of the model, answers batches, and turns every fault of the model's code into data."""

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from pathlib import Path
from typing import NamedTuple

from harness.errors import DataError, HarnessError, ModelError, in_own_process, message_of, words_of
from harness.imaging.media_store import Fetch, MediaStore, with_handles
from harness.models import answer_check
from harness.models.resolve import ModelReference, build, capabilities_of, reply_reader
from harness.paths import without_home
from harness.records import Adapter, ErrorInfo, Prediction, PredictionStatus, Request
from harness.records.codec import request_from_json, to_json
from harness.requests import volume_slices
from harness.runs.engine.batch_growth import BatchGrowth, is_out_of_memory
from harness.runs.engine.devices import peak_memory
from harness.runs.engine.disturbance import Disturbance
from harness.text.dialects import typed_answers
from harness.text.dialects.reply_reader import ReplyReader

# The last frames are those of the adapter's code; the ones before belong to this module and explain nothing.
TRACEBACK_FRAMES = 6
# Loading a model may take as long as so many samples, and no less than this: a short --timeout is meant for answers.
LOAD_SAMPLES, LEAST_LOAD_SECONDS = 10, 30.0
# Type of the error with which an adapter ends the run; see `harness.records.ErrorInfo`.
STOP = "Stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """Everything that a process needs to hold one copy of the model; it is sent to Ray actors.

    Attributes:
        reference: The model, with the text of its file.
        roots: Folders of the releases' media, and of the media derived from them.
        device: Passed to the adapter's `load`.
        threads: Number of torch's threads, the same in every runner.
        spool: Folder for media that the driver sends; None if this process sees the driver's files.
        folder: Folder in the run directory for files of the model's own; None for a model that has none.
        timeout: Seconds that one sample may take.
        load_timeout: Seconds that loading the model may take.
        disturbance: Faults that `harness chaos` plants; None for none.
        digests: Folder in which digests of media are remembered; None remembers none.
        most_in_batch: With `--batch-size auto` the model's maximum, to which batches grow; None: batches are asked as
            they come.
    """

    reference: ModelReference
    roots: tuple[Path, ...]
    device: str = "cpu"
    threads: int = 1
    spool: Path | None = None
    folder: Path | None = None
    timeout: float = inf
    load_timeout: float = inf
    disturbance: Disturbance | None = None
    digests: Path | None = None
    most_in_batch: int | None = None


class Finished(NamedTuple):
    """One finished request as it is stored; without a key, the reason in `line` for which the model stops the run.

    Attributes:
        memory: Most memory that the worker's process has held so far, in bytes; set for one request of a batch, else 0.
        gpu_memory: The same of its GPU.
    """

    key: str
    status: PredictionStatus
    line: str
    memory: int = 0
    gpu_memory: int = 0


class _Item(NamedTuple):
    """One request of a batch.

    Attributes:
        request: The request, against which the answer is checked.
        text: Its JSON, from which the adapter gets a copy of its own.
    """

    request: Request
    text: str


class Worker:
    """One loaded model.

    Every request of a batch comes back as one stored line: an exception, a wrong number of answers or an answer that
    cannot be stored becomes a record of the sample at fault, and the other samples of the batch are answered all the
    same, whatever class the exception has. Only the user's interruption and the end of the process get past a worker;
    `harness.runs.engine` deals with both.

    Args:
        setup: The model and the folders of its media.
        fetch: Asks the driver for a file that is not on this node.
        interrupted: Says whether the user has stopped the run. An adapter may swallow the interruption, or raise a
            KeyboardInterrupt of its own.
    """

    def __init__(
        self, setup: WorkerSetup, fetch: Fetch | None = None, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self.setup = setup
        self.media = MediaStore(roots=setup.roots, spool=setup.spool, fetch=fetch, digests=setup.digests)
        self.growth = None if setup.most_in_batch is None else BatchGrowth(setup.most_in_batch)
        self.interrupted = interrupted
        self._ahead: threading.Thread | None = None
        self.adapter: Adapter | None = None
        self.reader: ReplyReader | None = None

    def load(self) -> None:
        """Build the adapter and load its weights.

        Raises:
            HarnessError: The adapter cannot be built, or its `load` fails.
        """
        reference = self.setup.reference
        self.adapter = build(reference)
        self.reader = reply_reader(reference, capabilities_of(reference, self.adapter))
        try:
            if callable(begin := getattr(self.adapter, "begin_run", None)):
                folder = self.setup.folder
                # On a node of its own file system the run directory is not there.
                with in_own_process():
                    begin(folder if folder is not None and folder.parent.is_dir() else None, self.setup.timeout)
            with in_own_process():
                self.adapter.load(self.setup.device)
        except HarnessError as error:
            raise type(error)(f"--model {self.setup.reference.text}: load() failed: {error}") from error
        except BaseException as error:
            self._stop_if_interrupted(error)
            detail = traceback.format_exc(limit=-4)
            name, device = self.setup.reference.text, self.setup.device
            hint = (
                "" if device == "cpu" else f"\nIt was loaded onto {device}; --gpus-per-worker 0 loads it onto the CPU."
            )
            raise ModelError(f"--model {name}: load() failed: {words_of(error)}\n{detail}{hint}") from error
        # After `load`, since torch is only there if the adapter imported it, and it may have set the number itself.
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.setup.threads)

    def close(self) -> None:
        """Let the adapter end what it started."""
        self.prefetch([])
        if callable(close := getattr(self.adapter, "close", None)):
            try:
                with in_own_process():
                    close()
            # Also SystemExit: the answers are stored, and the exit code of a model would pass for the command's.
            except BaseException as error:  # noqa: BLE001 - a worse error must not be hidden
                self._stop_if_interrupted(error)
                sys.stderr.write(f"harness: --model {self.setup.reference.text}: close() failed: {words_of(error)}\n")

    def answer(self, requests: Sequence[str]) -> list[Finished]:
        """Answer one batch of requests, given as their JSON; every request comes back, in any order.

        A request for which the adapter returned the error `Stop` does not; the reason comes in its place.
        """
        finished: list[Finished] = []
        ready: list[_Item] = []
        for text in requests:
            request = request_from_json(json.loads(text))
            try:
                # Before the model is asked: a file that is missing is a fault of the data, not of the model.
                ready.append(_Item(with_handles(request, self.media), text))
            except DataError as error:
                finished.append(to_finished(answer_check.failed(request.key, "data_error", _info(error))))
        keys = [item.request.key for item in ready]
        if self.setup.disturbance is not None:
            self.setup.disturbance.wait(keys)
        finished += self._predict(ready) if self.growth is None else self._predict_growing(ready, self.growth)
        if self.setup.disturbance is not None:
            self.setup.disturbance.drop_answers(keys)
        if finished:
            memory, gpu_memory = peak_memory()
            finished[-1] = finished[-1]._replace(memory=memory, gpu_memory=gpu_memory)
        return finished

    def _predict_growing(self, batch: Sequence[_Item], growth: BatchGrowth) -> list[Finished]:
        """Ask in batches as large as memory and latency allow."""
        finished: list[Finished] = []
        start = 0
        while start < len(batch):
            part = batch[start : start + growth.size]
            began = time.perf_counter()
            finished += self._predict(part)
            growth.note(len(part), time.perf_counter() - began)
            start += len(part)
        return finished

    def prefetch(self, requests: Sequence[str]) -> None:
        """Decode the media of the batch that comes next in a thread, while the model works on this one."""
        if self._ahead is not None:
            self._ahead.join()
            self._ahead = None
        if self.media.asked and requests:
            media = [one.record for text in requests for one in request_from_json(json.loads(text)).media]
            self._ahead = threading.Thread(target=self.media.decode_ahead, args=(media,), daemon=True)
            self._ahead.start()

    def _predict(self, batch: Sequence[_Item]) -> list[Finished]:
        """Ask the adapter; a batch that raises is halved until the sample that raises is alone."""
        assert self.adapter is not None
        if not batch:
            return []
        # Built anew from the JSON at every try: an adapter that changes its requests changes its own copies.
        requests = [with_handles(request_from_json(json.loads(item.text)), self.media) for item in batch]
        began = time.perf_counter()
        fault: BaseException | None = None
        try:
            with in_own_process():
                replies = self._ask(requests)
            if len(replies) != len(batch):
                # Which answer belongs to which request is unknown: halved, only those at fault fail.
                raise ModelError(answer_check.batch_length_error(len(batch), replies).message)
        # Also CancelledError, GeneratorExit, SystemExit and a KeyboardInterrupt of the model's own: let through, they
        # would end every session at this sample, which would never be recorded.
        except BaseException as error:  # noqa: BLE001 - the model's faults become records
            self._stop_if_interrupted(error)
            fault = error
        if fault is not None and self.growth is not None and is_out_of_memory(fault):
            self.growth.out_of_memory(len(batch))
        # Outside the `except`: the traceback of a half would hold that of the whole.
        if fault is not None and len(batch) > 1:
            fault = None  # its frames hold the model's tensors, and memory may be what is short
            half = len(batch) // 2
            return self._predict(batch[:half]) + self._predict(batch[half:])
        if fault is not None:
            status: PredictionStatus = "data_error" if isinstance(fault, DataError) else "model_error"
            seconds = round(time.perf_counter() - began, 6)
            return [to_finished(answer_check.failed(batch[0].request.key, status, _info(fault), seconds))]
        seconds = round((time.perf_counter() - began) / len(batch), 6)
        finished = []
        for (request, _), reply in zip(batch, replies, strict=True):
            try:
                prediction = answer_check.to_prediction(request, reply, seconds)
                if prediction.error is not None and prediction.error.type == STOP:
                    finished.append(Finished("", "model_error", prediction.error.message))
                    continue
                finished.append(to_finished(prediction))
            except BaseException as error:  # noqa: BLE001 - whatever is wrong with one answer, the others count
                self._stop_if_interrupted(error)
                info = ErrorInfo(type="ModelError", message=f"the answer cannot be stored: {words_of(error)}")
                finished.append(to_finished(answer_check.failed(request.key, "model_error", info, seconds)))
        return finished

    def _ask(self, requests: Sequence[Request]) -> Sequence[object]:
        """Return the adapter's answers; a `one_by_one` request is asked slice by slice, in batches of its own."""
        assert self.adapter is not None
        if not any(request.one_by_one for request in requests):
            answers = _listed(self.adapter.predict(requests), most=len(requests) + 1)
            if self.reader is None or len(answers) != len(requests):
                return answers
            pairs = zip(requests, answers, strict=True)
            return [typed_answers.typed(self.reader, request, answer) for request, answer in pairs]
        replies: list[object] = []
        for request in requests:
            if request.one_by_one:
                replies.append(volume_slices.together(request, self._ask_in_batches))
            else:
                replies += self._ask([request])
        return replies

    def _ask_in_batches(self, requests: Sequence[Request]) -> Sequence[object]:
        """Return the adapter's answers to any number of requests.

        Raises:
            ModelError: There are more or fewer answers than requests.
        """
        assert self.adapter is not None
        most = max(1, self.adapter.capabilities().max_batch)
        replies: list[object] = []
        for start in range(0, len(requests), most):
            batch = requests[start : start + most]
            found = self._ask(batch)
            if len(found) != len(batch):
                raise ModelError(answer_check.batch_length_error(len(batch), found).message)
            replies += found
        return replies

    def _stop_if_interrupted(self, error: BaseException) -> None:
        """Pass the user's Ctrl-C on, whatever the adapter made of it.

        Raises:
            KeyboardInterrupt: The user has stopped the run.
        """
        if self.interrupted():
            raise error if isinstance(error, KeyboardInterrupt) else KeyboardInterrupt() from error


def load_seconds(timeout: float) -> float:
    """Return the seconds that loading a model may take if only those of one sample, `--timeout`, are given."""
    return max(LEAST_LOAD_SECONDS, LOAD_SAMPLES * timeout)


def not_loaded(setup: WorkerSetup) -> str:
    """Return what is said of a model that did not load in time."""
    return (
        f"--model {setup.reference.text}: load() did not return within {setup.load_timeout:g} s. Mend the model, or "
        "allow more by --load-timeout, and run the same command again; what is finished is kept."
    )


def _listed(replies: object, most: int) -> Sequence[object]:
    """Return the adapter's answers as a sequence; of a generator at most `most`, since it may never end.

    Raises:
        ModelError: They are not iterable, or text or a mapping, which iterate over something else.
    """
    if isinstance(replies, list | tuple):
        return replies
    if not isinstance(replies, Iterable) or isinstance(replies, str | bytes | dict):
        raise ModelError(f"predict() returned {type(replies).__name__}, expected one Answer per request, in order")
    return list(islice(replies, most))


def _info(error: BaseException) -> ErrorInfo:
    text = "".join(traceback.format_exception(error, limit=-TRACEBACK_FRAMES))
    text = without_home(text)
    message = message_of(error) if not isinstance(error, SystemExit) else words_of(error).partition(": ")[2]
    return ErrorInfo(type=type(error).__name__, message=message, traceback=text)


def to_finished(prediction: Prediction) -> Finished:
    """Return the prediction as the line that is stored.

    Raises:
        ValueError: It holds NaN, or text that is not Unicode (half a surrogate pair).
        TypeError: It holds something that JSON has no form for.
    """
    if (error := prediction.error) is not None:
        # An error must be storable whatever the adapter put into it, or the fault itself would be lost.
        texts = [str(text).encode(errors="replace").decode() for text in (error.type, error.message, error.traceback)]
        plain = ErrorInfo(type=texts[0], message=texts[1], traceback=texts[2])
        prediction = replace(prediction, error=plain)
    line = json.dumps(to_json(prediction), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    line.encode()  # json.dumps lets half a surrogate pair pass; found here it costs one answer, in the driver the run
    return Finished(prediction.key, prediction.status, line)

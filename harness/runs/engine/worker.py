"""The worker that holds one copy of the model, answers batches, and turns every fault of the model's code into data."""

import contextlib
import ctypes
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from harness.errors import DataError, HarnessError, ModelError
from harness.imaging.media_store import Fetch, MediaStore, with_handles
from harness.models import answer_check
from harness.models.resolve import ModelReference, build
from harness.records import Adapter, ErrorInfo, Prediction, PredictionStatus, Request
from harness.records.codec import request_from_json, to_json
from harness.requests import volume_slices

TRACEBACK_FRAMES = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSetup:
    """All that a process needs to hold one copy of the model.

    Attributes:
        reference: The model, with the text of its file.
        roots: Where the media of the release lie, and what was derived from it.
        device: Handed to the adapter's `load`.
        threads: For torch, the same in every runner.
        spool: Where media that the driver sends are kept.
    """

    reference: ModelReference
    roots: tuple[Path, ...]
    device: str = "cpu"
    threads: int = 1
    spool: Path | None = None


class Finished(NamedTuple):
    """One finished request as it is stored."""

    key: str
    status: PredictionStatus
    line: str


class _Item(NamedTuple):
    """One request of a batch: what is checked against, and the JSON from which the adapter gets a copy of its own."""

    request: Request
    text: str


class Worker:
    """One loaded model.

    Args:
        setup: The model and where its media lie.
        fetch: Asks the driver for a file that is not on this node.
        interrupted: Says whether the user has stopped the run, so that an adapter that swallows or raises the
            interruption on its own account is told apart.
    """

    def __init__(
        self, setup: WorkerSetup, fetch: Fetch | None = None, interrupted: Callable[[], bool] = lambda: False
    ) -> None:
        self.setup = setup
        self.media = MediaStore(roots=setup.roots, spool=setup.spool, fetch=fetch)
        self.interrupted = interrupted
        self.adapter: Adapter | None = None

    def load(self) -> None:
        """Build the adapter and load its weights.

        Raises:
            HarnessError: The adapter cannot be built, or its `load` fails.
        """
        self.adapter = build(self.setup.reference)
        try:
            self.adapter.load(self.setup.device)
        except HarnessError as error:
            raise type(error)(f"--model {self.setup.reference.text}: load() failed: {error}") from error
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            self._stop_if_interrupted(error)
            detail = traceback.format_exc(limit=-4)
            name = self.setup.reference.text
            raise ModelError(f"--model {name}: load() failed: {type(error).__name__}: {error}\n{detail}") from error
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(self.setup.threads)

    def answer(self, requests: Sequence[str]) -> list[Finished]:
        """Answer one batch of requests, given as their JSON; every request comes back."""
        finished: list[Finished] = []
        ready: list[_Item] = []
        for text in requests:
            request = request_from_json(json.loads(text))
            try:
                ready.append(_Item(with_handles(request, self.media), text))
            except DataError as error:
                finished.append(to_finished(answer_check.failed(request.key, "data_error", _info(error))))
        return finished + self._predict(ready)

    def _predict(self, batch: Sequence[_Item]) -> list[Finished]:
        """Ask the adapter; a batch that raises is halved until the sample that raises stands alone."""
        assert self.adapter is not None
        if not batch:
            return []
        requests = [with_handles(request_from_json(json.loads(item.text)), self.media) for item in batch]
        began = time.perf_counter()
        try:
            replies = self._ask(requests)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # noqa: BLE001 - the model's faults become records
            self._stop_if_interrupted(error)
            if len(batch) > 1:
                half = len(batch) // 2
                return self._predict(batch[:half]) + self._predict(batch[half:])
            status: PredictionStatus = "data_error" if isinstance(error, DataError) else "model_error"
            seconds = round(time.perf_counter() - began, 6)
            return [to_finished(answer_check.failed(batch[0].request.key, status, _info(error), seconds))]
        seconds = round((time.perf_counter() - began) / len(batch), 6)
        if len(replies) != len(batch):
            wrong = answer_check.batch_length_error(len(batch), replies)
            return [to_finished(answer_check.failed(item.request.key, "model_error", wrong, seconds)) for item in batch]
        return [_checked(item.request, reply, seconds) for item, reply in zip(batch, replies, strict=True)]

    def _ask(self, requests: Sequence[Request]) -> Sequence[object]:
        """Return the adapter's answers; a request that is put one by one is a batch of its own."""
        assert self.adapter is not None
        if not any(request.one_by_one for request in requests):
            return _listed(self.adapter.predict(requests), most=len(requests) + 1)
        return [reply for request in requests for reply in self._ask_alone(request)]

    def _ask_alone(self, request: Request) -> Sequence[object]:
        if not request.one_by_one:
            return self._ask([request])
        return [volume_slices.together(request, self._ask_in_batches)]

    def _ask_in_batches(self, requests: Sequence[Request]) -> Sequence[object]:
        """Return the adapter's answers to any number of requests.

        Raises:
            ModelError: There are more or fewer than requests.
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


def _listed(replies: object, most: int) -> Sequence[object]:
    """Return what `predict` returned as a sequence; of a generator at most `most` answers.

    Raises:
        ModelError: It is nothing that can be gone through.
    """
    if isinstance(replies, list | tuple):
        return replies
    if not isinstance(replies, Iterable) or isinstance(replies, str | bytes | dict):
        raise ModelError(f"predict() returned {type(replies).__name__}, expected one Answer per request, in order")
    return list(islice(replies, most))


def _checked(request: Request, reply: object, seconds: float) -> Finished:
    """Return the reply as it is stored, or a named model error when it cannot be."""
    try:
        return to_finished(answer_check.to_prediction(request, reply, seconds))
    except Exception as error:  # noqa: BLE001 - whatever stands in an answer, the other answers stand
        message = f"the answer cannot be stored: {type(error).__name__}: {error}"
        info = ErrorInfo(type="ModelError", message=message)
        return to_finished(answer_check.failed(request.key, "model_error", info, seconds))


def _info(error: BaseException) -> ErrorInfo:
    text = "".join(traceback.format_exception(error, limit=-TRACEBACK_FRAMES))
    return ErrorInfo(type=type(error).__name__, message=str(error), traceback=text)


def to_finished(prediction: Prediction) -> Finished:
    """Return the prediction as the line that is stored.

    Raises:
        ValueError: It holds NaN, or text that is not Unicode (half a surrogate pair).
        TypeError: It holds something that JSON has no form for.
    """
    if prediction.error is not None:
        prediction = replace(prediction, error=_storable(prediction.error))
    line = json.dumps(to_json(prediction), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    line.encode()
    return Finished(prediction.key, prediction.status, line)


def _storable(error: ErrorInfo) -> ErrorInfo:
    """Return the error as plain Unicode text, whatever the adapter put there."""
    texts = [str(text).encode(errors="replace").decode() for text in (error.type, error.message, error.traceback)]
    return ErrorInfo(type=texts[0], message=texts[1], traceback=texts[2])


@contextlib.contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send to stderr what the model's code writes to stdout, native code included: stdout is for results only."""
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # a daemon without these files has nothing to keep apart
        kept = None
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            ctypes.CDLL(None).fflush(None)
            os.dup2(kept, 1)
            os.close(kept)

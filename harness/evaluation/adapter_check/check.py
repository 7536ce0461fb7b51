"""The check of an adapter: asked twice in batches and once request by request, by the worker that real runs use."""

import contextlib
import inspect
import json
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from harness.errors import HarnessError
from harness.evaluation.adapter_check.faults import (
    AdapterReport,
    Fault,
    check_batches,
    check_content,
    check_repeats,
    failures,
)
from harness.evaluation.adapter_check.probes import WANTED, Probe, probes
from harness.models.process import Process
from harness.models.resolve import ModelReference, build, capabilities_of, find_factory, identity
from harness.models.submitted.predictions_file import Predictions
from harness.records import Adapter, Answer, Capabilities, Prediction, Request
from harness.records.codec import prediction_from_json, to_json
from harness.requests.key import request_key
from harness.runs.engine.devices import device_of, gpus_here
from harness.runs.engine.streams import stdout_to_stderr
from harness.runs.engine.worker import Worker, WorkerSetup

# Requests per batch, or the model's maximum if that is less: more than one, and not a divisor of most numbers.
BATCH = 5
# Seconds that building an adapter and `capabilities()` may take: both are done before every run, and for `--dry-run`.
CHEAP_SECONDS = 5.0
HEAVY = ("torch", "tensorflow", "jax", "transformers", "monai")
# Answers of a predictions file that are read.
LINES_TRIED = 50


class _Watched:
    """An adapter whose batches that raise are noted: the worker asks their requests alone, and nothing is lost.

    Attributes:
        raised: The keys of the requests of each such batch, with the exception.
        declined: The keys of requests whose answer is an error of the model's own. `ModelError` is the type for what
            breaks a protocol, such as a process that ends.
        lengths: Numbers of requests and of answers where they differ; a run asks such a batch in halves.
    """

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self.raised: list[tuple[tuple[str, ...], Exception]] = []
        self.declined: set[str] = set()
        self.lengths: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.adapter, name)

    def capabilities(self) -> Capabilities:
        """Return those of the adapter."""
        return self.adapter.capabilities()

    def load(self, device: str) -> None:
        """Load the adapter."""
        self.adapter.load(device)

    def predict(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Ask the adapter."""
        try:
            answers = self.adapter.predict(requests)
            if isinstance(answers, list | tuple):
                if len(answers) != len(requests):
                    self.lengths.append((len(requests), len(answers)))
                for request, answer in zip(requests, answers, strict=False):
                    error = getattr(answer, "error", None)
                    if error is not None and getattr(error, "type", None) not in ("ModelError", "Timeout"):
                        self.declined.add(request.key)
            return answers
        except Exception as error:
            self.raised.append((tuple(request.key for request in requests), error))
            raise


class _NoAnswerError(Exception):
    """Raised in an adapter that takes too long."""


def check_adapter(reference: ModelReference, *, timeout: float, device: str | None = None) -> AdapterReport:
    """Return what is wrong with an adapter.

    Args:
        reference: The model.
        timeout: Seconds for a batch, before it counts as hanging.
        device: Passed to `load`; None: `cuda:0` where there is a GPU that the model can use, else `cpu`.
    """
    report = AdapterReport()
    try:
        with stdout_to_stderr(), tempfile.TemporaryDirectory(prefix="medground-check-") as folder:
            _check(reference, report, Path(folder), timeout, device)
    except HarnessError as error:
        words = str(error).removeprefix(f"--model {reference.text}: ")
        report.faults.append(Fault(what=words, where="before any request", do="mend it; nothing else could be checked"))
    return report


def _check(reference: ModelReference, report: AdapterReport, folder: Path, timeout: float, device: str | None) -> None:
    before, began = {*sys.modules}, time.perf_counter()
    adapter = build(reference)
    capabilities = report.capabilities = capabilities_of(reference, adapter)
    seconds = time.perf_counter() - began
    imported = [name for name in HEAVY if name in sys.modules and name not in before]
    _check_declaration(reference, adapter, report, imported=imported, seconds=seconds)
    model = identity(reference, adapter, capabilities)
    asked = _of_a_file(adapter, report) if isinstance(adapter, Predictions) else probes(capabilities, folder)
    asked = [
        replace(probe, request=replace(probe.request, key=request_key(replace(probe.request, seed=place), model)))
        for place, probe in enumerate(asked)
    ]
    report.asked = len(asked)
    if not asked:
        what = f"gives {', '.join(sorted(capabilities.gives))} and takes {', '.join(sorted(capabilities.takes))}"
        report.faults.append(Fault(what=what, where="capabilities()", do="name an output that these inputs allow"))
        return
    uses_gpu = bool(capabilities.resources.gpus or (capabilities.resources.gpus is None and gpus_here()))
    where = device or ("cuda:0" if uses_gpu else device_of(replace(capabilities.resources, gpus=0)))
    worker = Worker(WorkerSetup(reference=reference, roots=(folder,), device=where, timeout=timeout))
    try:
        worker.load()
        assert worker.adapter is not None
        watched = _Watched(worker.adapter)
        worker.adapter = watched
        batches = _batches(asked, min(BATCH, capabilities.max_batch))
        first = _ask(worker, batches, timeout)
        again = _ask(worker, batches, timeout)
        alone = _ask(worker, [[probe] for probe in reversed(asked)], timeout)
    finally:
        worker.close()
    if watched.lengths:
        wanted, found = watched.lengths[0]
        report.faults.append(
            Fault(
                what=f"predict() returned {found} answers for {wanted} requests",
                where=f"{len(watched.lengths)} batches",
                do="return one Answer per request, in order",
            )
        )
    failed = failures(asked, first, watched.declined, report)
    check_batches(asked, watched.raised, failed, report)
    answered = [probe for probe in asked if probe.request.key not in failed]
    check_repeats(answered, batches, (first, again, alone), capabilities, report)
    check_content(answered, first, adapter.capabilities().gives, report)


def _check_declaration(
    reference: ModelReference, adapter: Adapter, report: AdapterReport, *, imported: Sequence[str], seconds: float
) -> None:
    """Check what the adapter says of itself.

    Args:
        reference, adapter: The model.
        report: Gets the faults.
        imported: Heavy packages that were imported on the way.
        seconds: That it took.
    """
    capabilities = report.capabilities
    assert capabilities is not None
    if adapter.capabilities() != adapter.capabilities():  # `capabilities` may hold what a reply's dialect adds
        report.faults.append(
            Fault(
                what="capabilities() returned two different results",
                where="asked twice",
                do="let it depend on the arguments of __init__ only",
            )
        )
    # A process has to be started to be asked, for the first time.
    slow = seconds > CHEAP_SECONDS and not isinstance(adapter, Process)
    if imported or slow:
        named = f", and {', '.join(imported)} was imported" if imported else ""
        report.faults.append(
            Fault(
                what=f"__init__ and capabilities() took {seconds:.1f} s{named}",
                where="before any request, in every command that names the model",
                do="import heavy packages and read weights in load()",
            )
        )
    if not hasattr(adapter, "version"):
        report.notes.append("the class has no `version`; raise one when its code changes what a model answers")
    with contextlib.suppress(ValueError):  # some classes written in C have no signature
        parameters = inspect.signature(find_factory(reference)).parameters
        takes_any = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
        unknown = sorted(capabilities.execution_only - parameters.keys())
        if unknown and not takes_any and reference.source is not None:
            report.faults.append(
                Fault(
                    what=f"execution_only names '{unknown[0]}', which is no argument of __init__",
                    where="capabilities()",
                    do=f"name some of {', '.join(parameters) or 'no arguments, as it has none'}",
                )
            )


def _of_a_file(adapter: Predictions, report: AdapterReport) -> list[Probe]:
    """Return a request for each of the first lines of a predictions file, and note what is wrong with its lines."""
    submitted = adapter.submitted()
    for problem in submitted.problems[:LINES_TRIED]:
        report.faults.append(Fault(what=str(problem), where=adapter.path.name, do="see docs/hand-in-predictions.md"))
    report.notes.append(
        "predictions are checked against the data of a task by `harness score`; here only their form is"
    )
    return [
        Probe(
            words=f"the line of {sample_id}",
            tags=(),
            request=Request(wants=tuple(WANTED), sample_id=sample_id, repeat=repeat, candidates=()),
        )
        for sample_id, repeat in list(submitted.lines)[:LINES_TRIED]
    ]


def _batches(asked: Sequence[Probe], size: int) -> list[list[Probe]]:
    """Return the probes in batches of one kind, as the requests of a task are."""
    batches: list[list[Probe]] = []
    for want in dict.fromkeys(probe.request.wants for probe in asked):
        alike = [probe for probe in asked if probe.request.wants == want]
        batches += [alike[start : start + size] for start in range(0, len(alike), size)]
    return batches


def _ask(worker: Worker, batches: Sequence[Sequence[Probe]], timeout: float) -> dict[str, Prediction]:
    """Return the predictions of all batches by key."""
    found: dict[str, Prediction] = {}
    for batch in batches:
        texts = [json.dumps(to_json(probe.request), ensure_ascii=False) for probe in batch]
        with _time_limit(timeout * len(batch)):
            for finished in worker.answer(texts):
                if not finished.key:
                    raise HarnessError(f"the model stops the run: {finished.line}")
                found[finished.key] = prediction_from_json(json.loads(finished.line))
    return found


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Raise an exception in an adapter that takes longer, again and again until it returns; only in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature is Python's
        raise _NoAnswerError(f"predict() did not return within {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)

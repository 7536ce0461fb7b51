"""An evaluation from its specification to the results, for `harness run`, `harness score` and the Python API."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.errors import HarnessError, InterruptedRunError, ModelError, words_of
from harness.evaluation.outputs import Evaluation, allowed_failures, report_images_of_run, write_outputs
from harness.evaluation.planning import write_plan
from harness.evaluation.results import score_run
from harness.evaluation.setup import Observer, PreparedRun, RunSpec, open_session
from harness.evaluation.submitted.submission import check_unchanged, find_submission, stored_model
from harness.models.description import described
from harness.models.secrets import masked, secrets_of
from harness.reports.findings_text import lines_of
from harness.runs import plan_file
from harness.runs.cells import Plan
from harness.runs.directory import RunDirectory
from harness.runs.engine.cluster import run_on_ray
from harness.runs.engine.devices import device_of, gpus_here
from harness.runs.engine.in_process import run_in_process
from harness.runs.engine.progress import FailureLimit, RunProgress
from harness.runs.engine.ray_connection import ClusterOptions
from harness.runs.engine.suspects import find_suspects
from harness.runs.engine.worker import WorkerSetup
from harness.runs.plan_digests import DamagedPlanError, check_file
from harness.runs.provenance import session_record
from harness.runs.scored_ahead.process import ScoringAhead
from harness.runs.store import RunStore
from harness.tasks.stored_files import write_stored


def evaluate(spec: RunSpec, watch: Observer | None = None, *, command: Sequence[str] = ()) -> Evaluation:
    """Run an evaluation, or the part that is missing, and score it.

    Args:
        spec: The evaluation.
        watch: Receives news and progress; None for nobody.
        command: Words of the command line, for the record of the session.
    Raises:
        HarnessError: It cannot begin, or cannot go on; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    with _faults_of_others(spec):
        return _evaluate(spec, watch or Observer(), command)


@contextlib.contextmanager
def _faults_of_others(spec: RunSpec) -> Iterator[None]:
    """Mask the model's secrets in errors, and make one of a `sys.exit` in the code of a model or a task.

    Raises:
        HarnessError: As it came, or in place of a SystemExit, whose exit code would pass for the program's own.
    """
    try:
        yield
    except HarnessError as error:
        # An adapter that is built already has its secrets among its attributes.
        attributes = {} if isinstance(spec.model, str) else getattr(spec.model, "__dict__", {})
        words = masked(str(error), secrets_of({**attributes, **spec.model_args}))
        if words != str(error):
            error.args = (words,)
            raise error from None  # what it came from says the secret, too
        raise
    except SystemExit as error:
        raise ModelError(f"the code of the model or of a task ends the evaluation: {words_of(error)}") from error


def _evaluate(spec: RunSpec, watch: Observer, command: Sequence[str]) -> Evaluation:
    session = open_session(spec, watch)
    allowed_failures(spec.max_failures, 0)  # a wrong option is reported now, not after hours of predicting
    submission = find_submission(session)
    for line in lines_of((cell.task.task, cell.prepared) for cell in session.cells):
        watch.notice(line)
    store = RunStore(session.out, secrets=secrets_of(session.reference.arguments))
    run = session.run_record()
    check_unchanged(store.path, run["model"])
    run["model"] = described(run["model"], spec.description, stored_model(store.path))
    try:
        store.open(run)
        for repair in store.repairs:
            watch.notice(repair)
        write_stored(store.directory.tasks_folder, session.tasks, session.groups, spec.cache)
        store.add_session(session_record(command, gpus=gpus_here(), secrets=store.secrets))
        planned = _plan(session, store, watch)
        with ScoringAhead(store, spec.protocols) as ahead:
            # The faults of a file are all wanted, and cost nothing; a model that fails stops early.
            _predict(session, store, planned, watch, ahead, stops=submission is None)
            # Checked again, since a run takes hours: its scores are read from the plan.
            planned = _plan(session, store, watch)
            scored = score_run(store, run, session.tasks, session.groups, store.directory, ahead.end())
        problems, notes = ([], []) if submission is None else submission.problems(planned, store)
        write_outputs(store, session.tasks, scored, problems, report_images_of_run(session))
        # As it was given, which reads better, unless the code of the model has changed the working folder.
        given = spec.out or Path("runs") / store.path.name
        return Evaluation(
            out=given if given.absolute() == store.path else store.path,
            results=scored.results,
            failures=scored.failures,
            problems=problems,
            faults=scored.faults,
            allowed=allowed_failures(spec.max_failures, scored.wanted),
            notes=notes,
            broken=(*scored.silent, *scored.broken),
        )
    finally:
        store.close()


def _plan(session: PreparedRun, store: RunStore, watch: Observer) -> Plan:
    """Load the plan on disk, whose batches a resumed run must keep; write it if it is absent or damaged."""
    result = Plan(directory=store.directory, cells=session.cells, unavailable=list(session.unavailable))
    if store.directory.cells_path.exists():
        try:
            stored, result.unavailable = store.directory.read_cells()
        except DamagedPlanError as error:
            for fault in error.faults:
                watch.notice(f"{fault}; the plan is written anew from the data")
            store.event("repaired", plan=list(error.faults))
            for cell in result.cells:
                cell.fallbacks, cell.unsupported = (), None
        else:
            for cell in result.cells:
                kept = stored[cell.task.task]
                cell.samples, cell.fallbacks, cell.unsupported = kept.samples, kept.fallbacks, kept.unsupported
            return result
    _write_plan(session, result, watch)
    return result


def _intact_files(session: PreparedRun, store: RunStore, planned: Plan, watch: Observer) -> Iterator[Path]:
    """Yield the plan files in order; one that was damaged or deleted since the run began is written again first."""
    for cell in planned.supported:
        try:
            check_file(store.directory.cells_path, cell.task.task)
        except DamagedPlanError:
            _plan(session, store, watch)
        yield planned.file(cell.task.task)


def _write_plan(session: PreparedRun, planned: Plan, watch: Observer) -> None:
    spec = session.spec
    write_plan(
        planned,
        session.capabilities,
        session.identity,
        roots=session.roots,
        cache=spec.cache,
        limit=spec.limit,
        seed=spec.seed,
        notice=watch.notice,
    )


def _predict(
    session: PreparedRun, store: RunStore, planned: Plan, watch: Observer, ahead: ScoringAhead, *, stops: bool
) -> None:
    """Ask the model for every prediction that is missing, and have what is finished scored beside it.

    `stops` says that too many failures end the run.


    Raises:
        HarnessError: The model cannot be loaded, the workers keep ending, too much fails, or a request is not finished
            in the end.
        KeyboardInterrupt: Ctrl-C or SIGTERM.
    """
    spec = session.spec
    suspects = find_suspects(store.directory.read_events())
    # By distinct key: tasks that ask the same of the same image share the answer.
    total = len({bytes.fromhex(key) for path in planned.files for _, _, key in plan_file.read_keys(path) if key})
    wanted = sum(cell.wanted for cell in planned.supported)
    progress = RunProgress(
        store=store, total=total, counts=Counter(store.statuses), watch=watch.progress, finished=ahead.add
    )
    if stops:
        allowed = allowed_failures(spec.max_failures, wanted)
        progress.limit = FailureLimit(option=spec.max_failures, allowed=allowed, wanted=wanted)
    batches = plan_file.due(
        plan_file.batches(_intact_files(session, store, planned, watch), session.batch_size, store.is_done),
        store.is_done,
        batch_invariant=session.capabilities.batch_invariant,
        size=session.batch_size,
    )
    if progress.done == total:  # before a model is loaded: a finished run is scored again in seconds
        return
    progress.stop_if_hopeless()
    options = _cluster_options(session, store, wanted)
    setup = WorkerSetup(
        reference=session.reference,
        roots=tuple(path.resolve() for path in session.media_roots),
        device=device_of(session.runner.wanted.resources),
        # The same number in both runners: sums in another order would differ in their last bits.
        threads=max(1, int(session.capabilities.resources.cpus)),
        folder=store.directory.model_folder.resolve(),
        timeout=spec.timeout,
        load_timeout=spec.load_seconds,
        disturbance=spec.disturbance,
        digests=spec.cache / "media",
        most_in_batch=session.batch_size if spec.batch_size == "auto" else None,
    )
    store.event("session", runner="process" if options is None else "ray", done=progress.done, total=total)
    state = "interrupted"
    try:
        if options is None:
            invariant = session.capabilities.batch_invariant
            run_in_process(setup, batches, progress, suspects, timeout=spec.timeout, batch_invariant=invariant)
        else:
            place = "starting Ray" if options.address == "local" else f"connecting to Ray at {options.address}"
            workers = options.wanted.workers
            copies = "the workers" if workers is None else f"{workers} worker{'' if workers == 1 else 's'}"
            watch.notice(f"{place} for {copies}; the first answer takes some seconds")
            run_on_ray(setup, batches, progress, options, watch.notice)
        state = "done"
    finally:
        store.event("stopped", state=state, done=progress.done)
        store.status(progress.status(state), at_once=True)
    if progress.done < total:
        raise InterruptedRunError(
            f"{total - progress.done} of {total} requests are not finished; run the same command again"
        )


def _cluster_options(session: PreparedRun, store: RunStore, wanted: int) -> ClusterOptions | None:
    """Return how to run on Ray, or None to run in this process; `wanted` is the number of scores."""
    if session.runner.address is None:
        return None
    return ClusterOptions(
        address=session.runner.address,
        wanted=session.runner.wanted,
        timeout=session.spec.timeout,
        failures=allowed_failures(session.spec.max_failures, wanted),
        log=store.directory.ray_log_path,
        batch_invariant=session.capabilities.batch_invariant,
    )


def dry_run(spec: RunSpec, watch: Observer) -> dict[str, Any]:
    """Return what a run would do, without asking the model or writing a run directory.

    Raises:
        HarnessError: It could not begin.
    """
    with _faults_of_others(spec):
        session = open_session(spec, watch)
    with tempfile.TemporaryDirectory() as folder:
        planned = Plan(directory=RunDirectory(Path(folder)), cells=session.cells, unavailable=session.unavailable)
        _write_plan(session, planned, watch)
        requests = {key for path in planned.files for _, _, key in plan_file.read_keys(path) if key}
    return {
        "out": str(session.out),
        "model": session.identity,
        "data": session.roots.kind,
        "requests": len(requests),
        "batch_size": session.batch_size,
        "cells": {
            cell.task.task: {
                "samples": cell.samples,
                "repeats": cell.task.repeats,
                "unsupported": cell.unsupported,
                "fallbacks": list(cell.fallbacks),
                "data_digest": cell.prepared.digest,
            }
            for cell in planned.cells
        },
        "unavailable": planned.unavailable,
    }

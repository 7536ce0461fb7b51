"""An evaluation from what was asked for to the results: what `harness run`, `harness score` and the Python API call."""

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.errors import InterruptedRunError, SpecError
from harness.evaluation.planning import PHANTOM, Plan, data_roots, prepare_task, read_cells, write_plan
from harness.evaluation.results import Failure, Scored, score_run, write_results
from harness.evaluation.setup import RunSpec, Session, Watch, open_session
from harness.models import predictions_file
from harness.records import Json
from harness.reports.examples import Pictures, choose
from harness.reports.run_page import write_report
from harness.runs import plan_file
from harness.runs.engine.cluster import ClusterOptions, gpus_here, ray_is_installed, run_on_ray
from harness.runs.engine.in_process import run_in_process
from harness.runs.engine.progress import Ledger, find_suspects
from harness.runs.engine.worker import WorkerSetup
from harness.runs.performance import performance_of
from harness.runs.provenance import session_record
from harness.runs.store import RunStore, read_run, write_atomically
from harness.tasks.catalog import index
from harness.tasks.overrides import with_parameters, with_protocols
from harness.tasks.spec import TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluation came to.

    Attributes:
        out: The run directory.
        results: The content of `results.json`.
        failures: Samples without a usable answer.
        problems: What is wrong with a predictions file, line by line.
        faults: Samples that `--max-failures` counts.
        allowed: How many it allows.
        notes: What a reader must know, such as a task that changed since the run.
    """

    out: Path
    results: Mapping[str, Json]
    failures: Sequence[Failure] = ()
    problems: Sequence[predictions_file.Problem] = ()
    faults: int = 0
    allowed: int = 0
    notes: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 when more failed than allowed."""
        return 3 if self.faults > self.allowed else 0


def evaluate(spec: RunSpec, watch: Watch | None = None, *, command: Sequence[str] = ()) -> Evaluation:
    """Run an evaluation, or what is missing of it, and score it.

    Raises:
        HarnessError: It cannot begin, or cannot go on; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    watch = watch or Watch()
    session = open_session(spec, watch)
    allowed_failures(spec.max_failures, 0)
    store = RunStore(session.out)
    run = session.run_record()
    try:
        store.open(run)
        for repair in store.repairs:
            watch.notice(repair)
        with store.path.joinpath("sessions.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(session_record(command, gpus=gpus_here())) + "\n")
        planned = _plan(session, store, watch)
        _predict(session, store, planned, watch)
        scored = score_run(store, run, session.tasks, session.groups, store.path)
        problems = _problems(session, planned)
        _write_outputs(store, session.tasks, scored, problems, _pictures(session))
        return Evaluation(
            out=store.path,
            results=scored.results,
            failures=scored.failures,
            problems=problems,
            faults=scored.faults,
            allowed=allowed_failures(spec.max_failures, scored.wanted),
        )
    finally:
        store.close()


def rescore(
    out: Path,
    *,
    task_paths: Sequence[Path],
    protocols: Sequence[str],
    max_failures: str,
    parameters: Mapping[str, Json] = MappingProxyType({}),
    pictures: Pictures | None = None,
) -> Evaluation:
    """Score a run directory again from what it holds; nothing is asked of any model.

    With `protocols` or `parameters` the numbers are returned and the run directory is left as it is. Without
    `pictures` the report shows outlines on a plain ground: a run directory says nowhere where its images lie.

    Raises:
        SpecError: It is no run directory, or a task of the run is not there any more.
    """
    run = read_run(out)
    tasks, groups = index(task_paths).resolve(run["requested"])
    tasks = with_parameters(tasks, run["parameters"])
    notes = [
        f"{task.task}: the task file changed since the run; scored by what it says now (version {task.version})"
        for task in tasks
        if task.task in run["tasks"] and run["tasks"][task.task]["digest"] != task.digest
    ]
    store = RunStore(out)
    try:
        store.open(run)
        if protocols or parameters:
            with tempfile.TemporaryDirectory() as folder:
                tasks = with_parameters([with_protocols(task, protocols) for task in tasks], parameters)
                scored = score_run(store, run, tasks, groups, Path(folder))
        else:
            scored = score_run(store, run, tasks, groups, out)
            pictures = pictures or Pictures(phantom=run["data"] == PHANTOM)
            _write_outputs(store, tasks, scored, _stored_problems(out), pictures)
    finally:
        store.close()
    return Evaluation(
        out=out,
        results=scored.results,
        failures=scored.failures,
        faults=scored.faults,
        allowed=allowed_failures(max_failures, scored.wanted),
        notes=notes,
    )


def allowed_failures(text: str, wanted: int) -> int:
    """Return how many of `wanted` samples may fail under `N` or `P%`.

    Raises:
        SpecError: The text is neither.
    """
    share = text.endswith("%")
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = -1.0
    if number < 0 or (not share and number != int(number)):
        raise SpecError(f"--max-failures {text}: expected a count such as 5, or a share such as 1%")
    return int(wanted * number / 100) if share else int(number)


def _plan(session: Session, store: RunStore, watch: Watch) -> Plan:
    """Write the plan, or take the one that is there."""
    result = Plan(folder=store.path / "plan", cells=session.cells, unavailable=session.unavailable)
    if (result.folder / "cells.json").exists():
        stored, result.unavailable = read_cells(result.folder)
        for cell in result.cells:
            kept = stored[cell.task.task]
            cell.samples, cell.fallbacks, cell.unsupported = kept.samples, kept.fallbacks, kept.unsupported
        return result
    write_plan(
        result,
        session.capabilities,
        session.identity,
        roots=session.roots,
        cache=session.spec.cache,
        limit=session.spec.limit,
        seed=session.spec.seed,
        notice=watch.notice,
    )
    return result


def _predict(session: Session, store: RunStore, planned: Plan, watch: Watch) -> None:
    """Ask for everything that is missing."""
    spec = session.spec
    suspects = find_suspects(store.read_events())
    total = len({bytes.fromhex(key) for path in planned.files for _, _, key in plan_file.read_keys(path) if key})
    ledger = Ledger(store=store, total=total, counts=Counter(store.statuses), watch=watch.progress)
    batches = plan_file.due(
        plan_file.batches(planned.files, session.batch_size, store.is_done),
        store.is_done,
        batch_invariant=session.capabilities.batch_invariant,
        size=session.batch_size,
    )
    if ledger.done == total:
        return
    options = _cluster_options(session, store, planned)
    setup = _worker_setup(session, options)
    store.event("session", runner="process" if options is None else "ray", done=ledger.done, total=total)
    state = "interrupted"
    try:
        if options is None:
            invariant = session.capabilities.batch_invariant
            run_in_process(setup, batches, ledger, suspects, timeout=spec.timeout, batch_invariant=invariant)
        else:
            run_on_ray(setup, batches, ledger, options)
        state = "done"
    finally:
        store.event("stopped", state=state, done=ledger.done)
        store.status(ledger.status(state), at_once=True)
    if ledger.done < total:
        raise InterruptedRunError(
            f"{total - ledger.done} of {total} requests are not finished; run the same command again"
        )


def _worker_setup(session: Session, options: ClusterOptions | None) -> WorkerSetup:
    roots = dict.fromkeys(path for cell in session.cells for path in (cell.prepared.root, cell.prepared.derived))
    resources = session.resources
    return WorkerSetup(
        reference=session.reference,
        roots=tuple(path.resolve() for path in roots),
        device="cuda:0" if resources.gpus or (options is None and gpus_here()) else "cpu",
        threads=max(1, int(resources.cpus)),
    )


def _cluster_options(session: Session, store: RunStore, planned: Plan) -> ClusterOptions | None:
    """Return how to run on Ray, or None to run in this process."""
    spec = session.spec
    resources = session.resources
    workers = spec.workers or (max(1, gpus_here()) if resources.gpus else 1)
    address = spec.ray
    if address == "auto":
        address = "local" if workers > 1 and ray_is_installed() else "off"
        if address == "off" and workers > 1:
            raise SpecError(f"--workers {workers}: needs ray, which is not installed; pip install 'medground[ray]'")
    if address == "off":
        if workers > 1:
            raise SpecError(f"--ray off runs one worker in this process; --workers {workers} needs --ray local")
        return None
    wanted = sum(cell.wanted for cell in planned.supported)
    return ClusterOptions(
        address=address,
        workers=workers,
        resources=resources,
        timeout=spec.timeout,
        max_deaths=10 + 4 * workers + 6 * allowed_failures(spec.max_failures, wanted),
        log=store.path / "ray.log",
        batch_invariant=session.capabilities.batch_invariant,
    )


def _problems(session: Session, planned: Plan) -> list[predictions_file.Problem]:
    """Return what is wrong with the lines of a predictions file; nothing for any other model."""
    if session.reference.target != "harness.models.predictions_file:Predictions":
        return []
    hand_in = predictions_file.read(Path(session.reference.argument or str(session.reference.arguments["file"])))
    slots = {(sample_id, repeat) for path in planned.files for sample_id, repeat, _ in plan_file.read_keys(path)}
    problems = [*hand_in.problems, *hand_in.unknown(slots)]
    return sorted(problems, key=lambda problem: problem.line)


def _stored_problems(out: Path) -> list[predictions_file.Problem]:
    path = out / "problems.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [predictions_file.Problem(**json.loads(line)) for line in lines]


def find_pictures(
    out: Path, given_roots: Sequence[str], *, with_images: bool, task_paths: Sequence[Path], cache: Path, watch: Watch
) -> Pictures:
    """Return where the images of a run lie and what its report may show of them.

    Args:
        out: The run directory.
        given_roots: As `--data-root` gives them.
        with_images: Whatever the tasks' terms say, for a report that stays here.
        task_paths: Folders with further task files.
        cache: Where manifests and derived files are kept.
        watch: Told of progress where the data are prepared first.
    Raises:
        SpecError: Images are asked for and no data root is given, or it is no run directory.
        DataError: A release is not below the data roots.
    """
    run = read_run(out)
    if with_images and not given_roots:
        raise SpecError("--with-images: expected --data-root too: a run directory does not say where its images lie")
    if not given_roots:
        return Pictures(phantom=run["data"] == PHANTOM)
    roots = data_roots(given_roots, cache)
    tasks, _ = index(task_paths).resolve(list(run["tasks"]))
    prepared = [prepare_task(task, roots, cache, watch.notice) for task in tasks]
    found = dict.fromkeys(path for data in prepared for path in (data.root, data.derived))
    return Pictures(roots=tuple(found), phantom=run["data"] == PHANTOM, asked=with_images)


def _pictures(session: Session) -> Pictures:
    """Return what the report of a run may show: pixels only of drawn patients, and where a task's terms allow it."""
    roots = dict.fromkeys(path for cell in session.cells for path in (cell.prepared.root, cell.prepared.derived))
    return Pictures(roots=tuple(roots), phantom=session.roots.kind == PHANTOM)


def _write_outputs(
    store: RunStore,
    tasks: Sequence[TaskSpec],
    scored: Scored,
    problems: Sequence[predictions_file.Problem],
    pictures: Pictures,
) -> None:
    if problems:
        lines = "".join(json.dumps(asdict(problem)) + "\n" for problem in problems)
        write_atomically(store.path / "problems.jsonl", lines)
    write_results(store.path, scored.results)
    performance = performance_of(store)
    write_atomically(store.path / "performance.json", json.dumps(performance, indent=2) + "\n")
    cells = [task for task in tasks if task.task in scored.results["tasks"]]
    examples = choose(store.path, cells, store.prediction, pictures)
    write_report(store.path, scored.results, scored.failures, performance, problems, examples)


def dry_run(spec: RunSpec, watch: Watch) -> dict[str, Any]:
    """Return what a run would do, asking nothing and writing no run directory.

    Raises:
        HarnessError: It could not begin.
    """
    session = open_session(spec, watch)
    with tempfile.TemporaryDirectory() as folder:
        planned = Plan(folder=Path(folder), cells=session.cells, unavailable=session.unavailable)
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

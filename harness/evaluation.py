"""An evaluation from what was asked for to the results: what `harness run`, `harness score` and the Python API call."""

import json
import os
import platform
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

from harness import handin, plan
from harness.cluster import ClusterOptions, gpus_here, ray_is_installed, run_on_ray
from harness.errors import InterruptedRunError, SpecError
from harness.models.reference import ModelReference, build, capabilities_of, identity, parse
from harness.planning import Cell, DataRoots, Notice, Plan, data_roots, prepare_cells, read_cells, write_plan
from harness.records import Capabilities, Json, Resources, Size
from harness.report import write_report
from harness.results import Failure, Scored, score_run, write_results
from harness.runner import Ledger, WorkerSetup, find_suspects, run_in_process
from harness.serial import digest
from harness.spec import GroupSpec, MetricUse, TaskSpec, index
from harness.store import RunStore, write_atomically

DEFAULT_BATCH = 16
DEFAULT_TIMEOUT = 600.0
DEFAULT_MAX_FAILURES = "1%"
SECRET_WORDS = ("key", "token", "secret", "password")
PACKAGES = (
    "medground",
    "numpy",
    "scipy",
    "pycocotools",
    "pyarrow",
    "pillow",
    "scikit-image",
    "ray",
    "torch",
    "transformers",
)


def default_cache() -> Path:
    """Return where manifests and derived files are kept: `$MEDGROUND_CACHE`, else `~/.cache/medground`."""
    return Path(os.environ.get("MEDGROUND_CACHE") or Path.home() / ".cache" / "medground")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One evaluation, as the command line states it.

    Attributes:
        tasks: Tasks and groups.
        model: Reference of the model.
        model_args: Arguments of the adapter.
        data_roots: Folders, or `phantom[:SEED]`.
        out: Run directory; None: `runs/<model>-<digest>`.
        task_paths: Folders with further task files.
        limit: Samples a task; None for all.
        seed: Of the run.
        workers: Copies of the model; None: one per GPU, else 1.
        gpus_per_worker: None: what the model asks for.
        batch_size: Requests a batch; `auto`: the model's most; None: 16 at most.
        ray: `auto`, `local`, `off` or an address.
        timeout: Seconds a sample.
        max_failures: `N` or `P%` of the wanted scores.
        cache: Where manifests and derived files are kept.
    """

    tasks: tuple[str, ...]
    model: str
    model_args: Mapping[str, Json] = field(default_factory=dict)
    data_roots: tuple[str, ...] = ()
    out: Path | None = None
    task_paths: tuple[Path, ...] = ()
    limit: int | None = None
    seed: int = 0
    workers: int | None = None
    gpus_per_worker: float | None = None
    batch_size: int | str | None = None
    ray: str = "auto"
    timeout: float = DEFAULT_TIMEOUT
    max_failures: str = DEFAULT_MAX_FAILURES
    cache: Path = field(default_factory=default_cache)
    protocols: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Where an evaluation says what it is doing.

    Attributes:
        notice: One line of news.
        progress: Called with the ledger after every finished batch.
    """

    notice: Notice = lambda _: None
    progress: Callable[[Ledger], None] = lambda _: None


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
    problems: Sequence[handin.Problem] = ()
    faults: int = 0
    allowed: int = 0
    notes: Sequence[str] = ()

    @property
    def exit_code(self) -> int:
        """0, or 3 when more failed than allowed."""
        return 3 if self.faults > self.allowed else 0


@dataclass(slots=True)
class Session:
    """An evaluation that is resolved and prepared, before anything is asked.

    Attributes:
        spec: What was asked for.
        reference, capabilities, identity: The model.
        tasks, groups: What the names mean.
        roots: Where the data lie.
        cells, unavailable: The prepared tasks, and group members that are not here.
    """

    spec: RunSpec
    reference: ModelReference
    capabilities: Capabilities
    identity: dict[str, Json]
    tasks: list[TaskSpec]
    groups: list[GroupSpec]
    roots: DataRoots
    cells: list[Cell]
    unavailable: list[dict[str, Json]]

    @property
    def batch_size(self) -> int:
        """Requests a batch."""
        most = self.capabilities.max_batch
        if self.spec.batch_size is None:
            return min(DEFAULT_BATCH, most)
        if self.spec.batch_size == "auto":
            return most
        size = int(self.spec.batch_size)
        if size > most:
            raise SpecError(f"--batch-size {size}: {self.spec.model} takes at most {most} requests a batch (max_batch)")
        return size

    def run_record(self) -> dict[str, Json]:
        """Return the content of `run.json`: what must not change while a run is resumed."""
        return {
            "schema": 1,
            "model": self.identity,
            "data": self.roots.kind,
            "requested": list(self.spec.tasks),
            "tasks": {
                cell.task.task: {
                    "version": cell.task.version,
                    "digest": cell.task.digest,
                    "data_digest": cell.prepared.digest,
                    "decoding": dict(cell.task.decoding),
                }
                for cell in self.cells
            },
            "seed": self.spec.seed,
            "limit": self.spec.limit,
            "batch_size": None if self.capabilities.batch_invariant else self.batch_size,
            "promise": "bytes" if self.capabilities.batch_invariant or self.spec.batch_size != "auto" else "interval",
        }

    @property
    def out(self) -> Path:
        """The run directory."""
        if self.spec.out is not None:
            return self.spec.out
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in str(self.identity["id"]))
        return Path("runs") / f"{name}-{digest(self.run_record())[:12]}"


def open_session(spec: RunSpec, watch: Watch) -> Session:
    """Resolve names, build the adapter and prepare the data.

    Raises:
        HarnessError: Something that was asked for does not exist or is wrong.
    """
    roots = data_roots(spec.data_roots, spec.cache)
    tasks, groups = index(spec.task_paths).resolve(spec.tasks)
    tasks = [with_protocols(task, spec.protocols) for task in tasks]
    reference = parse(spec.model, spec.model_args)
    adapter = build(reference)
    capabilities = capabilities_of(reference, adapter)
    cells, unavailable = prepare_cells(tasks, groups, spec.tasks, roots, spec.cache, watch.notice)
    return Session(
        spec=spec,
        reference=reference,
        capabilities=capabilities,
        identity=identity(reference, adapter, capabilities),
        tasks=tasks,
        groups=groups,
        roots=roots,
        cells=cells,
        unavailable=unavailable,
    )


def evaluate(spec: RunSpec, watch: Watch | None = None, *, command: Sequence[str] = ()) -> Evaluation:
    """Run an evaluation, or what is missing of it, and score it.

    Raises:
        HarnessError: It cannot begin, or cannot go on; what is finished is kept.
        KeyboardInterrupt: Ctrl-C; what is finished is kept.
    """
    watch = watch or Watch()
    session = open_session(spec, watch)
    store = RunStore(session.out)
    run = session.run_record()
    store.open(run)
    try:
        with store.path.joinpath("sessions.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(_session_record(command)) + "\n")
        planned = _plan(session, store, watch)
        _predict(session, store, planned, watch)
        scored = score_run(store, run, session.tasks, session.groups)
        problems = _problems(session, planned)
        _write_outputs(store, scored, problems)
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


def rescore(out: Path, *, task_paths: Sequence[Path], protocols: Sequence[str], max_failures: str) -> Evaluation:
    """Score a run directory again from what it holds; nothing is asked of any model.

    With `protocols` the numbers are returned and the run directory is left as it is.

    Raises:
        SpecError: It is no run directory, or a task of the run is not there any more.
    """
    record = out / "run.json"
    if not record.is_file():
        raise SpecError(f"{out}: is no run directory (it has no run.json); expected what `harness run --out` wrote")
    run = json.loads(record.read_text(encoding="utf-8"))
    tasks, groups = index(task_paths).resolve(run["requested"])
    notes = [
        f"{task.task}: the task file changed since the run; scored by what it says now (version {task.version})"
        for task in tasks
        if task.task in run["tasks"] and run["tasks"][task.task]["digest"] != task.digest
    ]
    store = RunStore(out)
    store.open(run)
    try:
        scored = score_run(store, run, [with_protocols(task, protocols) for task in tasks], groups)
        if not protocols:
            _write_outputs(store, scored, ())
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


def with_protocols(task: TaskSpec, wanted: Sequence[str]) -> TaskSpec:
    """Return the task scored by these protocols only: each of its metrics under each that the metric has.

    Raises:
        SpecError: None of its metrics has any of them.
    """
    if not wanted:
        return task
    from harness.metrics import METRICS

    names = dict.fromkeys(use.metric for use in task.metrics)
    uses = tuple(
        MetricUse(metric=row.name, protocol=row.protocol)
        for protocol in wanted
        for row in METRICS
        if row.name in names and row.protocol == protocol and task.gives in row.suits
    )
    if not uses:
        known = sorted({row.protocol for row in METRICS if row.name in names})
        raise SpecError(f"--protocol {' '.join(wanted)}: the metrics of {task.task} have {', '.join(known)}")
    kept = [use for use in uses if use.metric == task.headline.metric] or list(uses)
    headline = replace(task.headline, metric=kept[0].metric, protocol=kept[0].protocol)
    return replace(task, metrics=uses, headline=headline)


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
    suspects = find_suspects([*store.read_events(), {"event": "session"}])
    total = len({key for path in planned.files for _, _, key in plan.read_keys(path) if key})
    ledger = Ledger(store=store, total=total, counts=Counter(store.statuses), watch=watch.progress)
    batches = plan.due(
        plan.batches(planned.files, session.batch_size),
        store.is_done,
        batch_invariant=session.capabilities.batch_invariant,
        size=session.batch_size,
    )
    if ledger.done == total:
        return
    options = _cluster_options(session, store, planned)
    setup = _worker_setup(session, options)
    store.event("session", runner="process" if options is None else "ray", done=ledger.done, total=total)
    began = time.monotonic()
    state = "interrupted"
    try:
        if options is None:
            invariant = session.capabilities.batch_invariant
            run_in_process(setup, batches, ledger, suspects, timeout=spec.timeout, batch_invariant=invariant)
        else:
            run_on_ray(setup, batches, ledger, options)
        state = "done"
    finally:
        store.event("stopped", state=state, seconds=round(time.monotonic() - began, 3), done=ledger.done)
        store.status(ledger.status(state), at_once=True)
    if ledger.done < total:
        raise InterruptedRunError(
            f"{total - ledger.done} of {total} requests are not finished; run the same command again"
        )


def _worker_setup(session: Session, options: ClusterOptions | None) -> WorkerSetup:
    roots = dict.fromkeys(path for cell in session.cells for path in (cell.prepared.root, cell.prepared.derived))
    resources = _resources(session)
    return WorkerSetup(
        reference=session.reference,
        roots=tuple(path.resolve() for path in roots),
        device="cuda:0" if resources.gpus or (options is None and gpus_here()) else "cpu",
        threads=max(1, int(resources.cpus)),
    )


def _resources(session: Session) -> Resources:
    asked = session.capabilities.resources
    gpus = session.spec.gpus_per_worker
    return asked if gpus is None else replace(asked, gpus=gpus)


def _cluster_options(session: Session, store: RunStore, planned: Plan) -> ClusterOptions | None:
    """Return how to run on Ray, or None to run in this process."""
    spec = session.spec
    resources = _resources(session)
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
        max_deaths=10 + 4 * workers + 4 * allowed_failures(spec.max_failures, wanted),
        log=store.path / "ray.log",
        batch_invariant=session.capabilities.batch_invariant,
    )


def _problems(session: Session, planned: Plan) -> list[handin.Problem]:
    """Return what is wrong with the lines of a predictions file; nothing for any other model."""
    if session.reference.target != "harness.models.predictions:Predictions":
        return []
    hand_in = handin.read(Path(session.reference.argument or str(session.reference.arguments["file"])))
    slots: dict[handin.Slot, Size] = {}
    for path in planned.files:
        slots.update({(sample_id, repeat): () for sample_id, repeat, _ in plan.read_keys(path)})
    problems = [*hand_in.problems, *hand_in.unknown(slots)]
    return sorted(problems, key=lambda problem: problem.line or 0)


def _write_outputs(store: RunStore, scored: Scored, problems: Sequence[handin.Problem]) -> None:
    if problems:
        lines = [
            json.dumps({"line": item.line, "sample_id": item.sample_id, "message": item.message}) for item in problems
        ]
        write_atomically(store.path / "problems.jsonl", "\n".join(lines) + "\n")
    write_results(store.path, scored.results)
    performance = performance_of(store)
    write_atomically(store.path / "performance.json", json.dumps(performance, indent=2) + "\n")
    write_report(store.path, scored.results, scored.failures, performance, problems)


def performance_of(store: RunStore) -> dict[str, Json]:
    """Return how fast the run was: sessions, seconds and samples a second; nothing of it enters the results."""
    sessions, busy, finished, worst = 0, 0.0, 0, 0
    for event in store.read_events():
        sessions += event["event"] == "session"
        worst += event["event"] in ("died", "hung")
        if event["event"] == "stopped":
            busy += event["seconds"]
    model_seconds = 0.0
    usage: Counter[str] = Counter()
    for key in list(store.offsets):
        prediction = store.prediction(key.hex())
        assert prediction is not None
        finished += 1
        model_seconds += prediction.seconds
        usage.update({name: int(value) for name, value in prediction.usage.items()})
    return {
        "schema": 1,
        "sessions": sessions,
        "requests": finished,
        "seconds": round(busy, 3),
        "model_seconds": round(model_seconds, 3),
        "requests_per_second": round(finished / busy, 2) if busy else None,
        "workers_lost": worst,
        "usage": dict(sorted(usage.items())),
    }


def _session_record(command: Sequence[str]) -> dict[str, Json]:
    """Return one line of `sessions.jsonl`: the command, versions and hardware; no user, host or secret."""
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": [_without_secret(word) for word in command],
        "git": _git_commit(),
        "python": platform.python_version(),
        "packages": _versions(),
        "hardware": {"machine": platform.machine(), "cpus": os.cpu_count(), "gpus": gpus_here()},
    }


def _without_secret(word: str) -> str:
    """Return a word of the command with the values of secrets and the user's home left out."""
    parts = []
    for part in word.replace(str(Path.home()), "~").split(","):
        name, equals, _ = part.partition("=")
        secret = equals and any(hint in name.lower() for hint in SECRET_WORDS)
        parts.append(f"{name}=***" if secret else part)
    return ",".join(parts)


def _git_commit() -> str | None:
    """Return the commit of the harness's own checkout, `-dirty` added; None when it is installed from a wheel."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, timeout=10, check=False)
        return done.stdout.strip() if done.returncode == 0 else ""

    try:
        commit = git("rev-parse", "HEAD")
        return (commit + ("-dirty" if git("status", "--porcelain", "--", str(here)) else "")) or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def dry_run(spec: RunSpec, watch: Watch) -> dict[str, Any]:
    """Return what a run would do, asking nothing and writing no run directory.

    Raises:
        HarnessError: It could not begin.
    """
    import tempfile

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
        requests = {key for path in planned.files for _, _, key in plan.read_keys(path) if key}
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

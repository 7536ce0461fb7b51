"""The set-up of an evaluation: names are resolved to tasks and a model, and the data are prepared."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf
from pathlib import Path
from typing import Any

from harness.data.roots import DataRoots, data_roots
from harness.errors import SpecError, listed
from harness.evaluation.planning import prepare_cells
from harness.evaluation.submitted import foreign_log
from harness.evaluation.submitted.folder import as_predictions_file
from harness.models.description import ModelDescription, undescribed
from harness.models.given import reference_to
from harness.models.resolve import ModelReference, build, capabilities_of, identity, parse, resource_fault
from harness.models.secrets import refuse_secrets
from harness.models.submitted.foreign_logs.matching import LogReport
from harness.models.submitted.predictions_file import Predictions
from harness.models.submitted.predictions_folder import FolderReport
from harness.paths import default_cache
from harness.records import Capabilities, Json, Resources
from harness.records.codec import digest
from harness.runs.cells import Cell
from harness.runs.engine.deadlines import DEADLINES, Overdue
from harness.runs.engine.devices import NodeResources, Wanted, gpus_here, seen_here, settled
from harness.runs.engine.disturbance import Disturbance
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.ray_connection import check_address, ray_is_installed
from harness.runs.engine.worker import load_seconds
from harness.tasks.catalog import look_up
from harness.tasks.overrides import with_parameters, with_protocols
from harness.tasks.prepare import Notice
from harness.tasks.spec import GroupSpec, TaskSpec

# Requests per batch, or the model's maximum if that is less.
DEFAULT_BATCH = 16
# Seconds per sample.
DEFAULT_TIMEOUT = 600.0
DEFAULT_MAX_FAILURES = "1%"
# Copies share CPUs, as those that wait for an endpoint may; with more each would starve.
MOST_PER_CPU = 16
# Tasks that a message names; a group may have hundreds.
TASKS_NAMED = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """One evaluation, as the command line states it.

    Attributes:
        tasks: Tasks, groups and task files, one each or as lists such as `A,B`.
        model: Reference of the model; or, from Python, an adapter or its class.
        model_args: Arguments of the adapter.
        data_roots: Folders, or `phantom[:SEED]`.
        out: Run directory; None: `runs/<model>-<digest>`.
        task_paths: Folders with further task files.
        limit: Samples per task; None for all.
        seed: Seed of the run.
        workers: Copies of the model; None: one per GPU, else 1.
        gpus_per_worker: GPUs of one copy; None: as many as the model asks for, or one, if there is one and it can use
            it. 0: the CPU.
        batch_size: Requests per batch; `auto`: as memory and latency allow, up to the model's maximum; None: the
            model's maximum, but 16 at most.
        ray: `auto`, `local`, `off` or an address.
        timeout: Seconds per sample.
        max_failures: `N` or `P%` of the wanted scores.
        cache: Folder of manifests and derived files.
        protocols: Score by these only; empty: as the tasks say.
        parameters: Settings of the tasks' metrics, by `metric.parameter`.
        description: Name, page, paper, size and licence of the model, which no number depends on.
        send_data_to: Hosts that may get the data of tasks whose terms do not allow it to everyone.
        load_timeout: Seconds that loading the model may take; None: ten times `timeout`, but 30 at least.
        disturbance: Faults that `harness chaos` plants; None for none.
    """

    tasks: tuple[str, ...]
    model: Any
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
    parameters: Mapping[str, Json] = field(default_factory=dict)
    description: ModelDescription = field(default_factory=ModelDescription)
    send_data_to: tuple[str, ...] = ()
    load_timeout: float | None = None
    disturbance: Disturbance | None = None

    @property
    def load_seconds(self) -> float:
        """Seconds that loading the model may take."""
        return load_seconds(self.timeout) if self.load_timeout is None else self.load_timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Observer:
    """Callables to which an evaluation reports what it is doing.

    Attributes:
        notice: Called with one line of news.
        progress: Called with the progress after every finished batch.
    """

    notice: Notice = lambda _: None
    progress: Callable[[RunProgress], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Where the copies of the model run.

    Attributes:
        address: `local`, or the address of a cluster, of Ray; None: in this process.
        wanted: Copies, and CPUs and GPUs of each; what is open in it depends on the cluster.
    """

    address: str | None
    wanted: Wanted


@dataclass(slots=True)
class PreparedRun:
    """An evaluation whose names are resolved and whose data are prepared; nothing has been asked yet.

    Attributes:
        spec: What was asked for.
        reference, capabilities, identity: The model.
        tasks, groups: The tasks and groups that the names resolve to.
        roots: The data roots.
        cells, unavailable: The prepared tasks, and group members whose files are absent.
        batch_size: Requests per batch.
        folder_of_runs: Folder of run directories that nobody names.
        display_name: The model's name unless one is given: that of its file for submitted predictions, else None.
        folder: What became of the files of a predictions folder, or of the rows of another harness's log; None for any
            other model.
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
    batch_size: int
    runner: Runner
    folder_of_runs: Path
    display_name: str | None = None
    folder: FolderReport | LogReport | None = None

    def run_record(self) -> dict[str, Json]:
        """Return the content of `run.json`: what must not change while a run is resumed, but the model's name."""
        name = {} if self.display_name is None else {"name": self.display_name}
        return {
            "schema": 1,
            "model": {**self.identity, "oracle": "target" in self.capabilities.takes, **name},
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
            # Batches that cannot change an answer may be cut differently when the run is resumed.
            "batch_size": None if self.capabilities.batch_invariant else self.batch_size,
            "parameters": dict(self.spec.parameters),
            # Two runs with the same record agree in every byte, or in their numbers within the intervals.
            "promise": "bytes" if self.capabilities.batch_invariant or self.spec.batch_size != "auto" else "interval",
        }

    @property
    def media_roots(self) -> tuple[Path, ...]:
        """Folders with the media of the tasks: the releases, and the files derived from them."""
        return tuple(dict.fromkeys(path for cell in self.cells for path in (cell.prepared.root, cell.prepared.derived)))

    @property
    def out(self) -> Path:
        """The run directory."""
        if self.spec.out is not None:
            return self.spec.out
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in str(self.identity["id"]))
        return self.folder_of_runs / f"{name}-{digest(undescribed(self.run_record()))[:12]}"


def open_session(spec: RunSpec, watch: Observer) -> PreparedRun:
    """Resolve names, build the adapter and prepare the data.

    Raises:
        HarnessError: A task, model or data root does not exist, an option is wrong, or a release cannot be read.
    """
    if not any(name.strip() for name in spec.tasks):  # as an unset variable of a CI job leaves it
        raise SpecError("--tasks: expected at least one task or group, found none; `harness list tasks` names them")
    roots = data_roots(spec.data_roots, spec.cache)
    # Absolute before the code of a model or a task runs, which may change the working folder.
    roots = replace(roots, roots=tuple(root.absolute() for root in roots.roots))
    folder_of_runs = Path("runs").absolute()
    catalog, names = look_up(spec.tasks, spec.task_paths)
    # A path to a task file is of no use to who scores the run later.
    spec = replace(spec, tasks=names, out=spec.out and spec.out.absolute(), cache=spec.cache.absolute())
    tasks, groups = catalog.resolve(names)
    tasks = [replace(task, file=task.file.absolute()) for task in tasks]
    tasks = with_parameters([with_protocols(task, spec.protocols) for task in tasks], spec.parameters)
    reference = (
        parse(spec.model, spec.model_args) if isinstance(spec.model, str) else reference_to(spec.model, spec.model_args)
    )
    words = f"--model {reference.text}: it was not built within {spec.load_seconds:g} s; --load-timeout allows more"
    with DEADLINES.within(spec.load_seconds, Overdue(words=words), alone=False):
        adapter = build(reference)
        capabilities = capabilities_of(reference, adapter)
    refuse_secrets(reference, capabilities.execution_only)
    refuse_sending(tasks, capabilities.sends_data_to, spec.send_data_to)
    # Before the data are prepared, which may take an hour.
    batch_size = _batch_size(spec, capabilities)
    runner = choose_runner(spec, capabilities.resources)
    cells, unavailable = prepare_cells(tasks, groups, spec.tasks, roots, spec.cache, watch.notice)
    folder: FolderReport | LogReport | None = None
    if isinstance(adapter, Predictions) and (adapter.log is not None or adapter.path.is_dir()):
        if adapter.log is not None:
            reference, folder = foreign_log.as_predictions_file(adapter, reference, cells, spec.cache, roots.kind)
        else:
            reference, folder = as_predictions_file(adapter, reference, cells, spec.cache)
        adapter = build(reference)
        capabilities = capabilities_of(reference, adapter)
    return PreparedRun(
        spec=spec,
        reference=reference,
        capabilities=capabilities,
        identity=identity(reference, adapter, capabilities, memory=spec.cache / "weights"),
        tasks=tasks,
        groups=groups,
        roots=roots,
        cells=cells,
        unavailable=unavailable,
        batch_size=batch_size,
        runner=runner,
        folder_of_runs=folder_of_runs,
        display_name=adapter.display_name if isinstance(adapter, Predictions) else None,
        folder=folder,
    )


def choose_runner(spec: RunSpec, resources: Resources) -> Runner:
    """Return where the copies of a model that asks for `resources` run.

    Raises:
        SpecError: `--gpus-per-worker` is no number of GPUs, this machine has no GPU where one is asked for, or several
            workers were asked for that Ray would have to run.
    """
    gpus = spec.gpus_per_worker
    if gpus is not None and (fault := resource_fault(gpus, whole=True)):
        raise SpecError(f"--gpus-per-worker {gpus}: {fault}")
    wanted = Wanted(resources=resources, gpus_per_worker=gpus, workers=spec.workers)
    if spec.ray not in ("auto", "off"):
        check_address(spec.ray)
        if spec.ray == "local":
            _check_crowd(spec.workers or 1, resources)
        return Runner(address=spec.ray, wanted=wanted)
    if spec.ray == "off" and (spec.workers or 1) > 1:
        raise SpecError(f"--ray off runs one worker in this process; --workers {spec.workers} needs --ray local")
    here = gpus_here()
    # Ray on this machine starts with as many CPUs as the workers need.
    nodes, seen = [NodeResources(cpus=inf, gpus=here)], seen_here(here)
    if spec.ray == "auto":
        workers = spec.workers or settled(wanted, nodes, seen)[0]
        if workers > 1 and ray_is_installed():
            check_address("local")
            _check_crowd(workers, resources)
            return Runner(address="local", wanted=wanted)
        if workers > 1 and spec.workers:
            raise SpecError(f"--workers {workers}: needs ray, which is not installed; pip install 'medground[ray]'")
    workers, resources = settled(replace(wanted, workers=1), nodes, seen)
    return Runner(address=None, wanted=Wanted(resources=resources, workers=workers))


def _check_crowd(workers: int, resources: Resources) -> None:
    """Refuse more copies than this machine could carry: each is a process of its own with the model in its memory.

    Raises:
        SpecError: They ask for more than MOST_PER_CPU CPUs for each one that is there.
    """
    there = os.cpu_count() or 1
    if (asked := workers * resources.cpus) > MOST_PER_CPU * there:
        raise SpecError(
            f"--workers {workers} with {resources.cpus:g} CPUs each: they ask for {asked:g}, this machine has {there} "
            f"and shares each at most {MOST_PER_CPU} times; lower --workers, or name a cluster by --ray"
        )


def refuse_sending(tasks: Sequence[TaskSpec], host: str | None, allowed: Sequence[str]) -> None:
    """Check that the data of the tasks may be sent where the model is.

    A host counts as named only by the words in which the model's address names it: `localhost` does not name
    `127.0.0.1`. A loopback address must be named, too: what listens there may pass the data on.

    Args:
        tasks: The tasks that are to be run.
        host: That of the model; None for a model that sends nothing away.
        allowed: Hosts of `--send-data-to`, with or without a port.
    Raises:
        SpecError: The terms of a task forbid it, and `allowed` does not name the host.
    """
    if host is None or is_named(host, allowed):
        return
    forbidden = [task.task for task in tasks if not task.terms.external_api]
    if not forbidden:
        return
    found = f"; found --send-data-to {', '.join(allowed)}" if allowed else ""
    raise SpecError(
        f"--model sends questions and images to {host}, which the terms of {listed(forbidden, TASKS_NAMED)} do not "
        f"allow (terms.external_api is false). Nothing was sent; if you have the right to, add --send-data-to "
        f"{host}{found}"
    )


def is_named(host: str, allowed: Sequence[str]) -> bool:
    """Return whether a host is among those of `--send-data-to`, which may have a port."""
    # As it is, which may be an IPv6 address full of colons, and without a port.
    named = {form.strip("[] ").lower() for name in allowed for form in (name, re.sub(r":\d+\s*$", "", name))}
    return host.lower() in named


def _batch_size(spec: RunSpec, capabilities: Capabilities) -> int:
    most = capabilities.max_batch
    if spec.batch_size is None:
        return capabilities.usual_batch or min(DEFAULT_BATCH, most)
    if spec.batch_size == "auto":
        return most
    size = int(spec.batch_size)
    if size > most:
        raise SpecError(f"--batch-size {size}: {spec.model} takes at most {most} requests a batch (max_batch)")
    return size

"""From what was asked for to a plan on disk: tasks, prepared data, support of each pair, requests and their keys."""

import contextlib
import hashlib
import heapq
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.data.manifest import Prepared, prepare, read_manifest
from harness.data.releases.reader import ReleaseAbsentError
from harness.data.train_prior import TrainPrior
from harness.errors import DataError, SpecError
from harness.records import Capabilities, Json, Prior, Sample, VisualPrompt
from harness.records.codec import canonical, to_json
from harness.requests.build import build_request, request_key, support, visual_prompts
from harness.runs import plan_file
from harness.runs.store import write_atomically
from harness.tasks.spec import GroupSpec, TaskSpec

PHANTOM = "phantom"
Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRoots:
    """Where releases are looked for, and whether they are real.

    Attributes:
        roots: In the order given; a reader takes the first that holds its folders. Of drawn patients the folder below
            which each family of releases has a root of its own.
        kind: `real` or `phantom`.
        seed: Of the drawn patients.
    """

    roots: tuple[Path, ...]
    kind: str
    seed: int = 0

    def of(self, reader: str) -> tuple[Path, ...]:
        """Return where a reader looks; the releases of drawn patients are drawn on first use."""
        if self.kind != PHANTOM:
            return self.roots
        return (_phantom_root(self.roots[0], self.seed, reader),)


def data_roots(given: Sequence[str], cache: Path) -> DataRoots:
    """Return the data roots; `phantom` and `phantom:SEED` are drawn below the cache on first use.

    Raises:
        SpecError: None was given, a folder does not exist, or real and phantom data are mixed.
    """
    if not given:
        raise SpecError(
            "--data-root: expected a folder with the releases, or `phantom` for drawn patients; none was given"
        )
    phantoms = [root for root in given if root == PHANTOM or root.startswith(f"{PHANTOM}:")]
    if not phantoms:
        missing = [root for root in given if not Path(root).is_dir()]
        if missing:
            raise SpecError("\n".join(f"--data-root {root}: no such folder" for root in missing))
        return DataRoots(roots=tuple(Path(root) for root in given), kind="real")
    if len(given) > 1:
        raise SpecError("--data-root: phantom data stand alone; their numbers never meet those of real data")
    _, _, seed = phantoms[0].partition(":")
    if seed and not seed.isdigit():
        raise SpecError(f"--data-root {phantoms[0]}: expected phantom:SEED with a whole number, found '{seed}'")
    return DataRoots(roots=(cache / "phantoms",), kind=PHANTOM, seed=int(seed or 0))


def _phantom_root(folder: Path, seed: int, reader: str) -> Path:
    """Return the data root with the patients drawn from `seed` in the layout of `reader`, drawing them on first use."""
    from harness.data import phantoms
    from harness.data.phantoms.families import family_of

    family = family_of(reader)
    root = folder / f"v{phantoms.VERSION}-seed{seed}-{family.name}"
    if not root.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        drawing = Path(tempfile.mkdtemp(dir=folder))
        family.write(drawing, seed)
        with contextlib.suppress(OSError):
            drawing.rename(root)  # another process may have drawn the same patients meanwhile
    return root


@dataclass(slots=True, kw_only=True)
class Cell:
    """One task of a run: what is asked of whom, or why it is not.

    Attributes:
        task: The task.
        prepared: Its manifest.
        samples: Samples that take part, after `--limit`.
        fallbacks: The task's fallbacks that the model needs, as `name: value`.
        unsupported: Why the model cannot be asked; None when it can.
    """

    task: TaskSpec
    prepared: Prepared
    samples: int = 0
    fallbacks: tuple[str, ...] = ()
    unsupported: str | None = None

    @property
    def wanted(self) -> int:
        """Scores the cell should bring: samples times repetitions."""
        return self.samples * self.task.repeats


@dataclass(slots=True)
class Plan:
    """Everything a run will do.

    Attributes:
        folder: `plan/` of the run directory.
        cells: In the order of the tasks.
        unavailable: `{task, metric, reason, remedy}` of what cannot be run or scored here.
    """

    folder: Path
    cells: list[Cell] = field(default_factory=list)
    unavailable: list[dict[str, Json]] = field(default_factory=list)

    @property
    def supported(self) -> list[Cell]:
        """Cells that the model can be asked."""
        return [cell for cell in self.cells if cell.unsupported is None]

    def file(self, task: str) -> Path:
        """Return where the plan of one task stands."""
        return self.folder / f"{task}.parquet"

    @property
    def files(self) -> list[Path]:
        """Plans of the supported cells, in the order of the tasks."""
        return [self.file(cell.task.task) for cell in self.supported]


def prepare_cells(
    tasks: Sequence[TaskSpec],
    groups: Sequence[GroupSpec],
    named: Sequence[str],
    roots: DataRoots,
    cache: Path,
    notice: Notice,
) -> tuple[list[Cell], list[dict[str, Json]]]:
    """Prepare the data of every task; return the cells, and the group members whose files are absent.

    Raises:
        DataError: The files of a task that was named directly are absent, or a release cannot be read.
    """
    cells: list[Cell] = []
    unavailable: list[dict[str, Json]] = []
    members = {member for group in groups for member in group.members}
    for task in tasks:
        try:
            cells.append(Cell(task=task, prepared=prepare_task(task, roots, cache, notice)))
        except ReleaseAbsentError as error:
            if task.task in named or task.task not in members:
                raise
            remedy = "put the release below a --data-root; its family's README says how to obtain it"
            reason = _without_roots(str(error), roots).rstrip(".")
            unavailable.append({"task": task.task, "metric": None, "reason": reason, "remedy": remedy})
    return cells, unavailable


def _without_roots(text: str, roots: DataRoots) -> str:
    """Return the text with every data root called DATA: results hold no path of a machine."""
    paths = {str(path) for root in roots.roots for path in (root, root.resolve())}
    for path in sorted(paths, key=len, reverse=True):
        text = text.replace(path, "DATA")
    return text


def prepare_task(
    task: TaskSpec, roots: DataRoots, cache: Path, notice: Notice, *, split: str | None = None
) -> Prepared:
    """Prepare one task's data, or another split of the same release."""
    release = task.release if split is None else replace(task.release, split=split, where={})
    name = f"{task.dataset}/{release.split}"

    def progress(samples: int) -> None:
        if samples % 10_000 == 0 and samples:
            notice(f"preparing {name}: {samples:,} samples")

    prepared = prepare(
        release,
        dataset=task.dataset,
        window=task.window,
        roots=roots.of(task.release.reader),
        cache=cache,
        progress=progress,
        folder=task.folder,
    )
    expected = None if split is not None or roots.kind == PHANTOM else release.samples
    if expected not in (None, prepared.samples):
        notice(f"{task.task}: expected {expected:,} samples of the release, found {prepared.samples:,}")
    return prepared


def write_plan(
    result: Plan,
    capabilities: Capabilities,
    identity: Mapping[str, Json],
    *,
    roots: DataRoots,
    cache: Path,
    limit: int | None,
    seed: int,
    notice: Notice,
) -> None:
    """Write `plan/` for every cell, and decide which cells the model can be asked."""
    for cell in result.cells:
        cell.samples, kept = _chosen(cell.prepared, limit, seed)
        prior = None
        if "prior" in capabilities.takes:
            prior = _train_prior(cell.task, roots, cache, notice)
            if prior is None:
                cell.unsupported = "the model answers from the train split, and the release has none"
                continue
        rows = _Rows(cell, cell.task.asked_of(roots.kind), capabilities, identity, seed, kept, prior)
        path = result.file(cell.task.task)
        plan_file.write(path, rows)
        if rows.lacking:
            reason, count = rows.lacking.most_common(1)[0]
            cell.unsupported = f"{reason} ({count} of {cell.samples} samples)"
            path.unlink()
        cell.fallbacks = tuple(sorted(rows.fallbacks))
    _write_cells(result)


def _chosen(prepared: Prepared, limit: int | None, seed: int) -> tuple[int, frozenset[str] | None]:
    """Return how many samples take part and, under a limit, which: those with the smallest sha256 of seed and id."""
    if limit is None:
        return prepared.samples, None

    def rank(sample_id: str) -> bytes:
        return hashlib.sha256(canonical([seed, sample_id]).encode()).digest()

    kept = frozenset(heapq.nsmallest(limit, (sample.id for sample in read_manifest(prepared.manifest)), key=rank))
    return len(kept), kept


def _train_prior(task: TaskSpec, roots: DataRoots, cache: Path, notice: Notice) -> TrainPrior | None:
    try:
        prepared = prepare_task(task, roots, cache, notice, split="train")
    except ReleaseAbsentError:
        return None
    return TrainPrior.of(read_manifest(prepared.manifest))


@dataclass(slots=True)
class _Rows:
    """The rows of one cell's plan; notes on the way what the model lacks and which fallbacks it needs."""

    cell: Cell
    task: TaskSpec
    capabilities: Capabilities
    identity: Mapping[str, Json]
    seed: int
    kept: frozenset[str] | None
    prior: TrainPrior | None
    lacking: Counter[str] = field(default_factory=Counter)
    fallbacks: set[str] = field(default_factory=set)

    def __iter__(self) -> Iterator[plan_file.PlannedRequest]:
        for sample in read_manifest(self.cell.prepared.manifest):
            if self.kept is None or sample.id in self.kept:
                yield from self._rows(sample)

    def _rows(self, sample: Sample) -> Iterator[plan_file.PlannedRequest]:
        task = self.task
        prompts, defect = _prompts(task, sample)
        found = support(task, prompts, sample, self.capabilities)
        if found.missing is not None:
            self.lacking[found.missing] += 1
        if self.lacking:
            return
        self.fallbacks.update(found.fallbacks)
        prior = self.prior.for_sample(sample) if self.prior is not None else None
        for repeat in range(task.repeats):
            if defect is not None:
                yield plan_file.PlannedRequest(sample=sample, repeat=repeat, defect=defect)
            else:
                yield self._row(sample, prompts, repeat, prior)

    def _row(
        self, sample: Sample, prompts: Sequence[VisualPrompt], repeat: int, prior: Prior | None
    ) -> plan_file.PlannedRequest:
        request = build_request(
            self.task, sample, prompts, self.capabilities, seed=self.seed, repeat=repeat, prior=prior
        )
        request = replace(request, key=request_key(request, self.identity))
        text = canonical(to_json(request))
        size_class = plan_file.size_class(sample)
        return plan_file.PlannedRequest(
            sample=sample, repeat=repeat, key=request.key, size_class=size_class, request=text
        )


def _prompts(task: TaskSpec, sample: Sample) -> tuple[tuple[VisualPrompt, ...], str | None]:
    """Return the sample's visual prompts, and why it cannot be asked."""
    if sample.defect is not None:
        return (), sample.defect
    try:
        return visual_prompts(task, sample), None
    except DataError as error:
        return (), str(error)


def _write_cells(result: Plan) -> None:
    """Write `plan/cells.json`, whose presence says that the plan is whole."""
    cells = {
        cell.task.task: {
            "samples": cell.samples,
            "fallbacks": list(cell.fallbacks),
            "unsupported": cell.unsupported,
            "data_digest": cell.prepared.digest,
        }
        for cell in result.cells
    }
    result.folder.mkdir(parents=True, exist_ok=True)
    content = {"cells": cells, "unavailable": result.unavailable}
    write_atomically(result.folder / "cells.json", json.dumps(content, indent=2, sort_keys=True) + "\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCell:
    """What a written plan says of one task."""

    samples: int
    fallbacks: tuple[str, ...]
    unsupported: str | None
    data_digest: str


def read_cells(folder: Path) -> tuple[dict[str, StoredCell], list[dict[str, Json]]]:
    """Return the cells of a written plan and what is unavailable.

    Raises:
        SpecError: The plan is not whole.
    """
    path = folder / "cells.json"
    if not path.exists():
        raise SpecError(f"{folder.parent}: has no complete plan; run `harness run` on it first")
    content = json.loads(path.read_text(encoding="utf-8"))
    cells = {
        name: StoredCell(**{**cell, "fallbacks": tuple(cell["fallbacks"])}) for name, cell in content["cells"].items()
    }
    return cells, content["unavailable"]

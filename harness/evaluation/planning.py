"""From what was asked for to a plan on disk: tasks, prepared data, support of each pair, requests and their keys."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.data.manifest import Prepared, read_manifest
from harness.data.releases.reader import ReleaseAbsentError
from harness.data.roots import DataRoots
from harness.data.train_prior import TrainPrior
from harness.errors import DataError
from harness.records import Capabilities, Json, Prior, Sample, VisualPrompt
from harness.records.codec import canonical, to_json
from harness.requests.build import build_request
from harness.requests.key import request_key
from harness.requests.support import support
from harness.requests.visual_prompts import visual_prompts
from harness.runs import plan_file
from harness.runs.cells import Cell, Plan, write_cells
from harness.tasks.prepare import Notice, prepare_task
from harness.tasks.spec import GroupSpec, TaskSpec


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
        if rows.missing:
            reason, count = rows.missing.most_common(1)[0]
            cell.unsupported = f"{reason} ({count} of {cell.samples} samples)"
            path.unlink()
        cell.fallbacks = tuple(sorted(rows.fallbacks))
    write_cells(result)


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
    missing: Counter[str] = field(default_factory=Counter)
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
            self.missing[found.missing] += 1
        if self.missing:
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

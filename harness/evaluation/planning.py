"""From tasks and a model to a plan on disk: prepared data, the model's support, requests and their keys."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harness.data.manifest import Prepared, read_manifest, read_manifest_lines
from harness.data.releases.reader import ReleaseAbsentError
from harness.data.roots import DataRoots
from harness.data.train_prior import TrainPrior
from harness.errors import DataError
from harness.records import Capabilities, Json, Sample, VisualPrompt
from harness.records.codec import canonical, to_json
from harness.requests.build import build_request
from harness.requests.key import RequestKeys
from harness.requests.support import Support, support
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

    Args:
        tasks: Tasks of the run.
        groups: Groups of the run.
        named: Names that the user gave, of tasks and groups.
        roots: The data roots.
        cache: Folder of manifests and derived files.
        notice: Called with news, one line each.
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
            reason = str(error)
            # Results hold no path of a machine. The longest path first, because one root may be inside another.
            paths = {str(path) for root in roots.roots for path in (root, root.resolve())}
            for path in sorted(paths, key=len, reverse=True):
                reason = reason.replace(path, "DATA")
            reason = reason.rstrip(".")
            unavailable.append({"task": task.task, "metric": None, "reason": reason, "remedy": remedy})
    return cells, unavailable


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
    """Write `plan/` for every cell, and decide which cells the model supports."""
    result.capabilities = capabilities
    for cell in result.cells:
        cell.samples, kept = _choose(cell.prepared, limit, seed)
        prior = None
        if "prior" in capabilities.takes:
            try:
                train = prepare_task(cell.task, roots, cache, notice, split="train")
            except ReleaseAbsentError:
                cell.unsupported = "the model answers from the train split, and the release has none"
                continue
            prior = TrainPrior.of(read_manifest(train.manifest))
        rows = _Rows(cell, cell.task.asked_of(roots.kind), capabilities, identity, seed, kept, prior)
        path = result.file(cell.task.task)
        plan_file.write(path, rows)
        if rows.missing:
            reason, count = rows.missing.most_common(1)[0]
            cell.unsupported = f"{reason} ({count} of {cell.samples} samples)"
            path.unlink()  # it holds the rows before the first sample that cannot be asked
        cell.fallbacks = tuple(sorted(rows.fallbacks))
    write_cells(result)  # last: its presence says that the plan is whole


def _choose(prepared: Prepared, limit: int | None, seed: int) -> tuple[int, frozenset[str] | None]:
    """Return the number of samples that take part and, under a limit, their ids; None for all."""
    if limit is None:
        return prepared.samples, None

    # By digest, not at random: a smaller limit picks a subset of a larger one, so a longer run keeps its answers.
    def rank(sample_id: str) -> bytes:
        return hashlib.sha256(canonical([seed, sample_id]).encode()).digest()

    kept = frozenset(heapq.nsmallest(limit, (sample.id for sample in read_manifest(prepared.manifest)), key=rank))
    return len(kept), kept


@dataclass(slots=True)
class _Rows:
    """The rows of one cell's plan; the iteration also collects what the model lacks and which fallbacks it needs.

    Attributes:
        cell: The task with its data.
        task: The task in the wording for these data.
        capabilities, identity: The model.
        seed: Seed of the run.
        kept: Ids of the samples that take part; None for all.
        prior: Answers of the train split, for a model that takes them; else None.
        missing: Number of samples that the model cannot be asked, by reason.
        fallbacks: Fallbacks that were needed, as `name: value`.
    """

    cell: Cell
    task: TaskSpec
    capabilities: Capabilities
    identity: Mapping[str, Json]
    seed: int
    kept: frozenset[str] | None
    prior: TrainPrior | None
    missing: Counter[str] = field(default_factory=Counter)
    fallbacks: set[str] = field(default_factory=set)
    _of_images: dict[int, Support] = field(default_factory=dict)

    def _support(self, sample: Sample, prompts: Sequence[VisualPrompt]) -> Support:
        """Return whether the model can be asked the sample; without prompts and volumes its images alone decide."""
        if prompts or any(media.kind != "image" for media in sample.media):
            return support(self.task, prompts, sample, self.capabilities)
        images = len(sample.media)
        if images not in self._of_images:
            self._of_images[images] = support(self.task, prompts, sample, self.capabilities)
        return self._of_images[images]

    def __iter__(self) -> Iterator[plan_file.PlannedRequest]:
        """Yield the rows in the order of the manifest, none after the first sample that the model cannot be asked."""
        task, keys = self.task, RequestKeys(self.identity)
        for sample, text in read_manifest_lines(self.cell.prepared.manifest):
            if self.kept is not None and sample.id not in self.kept:
                continue
            prompts: Sequence[VisualPrompt] = ()
            defect = sample.defect
            if defect is None:
                try:
                    prompts = visual_prompts(task, sample)
                except DataError as error:
                    defect = str(error)
            found = self._support(sample, prompts)
            if found.missing is not None:
                self.missing[found.missing] += 1
            # One sample too many makes the cell unsupported: the rest is only counted, for the message.
            if self.missing:
                continue
            self.fallbacks.update(found.fallbacks)
            prior = self.prior.for_sample(sample) if self.prior is not None else None
            for repeat in range(task.repeats):
                if defect is not None:
                    yield plan_file.PlannedRequest(sample=sample, repeat=repeat, defect=defect, sample_json=text)
                    continue
                request = build_request(
                    task, sample, prompts, self.capabilities, seed=self.seed, repeat=repeat, prior=prior
                )
                content = to_json(request)
                key = keys.of(content)
                yield plan_file.PlannedRequest(
                    sample=sample,
                    repeat=repeat,
                    key=key,
                    size_class=plan_file.size_class(sample),
                    media=plan_file.media_digest(request),
                    request=canonical({**content, "key": key}),
                    sample_json=text,
                )

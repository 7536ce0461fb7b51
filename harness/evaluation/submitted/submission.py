"""Check that submitted predictions belong to the tasks of an evaluation and to its run directory."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data.manifest import read_manifest
from harness.errors import DataError, HarnessError, SpecError, listed
from harness.evaluation.setup import PreparedRun
from harness.models.resolve import build, find_factory
from harness.models.submitted.foreign_logs.matching import LogReport
from harness.models.submitted.prediction_lines import printable
from harness.models.submitted.predictions_file import Predictions, Problem, Slot
from harness.models.submitted.predictions_folder import FolderReport
from harness.records import Json
from harness.runs import plan_file
from harness.runs.cells import Plan
from harness.runs.directory import RunDirectory
from harness.runs.store import RunStore

# Problems that are named when no line of a file can be read, and tasks and beginnings of ids that a message names.
MOST_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """The adapter of submitted predictions.

    Attributes:
        adapter: It has `submission_problems`.
        tasks: Names of the run's tasks.
        names_files: Whether a predictions file names files with masks.
        folder: What became of the files of a folder, or of the rows of a log; None for a predictions file.
    """

    adapter: Any
    tasks: tuple[str, ...]
    names_files: bool
    folder: FolderReport | LogReport | None = None

    def problems(self, planned: Plan, store: RunStore) -> tuple[list[Problem], list[str]]:
        """Return the problems of the submitted lines, and a remark if ids do not belong or samples have no answer."""
        if self.folder is not None:
            note = self.folder.note
            return self.folder.problems, [] if note is None else [f"{self.adapter.display_name}: {note}"]
        by_task = {
            path.stem: {(sample_id, repeat) for sample_id, repeat, _ in plan_file.read_keys(path)}
            for path in planned.files
        }
        slots = set[Slot]().union(*by_task.values())
        problems: list[Problem] = self.adapter.submission_problems(slots)
        if not isinstance(self.adapter, Predictions):
            return problems, []
        lines = self.adapter.submitted().lines
        if self.names_files:
            problems = sorted([*problems, *self._remarks(planned, store)], key=lambda problem: problem.line)
        asked = {sample_id for sample_id, _ in slots}
        ids = {sample_id for sample_id, _ in lines}
        missing = len(slots - lines.keys())
        strangers = len(ids - asked)
        if not missing and not strangers:
            return problems, []
        samples = "samples" if len(asked) == len(slots) else "samples and repetitions"
        words = [f"{len(ids) - strangers:,} of {len(ids):,} ids belong to {listed(self.tasks, MOST_NAMED, 'tasks')}"]
        unanswered = [task for task, own in by_task.items() if not own & lines.keys()]
        words += [f"none to {listed(unanswered, MOST_NAMED, 'tasks')}"] if unanswered else []
        words += [f"{strangers:,} ignored"] if strangers else []
        words += [f"{missing:,} of {len(slots):,} {samples} have no answer"] if missing else []
        return problems, [f"{self.adapter.path.name}: {'; '.join(words)}"]

    def _remarks(self, planned: Plan, store: RunStore) -> Iterator[Problem]:
        """Yield the changes made in reading the mask files of each line."""
        lines = self.adapter.submitted().lines
        for path in planned.files:
            for sample_id, repeat, key in plan_file.read_keys(path):
                prediction = store.prediction(key) if key else None
                number, _ = lines.get((sample_id, repeat), (0, 0))
                for remark in () if prediction is None else prediction.remarks:
                    yield Problem(line=number, sample_id=printable(sample_id), message=remark)


def find_submission(session: PreparedRun) -> Submission | None:
    """Return the submitted predictions that a run evaluates; None if its model reads none.

    Raises:
        DataError: No id of the predictions file belongs to a task of the run.
    """
    # The class is asked before an adapter is built: to build another model's adapter a second time may be expensive.
    if not hasattr(find_factory(session.reference), "submission_problems"):
        return None
    adapter: Any = build(session.reference)
    found = Submission(
        adapter=adapter,
        tasks=tuple(cell.task.task for cell in session.cells),
        # The version of this adapter has the digest of the files behind it.
        names_files="+" in str(session.identity["version"]),
        folder=session.folder,
    )
    if isinstance(adapter, Predictions) and session.folder is None:
        _check_belongs(adapter, session, found.tasks)
    return found


def _check_belongs(adapter: Predictions, session: PreparedRun, tasks: Sequence[str]) -> None:
    submitted = adapter.submitted()
    name = f"--predictions {adapter.given}"
    ids = {sample_id for sample_id, _ in submitted.lines}
    if not ids:
        first = [str(problem) for problem in submitted.problems[:MOST_NAMED]]
        more = len(submitted.problems) - len(first)
        first += [f"and {more:,} more"] if more else []
        raise DataError("\n  ".join([f"{name}: no line can be read as a prediction; nothing is scored", *first]))
    own: list[str] = []
    for cell in session.cells:
        for sample in read_manifest(cell.prepared.manifest):
            if sample.id in ids:
                return
            own.append(sample.id)
    if not own:  # every task is unavailable, which the results say
        return
    depth = next((depth for depth in (1, 2, 3) if not _begin(ids, depth) & _begin(own, depth)), 0)
    theirs, ours = (_beginnings(some, depth) for some in (sorted(ids), own))
    raise DataError(
        f"{name}: 0 of {len(ids):,} ids belong to {listed(tasks, MOST_NAMED, 'tasks')}; they begin with {theirs}, "
        f"those of the run with {ours}, such as {printable(own[0])}. Nothing is scored; the ids of a task are in its "
        "manifest, see docs/hand-in-predictions.md"
    )


def _begin(ids: Iterable[str], depth: int) -> set[str]:
    return {_beginning(sample_id, depth) for sample_id in ids}


def _beginning(sample_id: str, depth: int) -> str:
    """Return the first parts of an id, with a slash behind them if others follow; the whole id at depth 0."""
    parts = sample_id.split("/")
    return sample_id if not depth or len(parts) <= depth else "/".join(parts[:depth]) + "/"


def _beginnings(ids: Collection[str], depth: int) -> str:
    found = Counter(_beginning(sample_id, depth) for sample_id in ids).most_common()
    return listed([printable(beginning, 80) for beginning, _ in found], MOST_NAMED)


def stored_model(out: Path) -> Mapping[str, Json]:
    """Return the `model` block of the `run.json` in a run directory; empty if there is none that can be read."""
    with suppress(HarnessError, OSError):
        if RunDirectory(out).run_path.is_file():
            model = RunDirectory(out).read_run().get("model")
            return model if isinstance(model, dict) else {}
    return {}


def check_unchanged(out: Path, model: Mapping[str, Json]) -> None:
    """Raise if a run directory holds predictions of a file that has been changed since.

    Args:
        out: The run directory.
        model: The `model` block of the run that is to be made there.
    Raises:
        SpecError: The file, or a mask file that it names, has changed.
    """
    stored = stored_model(out)
    if not stored or any(block.get("id") != "predictions" for block in (stored, model)):
        return
    remedy = "name another --out, or repeat the command with the file as it was"
    before, now = (str((block.get("weights") or [""])[0])[:12] for block in (stored, model))
    if before != now:
        raise SpecError(
            f"--out {out}: holds the run of another predictions file, or of this one before it changed (sha256 "
            f"{before} stored, {now} now); {remedy}"
        )
    if stored.get("version") != model.get("version"):
        raise SpecError(
            f"--out {out}: the predictions file is the same, but the mask files that it names changed since that run; "
            f"{remedy}"
        )

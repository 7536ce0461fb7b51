"""Predictions as mask files with a `predictions.jsonl` beside them, which `harness score --predictions` reads.

The lines carry sample ids, statuses, words, boxes and scores; the masks are in files of their own. Names of files are
made of ids, but no reader has to take them apart.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from harness.exports.finished_run import ExportedSample, FinishedRun, finished_run
from harness.exports.out_folder import file_stem, stems, write_lines, write_tasks
from harness.models.submitted.prediction_lines import MOST_MESSAGE, printable
from harness.models.submitted.predictions_format import LINES
from harness.records import Json, Mask
from harness.tasks.spec import TaskSpec

FOLDER = "masks"


class MaskFormat(Protocol):
    """A form of mask files.

    Attributes:
        name: Name of the format, as in the command.
    """

    name: str

    def begin(self, run: FinishedRun) -> None:
        """Note what the files say of the model; called before the first sample."""
        ...

    def refusal(self, item: ExportedSample) -> str | None:
        """Return why a sample's masks cannot be held, and what to do; None if they can."""
        ...

    def write(self, folder: Path, stem: str, item: ExportedSample, masks: Sequence[Mask]) -> list[dict[str, Json]]:
        """Write a sample's masks; return for each the entry of a predictions line, its path relative to `folder`."""
        ...


def write_predictions(
    run_folder: Path, out: Path, form: MaskFormat, *, task: str | None = None, task_paths: Sequence[Path] = ()
) -> tuple[list[Path], list[str]]:
    """Write the predictions of a run as mask files.

    Args:
        run_folder: The run directory.
        out: New or empty folder. With several tasks each gets a folder in it, since tasks may share sample ids.
        form: The form of the masks.
        task: Only this task; None: every task of the run with masks that the format holds.
        task_paths: Folders with further task files.
    Returns:
        The folders to give to `harness score --predictions`, and notes on what is left out.
    Raises:
        SpecError: The run is not finished, has no such task, or no task that the format holds; or `out` holds files.
        DataError: A stored prediction is damaged.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:
        form.begin(run)

        def write(name: str, folder: Path) -> Path:
            (folder / FOLDER).mkdir()
            write_lines(folder / LINES, _lines(run, name, folder, form))
            return folder

        return write_tasks(run, out, form.name, write, refusal=lambda name: _refusal(run, name, form), apart=True)


def _refusal(run: FinishedRun, name: str, form: MaskFormat) -> str | None:
    spec = run.tasks[name]
    if not gives_masks(spec):
        return f"{name}: expected a task that gives masks, found one that gives {spec.gives}"
    refusals = (form.refusal(item) for item in run.samples(name))
    return next((reason for reason in refusals if reason is not None), None)


def gives_masks(spec: TaskSpec) -> bool:
    """Say whether the answers of a task hold masks."""
    return spec.gives in ("masks", "grounded_text")


def _lines(run: FinishedRun, name: str, folder: Path, form: MaskFormat) -> Iterator[Json]:
    numbers = stems()
    for item in run.samples(name):
        if (line := line_of(run, item)) is not None:
            if item.prediction is not None and item.prediction.masks:
                stem = file_stem(next(numbers), item.sample.id)
                line["masks"] = form.write(folder, stem, item, item.prediction.masks)
            yield line


def line_of(run: FinishedRun, item: ExportedSample) -> dict[str, Json] | None:
    """Return the line of a predictions file for an answer, without its masks; None if the sample was not asked.

    What a line cannot hold is noted as a loss of the run's export.
    """
    found = item.prediction
    if found is None:
        run.lose("samples that were not asked, which have no line", item.status == "not_run")
        return None
    if found.status == "data_error":
        run.lose("that files of the release could not be read, for which a line has no status")
        return None
    run.lose("probabilities (soft masks) beside the masks", bool(found.soft_masks))
    run.lose("points", bool(found.points))
    run.lose("how a dialect has read the boxes in words that hold none", found.read_as is not None and not found.boxes)
    run.lose("places of names in the words", any(entity.span is not None for entity in found.entities))
    line: dict[str, Json] = {"sample_id": item.sample.id, "repeat": item.repeat}
    if found.status in ("model_error", "timeout"):
        return {**line, "status": found.status, "error": printable(item.error or "", MOST_MESSAGE)}
    line |= {"status": found.status} if found.status in ("truncated", "refused") else {}
    content: dict[str, Json] = {
        "text": found.text,
        "choice": found.choice,
        "mask_scores": list(found.mask_scores),
        "entities": [{"name": entity.name, "mask": entity.mask} for entity in found.entities],
        "boxes": [list(box.corners) for box in found.boxes],
        "nll": list(found.nll),
        "nll_tokens": list(found.nll_tokens),
        "embedding": [list(vector) for vector in found.embedding],
    }
    kept = {key: value for key, value in content.items() if value not in (None, [])}
    # Without any content a line says so; words without the mask that was asked for are `empty` by themselves.
    empty = not kept and not found.masks and found.status not in ("truncated", "refused")
    return {**line, **kept, **({"status": "empty"} if empty else {})}

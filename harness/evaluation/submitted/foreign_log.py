"""Another harness's log becomes a predictions file, which is evaluated like any other."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from harness.data.manifest import read_manifest
from harness.errors import DataError, SpecError
from harness.models.resolve import ModelReference
from harness.models.submitted.foreign_logs import inspect_ai, lm_eval, vlmevalkit
from harness.models.submitted.foreign_logs.logged_answer import LoggedAnswer, Row
from harness.models.submitted.foreign_logs.matching import Asked, LogReport, match
from harness.models.submitted.predictions_file import Predictions
from harness.records import Json, Sample, Target
from harness.records.codec import canonical, sha256_text
from harness.requests.template import fill, names
from harness.runs.cells import Cell

READERS: Mapping[str, Callable[[Path], Iterable[Row]]] = {
    "lm-eval": lm_eval.rows,
    "lmms-eval": lm_eval.rows,
    "inspect": inspect_ai.rows,
    "vlmevalkit": vlmevalkit.rows,
}
# Rows that are named where nothing of a log can be scored.
MOST_NAMED = 3


def as_predictions_file(
    adapter: Predictions, reference: ModelReference, cells: Sequence[Cell], cache: Path, data: str
) -> tuple[ModelReference, LogReport]:
    """Write the predictions file that a log stands for below the cache; return the reference to it.

    Args:
        adapter: Of the log.
        reference: The model reference that names the log.
        cells: The prepared tasks.
        cache: The cache folder.
        data: Kind of the data roots, on which the wording of a task depends.
    Raises:
        DataError: The log cannot be read, or none of its rows belongs to a task.
    """
    report = LogReport()
    asked = _asked(cells, data)
    option = f"--from-{adapter.log} {adapter.given}"
    try:
        answers = match(READERS[str(adapter.log)](adapter.path), asked, report)
    except OSError as error:
        raise DataError(f"{option}: cannot be read: {error.strerror or error}") from error
    except DataError as error:
        raise DataError(f"{option}: {error}; see docs/other-harnesses.md") from error
    except SpecError as error:
        raise SpecError(f"{option}: {error}") from error
    if cells and not answers:
        first = [str(problem) for problem in report.problems[:MOST_NAMED]]
        more = len(report.problems) - len(first)
        first += [f"and {more:,} more"] if more else []
        tasks = ", ".join(cell.task.task for cell in cells[:MOST_NAMED])
        tasks += f" and {len(cells) - MOST_NAMED} more tasks" if len(cells) > MOST_NAMED else ""
        raise DataError(
            "\n  ".join([f"{option}: 0 of {report.rows:,} rows belong to {tasks}; nothing is scored", *first])
        )
    text = "".join(f"{canonical(_line(sample_id, row))}\n" for sample_id, row in answers)
    # The file's name is the model's name where no other is given.
    path = cache / "predictions" / sha256_text(text)[:16] / f"{adapter.path.stem}.jsonl"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path.parent}: cannot be written: {error.strerror}; MEDGROUND_CACHE names another folder"
        ) from error
    arguments = {name: value for name, value in reference.arguments.items() if name not in ("file", "log")}
    return replace(reference, argument=str(path), arguments=arguments), report


def _asked(cells: Sequence[Cell], data: str) -> list[Asked]:
    """Return every sample of the tasks once, with all wordings in which they ask it."""
    found: dict[str, Asked] = {}
    for cell in cells:
        task = cell.task.asked_of(data)
        for sample in read_manifest(cell.prepared.manifest):
            wordings = [sample.question]
            template = task.open_prompt if task.open_prompt and not sample.choices else task.prompt
            with suppress(DataError):  # a sample without a value that the prompt names cannot be asked
                wordings.append(fill(template, names(sample), where=sample.id))
            before = found.get(sample.id)
            texts = (*(() if before is None else before.wordings), *wordings)
            found[sample.id] = Asked(
                sample=_without_target(sample),
                wordings=tuple(dict.fromkeys(text for text in texts if text.strip())),
                repeats=max(task.repeats, 1 if before is None else before.repeats),
            )
    return list(found.values())


def _without_target(sample: Sample) -> Sample:
    """Return the sample without its target, since the masks of a whole release would fill the memory."""
    return replace(sample, target=Target())


def _line(sample_id: str, row: LoggedAnswer) -> dict[str, Json]:
    line: dict[str, Json] = {"sample_id": sample_id, "text": row.text, "status": row.status}
    line |= {"error": row.error} if row.error is not None else {}
    line |= {"repeat": row.repeat} if row.repeat else {}
    return {name: value for name, value in line.items() if value is not None and (name, value) != ("status", "ok")}

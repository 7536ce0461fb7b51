"""Convert a folder of submitted masks or COCO results to a predictions file, which is evaluated like any other."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.manifest import read_manifest
from harness.errors import DataError
from harness.models.resolve import ModelReference
from harness.models.submitted.coco_results import lines_of_coco, sample_ids
from harness.models.submitted.predictions_file import Predictions
from harness.models.submitted.predictions_folder import Asked, FolderReport, lines_of_folder
from harness.models.submitted.predictions_format import INSTANCES, is_coco
from harness.records import Entity, Sample, Target
from harness.runs.cells import Cell
from harness.tasks.prepare import request_of


def as_predictions_file(
    adapter: Predictions, reference: ModelReference, cells: Sequence[Cell], cache: Path
) -> tuple[ModelReference, FolderReport]:
    """Write the predictions file that a folder stands for below the cache; return the reference to it.

    Args:
        adapter: Of the folder.
        reference: The model reference that names the folder.
        cells: The prepared tasks.
        cache: The cache folder.
    Raises:
        DataError: No task asks for masks, no file of the folder is named after a sample, names are ambiguous, or COCO
            results cannot be read or belong to no task.
    """
    report = FolderReport()
    if is_coco(adapter.path):
        lines = lines_of_coco(adapter.path, adapter.given, report)
        _check_ids(adapter, cells)
    else:
        lines = lines_of_folder(adapter.path, adapter.given, _asked(adapter, cells), report)
    content = hashlib.sha256()
    place = cache / "predictions"
    try:
        place.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=place, suffix=".tmp")
    except OSError as error:
        raise DataError(
            f"{place}: cannot be written: {error.strerror}; MEDGROUND_CACHE names another folder"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            for line in lines:
                data = line.encode()
                content.update(data)
                file.write(data)
        # The file's name is the model's name where no other is given.
        path = place / content.hexdigest()[:16] / f"{adapter.path.name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    arguments = {name: value for name, value in reference.arguments.items() if name != "file"}
    return replace(reference, argument=str(path), arguments=arguments), report


def _asked(adapter: Predictions, cells: Sequence[Cell]) -> list[Asked]:
    """Return the samples that a folder of masks may answer.

    Raises:
        DataError: No task asks for masks.
    """
    asked: dict[str, Asked] = {}
    for cell in cells:
        if cell.task.gives != "masks":
            continue
        found = cell.prepared
        request = request_of(cell.task.release, dataset=cell.task.dataset)
        labels = None if found.reader.labels is None else found.reader.labels(request, found.root)
        for sample in read_manifest(found.manifest):
            if sample.media:
                asked.setdefault(sample.id, Asked(sample=_without_masks(sample), labels=labels))
    if cells and not asked:
        names = ", ".join(cell.task.task for cell in cells)
        raise DataError(
            f"--predictions {adapter.given}: a folder of masks answers tasks that ask for masks, and {names} does not; "
            "expected JSON lines"
        )
    return list(asked.values())


def _check_ids(adapter: Predictions, cells: Sequence[Cell]) -> None:
    """Check that images of COCO results belong to a task.

    Raises:
        DataError: None does.
    """
    theirs = sample_ids(adapter.path, adapter.given)
    own = {sample.id for cell in cells for sample in read_manifest(cell.prepared.manifest)}
    if own and not own & theirs:
        names = ", ".join(cell.task.task for cell in cells)
        raise DataError(
            f"--predictions {adapter.given}: {INSTANCES}: 0 of {len(theirs):,} images belong to samples of {names}; "
            "`harness export coco` writes it for the tasks of a run"
        )


def _without_masks(sample: Sample) -> Sample:
    """Return the sample with the names of its target only: masks of a whole release would fill the memory."""
    entities = tuple(Entity(name=entity.name) for entity in sample.target.entities)
    return replace(sample, target=Target(entities=entities))

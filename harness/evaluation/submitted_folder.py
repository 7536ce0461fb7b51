"""Convert a folder of submitted masks to a predictions file, which is evaluated like any other."""

import hashlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from harness.data.manifest import read_manifest
from harness.errors import DataError
from harness.models.resolve import ModelReference
from harness.models.submitted.predictions_file import Predictions
from harness.models.submitted.predictions_folder import Asked, FolderReport, lines_of_folder
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
        DataError: No task asks for masks, no file of the folder is named after a sample, or names are ambiguous.
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
    report = FolderReport()
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
            for line in lines_of_folder(adapter.path, adapter.given, list(asked.values()), report):
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


def _without_masks(sample: Sample) -> Sample:
    """Return the sample with the names of its target only: masks of a whole release would fill the memory."""
    entities = tuple(Entity(name=entity.name) for entity in sample.target.entities)
    return replace(sample, target=Target(entities=entities))

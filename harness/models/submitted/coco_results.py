"""COCO results as submitted predictions, with the images that `harness export coco` wrote.

A folder holds `instances.json`, whose images name their samples, and `results.json`. Where `answers.jsonl` is beside
them, it has the status and the words of each answer; else an image without results is an answer with nothing in it.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from harness.errors import DataError
from harness.models.submitted.foreign_logs.logged_answer import MOST_WHOLE_BYTES, json_of
from harness.models.submitted.prediction_lines import printable
from harness.models.submitted.predictions_file import Problem, Slot
from harness.models.submitted.predictions_folder import FolderReport
from harness.models.submitted.predictions_format import ANSWERS, INSTANCES, RESULTS
from harness.records import Json
from harness.records.codec import canonical


def lines_of_coco(folder: Path, given: str, report: FolderReport) -> Iterator[str]:
    """Yield the lines of the predictions file that COCO results stand for, one for each image.

    Args:
        folder: The folder, for which `predictions_format.is_coco` is true.
        given: The path as the user wrote it, for messages.
        report: Filled while the lines are read.
    Raises:
        DataError: A file is no such JSON or too large, or an image names no sample.
    """
    slots = _slots(_read(folder / INSTANCES, given), f"--predictions {given}: {INSTANCES}")
    results = _read(folder / RESULTS, given)
    if not isinstance(results, list):
        raise DataError(f"--predictions {given}: {RESULTS}: expected a list of results, found {type(results).__name__}")
    found: dict[Slot, list[dict[str, Json]]] = {slot: [] for slot in slots.values()}
    report.files = report.used = 1
    for place, result in enumerate(results):
        image = result.get("image_id") if isinstance(result, dict) else None
        if not isinstance(image, int | str) or image not in slots:
            message = f"{RESULTS}[{place}]: expected the image_id of an image in {INSTANCES}, found {image!r:.60}"
            report.problems.append(Problem(line=0, sample_id=None, message=printable(f"{message}; it is ignored")))
            continue
        found[slots[image]].append(result)
    own = _answers(folder / ANSWERS, given)
    for (sample_id, repeat), results_of_one in found.items():
        report.samples += 1
        report.answered += 1
        line = own.get((sample_id, repeat), {"sample_id": sample_id, "repeat": repeat})
        if results_of_one:
            line = {key: value for key, value in line.items() if key != "status" or value != "empty"}
            line |= _parts(results_of_one)
        elif len(line) == 2:
            line["status"] = "empty"
        yield canonical(line) + "\n"


def sample_ids(folder: Path, given: str) -> set[str]:
    """Return the ids of the samples whose images a folder of COCO results holds.

    Raises:
        DataError: As `lines_of_coco`.
    """
    slots = _slots(_read(folder / INSTANCES, given), f"--predictions {given}: {INSTANCES}")
    return {sample_id for sample_id, _ in slots.values()}


def _parts(results: list[dict[str, Json]]) -> dict[str, Json]:
    """Return the fields of a predictions line: masks with their scores, or boxes where there are no masks."""
    if any("segmentation" in result for result in results):
        return {
            "masks": [_mask(result.get("segmentation")) for result in results],
            "mask_scores": [result.get("score", 1.0) for result in results],
        }
    return {"boxes": [_corners(result.get("bbox")) for result in results]}


def _mask(segmentation: Json) -> Json:
    # Run lengths only: a polygon would be read as rows of 0 and 1, and no other field of a mask belongs here.
    if isinstance(segmentation, dict):
        return {name: segmentation[name] for name in ("size", "counts") if name in segmentation}
    return {"polygons" if isinstance(segmentation, list) else "segmentation": None}


def _corners(bbox: Json) -> Json:
    numbers = isinstance(bbox, list) and len(bbox) == 4 and all(type(one) in (int, float) for one in bbox)
    return [bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]] if numbers else [bbox]


def _read(path: Path, given: str) -> Json:
    try:
        if (size := path.stat().st_size) > MOST_WHOLE_BYTES:
            raise DataError(f"has {size:,} bytes; expected at most {MOST_WHOLE_BYTES:,}")
        return json_of(path.read_bytes())
    except OSError as error:
        raise DataError(f"--predictions {given}: {path.name}: cannot be read: {error.strerror}") from error
    except DataError as error:
        raise DataError(f"--predictions {given}: {path.name}: {error}") from None


def _slots(instances: Json, where: str) -> dict[int | str, Slot]:
    images = instances.get("images") if isinstance(instances, dict) else None
    if not isinstance(images, list) or not images:
        raise DataError(f"{where}: expected images, found none; `harness export coco` writes it")
    slots: dict[int | str, Slot] = {}
    for place, image in enumerate(images):
        fields = image if isinstance(image, dict) else {}
        number, sample_id, repeat = (fields.get(name) for name in ("id", "sample_id", "repeat"))
        if not isinstance(number, int | str) or not isinstance(sample_id, str):
            raise DataError(
                f"{where}: images[{place}]: expected id and sample_id, found {', '.join(fields) or 'neither'}; "
                "`harness export coco` writes both"
            )
        slots[number] = (sample_id, repeat if type(repeat) is int else 0)
    return slots


def _answers(path: Path, given: str) -> dict[Slot, dict[str, Json]]:
    if not path.is_file():
        return {}
    found: dict[Slot, dict[str, Json]] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                value = json.loads(line)
                found[value["sample_id"], value.get("repeat", 0)] = value
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise DataError(
                    f"--predictions {given}: {path.name}:{number}: expected a line of `harness export coco`, found "
                    f"none ({type(error).__name__})"
                ) from None
    return found

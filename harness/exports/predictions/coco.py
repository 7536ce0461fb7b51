"""Masks and boxes of images as COCO results, with the targets as the annotations that pycocotools scores them by.

Each sample and repetition is an image of its own, since samples of one image ask for different things; their numbers
rise with the sample ids, in whose order equal scores are ranked. All masks are of one category: so counts `ap`.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from harness.exports.finished_run import ExportedSample, FinishedRun, finished_run
from harness.exports.out_folder import write_json, write_lines, write_tasks
from harness.exports.predictions.folder import line_of
from harness.exports.predictions.masks import axes_of
from harness.imaging import masks
from harness.metrics.instances.matching import target_masks
from harness.metrics.masks.mask_pairs import without_ignored
from harness.models.submitted.predictions_format import ANSWERS, INSTANCES, RESULTS
from harness.records import FAILED, Box, Json, Mask
from harness.runs import plan_file

CATEGORY = {"id": 1, "name": "object"}


def write_coco(
    run_folder: Path, out: Path, *, task: str | None = None, task_paths: Sequence[Path] = ()
) -> tuple[list[Path], list[str]]:
    """Write the masks or boxes of a run as COCO results, beside the targets and the statuses of the answers.

    Args:
        run_folder: The run directory.
        out: New or empty folder. With several tasks each gets a folder in it.
        task: Only this task; None: every task of the run with masks or boxes of images.
        task_paths: Folders with further task files.
    Returns:
        The folders to give to `harness score --predictions`, and notes on what is left out.
    Raises:
        SpecError: The run is not finished, has no such task, or no task that COCO holds; or `out` holds files.
        DataError: A stored prediction is damaged.
    """
    with finished_run(run_folder, task=task, task_paths=task_paths) as run:

        def write(name: str, folder: Path) -> Path:
            _write_task(run, name, folder)
            return folder

        refusal = partial(_refusal, run)
        folders, notes = write_tasks(run, out, "coco", write, refusal=refusal, apart=True)
        words = f"{INSTANCES} holds targets of a release that its terms forbid to pass on"
        terms = [f"{name}: {words}" for name, spec in run.tasks.items() if not spec.terms.redistribute]
        return folders, [*terms, *notes]


def _refusal(run: FinishedRun, name: str) -> str | None:
    spec = run.tasks[name]
    if spec.gives not in ("masks", "boxes"):
        return f"{name}: expected a task that gives masks or boxes, found one that gives {spec.gives}"
    for item in run.samples(name):
        if not item.sample.media:
            return f"{name}: {item.sample.id}: expected an image (H, W), found a sample without one"
        if axes_of(item) == 3:
            other = "nifti` holds masks of volumes" if spec.gives == "masks" else "csv --long` holds their scores"
            return f"{name}: {item.sample.id}: expected an image (H, W), found a volume; `harness export {other}"
    return None


def _write_task(run: FinishedRun, name: str, folder: Path) -> None:
    keys = sorted((sample_id, repeat) for sample_id, repeat, _ in plan_file.read_keys(run.directory.plan_path(name)))
    number_of = {key: number for number, key in enumerate(keys, start=1)}
    images: list[dict[str, Json]] = []
    annotations: list[dict[str, Json]] = []
    results: list[dict[str, Json]] = []

    def answers() -> Iterator[Json]:
        for item in run.samples(name):
            if (line := line_of(run, item)) is None:  # its targets are out of the mean, too
                continue
            number = number_of[item.sample.id, item.repeat]
            media = item.sample.media[0]
            images.append(
                {
                    "id": number,
                    "file_name": media.path,
                    "height": media.size[0],
                    "width": media.size[1],
                    "sample_id": item.sample.id,
                    "repeat": item.repeat,
                }
            )
            annotations.extend({"image_id": number, **found} for found in _targets(item))
            results.extend({"image_id": number, **found} for found in _found(run, item))
            yield {key: value for key, value in line.items() if key not in ("boxes", "mask_scores")}

    write_lines(folder / ANSWERS, answers())
    for numbered in (images, results):
        numbered.sort(key=lambda one: one["id" if numbered is images else "image_id"])
    annotations.sort(key=lambda one: one["image_id"])
    facts = run.record("coco")
    info = {
        "description": f"{name}, version {run.block(name)['version']}, of MedGround",
        "date_created": run.started,
        **{key: facts[key] for key in ("harness", "run", "model")},
        "data_digest": run.block(name)["data_digest"],
    }
    instances = {
        "info": info,
        "images": images,
        "categories": [CATEGORY],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, start=1)],
    }
    write_json(folder / INSTANCES, instances)
    write_json(folder / RESULTS, results)


def _targets(item: ExportedSample) -> Iterator[dict[str, Json]]:
    if item.task.gives == "boxes":
        for box in item.sample.target.boxes:
            corners = _bbox(box)
            yield {"category_id": 1, "iscrowd": 0, "bbox": corners, "area": corners[2] * corners[3]}
        return
    for mask in target_masks(item.sample):
        yield {
            "category_id": 1,
            "iscrowd": 0,
            "segmentation": _rle(mask),
            "area": masks.area(mask),
            "bbox": _around(mask),
        }


def _found(run: FinishedRun, item: ExportedSample) -> Iterator[dict[str, Json]]:
    prediction = item.prediction
    if prediction is None or prediction.status in FAILED:
        return
    if item.task.gives == "boxes":
        for box in prediction.boxes:
            yield {"category_id": 1, "bbox": _bbox(box), "score": 1.0}
        return
    # As they are scored: unlabelled pixels count on neither side.
    found = without_ignored(item.sample, prediction).masks if item.sample.target.ignore else prediction.masks
    run.lose("that a model gave its masks no scores; each has 1.0", bool(found) and not prediction.mask_scores)
    for mask, score in zip(found, prediction.mask_scores or (1.0,) * len(found), strict=True):
        yield {"category_id": 1, "segmentation": _rle(mask), "score": score}


def _rle(mask: Mask) -> dict[str, Json]:
    return {"size": list(mask.size), "counts": mask.counts}


def _bbox(box: Box) -> list[float]:
    """Return x, y, width, height of a 2-D box."""
    x1, y1, x2, y2 = box.corners
    return [x1, y1, x2 - x1, y2 - y1]


def _around(mask: Mask) -> list[float]:
    from pycocotools import mask as coco_masks

    found: Any = coco_masks.toBbox(_rle(mask))
    return [float(number) for number in found]

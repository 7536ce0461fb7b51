"""The scores of the gaming certificates: every blind answer under every row, on synthetic patients.

    python -m harness.evaluation.certify [NAME ...]

writes harness/metrics/certificates.json, of the named metrics or of all; about a minute.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice

from harness.data.manifest import read_manifest
from harness.data.roots import data_roots
from harness.imaging import masks
from harness.metrics import METRICS, Metric, bind
from harness.metrics.certificates import FILE
from harness.metrics.metric import Pair
from harness.paths import default_cache
from harness.records import Json, Sample
from harness.scoring.blind_answers import BlindAnswer, answered, search
from harness.tasks.catalog import index
from harness.tasks.prepare import prepare_task

DATA = "phantom:0"
MOST = 12  # samples of a task; distances between masks of whole images take long
AROUND = "boxes around the masks of "
TASKS: Mapping[str, str] = {
    "choice": "omnimedvqa_letter",
    "text": "m3d_report_generation",
    "masks": "segmentation",
    "soft_masks": "segmentation",
    "instances": "mimoseg_p1",
    "grounding": "mimoseg_p1",
    "boxes": "m3d_rec",
    "sized_boxes": f"{AROUND}samed2d_seg",  # the rules of other harnesses are for images
    "retrieval": "m3d_image_to_text_retrieval",
}
SHORT = ("vqa_accuracy", "token_prf", "mmmu_open")  # these score answers of a word or two


def task_of(row: Metric) -> str | None:
    """Return the task on whose samples a row is searched, perhaps behind AROUND; None if there is none for its kind."""
    if row.name in SHORT:
        return "vqa_rad"
    return TASKS.get(row.line)


@cache
def samples_of(task: str) -> tuple[Sample, ...]:
    """Return the first samples of a task on synthetic patients."""
    (spec,), _ = index(()).resolve([task.removeprefix(AROUND)])
    prepared = prepare_task(spec, data_roots([DATA], default_cache()), default_cache(), lambda _: None)
    samples = tuple(islice((one for one in read_manifest(prepared.manifest) if one.defect is None), MOST))
    if not task.startswith(AROUND):
        return samples
    boxed = (
        (one, [masks.bounding_box(entity.mask) for entity in one.target.entities if entity.mask]) for one in samples
    )
    return tuple(
        replace(one, target=replace(one.target, boxes=(found[0],), answers=(), entities=()))
        for one, found in boxed
        if len(one.media[0].size) == 2 and found and found[0] is not None
    )


@cache
def answers_to(line: str, task: str) -> list[tuple[BlindAnswer, list[Pair]]]:
    """Return the blind answers to the samples of a task."""
    return answered(line, samples_of(task))


def certify(row: Metric) -> dict[str, Json] | None:
    """Return what the data file holds of a row; None if it cannot be searched here."""
    task = task_of(row)
    # Java scores one corpus at a time and slowly.
    if task is None or (row.resource is not None and row.resource.name == "java"):
        return None
    (spec,), _ = index(()).resolve([task.removeprefix(AROUND)])
    known = {parameter.name for parameter in row.parameters}
    given = [use.parameters for use in spec.metrics if use.metric == row.name and known >= use.parameters.keys()]
    bound = bind(row, max(given, key=len, default={}), task)
    if bound.resource is not None and bound.resource.missing(bound.bound) is not None:
        return None
    samples = samples_of(task)
    plain, other = search(bound, answers_to(row.line, task))
    return {
        "answer": None if other is None else other.answer.words,
        "code": None if other is None else other.answer.name,
        "value": None if other is None else other.value,
        "plain": None if plain is None else plain.answer.words,
        "plain_code": None if plain is None else plain.answer.name,
        "plain_value": None if plain is None else plain.value,
        "data": DATA,
        "task": task,
        "n": len(samples),
    }


def main(names: Sequence[str]) -> None:
    """Search the rows of the named metrics, or of all, and write the data file; rows without a resource keep theirs."""
    stored = json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}
    found = {}
    for row in METRICS:
        key = f"{row.name}/{row.protocol}/v{row.version}"
        entry = certify(row) if not names or row.name in names else None
        print(key, "searched" if entry else "kept" if key in stored else "left out", file=sys.stderr)  # noqa: T201
        if entry is not None or key in stored:
            found[key] = entry or stored[key]
            FILE.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

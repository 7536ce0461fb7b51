"""Runs that exports write out: ids that no file system takes, and every status that an answer can have."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.exports.finished_run import ExportedSample
from harness.imaging import mask_files, masks
from harness.records import Box, Entity, Media, Prediction, Sample, Target
from harness.records.codec import canonical, sample_to_json

# Slashes, spaces, quotes, other scripts, a way out of a folder, markup, and two that differ in case only.
NAMES = ("a b/c", "Case", "case", "größe/脳 é", "../../etc/x", 'q"<b>&', "refused", "empty", "error", "timeout")
STATUSES = {"refused": "refused", "empty": "empty", "error": "model_error", "timeout": "timeout"}
SHAPE_2D, SHAPE_3D = (12, 16), (4, 6, 8)
# Not at the origin, rotated by 90 degrees nowhere, and with three different sides.
AFFINE = np.array([[0.5, 0, 0, -20], [0, 0.7, 0, 11], [0, 0, 2.5, 100], [0, 0, 0, 1]])

READER = """\
import json
from dataclasses import replace

from harness import Reader
from harness.data.releases.volumes import inspect_scan
from harness.records.codec import sample_from_json


def read(files, request, integrity):
    for number, line in enumerate(files.read("exported/samples.jsonl").decode().splitlines()):
        sample = sample_from_json(json.loads(line))
        if sample.cluster.startswith("exported/"):
            image = inspect_scan(files, sample.cluster, window=request.window, integrity=integrity)
            sample = replace(sample, media=(image.media,), defect=image.defect)
        yield str(number), sample


READER = Reader(name="exported", version=1, folders=("exported",), strata=("kind",), read=read)
"""

TASK = """\
task: {task}
title: Exported {task}
version: 3
release: {{reader: "exported.py:READER", split: all}}
gives: {gives}
oracle: "{oracle}"
prompt: "Find it in {{question}}"
metrics: {metrics}
headline: {{metric: {headline}, protocol: {protocol}}}
strata: [kind]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedCase:
    """A run on one task of its own, and how predictions are scored on that task again."""

    task: str
    folder: Path
    run: Path

    @property
    def task_paths(self) -> tuple[Path, ...]:
        """The folder of the task."""
        return (self.folder / "tasks",)

    @property
    def numbers(self) -> Any:
        """The numbers of the run, for comparison with those of another one."""
        return pytest.approx(numbers(self.run), abs=1e-12, rel=0)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the task in `results.json`."""
        found: list[dict[str, Any]] = json.loads((self.run / "results.json").read_text())["tasks"][self.task]["metrics"]
        return found

    def score(self, predictions: Path, out: Path, **arguments: Any) -> Path:
        """Score predictions as `harness score --tasks TASK --predictions ...` does; return the run directory."""
        return evaluate(self.spec(predictions, out, **arguments)).out

    def spec(self, predictions: Path, out: Path, **arguments: Any) -> RunSpec:
        """Return the evaluation of submitted predictions on the task."""
        return RunSpec(
            tasks=(self.task,),
            model=f"predictions:{predictions}",
            model_args=arguments,
            data_roots=(str(self.folder / "data"),),
            task_paths=self.task_paths,
            out=out,
            cache=self.folder / "cache",
            ray="off",
            batch_size="auto",
            max_failures="100%",
        )


def disc(shape: Sequence[int], seed: int) -> NDArray[np.bool_]:
    """Return a blob at a place of its own, in 2-D or 3-D."""
    grid = np.indices(shape)
    centre = np.random.default_rng(seed).uniform(2, 4, len(shape)) * np.array(shape) / 6
    found: NDArray[np.bool_] = sum((axis - at) ** 2 for axis, at in zip(grid, centre, strict=True)) < 5 + seed % 4
    return found


def exported_case(
    folder: Path,
    task: str,
    gives: str,
    headline: str,
    protocol: str,
    metrics: str,
    content: str,
    *,
    clusters: bool = True,
) -> ExportedCase:
    """Make a release and a task of its own, and evaluate predictions of every kind on them.

    Args:
        folder: Where all of it is written.
        task, gives, headline, protocol, metrics: Of the task file.
        content: `masks` or `volumes` for masks, `boxes` or `words`.
        clusters: Whether each sample is a patient; else all are one, and numbers have no intervals, which take long
            for some metrics.
    """
    data, tasks = folder / "data" / "exported", folder / "tasks" / task
    for part in (data, tasks):
        part.mkdir(parents=True)
    one_patient = "defect=image.defect, cluster='one')"
    (tasks / "exported.py").write_text(READER if clusters else READER.replace("defect=image.defect)", one_patient))
    oracle = "{answer}" if gives == "text" else "<SEG>"
    (tasks / f"{task}.yaml").write_text(
        TASK.format(task=task, gives=gives, oracle=oracle, metrics=metrics, headline=headline, protocol=protocol)
    )
    samples, lines = [], []
    for number, name in enumerate(NAMES):
        sample, answer = _sample(data, f"{task}/all/{name}", number, content)
        samples.append(canonical(sample_to_json(sample)))
        status = STATUSES.get(name)
        line: Mapping[str, Any] = answer if status is None else {"status": status}
        lines.append(json.dumps({"sample_id": sample.id, **line}))
    (data / "samples.jsonl").write_text("\n".join(samples) + "\n", encoding="utf-8")
    predictions = folder / "model of ours.jsonl"
    predictions.write_text("\n".join(lines) + "\n", encoding="utf-8")
    case = ExportedCase(task=task, folder=folder, run=folder / "run")
    evaluate(case.spec(predictions, case.run))
    return case


def _sample(data: Path, sample_id: str, number: int, content: str) -> tuple[Sample, dict[str, Any]]:
    """Return a sample, whose `cluster` is the path of its image, and the fields of its answer."""
    kind = ("one", "other")[number % 2]
    sample = Sample(id=sample_id, question=f"image {number}", strata={"kind": kind}, cluster=f"patient {number}")
    if content == "words":
        # Every third reply is right.
        return replace(sample, target=Target(answers=(f"the {kind} lobe",))), {
            "text": ("the one lobe", "?")[number % 3 > 0]
        }
    shape = SHAPE_3D if content == "volumes" else SHAPE_2D
    path = f"exported/{number}.{'nii.gz' if content == 'volumes' else 'png'}"
    if content == "volumes":
        import nibabel

        image = nibabel.Nifti1Image(np.full(shape[::-1], number, dtype=np.int16), AFFINE)
        image.header.set_xyzt_units("mm")
        nibabel.save(image, data.parent / path)
    else:
        Image.fromarray(np.full(shape, 10 * number, dtype=np.uint8)).save(data.parent / path)
    wanted, near, far = (disc(shape, number), disc(shape, number + 4), disc(shape, number + 11))
    if content == "boxes":
        corners = (1.25 + number, 2.0, 7.1 + number / 3, 9.7)
        target = Target(boxes=(Box(corners=(2.0 + number / 2, 2.0, 8.0, 9.0)),))
        return replace(sample, cluster=path, target=target), {"boxes": [corners]}
    target = Target(entities=(Entity(name="organ", mask=masks.encode(wanted)),))
    answers = [mask_files.to_json(masks.encode(mask)) for mask in (near | wanted, far)]
    if number == 0:  # an answer whose mask is empty is an answer
        answers = [mask_files.to_json(masks.encode(np.zeros(shape, dtype=bool)))]
    scores = [0.7, 0.1 + number / 100][: len(answers)]
    return replace(sample, cluster=path, target=target), {"masks": answers, "mask_scores": scores}


def item_of(
    prediction: Prediction | None,
    *,
    affine: Any = None,
    size: tuple[int, ...] | None = (2, 3, 4),
    asked: str = "liver",
    status: str = "ok",
) -> ExportedSample:
    """Return a sample as an export gets it.

    Args:
        prediction: Its answer.
        affine: Float (4, 4) of its volume, or None.
        size: Of its image or volume; None for a sample without one.
        asked: Name of its target.
        status: Of the prediction.
    """
    flat = None if affine is None else tuple(np.asarray(affine, dtype=float).ravel().tolist())
    kind: Any = "volume" if size is not None and len(size) == 3 else "image"
    media = () if size is None else (Media(path="a", sha256="0", kind=kind, size=size, affine=flat),)
    task: Any = SimpleNamespace(task="organs", gives="masks")
    return ExportedSample(
        task=task,
        sample=Sample(id="d/all/1", media=media, target=Target(entities=(Entity(name=asked),))),
        repeat=0,
        status=status,
        prediction=prediction,
        defect=None,
        asked="",
        scores=(),
    )


def numbers(run: Path) -> dict[tuple[Any, ...], Any]:
    """Return every number of a run with one task, with its interval and its counts."""
    (block,) = json.loads((run / "results.json").read_text())["tasks"].values()
    found: dict[tuple[Any, ...], Any] = {("coverage",): block["coverage"]}
    found |= {("count", name): count for name, count in block["counts"].items()}
    for row in block["metrics"]:
        key = (row["metric"], row["protocol"], row["name"], row["mean"], *(row["stratum"] or {}).items())
        for name in ("value", "n", "undefined", "failed", "unparsed"):
            found[*key, name] = row[name] if row[name] is not None else float("-inf")  # so that it can be compared
        for place, end in enumerate(row["ci"] or ()):
            found[*key, "ci", place] = end
    return found

"""Tasks as a folder that `lm_eval --include_path` runs: our prompts and images are asked, and our protocols score.

Each task becomes a folder with `<name>.yaml`, `samples.jsonl`, `export.json` and `scoring.py`, whose functions lm-eval
calls and which are those of `ExportedTask`.
"""

import importlib
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from harness.data.manifest import read_manifest
from harness.data.roots import data_roots
from harness.errors import DataError, SpecError
from harness.imaging.media_store import MediaStore, with_handles
from harness.metrics.metric import Metric, settle
from harness.models.answer_check import to_prediction
from harness.models.lm_eval_model import generation_settings, prompt_of
from harness.records import Answer, Capabilities, Json, Media, MediaPart, Request, Sample
from harness.records.codec import canonical, sample_from_json, sample_to_json
from harness.requests.build import build_request
from harness.requests.support import support
from harness.requests.visual_prompts import visual_prompts
from harness.scoring.availability import usable_metrics
from harness.scoring.results import aggregate_metric
from harness.scoring.score import readable, score
from harness.tasks.catalog import look_up
from harness.tasks.prepare import Notice, prepare_task
from harness.tasks.spec import TaskSpec

# Before our names: lm-eval has tasks of its own that are called like some of ours.
PREFIX = "medground_"
# What lm-eval asks of a model: words in answer to words and images.
ASKED_OF = Capabilities(takes=frozenset({"text", "image", "images"}), gives=frozenset({"text"}), max_images=1000)
SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenTask:
    """A task that was written.

    Attributes:
        name: The task's name in lm-eval.
        samples: Number of its documents.
        left_out: Number of samples that cannot be asked, such as those whose image is missing.
        images: Whether lm-eval shows images with it, which needs a multimodal model class.
    """

    name: str
    samples: int
    left_out: int
    images: bool


def write_tasks(
    names: Sequence[str],
    roots: Sequence[str],
    out: Path,
    cache_folder: Path,
    *,
    task_paths: Sequence[Path] = (),
    text_only: bool = False,
    notice: Notice = lambda _: None,
) -> list[WrittenTask]:
    """Write tasks for lm-eval.

    Args:
        names: Tasks and groups.
        roots: The data roots; images are read there when lm-eval runs, and not copied.
        out: Folder to write; one of an earlier export is replaced.
        cache_folder: Folder of manifests and derived files.
        task_paths: Folders with further task files.
        text_only: Leave the images out.
        notice: Called with news of the preparation of data.
    Raises:
        SpecError: A task is not asked for words, or not once; `out` holds other files or cannot be written.
        DataError: The data are not there.
    """
    catalog, resolved = look_up(names, task_paths)
    tasks, _ = catalog.resolve(resolved)
    for task in tasks:
        if task.gives not in ("text", "choice") or task.asks != "generate":
            found = f"gives {task.gives}" if task.asks == "generate" else f"asks for {task.asks}"
            raise SpecError(f"{task.task}: {found}; lm-eval runs tasks that ask for words (gives: text or choice)")
        if task.repeats != 1:
            raise SpecError(f"{task.task}: is asked {task.repeats} times; lm-eval runs tasks that are asked once")
    found_roots = data_roots(roots, cache_folder)
    written = []
    for task in tasks:
        prepared = prepare_task(task, found_roots, cache_folder, notice)
        folder = out / re.sub(r"\W", "_", task.task)
        if folder.is_dir() and any(folder.iterdir()) and not (folder / "export.json").is_file():
            raise SpecError(f"--out {out}: {folder} holds files that are not of an export; name another folder")
        record: dict[str, Json] = {
            "schema": SCHEMA,
            "task": task.task,
            "digest": task.digest,
            "task_paths": [str(path.resolve()) for path in task_paths],
            "task_file": str(task.file.resolve()),
            "data": found_roots.kind,
            "data_digest": prepared.digest,
            "media": [str(path.resolve()) for path in (prepared.root, prepared.derived)],
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "export.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            written.append(_write(task, folder, read_manifest(prepared.manifest), found_roots.kind, text_only))
        except OSError as error:
            raise SpecError(f"--out {out}: cannot be written: {error.strerror}; name another folder") from error
    return written


def _write(task: TaskSpec, folder: Path, samples: Iterator[Sample], data: str, text_only: bool) -> WrittenTask:
    count = left_out = 0
    shown = False
    with (folder / "samples.jsonl").open("w", encoding="utf-8") as file:
        for sample in samples:
            try:
                if sample.defect is not None:
                    raise DataError(sample.defect)
                request = request_of(task.asked_of(data), sample)
            except DataError:
                left_out += 1
                continue
            count += 1
            shown = shown or bool(request.media)
            parts = [part for turn in request.messages for part in turn.parts]
            if text_only:
                parts = [part for part in parts if not isinstance(part, MediaPart)]
            document = {
                "sample_id": sample.id,
                "prompt": prompt_of(parts),
                "target": (*sample.target.answers, sample.target.choice or "")[0],
                "sample": canonical(sample_to_json(sample)),
            }
            file.write(canonical(document) + "\n")
    if not count:
        raise DataError(f"{task.task}: none of its {left_out:,} samples can be asked; see its integrity report")
    name = PREFIX + folder.name
    with_images = shown and not text_only
    metrics = [(metric, f"{metric.name}.{metric.protocol}") for metric in usable_metrics(task).metrics]
    functions = {label: re.sub(r"\W", "_", label) for _, label in metrics}
    lines = [
        f"# {task.title}; written by `harness export lm-eval-tasks`",
        f"task: {json.dumps(name)}",
        "custom_dataset: !function scoring.documents",
        "test_split: test",
        "output_type: generate_until",
        "doc_to_text: prompt",
        "doc_to_target: target",
        *(["doc_to_image: !function scoring.images"] if with_images else []),
        "num_fewshot: 0",
        f"generation_kwargs: {json.dumps(generation_settings(task.decoding))}",
        "process_results: !function scoring.answers",
        "metric_list:",
    ]
    for metric, label in metrics:
        lines += [
            f"  - metric: {json.dumps(label)}",
            f"    aggregation: !function scoring.{functions[label]}",
            f"    higher_is_better: {json.dumps(metric.higher_is_better)}",
        ]
    lines += ["metadata:", f"  version: {task.version}", ""]
    (folder / f"{name}.yaml").write_text("\n".join(lines), encoding="utf-8")
    code = [
        '"""Asks and scores as MedGround does; written by `harness export lm-eval-tasks`."""',
        "",
        "from pathlib import Path",
        "",
        "from harness.exports.lm_eval_tasks import ExportedTask",
        "",
        "_task = ExportedTask(Path(__file__).parent)",
        "documents = _task.documents",
        "images = _task.images",
        "answers = _task.answers",
        *(f'{name} = _task.aggregation("{label}")' for label, name in functions.items()),
        "",
    ]
    (folder / "scoring.py").write_text("\n".join(code), encoding="utf-8")
    return WrittenTask(name=name, samples=count, left_out=left_out, images=with_images)


def request_of(task: TaskSpec, sample: Sample) -> Request:
    """Return what a model of lm-eval is asked.

    Raises:
        DataError: The sample cannot be asked.
        SpecError: It needs more than words and images.
    """
    prompts = visual_prompts(task, sample)
    lacking = support(task, prompts, sample, ASKED_OF).missing
    if lacking is not None:
        raise SpecError(f"{task.task}: {sample.id}: models of lm-eval take words and images: {lacking}")
    return build_request(task, sample, prompts, ASKED_OF, seed=0, repeat=0)


@cache
def _samples(file: Path) -> Mapping[str, Sample]:
    with file.open(encoding="utf-8") as lines:
        documents = map(json.loads, lines)
        return {document["sample_id"]: sample_from_json(json.loads(document["sample"])) for document in documents}


class ExportedTask:
    """A task that was written for lm-eval, within an evaluation of lm-eval.

    Args:
        folder: The task's folder in the export.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def record(self) -> dict[str, Any]:
        """The content of `export.json`."""
        found: dict[str, Any] = json.loads((self.folder / "export.json").read_text(encoding="utf-8"))
        return found

    @cached_property
    def task(self) -> TaskSpec:
        """The task as it was exported.

        Raises:
            SpecError: It is not there any more, or another one.
        """
        file = Path(self.record["task_file"])
        paths = [Path(path) for path in self.record["task_paths"]]
        # One of the harness's own by name, since a later version of the harness may lie in another place.
        known = self.record["task"] in look_up((self.record["task"],), paths)[0].entries
        name = self.record["task"] if known else str(file)
        catalog, resolved = look_up((name,), paths)
        (task,), _ = catalog.resolve(resolved)
        if task.digest != self.record["digest"]:
            raise SpecError(
                f"{self.folder}: task {task.task} changed since it was exported; `harness export lm-eval-tasks` again"
            )
        return task

    def documents(self, **_: Any) -> Any:
        """Return the documents as lm-eval wants them, `{"test": datasets.Dataset}`."""
        datasets = importlib.import_module("datasets")  # lm-eval brings it along
        with (self.folder / "samples.jsonl").open(encoding="utf-8") as lines:
            return {"test": datasets.Dataset.from_list([json.loads(line) for line in lines])}

    def images(self, document: Mapping[str, Any]) -> list[Any]:
        """Return the images of a document as PIL images in RGB, in the order of the marks in its prompt."""
        from PIL import Image

        sample = _samples(self.folder / "samples.jsonl")[document["sample_id"]]
        store = MediaStore(roots=[Path(path) for path in self.record["media"]])
        request = with_handles(request_of(self.task.asked_of(self.record["data"]), sample), store)
        return [Image.fromarray(media.image()) for media in request.media if not isinstance(media, Media)]

    def answers(self, document: Mapping[str, Any], results: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the reply of one document under each metric; it is scored with all others by `aggregation`."""
        reply = {"sample_id": document["sample_id"], "text": results[0]}
        return {f"{metric.name}.{metric.protocol}": reply for metric in usable_metrics(self.task).metrics}

    def aggregation(self, label: str) -> Callable[[Sequence[Mapping[str, str]]], float]:
        """Return the function that scores all replies under one metric: the number that `results.json` would have.

        Args:
            label: `metric.protocol`. The headline's has the mean that the task names, any other the mean over samples.
        """

        def aggregate(replies: Sequence[Mapping[str, str]]) -> float:
            task, samples = self.task, _samples(self.folder / "samples.jsonl")
            asked = task.asked_of(self.record["data"])
            metric: Metric = next(one for one in usable_metrics(task).metrics if f"{one.name}.{one.protocol}" == label)
            pairs = []
            for reply in replies:
                sample = samples[reply["sample_id"]]
                prediction = to_prediction(request_of(asked, sample), Answer(text=reply["text"]), 0.0)
                pairs.append(readable(sample, prediction, task.grammar))
            metric = settle(metric, pairs)
            scores = (score(metric, sample, 0, prediction) for sample, prediction in pairs)
            headline = task.headline
            is_headline = (metric.name, metric.protocol) == (headline.metric, headline.protocol)
            mean = headline.mean if is_headline else "micro"
            for row in aggregate_metric(task, metric, filter(None, scores)):
                if (row.mean, row.stratum, row.name) == (mean, None, metric.values[0]):
                    return math.nan if row.value is None else row.value
            return math.nan

        return aggregate

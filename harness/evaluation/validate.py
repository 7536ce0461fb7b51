"""`harness validate`: is a task file right, can its samples be asked, and do its metrics tell good from bad."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import fsum
from pathlib import Path
from typing import Any

from harness.data.manifest import read_manifest
from harness.data.roots import DataRoots, data_roots
from harness.errors import HarnessError, SpecError
from harness.imaging.media_store import MediaStore, with_handles
from harness.metrics.metric import Metric, Pair, settle
from harness.models.answer_check import to_prediction
from harness.models.baselines import Oracle
from harness.records import Answer, Prediction, Request, Sample, Size
from harness.records.codec import to_json as record_to_json
from harness.requests.build import build_request
from harness.requests.visual_prompts import visual_prompts
from harness.scoring.availability import usable_metrics
from harness.scoring.score import readable, score
from harness.tasks.catalog import check_file, index
from harness.tasks.prepare import prepare_task
from harness.tasks.spec import TaskSpec

SAMPLES = 32
"""Samples a task that are rendered, opened and scored."""
TOLERANCE = 1e-9


@dataclass(slots=True)
class Report:
    """What was found out about one task.

    Attributes:
        task: Its name, or its file where it has none yet.
        faults: What is wrong, one line each.
        samples: Samples that were tried; 0 without data.
        prompt: The words of the first sample.
        scores: Per metric and protocol the mean of oracle, empty and shuffled predictions.
    """

    task: str
    faults: list[str] = field(default_factory=list)
    samples: int = 0
    prompt: str | None = None
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)


def validate(names: Sequence[str], task_paths: Sequence[Path], roots: Sequence[str], cache: Path) -> list[Report]:
    """Return a report per task; without data roots only the files are checked.

    Args:
        names: Tasks, groups, or YAML files.
    Raises:
        SpecError: A name means nothing, or a data root does not exist.
    """
    files = [Path(name) for name in names if name.endswith((".yaml", ".yml"))]
    reports = [Report(task=str(file), faults=_file_faults(file)) for file in files]
    tasks = [name for name in names if not name.endswith((".yaml", ".yml"))]
    folders = [*task_paths, *dict.fromkeys(file.parent for file in files)] if not any(r.faults for r in reports) else []
    if tasks or (roots and folders):
        catalog = index(folders or task_paths)
        wanted = tasks + [entry.name for entry in catalog.entries.values() if entry.file.resolve() in _resolved(files)]
        specs, _ = catalog.resolve(wanted)
        found = [Report(task=spec.task) for spec in specs]
        if roots:
            data = data_roots(roots, cache)
            for spec, report in zip(specs, found, strict=True):
                _try_samples(spec, data, cache, report)
        reports = [report for report in reports if report.faults] + found
    return reports


def _resolved(files: Sequence[Path]) -> set[Path]:
    return {file.resolve() for file in files}


def _file_faults(file: Path) -> list[str]:
    if not file.is_file():
        raise SpecError(f"{file}: no such task file")
    return check_file(file)


def _try_samples(task: TaskSpec, roots: DataRoots, cache: Path, report: Report) -> None:
    """Render, open and score the first samples of a task."""
    try:
        prepared = prepare_task(task, roots, cache, lambda _: None)
    except HarnessError as error:
        report.faults.append(str(error))
        return
    media = MediaStore(roots=(prepared.root, prepared.derived))
    whole = (sample for sample in read_manifest(prepared.manifest) if sample.defect is None)
    pairs = []
    for sample in islice(whole, SAMPLES):
        try:
            request = _request(task.asked_of(roots.kind), sample, media)
        except HarnessError as error:
            report.faults.append(f"{sample.id}: {error}")
            continue
        pairs.append((sample, request))
    report.samples = len(pairs)
    report.prompt = _words(pairs[0][1]) if pairs else None
    if pairs:
        _check_metrics(task, pairs, report)


def _words(request: Request) -> str:
    """Return what a user would type; of a retrieval task the text that is embedded."""
    return request.prompt or " ".join(request.candidates if request.kind == "embed" else ())


def _request(task: TaskSpec, sample: Sample, media: MediaStore) -> Request:
    """Return the sample's request as a model that takes and gives everything gets it, every image decoded."""
    prompts = visual_prompts(task, sample)
    request = build_request(task, sample, prompts, Oracle().capabilities(), seed=0, repeat=0)
    for image in with_handles(request, media).images:
        image.image()
    return replace(request, key=sample.id)


def _check_metrics(task: TaskSpec, pairs: Sequence[tuple[Sample, Request]], report: Report) -> None:
    oracle = Oracle()
    perfect, silent = (
        [readable(sample, to_prediction(request, answer(request), 0.0), task.grammar) for sample, request in pairs]
        for answer in (oracle.answer, lambda _: Answer(text=""))
    )
    for metric in usable_metrics(task).metrics:
        name = f"{metric.name} ({metric.protocol})"
        means = {
            "oracle": _mean(metric, perfect),
            "empty": _mean(metric, silent),
            "shuffled": _mean(metric, _shuffled(perfect)),
        }
        report.scores[name] = means
        report.faults += [f"{task.file}: {name}: {fault}" for fault in _faults(metric, perfect, silent, means)]


def _faults(
    metric: Metric, perfect: Sequence[Pair], silent: Sequence[Pair], means: dict[str, float | None]
) -> list[str]:
    faults = []
    asked = settle(metric, perfect)
    below = [sample.id for sample, prediction in perfect if _misses(asked, sample, prediction)]
    if below:
        where = f"{below[0]} and {len(below) - 1} more" if len(below) > 1 else below[0]
        faults.append(
            f"the oracle's answer stays below the ceiling on {where}; is `oracle:` what a perfect model says?"
        )
    something = [pair for pair in silent if not pair[0].target.absent]
    empty, floor = _mean(metric, something), _floor(metric, [sample for sample, _ in something])
    if empty is not None and floor is not None and abs(empty - floor) > TOLERANCE:
        faults.append(f"an empty answer scores {empty:.4f}, expected the floor {floor:.4f}")
    shuffled, oracle = means["shuffled"], means["oracle"]
    if shuffled is not None and oracle is not None and _better(metric, shuffled, oracle):
        faults.append(f"shuffled answers score {shuffled:.4f}, better than the oracle's {oracle:.4f}")
    return faults


def _floor(metric: Metric, samples: Sequence[Sample]) -> float | None:
    """Return the mean of the worst values."""
    floors = [metric.floor(sample) for sample in samples]
    found = [floor for floor in floors if floor is not None]
    return fsum(found) / len(found) if found else None


def _better(metric: Metric, first: float, second: float) -> bool:
    return first > second + TOLERANCE if metric.higher_is_better else first < second - TOLERANCE


def _misses(metric: Metric, sample: Sample, prediction: Prediction) -> bool:
    """Say whether a perfect answer does not reach the metric's ceiling on this sample."""
    ceiling = metric.ceiling(sample)
    row = score(metric, sample, 0, prediction)
    value = row.values[0] if row is not None and row.values else None
    return ceiling is not None and (value is None or abs(value - ceiling) > TOLERANCE)


def _mean(metric: Metric, pairs: Sequence[Pair]) -> float | None:
    asked = settle(metric, pairs)
    rows = [score(asked, sample, 0, prediction) for sample, prediction in pairs]
    values = [row.values[0] for row in rows if row is not None and row.values and row.values[0] is not None]
    return fsum(values) / len(values) if values else None


def _shuffled(perfect: Sequence[Pair]) -> list[Pair]:
    """Return the samples with each other's answers, each with one half the list away among images of its size."""
    alike: dict[tuple[Size, ...], list[Pair]] = {}
    for pair in perfect:
        alike.setdefault(tuple(media.size for media in pair[0].media), []).append(pair)
    pairs = []
    for group in alike.values():
        half = len(group) // 2
        others = [*group[half:], *group[:half]]
        pairs += [
            (one[0], _mixed(one[1], other[1])) for one, other in zip(group, others, strict=True) if one is not other
        ]
    return pairs


def _mixed(own: Prediction, other: Prediction) -> Prediction:
    """Return the other prediction; of embeddings only its text vector, for the two halves of a pair still match."""
    if not own.embedding or not other.embedding:
        return other
    return replace(own, embedding=(*own.embedding[:-1], other.embedding[-1]))


def to_json(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Return the reports as JSON values."""
    return [record_to_json(report) for report in reports]


def text(reports: Sequence[Report]) -> str:
    """Return the reports for a person."""
    return "\n".join(line for report in reports for line in _lines(report))


def _lines(report: Report) -> list[str]:
    if report.faults:
        lines = [f"{report.task}: {len(report.faults)} fault{'s' if len(report.faults) > 1 else ''}"]
        lines += [f"  {line}" for fault in report.faults for line in fault.split("\n")]
    else:
        lines = [f"{report.task}: ok" + (f", {report.samples} samples tried" if report.samples else " (file only)")]
    if report.prompt is not None:
        lines.append(f"  prompt: {report.prompt!r}")
    for name, means in report.scores.items():
        shown = "  ".join(f"{kind} {'-' if value is None else f'{value:.4f}'}" for kind, value in means.items())
        lines.append(f"  {name:32} {shown}")
    return lines

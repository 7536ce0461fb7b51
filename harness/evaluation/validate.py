"""`harness validate`: checks task files, whether their samples can be asked, and whether metrics rank good over bad."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import fsum
from pathlib import Path
from typing import Any

from harness.data.manifest import read_manifest, read_report
from harness.data.roots import DataRoots, data_roots
from harness.errors import HarnessError, SpecError, nearest
from harness.evaluation.judging.rubrics import rubric_files
from harness.imaging.media_store import MediaStore, with_handles
from harness.metrics.metric import Metric, Pair, settle
from harness.models.answer_check import to_prediction
from harness.models.baselines import Oracle
from harness.records import Answer, Request, Sample, Size
from harness.records.codec import to_json as record_to_json
from harness.reports.findings_text import findings_text, reason_of
from harness.requests.build import build_request
from harness.requests.visual_prompts import visual_prompts
from harness.scoring.availability import usable_metrics
from harness.scoring.score import readable, score
from harness.tasks.catalog import GROUPS_FILE, check_file, look_up, split_names
from harness.tasks.prepare import prepare_task
from harness.tasks.spec import TaskSpec
from harness.tasks.task_file import load_task

# Samples per task that are rendered, opened and scored.
SAMPLES = 32
# Of them at most so many come from further behind, if the first have all something to find or all nothing, and so many
# samples are looked through for them.
OTHERS = 4
SEARCHED = 10_000
# Faults of one kind that are named.
NAMED = 3
# Findings that lose answers without a sample that could fail: a task that has them is not as its author means it.
FAILING = ("missing_image",)
# Largest difference of means that count as equal: rounding is far below it, a fault in a single sample far above.
TOLERANCE = 1e-9


@dataclass(slots=True)
class Report:
    """The findings about one task.

    Attributes:
        task: Its name, or its file if it has none yet.
        faults: One line each.
        samples: Number of samples that were rendered, opened and scored; 0 without data.
        tried: Number of samples that were to be.
        findings: What the preparation of the data found, by kind.
        found: The same in words, one line each.
        prompt: The words that are sent to a model for the first sample.
        scores: Mean scores of the oracle's, empty and shuffled predictions, by metric and protocol.
    """

    task: str
    faults: list[str] = field(default_factory=list)
    samples: int = 0
    tried: int = 0
    findings: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    prompt: str | None = None
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)


def validate(names: Sequence[str], task_paths: Sequence[Path], roots: Sequence[str], cache: Path) -> list[Report]:
    """Return a report per task; without data roots only the files are checked.

    Args:
        names: Tasks, groups, or YAML files.
        task_paths: Folders with further task files.
        roots: Data roots as `--data-root` gives them; if empty, no data are read.
        cache: Folder of manifests and derived files.
    Raises:
        SpecError: There are no names, one means nothing, or a data root does not exist.
    """
    wanted = split_names(names)
    if not wanted:  # as an unset variable of a CI job leaves it
        raise SpecError("expected at least one task, group or task file, found none; `harness list tasks` names them")
    files = [name for name in wanted if name.endswith((".yaml", ".yml")) and Path(name).is_file()]
    rubrics = list(rubric_files(task_paths))
    reports = [Report(task=name, faults=check_file(Path(name))) for name in files]
    for report in reports:
        if not report.faults and Path(report.task).name != GROUPS_FILE:
            report.faults += _unknown_rubrics(load_task(Path(report.task)), rubrics)
    # Checked by themselves: a file with faults has no task yet, and a file of groups none at all.
    alone = [report for report in reports if report.faults or Path(report.task).name == GROUPS_FILE]
    left = [name for name in wanted if name not in {report.task for report in alone}]
    if (not left and wanted) or (left == files and not roots):
        return reports
    catalog, tasks = look_up(left, task_paths)
    specs, _ = catalog.resolve(tasks)
    found = [Report(task=spec.task, faults=_unknown_rubrics(spec, rubrics)) for spec in specs]
    if roots:
        data = data_roots(roots, cache)
        for spec, report in zip(specs, found, strict=True):
            _try_samples(spec, data, cache, report)
    return alone + found


def _unknown_rubrics(task: TaskSpec, known: Sequence[str]) -> list[str]:
    return [
        f"{task.file}:{use.line}: metrics: no rubric is called '{use.rubric}'{nearest(use.rubric, known)}; there are "
        f"{', '.join(sorted(known))}"
        for use in task.metrics
        if use.rubric and use.rubric not in known
    ]


def _try_samples(task: TaskSpec, roots: DataRoots, cache: Path, report: Report) -> None:
    """Render, open and score the first samples of a task."""
    try:
        prepared = prepare_task(task, roots, cache, lambda _: None)
    except HarnessError as error:
        report.faults.append(str(error))
        return
    integrity = read_report(prepared.integrity)
    report.findings = integrity.counts
    report.found = findings_text([task.task], integrity, prepared.integrity)
    report.faults += [f"{task.task}: {integrity.counts[kind]} {kind}" for kind in FAILING if kind in integrity.counts]
    media = MediaStore(roots=(prepared.root, prepared.derived))
    asked = task.asked_of(roots.kind)
    chosen = _choose(read_manifest(prepared.manifest))
    report.tried = len(chosen)
    pairs, unread = [], []
    for sample in chosen:
        if sample.defect is not None:
            unread.append(f"{sample.id}: {reason_of(sample.defect, integrity)}")
            continue
        try:
            # The oracle's capabilities: of a model that takes and gives everything, so that no fallback hides a fault.
            request = build_request(
                asked, sample, visual_prompts(asked, sample), Oracle().capabilities(), seed=0, repeat=0
            )
            for image in with_handles(request, media).images:
                image.image()
        except HarnessError as error:
            unread.append(f"{sample.id}: {error}")
            continue
        pairs.append((sample, replace(request, key=sample.id)))
    report.samples = len(pairs)
    report.faults += unread[:NAMED]
    if len(unread) > NAMED:
        report.faults.append(
            f"{task.task}: {len(unread) - NAMED} more of the {len(chosen)} samples tried cannot be read"
        )
    if pairs:
        first = pairs[0][1]
        # A retrieval task has no prompt; its words are the text that is embedded.
        report.prompt = first.prompt or " ".join(first.candidates if first.kind == "embed" else ())
        _check_metrics(task, pairs, report)


def _choose(samples: Iterable[Sample]) -> list[Sample]:
    """Return the samples to try: the first, and some from further behind if those are alike in having a target."""
    left = iter(samples)
    chosen = list(islice(left, SAMPLES))
    kinds = {sample.target.absent for sample in chosen}
    if len(kinds) == 1:
        # A release that is sorted may begin with all the images that show nothing, and its Dice be undefined on them.
        others = islice((sample for sample in islice(left, SEARCHED) if sample.target.absent not in kinds), OTHERS)
        found = list(others)
        chosen[len(chosen) - len(found) :] = found
    return chosen


def _check_metrics(task: TaskSpec, pairs: Sequence[tuple[Sample, Request]], report: Report) -> None:
    def answered(answer: Callable[[Request], Answer]) -> list[Pair]:
        return [
            readable(sample, to_prediction(request, answer(request), 0.0), task.grammar) for sample, request in pairs
        ]

    perfect, silent = answered(Oracle().answer), answered(lambda _: Answer(text=""))
    for metric in usable_metrics(task).metrics:
        name = f"{metric.name} ({metric.protocol})"
        means = {
            "oracle": _mean(metric, perfect),
            "empty": _mean(metric, silent),
            "shuffled": _mean(metric, _shuffled(perfect)),
        }
        report.scores[name] = means
        report.faults += [f"{task.file}: {name}: {fault}" for fault in _faults(metric, perfect, silent, means)]
        of_headline = (metric.name, metric.protocol) == (task.headline.metric, task.headline.protocol)
        if of_headline and means["oracle"] is None:
            absent = sum(sample.target.absent for sample, _ in perfect)
            why = f"; in {absent} of {len(perfect)} samples there is nothing to find" if absent else ""
            report.faults.append(f"{task.file}: {name}: the headline is undefined for the oracle's own answers{why}")


def _faults(
    metric: Metric, perfect: Sequence[Pair], silent: Sequence[Pair], means: dict[str, float | None]
) -> list[str]:
    """Return the ways in which a metric fails to separate perfect, empty and shuffled answers, one line each."""
    faults = []
    asked = settle(metric, perfect)
    below = []
    for sample, prediction in perfect:
        ceiling, row = asked.ceiling(sample), score(asked, sample, 0, prediction)
        value = row.values[0] if row is not None and row.values else None
        if ceiling is not None and (value is None or abs(value - ceiling) > TOLERANCE):
            below.append(sample.id)
    if below:
        where = f"{below[0]} and {len(below) - 1} more" if len(below) > 1 else below[0]
        faults.append(
            f"the oracle's answer stays below the ceiling on {where}; is `oracle:` what a perfect model says?"
        )
    # Where there is nothing to find, an empty answer is right and does not score the floor.
    something = [pair for pair in silent if not pair[0].target.absent]
    empty = _mean(metric, something)
    floors = [floor for floor in (metric.floor(sample) for sample, _ in something) if floor is not None]
    floor = fsum(floors) / len(floors) if floors else None
    if empty is not None and floor is not None and abs(empty - floor) > TOLERANCE:
        faults.append(f"an empty answer scores {empty:.4f}, expected the floor {floor:.4f}")
    shuffled, oracle = means["shuffled"], means["oracle"]
    if shuffled is not None and oracle is not None:
        gain = shuffled - oracle if metric.higher_is_better else oracle - shuffled
        if gain > TOLERANCE:
            faults.append(f"shuffled answers score {shuffled:.4f}, better than the oracle's {oracle:.4f}")
    return faults


def _mean(metric: Metric, pairs: Sequence[Pair]) -> float | None:
    asked = settle(metric, pairs)
    rows = [score(asked, sample, 0, prediction) for sample, prediction in pairs]
    values = [row.values[0] for row in rows if row is not None and row.values and row.values[0] is not None]
    return fsum(values) / len(values) if values else None


def _shuffled(perfect: Sequence[Pair]) -> list[Pair]:
    """Return the samples with each other's answers; a sample without another of its size is left out."""
    # Only among images of one size: a mask of another size would be refused, and nothing would be learnt.
    alike: dict[tuple[Size, ...], list[Pair]] = {}
    for pair in perfect:
        alike.setdefault(tuple(media.size for media in pair[0].media), []).append(pair)
    pairs = []
    for group in alike.values():
        # Half the list away, since neighbours in a release often ask about one image.
        half = len(group) // 2
        for (sample, own), (other_sample, other) in zip(group, [*group[half:], *group[:half]], strict=True):
            if sample is other_sample:
                continue
            if own.embedding and other.embedding:
                # Only its text vector, for the two halves of another pair would still match.
                other = replace(own, embedding=(*own.embedding[:-1], other.embedding[-1]))
            pairs.append((sample, other))
    return pairs


def to_json(reports: Sequence[Report]) -> list[dict[str, Any]]:
    """Return the reports as JSON values."""
    return [record_to_json(report) for report in reports]


def _checked(report: Report) -> str:
    """Return how many samples were checked, and of how many if some could not be."""
    if not report.tried:
        return "(file only)"
    of = f"{report.samples} of {report.tried}" if report.samples < report.tried else f"{report.samples}"
    return f"{of} samples checked"


def text(reports: Sequence[Report]) -> str:
    """Return the reports as text for the terminal."""
    lines = []
    for report in reports:
        if report.faults:
            count = f"{len(report.faults)} error{'s' if len(report.faults) > 1 else ''}"
            lines.append(f"{report.task}: {count}{f', {_checked(report)}' if report.tried else ''}")
            lines += [f"  {line}" for fault in report.faults for line in fault.split("\n")]
        else:
            lines.append(f"{report.task}: ok{', ' if report.tried else ' '}{_checked(report)}")
        if report.prompt is not None:
            lines.append(f"  prompt: {report.prompt!r}")
        for name, means in report.scores.items():
            shown = "  ".join(f"{kind} {'-' if value is None else f'{value:.4f}'}" for kind, value in means.items())
            lines.append(f"  {name:32} {shown}")
        lines += report.found
    return "\n".join(lines)

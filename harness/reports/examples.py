"""The samples of a run that a reader should look at: of each task the worst and the median ones, with pictures."""

import base64
import heapq
import json
import statistics
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from harness.errors import DataError
from harness.imaging import crops, drawing, masks
from harness.imaging.media_store import MediaStore
from harness.metrics.metric import Metric
from harness.records import Mask, Media, Prediction, Sample, VisualPrompt
from harness.records.codec import request_from_json, sha256_text
from harness.runs.directory import RunDirectory
from harness.runs.plan_file import PlannedRequest
from harness.scoring.score import score_files
from harness.tasks.plug_ins import load_metric
from harness.tasks.spec import TaskSpec

MOST = 6
"""Worst samples of a task, and median ones."""
SIDE = 256
"""Most pixels of the longer edge of a picture."""
MOST_PIXEL_BYTES = 800_000
"""Bytes of pictures with pixels in one report; what comes after is drawn on a plain ground."""
WORDS = 400
"""Characters of a text that the report shows."""
PICTURED = frozenset({"masks", "grounded_text"})

ReadPrediction = Callable[[str], Prediction | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportImages:
    """Whether a report may show the pixels of images, and where they are.

    Attributes:
        roots: Data roots and derived folders; empty where they are not known.
        phantom: The patients are drawn: their pixels are nobody's.
        asked: The user wants pixels whatever the tasks' terms, for a report that stays here.
    """

    roots: tuple[Path, ...] = ()
    phantom: bool = False
    asked: bool = False

    def refusal(self, task: TaskSpec) -> str | None:
        """Return why a task's images are not shown; None where they are."""
        if not (task.terms.redistribute or self.phantom or self.asked):
            return "the terms of these data do not allow to pass images on"
        return None if self.roots else "the images are not at hand"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One sample as the report shows it.

    Attributes:
        value: Of the headline metric.
        status: Of the prediction.
        picture: `data:` URI of a PNG; None where there is no picture.
        size: (H, W) of the picture.
        description: What the picture shows, for those who do not see it.
    """

    sample_id: str
    value: float
    status: str
    prompt: str
    target: str
    answer: str
    picture: str | None = None
    size: tuple[int, int] = (0, 0)
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExamples:
    """The worst and the median samples of one task.

    Attributes:
        value_name, protocol: What they are ordered by.
        pictured: They are shown as pictures; otherwise as a table of words.
        plain: Why some pictures stand on a plain ground; None where none does.
        count: Samples that have a value.
    """

    value_name: str
    protocol: str
    worst: tuple[Example, ...]
    median: tuple[Example, ...]
    pictured: bool
    plain: str | None
    count: int


class Rank(NamedTuple):
    """A sample's place, the worst first; equal values are mixed by a digest, so they come from all over the release."""

    goodness: float
    mixed: str
    sample_id: str
    repeat: int
    value: float


def choose(
    run: RunDirectory, tasks: Sequence[TaskSpec], read: ReadPrediction, pictures: ReportImages
) -> dict[str, TaskExamples]:
    """Return the examples of every task that has scores under its headline metric, by task name.

    Args:
        run: The run directory, with its plan and scores.
        tasks: Those of the run.
        read: Returns the prediction with a key.
        pictures: Whether pixels may be shown.
    """
    found: dict[str, TaskExamples] = {}
    spent = 0
    for task in tasks:
        metric = _headline_metric(task)
        if metric is None or not (path := _scores(run, task, metric)).is_file():
            continue
        goodness = array("d", (rank.goodness for rank in _ranks(path, metric)))
        if not goodness:
            continue
        worst = heapq.nsmallest(MOST, _ranks(path, metric))
        median = _near(statistics.median(goodness), _ranks(path, metric), worst)
        drawer = _Drawer(task, read, pictures, spent)
        ids = [rank.sample_id for rank in (*worst, *median)]
        rows = {(row.sample.id, row.repeat): row for row in run.read_planned(task.task, ids)}
        found[task.task] = TaskExamples(
            value_name=metric.values[0],
            protocol=task.headline.protocol,
            worst=tuple(drawer.example(rank, rows[rank.sample_id, rank.repeat]) for rank in worst),
            median=tuple(drawer.example(rank, rows[rank.sample_id, rank.repeat]) for rank in median),
            pictured=task.gives in PICTURED,
            plain=drawer.plain,
            count=len(goodness),
        )
        spent = drawer.spent
    return found


def _headline_metric(task: TaskSpec) -> Metric | None:
    wanted = (task.headline.metric, task.headline.protocol)
    uses = (use for use in task.metrics if (use.metric, use.protocol) == wanted)
    return next((load_metric(use, task.folder) for use in uses), None)


def _scores(run: RunDirectory, task: TaskSpec, metric: Metric) -> Path:
    return score_files(run.scores_folder, task.task, [metric])[metric.name, metric.protocol]


def _ranks(path: Path, metric: Metric) -> Iterator[Rank]:
    """Yield every sample that has a value, in the order of the file; of a million samples none is kept."""
    import pyarrow.parquet as pq

    sign = 1.0 if metric.higher_is_better else -1.0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["sample_id", "repeat", "values"]):
            for sample_id, repeat, values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                if values and values[0] is not None:
                    yield Rank(sign * values[0], sha256_text(sample_id), sample_id, repeat, values[0])


def _near(median: float, ranks: Iterable[Rank], worst: Sequence[Rank]) -> list[Rank]:
    """Return the samples nearest to the median that are not among the worst, worse ones first."""
    others = (rank for rank in ranks if rank not in worst)
    return sorted(heapq.nsmallest(MOST, others, key=lambda rank: (abs(rank.goodness - median), rank)))


class _Drawer:
    """Makes the examples of one task and keeps count of what its pixels weigh."""

    def __init__(self, task: TaskSpec, read: ReadPrediction, pictures: ReportImages, spent: int) -> None:
        self.spent = spent
        self.plain = pictures.refusal(task) if task.gives in PICTURED else None
        self._task = task
        self._read = read
        self._media = MediaStore(pictures.roots) if self.plain is None else None

    def example(self, rank: Rank, row: PlannedRequest) -> Example:
        """Return one sample as the report shows it."""
        prediction = self._read(row.key) if row.key else None
        request = request_from_json(json.loads(row.request)) if row.request else None
        target = row.sample.target
        example = Example(
            sample_id=row.sample.id,
            value=rank.value,
            status="not_run" if prediction is None else prediction.status,
            prompt=_brief(request.prompt if request is not None else ""),
            target=_brief(" | ".join(target.answers) or target.choice or ""),
            answer=_brief((prediction.text or prediction.choice or "") if prediction is not None else ""),
        )
        if self._task.gives not in PICTURED:
            return example
        return self._with_image(
            example,
            row.sample,
            prediction.masks if prediction is not None else (),
            crops.prompts_in_original(request) if request is not None else (),
        )

    def _with_image(
        self, example: Example, sample: Sample, predicted: Sequence[Mask], prompts: Sequence[VisualPrompt]
    ) -> Example:
        try:
            image = self._pixels(sample.media[:1], drawing.slice_to_draw(sample, predicted))
            drawn = drawing.draw_sample(sample, predicted, prompts=prompts, image=image, side=SIDE)
            if drawn is None:
                return example
            description = _description(sample, predicted, drawn.slice)
        except DataError as error:  # a mask of another size scores as the metric says; it cannot be drawn
            return replace(example, description=f"No picture: {error}")
        if image is not None:
            self.spent += len(drawn.png)
        return replace(example, picture=_data_uri(drawn.png), size=drawn.size, description=description)

    def _pixels(self, media: Sequence[Media], shown: int | None) -> Any:
        """Return an image, of a volume one slice; None where it may not be shown, or no longer."""
        if self._media is None or not media or (media[0].kind == "volume" and shown is None):
            return None
        if self.spent >= MOST_PIXEL_BYTES:
            self.plain = "this page holds as many images as it should"
            return None
        try:
            return self._media.image(media[0] if shown is None else replace(media[0], kind="image", slice=shown))
        except DataError:
            self.plain = "an image is not where it was"
            return None


def _brief(text: str) -> str:
    return text if len(text) <= WORDS else f"{text[:WORDS]} ..."


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _description(sample: Sample, predicted: Sequence[Mask], shown: int | None) -> str:
    """Return what a picture shows in words: how much is wanted, how much was found, how much is in both."""
    where = f"Slice {shown} of the volume. " if shown is not None else ""
    targets = [entity.mask for entity in sample.target.entities if entity.mask is not None]
    if not targets or not predicted:
        wanted = f"Target of {_area(targets)}" if targets else "No target mask"
        return f"{where}{wanted}, {f'prediction of {_area(predicted)}' if predicted else 'no predicted mask'}."
    both = masks.overlap(masks.merge(targets), masks.merge(predicted))
    return f"{where}Target {both.first:,} pixels, prediction {both.second:,}, in both {both.intersection:,}."


def _area(found: Sequence[Mask]) -> str:
    return f"{masks.area(masks.merge(found)):,} pixels"

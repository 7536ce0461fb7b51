"""Samples for the page of a run: the worst and the median of each task with images, and a list of all."""

import base64
import heapq
import json
import math
import statistics
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Number of worst samples per task, and of median ones.
MOST = 6
# Most pixels of an image's longer edge.
SIDE = 256
# Most bytes of images with pixels in one report, which is a single file that people send and open; further samples are
# drawn on a plain ground.
MOST_PIXEL_BYTES = 800_000
# The same of an image beside words, in the row of a table.
SIDE_BESIDE_WORDS = 160
# Characters of a text that the report shows.
WORDS = 400
# Most samples in the list of a task, and in all lists of a report: with more, the page opens slowly.
LISTED = 2000
LISTED_IN_ALL = 6000
# Values of `gives` of the tasks whose samples are shown as images, not as a table of words.
SHOWN_AS_IMAGES = frozenset({"masks", "grounded_text"})

ReadPrediction = Callable[[str], Prediction | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportImages:
    """Whether a report may show the pixels of images, and where they are.

    Attributes:
        roots: Data roots and derived folders; empty if they are not known.
        phantom: The patients are synthetic, so their pixels may be passed on.
        asked: The user wants pixels whatever the tasks' terms, in a report that is not passed on.
    """

    roots: tuple[Path, ...] = ()
    phantom: bool = False
    asked: bool = False

    def refusal(self, task: TaskSpec) -> str | None:
        """Return why a task's images are not shown; None if they are."""
        if not (task.terms.redistribute or self.phantom or self.asked):
            return "the data licence does not permit redistributing the images"
        return None if self.roots else "no data root was given"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One sample as the report shows it.

    Attributes:
        value: Value of the headline metric.
        status: Status of the prediction.
        prompt, target, answer: Texts, cut to WORDS characters.
        image_uri: `data:` URI of a PNG; None if there is nothing to draw.
        size: (H, W) of the PNG in pixels.
        description: The content of the PNG in words, for readers who do not see it.
    """

    sample_id: str
    value: float
    status: str
    prompt: str
    target: str
    answer: str
    image_uri: str | None = None
    size: tuple[int, int] = (0, 0)
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskExamples:
    """The worst and the median samples of one task.

    Attributes:
        value_name, protocol: The value that orders them.
        worst, median: The samples, worse ones first.
        as_images: The samples are shown as images; otherwise as a table of words.
        plain: Why some images have a plain ground, or are not shown beside words; None if all show pixels.
        count: Number of samples that have a value.
        listed: Every sample that was scored, the worst first and those without a value last.
        unlisted: How many more there are.
    """

    value_name: str
    protocol: str
    worst: tuple[Example, ...]
    median: tuple[Example, ...]
    as_images: bool
    plain: str | None
    count: int
    listed: tuple["ListedSample", ...] = ()
    unlisted: int = 0

    @property
    def gives_words(self) -> bool:
        """Whether the list has targets and answers in words."""
        return any(sample.target or sample.answer for sample in self.listed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedSample:
    """One sample in the list of a task.

    Attributes:
        value: Value of the headline metric; None if it has none.
        status: `failed`, else the status of its score.
        prompt, target, answer: Texts, cut to WORDS characters; target and answer are empty in tasks that give masks.
    """

    sample_id: str
    value: float | None
    status: str
    prompt: str
    target: str
    answer: str


class Rank(NamedTuple):
    """A sample's place in the order of values, the worst first.

    Attributes:
        goodness: The value, negated if lower is better.
        mixed: Digest of the id, so that among equal values the first samples come from the whole release.
        sample_id, repeat: The sample.
        value: Value of the metric; NaN if the sample has none, which only the list shows.
        status: `failed`, else the status of the score.
    """

    goodness: float
    mixed: str
    sample_id: str
    repeat: int
    value: float
    status: str = "ok"


def choose(
    run: RunDirectory, tasks: Sequence[TaskSpec], read: ReadPrediction, images: ReportImages
) -> dict[str, TaskExamples]:
    """Return the examples of every task that has scores under its headline metric, by task name.

    Args:
        run: The run directory, with its plan and scores.
        tasks: Tasks of the run.
        read: Returns the prediction with a key.
        images: Whether pixels may be shown, and where they are.
    """
    found: dict[str, TaskExamples] = {}
    spent = listed = 0
    for task in tasks:
        wanted = (task.headline.metric, task.headline.protocol)
        use = next((use for use in task.metrics if (use.metric, use.protocol) == wanted), None)
        if use is None:  # another protocol was asked for
            continue
        metric = load_metric(use, task.folder)
        path = score_files(run.scores_folder, task.task, [metric])[metric.name, metric.protocol]
        if not path.is_file():
            continue
        # The file is read three times, so that of a million samples only their values are held in memory.
        goodness = array("d", (rank.goodness for rank in ranks(path, metric)))
        if not goodness:
            continue
        worst = heapq.nsmallest(MOST, ranks(path, metric))
        median = _near(statistics.median(goodness), ranks(path, metric), worst)
        drawer = ExampleDrawer(task, read, images, spent)
        ids = [rank.sample_id for rank in (*worst, *median)]
        rows = {(row.sample.id, row.repeat): row for row in run.read_planned(task.task, ids)}
        found[task.task] = TaskExamples(
            value_name=metric.values[0],
            protocol=task.headline.protocol,
            worst=tuple(drawer.example(rank, rows[rank.sample_id, rank.repeat]) for rank in worst),
            median=tuple(drawer.example(rank, rows[rank.sample_id, rank.repeat]) for rank in median),
            as_images=task.gives in SHOWN_AS_IMAGES,
            plain=drawer.plain,
            count=len(goodness),
        )
        chosen = heapq.nsmallest(min(LISTED, LISTED_IN_ALL - listed), ranks(path, metric, every=True))
        scored = sum(1 for _ in ranks(path, metric, every=True))
        found[task.task] = replace(
            found[task.task], listed=_listed(run, task, chosen, read), unlisted=scored - len(chosen)
        )
        listed += len(chosen)
        spent = drawer.spent
    return found


def ranks(path: Path, metric: Metric, *, every: bool = False) -> Iterator[Rank]:
    """Yield every sample that has a value, in the order of the file; with `every` also those that have none."""
    import pyarrow.parquet as pq

    sign = 1.0 if metric.higher_is_better else -1.0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["sample_id", "repeat", "values", "status", "failed"]):
            columns = (column.to_pylist() for column in batch.columns)
            for sample_id, repeat, values, status, failed in zip(*columns, strict=True):
                word = "failed" if failed and status == "ok" else status
                if values and values[0] is not None:
                    yield Rank(sign * values[0], sha256_text(sample_id), sample_id, repeat, values[0], word)
                elif every:
                    yield Rank(math.inf, sha256_text(sample_id), sample_id, repeat, math.nan, word)


def _listed(run: RunDirectory, task: TaskSpec, ranks: Sequence[Rank], read: ReadPrediction) -> tuple[ListedSample, ...]:
    """Return the samples of `ranks`, in their order, for the list of a task."""
    rows = {(row.sample.id, row.repeat): row for row in run.read_planned(task.task, [rank.sample_id for rank in ranks])}
    found = []
    for rank in ranks:
        row = rows[rank.sample_id, rank.repeat]
        # Masks say nothing in a list, and those of a volume take long to read.
        prediction = read(row.key) if row.key and task.gives != "masks" else None
        target = row.sample.target
        prompt = request_from_json(json.loads(row.request)).prompt if row.request else ""
        found.append(
            ListedSample(
                sample_id=rank.sample_id,
                value=None if math.isnan(rank.value) else rank.value,
                status=rank.status,
                prompt=_brief(prompt),
                target=_brief(" | ".join(target.answers) or target.choice or "") if task.gives != "masks" else "",
                answer=_brief((prediction.text or prediction.choice or "") if prediction is not None else ""),
            )
        )
    return tuple(found)


def _near(median: float, ranks: Iterable[Rank], worst: Sequence[Rank]) -> list[Rank]:
    """Return the samples nearest to the median that are not among the worst, worse ones first."""
    others = (rank for rank in ranks if rank not in worst)
    return sorted(heapq.nsmallest(MOST, others, key=lambda rank: (abs(rank.goodness - median), rank)))


class ExampleDrawer:
    """Makes the examples of one task of a run and counts the bytes of its images.

    Args:
        task: The task.
        read: Returns the prediction with a key.
        images: Whether pixels may be shown, and where they are.
        spent: Bytes of images with pixels that the page holds already.

    Attributes:
        spent: Bytes of images with pixels in the report so far.
        plain: Why images have a plain ground; None while all show pixels.
    """

    def __init__(self, task: TaskSpec, read: ReadPrediction, images: ReportImages, spent: int) -> None:
        self.spent = spent
        self.plain = images.refusal(task)
        self._task = task
        self._read = read
        self._media = MediaStore(images.roots) if self.plain is None else None

    def example(self, rank: Rank, row: PlannedRequest) -> Example:
        """Return one sample as the report shows it; `row` is its row of the plan."""
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
        return self._with_image(
            example,
            row.sample,
            prediction.masks if prediction is not None else (),
            crops.prompts_in_original(request) if request is not None else (),
        )

    def _with_image(
        self, example: Example, sample: Sample, predicted: Sequence[Mask], prompts: Sequence[VisualPrompt]
    ) -> Example:
        words = self._task.gives not in SHOWN_AS_IMAGES
        try:
            shown = drawing.slice_to_draw(sample, predicted)
            image = self._pixels(sample.media[:1], shown)
            if image is None and words:  # outlines on a plain ground show masks, of which there are none here
                return example
            side = SIDE_BESIDE_WORDS if words else SIDE
            drawn = drawing.draw_sample(sample, predicted, prompts=prompts, image=image, side=side)
            if drawn is None:
                return example
            description = _description(sample, predicted, drawn.slice)
            if words:
                description = "The image" if shown is None else f"Slice {shown} of the volume"
        except DataError as error:  # a mask of another size scores as the metric says; it cannot be drawn
            return replace(example, description=f"No image: {error}")
        if image is not None:
            self.spent += len(drawn.png)
        uri = f"data:image/png;base64,{base64.b64encode(drawn.png).decode()}"
        return replace(example, image_uri=uri, size=drawn.size, description=description)

    def _pixels(self, media: Sequence[Media], shown: int | None) -> "NDArray[np.uint8] | None":
        """Return an image, or one slice of a volume, as uint8 (H, W, 3) RGB; None if its pixels are not shown."""
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


def _description(sample: Sample, predicted: Sequence[Mask], shown: int | None) -> str:
    """Return the content of a drawing in words: pixels of the target, of the prediction, and of both."""
    where = f"Slice {shown} of the volume. " if shown is not None else ""
    targets = [entity.mask for entity in sample.target.entities if entity.mask is not None]
    if not targets or not predicted:
        wanted = f"Target of {_area(targets)}" if targets else "No target mask"
        return f"{where}{wanted}, {f'prediction of {_area(predicted)}' if predicted else 'no predicted mask'}."
    both = masks.overlap(masks.merge(targets), masks.merge(predicted))
    return f"{where}Target {both.first:,} pixels, prediction {both.second:,}, overlap {both.intersection:,}."


def _area(found: Sequence[Mask]) -> str:
    return f"{masks.area(masks.merge(found)):,} pixels"

"""The samples of a run's task as a page shows them: which, in which order, and everything the run holds of each."""

import json
import math
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from harness.errors import DataError
from harness.imaging import crops
from harness.imaging.media_store import MediaStore
from harness.metrics.metric import Metric
from harness.records import Prediction, Request, Sample
from harness.records.codec import request_from_json
from harness.reports.examples import SHOWN_AS_IMAGES, Rank, ReportImages, ranks
from harness.reports.viewer import drawing
from harness.reports.viewer.pixels import jpeg_uri, scaled
from harness.reports.viewer.records import Plane, ScoreLine, Shape, ShownImage, ViewedSample, Words
from harness.reports.viewer.words import Span, words_of
from harness.runs.directory import RunDirectory
from harness.runs.plan_file import PlannedRequest
from harness.scoring.score import score_files
from harness.tasks.plug_ins import load_metric
from harness.tasks.spec import TaskSpec
from harness.text.grounded_text import fill_entities, normalise_name, parse

# Images of one sample beside the first, which has the shapes; MMMU has up to seven.
FURTHER_IMAGES = 3
FURTHER_SIDE = 256
# Characters of a metric's own remark on a sample.
MOST_NOTE = 300

ReadPredictions = Callable[[Sequence[str]], Mapping[str, Prediction]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenSamples:
    """The samples of a task that pages show.

    Attributes:
        value_name, protocol: The value that orders them.
        of: Number of scored samples.
        ranks: Those that are shown, the worst first.
    """

    value_name: str
    protocol: str
    of: int
    ranks: tuple[Rank, ...]


def choose_samples(run: RunDirectory, task: TaskSpec, most: int) -> ChosenSamples | None:
    """Return the samples to show, the worst first and those without a value last; None if the task has no scores.

    Of more than `most` samples half are the worst, and the others are spread evenly over the rest down to the best, so
    that a page of a weak model also shows what it can do.

    Args:
        run: The run directory.
        task: A task of it.
        most: How many samples to show.
    """
    wanted = (task.headline.metric, task.headline.protocol)
    use = next((use for use in task.metrics if (use.metric, use.protocol) == wanted), None)
    if use is None:
        return None
    metric = load_metric(use, task.folder)
    path = score_files(run.scores_folder, task.task, [metric])[metric.name, metric.protocol]
    if not path.is_file():
        return None
    # Read twice, so that of a million samples only two numbers each are held in memory. Equal values are mixed by a
    # digest of the id, as in `Rank`.
    goodness, mixed = array("d"), array("Q")
    for rank in ranks(path, metric, every=True):
        goodness.append(rank.goodness)
        mixed.append(int(rank.mixed[:16], 16))
    if not goodness:
        return None
    order = np.lexsort((np.frombuffer(mixed, dtype=np.uint64), np.frombuffer(goodness, dtype=np.float64)))
    if len(order) > most:
        worst, rest = order[: most - most // 2], order[most - most // 2 :]
        spread = np.linspace(0, len(rest) - 1, most // 2).round().astype(np.intp) if most > 1 else np.array([], np.intp)
        order = np.concatenate([worst, rest[spread]])
    places = {int(place): index for index, place in enumerate(order)}
    chosen: dict[int, Rank] = {}
    for place, rank in enumerate(ranks(path, metric, every=True)):
        if place in places:
            chosen[places[place]] = rank
    return ChosenSamples(
        value_name=metric.values[0],
        protocol=task.headline.protocol,
        of=len(goodness),
        ranks=tuple(chosen[index] for index in range(len(places))),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSample:
    """What a run holds of one chosen sample.

    Attributes:
        rank: Its place in the order.
        row: Its row of the plan.
        request: As the model got it; None if the sample cannot be asked.
        prediction: None if there is none yet.
    """

    rank: Rank
    row: PlannedRequest
    request: Request | None
    prediction: Prediction | None

    @property
    def value(self) -> float | None:
        """The value of the headline metric; None if it has none."""
        return None if math.isnan(self.rank.value) else self.rank.value

    @property
    def windows(self) -> tuple[tuple[float, float], ...]:
        """The windows in Hounsfield units by which the model saw a volume; none if it saw it by another rule."""
        views = (part.record.view for part in self.request.media) if self.request is not None else ()
        return next((view.windows for view in views if view is not None and view.windows), ())


class SampleReader:
    """Reads the chosen samples of a task, in their order.

    Args:
        run: The run directory, with its plan and scores.
        task: A task of it.
        chosen: From `choose_samples`.
        read: Returns the predictions with these keys.
        images: Whether pixels may be shown, and where they are.

    Attributes:
        task: The task.
        refusal: Why pixels are not shown; None if they are.
        store: Finds the pixels; None if they are not shown.
    """

    def __init__(
        self, run: RunDirectory, task: TaskSpec, chosen: ChosenSamples, read: ReadPredictions, images: ReportImages
    ) -> None:
        self.task = task
        self.refusal = images.refusal(task)
        self.store = MediaStore(images.roots) if self.refusal is None else None
        self._run = run
        self._ranks = chosen.ranks
        ids = [rank.sample_id for rank in chosen.ranks]
        self._rows = {(row.sample.id, row.repeat): row for row in run.read_planned(task.task, ids)}
        self._predictions = read([row.key for row in self._rows.values() if row.key])

    def __iter__(self) -> Iterator[StoredSample]:
        for rank in self._ranks:
            row = self._rows.get((rank.sample_id, rank.repeat))
            if row is not None:
                request = request_from_json(json.loads(row.request)) if row.request else None
                yield StoredSample(rank=rank, row=row, request=request, prediction=self._predictions.get(row.key))

    def view(self) -> Iterator[ViewedSample]:
        """Yield the samples as a page shows them, one at a time, so that memory holds the pixels of one."""
        metrics = [load_metric(use, self.task.folder) for use in self.task.metrics]
        scores = _scores(self._run, self.task, metrics, [rank.sample_id for rank in self._ranks])
        for stored in self:
            yield self._viewed(stored, scores.get((stored.rank.sample_id, stored.rank.repeat), ()))

    def _viewed(self, stored: StoredSample, scores: Sequence[ScoreLine]) -> ViewedSample:
        """Return one sample as a page shows it."""
        row, prediction, request = stored.row, stored.prediction, stored.request
        sample, task = row.sample, self.task
        try:
            named = prediction if prediction is None else fill_entities(prediction, task.grammar)
        except DataError:  # masks that the text binds as one differ in size
            named = prediction
        colours = drawing.colours_of(sample, named)
        drawn = self._drawn(stored, named, colours)
        return ViewedSample(
            sample_id=sample.id,
            repeat=row.repeat if task.repeats > 1 else None,
            value=stored.value,
            status=_status(row, prediction, stored.rank),
            prompt=words_of(request.prompt if request is not None else sample.question),
            target=self._target(sample, colours),
            answer=self._answer(named, colours),
            error=_error(row, prediction),
            images=drawn.images,
            planes=drawn.planes,
            shapes=drawn.shapes,
            unshown=drawn.unshown if sample.media else "",
            description=drawn.description or ("Nothing to find" if sample.target.absent else ""),
            scores=tuple(scores),
            facts=tuple(sample.strata.items()),
        )

    def _drawn(self, stored: StoredSample, prediction: Prediction | None, colours: Mapping[str, int]) -> "_Drawn":
        """Return the pixels of a sample and the shapes over them, as far as both can be shown."""
        sample, request = stored.row.sample, stored.request
        drawn = _Drawn(unshown=self.refusal or "")
        media = sample.media[0] if sample.media else None
        store = self.store if media is not None else None
        if store is not None and (missing := self._missing(sample)):
            store, drawn.unshown = None, missing
        try:
            found = drawing.masks_of(sample, prediction)
            size = (media.size if media is not None else ()) or (found[0].mask.size if found else ())
            unit = "voxels" if len(size) == 3 else "pixels"
            drawn.description = drawing.describe(found, gives_masks=self.task.gives in SHOWN_AS_IMAGES, unit=unit)
            if len(size) == 3 and (found or store is not None):
                drawn.planes, drawn.shapes = drawing.volume_shapes(
                    sample, size, found, prediction, colours, store, stored.windows
                )
            elif len(size) == 2:
                prompts = crops.prompts_in_original(request) if request is not None else sample.visual_prompts
                drawn.shapes = drawing.image_shapes(size, found, prompts, sample, prediction, colours)
        except DataError as error:  # a mask of another size scores as the metric says; it cannot be drawn
            size, drawn.unshown = media.size if media is not None else (), str(error)
        if len(size) == 2:
            try:
                uris: Sequence[str | None] = self._images(sample) if store is not None else []
            except DataError as error:
                uris, drawn.unshown = [], str(error)
            if drawn.shapes or uris:
                drawn.images = tuple(ShownImage(size=size, uri=uri) for uri in uris or [None])
        return drawn

    def _missing(self, sample: Sample) -> str:
        """Return why the pixels of a sample are not where they were; empty if they are."""
        assert self.store is not None
        # The plan of a run may come from anyone, and its page must hold nothing from outside of the data roots.
        if any(
            PurePosixPath(media.path).is_absolute() or ".." in PurePosixPath(media.path).parts for media in sample.media
        ):
            return f"{sample.media[0].path}: expected a path below the data root"
        try:
            self.store.locate(replace(sample.media[0], crop=None, drawn=(), slice=None, view=None))
        except DataError as error:
            return str(error)
        return ""

    def _images(self, sample: Sample) -> list[str]:
        """Return the images of a sample as `data:` URIs, the first one larger; none if the first cannot be read."""
        assert self.store is not None
        uris = [jpeg_uri(scaled(self.store.image(sample.media[0])))]
        for media in sample.media[1 : 1 + FURTHER_IMAGES]:
            if media.kind == "image":
                uris.append(jpeg_uri(scaled(self.store.image(media), FURTHER_SIDE)))
        return uris

    def _target(self, sample: Sample, colours: Mapping[str, int]) -> Words:
        target, tagged = sample.target, self.task.grammar != "none"
        text = " | ".join(target.answers)
        if target.choice is not None:
            letter = ord(target.choice) - ord("A") if len(target.choice) == 1 else -1
            option = sample.choices[letter] if 0 <= letter < len(sample.choices) else text
            return words_of(f"{target.choice}: {option}" if option else target.choice)
        if not text and target.entities:
            text = ", ".join(entity.name for entity in target.entities if entity.name)
            spans = _find_names(text, [entity.name for entity in target.entities], colours, "target")
            return words_of(text, spans)
        found = parse(text, self.task.grammar).entities if tagged else ()
        spans = [(*entity.span, _classes(entity.name, colours, "target")) for entity in found]
        return words_of(text, spans, tagged=tagged)

    def _answer(self, prediction: Prediction | None, colours: Mapping[str, int]) -> Words:
        if prediction is None:
            return Words()
        text = prediction.text or prediction.choice or ""
        spans = [
            (*entity.span, _classes(entity.name, colours, "prediction"))
            for entity in prediction.entities
            if entity.span is not None and prediction.text
        ]
        return words_of(text, spans, tagged=self.task.grammar != "none")


def _scores(
    run: RunDirectory, task: TaskSpec, metrics: Sequence[Metric], ids: Sequence[str]
) -> dict[tuple[str, int], list[ScoreLine]]:
    """Return the score lines of samples by id and repetition, in the order of the task's metrics."""
    import pyarrow.parquet as pq

    found: dict[tuple[str, int], list[ScoreLine]] = {}
    paths = score_files(run.scores_folder, task.task, metrics)
    columns = ["sample_id", "repeat", "status", "failed", "values", "detail"]
    for metric in metrics:
        path = paths[metric.name, metric.protocol]
        if not path.is_file():
            continue
        table = pq.read_table(path, columns=columns, filters=[("sample_id", "in", list(ids))])
        for row in table.to_pylist():
            values = row["values"] or [None] * len(metric.values)
            line = ScoreLine(
                metric=metric.name,
                protocol=metric.protocol,
                status="failed" if row["failed"] and row["status"] == "ok" else row["status"],
                values=tuple(
                    (name, value if value is not None and math.isfinite(value) else None)
                    for name, value in zip(metric.values, values, strict=False)
                ),
                note=_note(json.loads(row["detail"])) if row["detail"] else "",
            )
            found.setdefault((row["sample_id"], row["repeat"]), []).append(line)
    return found


def _note(detail: Mapping[str, Any]) -> str:
    words = (
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in detail.items()
        if isinstance(value, str | int | float)
    )
    text = ", ".join(words)
    return text if len(text) <= MOST_NOTE else f"{text[:MOST_NOTE]} ..."


@dataclass(slots=True)
class _Drawn:
    """The fields of `ViewedSample` that show something, while they are found."""

    images: tuple[ShownImage, ...] = ()
    planes: tuple[Plane, ...] = ()
    shapes: tuple[Shape, ...] = ()
    description: str = ""
    unshown: str = ""


def _classes(name: str, colours: Mapping[str, int], kind: str) -> str:
    colour = colours.get(normalise_name(name))
    return kind if colour is None else f"{kind} e{colour}"


def _find_names(text: str, names: Sequence[str], colours: Mapping[str, int], kind: str) -> list[Span]:
    """Return the spans of names that follow each other in a text."""
    found: list[Span] = []
    place = 0
    for name in names:
        start = text.find(name, place) if name else -1
        if start >= 0:
            place = start + len(name)
            found.append((start, place, _classes(name, colours, kind)))
    return found


def _status(row: PlannedRequest, prediction: Prediction | None, rank: Rank) -> str:
    if row.defect is not None:
        return "data_error"
    if prediction is None:
        return "not_run"
    return prediction.status if prediction.status not in ("ok", "truncated") else rank.status


def _error(row: PlannedRequest, prediction: Prediction | None) -> str:
    if row.defect is not None:
        return row.defect
    if prediction is None or prediction.error is None:
        return ""
    text = f"{prediction.error.type}: {prediction.error.message}"
    return text if len(text) <= 2 * MOST_NOTE else f"{text[: 2 * MOST_NOTE]} ..."

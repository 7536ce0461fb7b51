"""The records that travel through an evaluation, from a release's sample to a score.

All are frozen. Arrays are (H, W) or (D, H, W); points are (x, y); boxes are half-open xyxy in pixels of the original
image (3-D: z1 y1 x1 z2 y2 x2). Masks are run-length encoded everywhere; see `harness.imaging.masks`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Json = Any  # what the json module reads and writes
Size = tuple[int, ...]

PredictionStatus = Literal["ok", "truncated", "empty", "refused", "model_error", "timeout", "data_error"]
ScoreStatus = Literal["ok", "undefined", "unparsed", "unjudged", "scorer_error"]
AnswerStatus = Literal["ok", "truncated", "refused"]
RequestKind = Literal["generate", "nll", "embed"]

PREDICTION_STATUSES: tuple[PredictionStatus, ...] = (
    "ok",
    "truncated",
    "empty",
    "refused",
    "model_error",
    "timeout",
    "data_error",
)
FAILED: frozenset[str] = frozenset({"empty", "refused", "model_error", "timeout"})
"""Prediction statuses that score the worst value and stay in the denominator."""
FAULTS: frozenset[str] = frozenset({"model_error", "timeout", "data_error"})
"""Prediction statuses that `--max-failures` counts: something broke, as against a model that answered badly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A binary mask as COCO run lengths, of one image or of each non-empty slice of a volume.

    Attributes:
        size: (H, W) or (D, H, W) of the frame the mask lies in.
        counts: The COCO run-length string of a 2-D mask; None in 3-D.
        slices: (slice index, run-length string) of every non-empty slice, by ascending index; None in 2-D.
    """

    size: Size
    counts: str | None = None
    slices: tuple[tuple[int, str], ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftMask:
    """A probability for every pixel or voxel, one code each; see `harness.imaging.soft_masks`.

    Attributes:
        size: (H, W) or (D, H, W) of the frame it lies in.
        levels: What each 8-bit code stands for, ascending; empty where `data` holds the float64 numbers themselves.
        data: The codes or numbers in C order, compressed by zlib, as base64.
    """

    size: Size
    levels: tuple[float, ...] = ()
    data: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One image or volume of a release, and how it is shown.

    Attributes:
        path: Relative to the data root, POSIX.
        sha256: Digest of the file's bytes; None where the release lacks the file or it cannot be read.
        kind: `image` or `volume`.
        size: (H, W) or (D, H, W) as shown, which without a crop is as stored; empty where the file cannot be read.
        spacing_mm: Pixel size per array axis in millimetres.
        affine: Row-major 4 x 4 voxel-to-world matrix of a volume.
        window: (low, high) grey values that become 0 and 255 where 8-bit pixels are made of deeper ones.
        crop: The part of the image that is shown in its place.
        drawn: What is painted over the pixels, in this order, after the crop.
        axes: Order of the axes in a volume's file; `xyz` is turned round when it is read.
        slice: Which slice of a volume is shown as the image; None where all of the file is.
    """

    path: str
    sha256: str | None
    kind: Literal["image", "volume"] = "image"
    size: Size = ()
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[float, ...] | None = None
    window: tuple[float, float] | None = None
    crop: "Crop | None" = None
    drawn: "tuple[Overlay, ...]" = ()
    axes: Literal["zyx", "xyz"] = "zyx"
    slice: int | None = None

    @property
    def record(self) -> "Media":
        """The record itself, as a `MediaHandle` has it too."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A half-open box: x1 y1 x2 y2, or z1 y1 x1 z2 y2 x2, in pixels of the original image."""

    corners: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Pixels (x, y) or voxels (x, y, z) of the original image; labels are 1 for foreground, 0 for background."""

    points: tuple[tuple[float, ...], ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A free-form region given to the model as a mask."""

    mask: Mask


VisualPrompt = Box | Points | Region


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A window of an image that is shown in its place; its first pixel becomes (0, 0).

    Attributes:
        corners: x1 y1 x2 y2 of the window in whole pixels of the original image, half-open.
        original: (H, W) of that image.
    """

    corners: tuple[int, int, int, int]
    original: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Paint over an image that points at something.

    Attributes:
        prompt: What is pointed at, in the frame of the image as shown.
        style: `outline` of a region or box, `fill` of a region, `dot` on each point.
        colour: Red, green, blue.
        width: Pixels of the line, or of the dot's radius; 0 for a fill.
        opacity: Percent of the colour in a painted pixel.
    """

    prompt: VisualPrompt
    style: Literal["outline", "fill", "dot"]
    colour: tuple[int, int, int]
    width: int
    opacity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entity:
    """A named thing and where it is; `mask` is None when the release names it without a mask."""

    name: str
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a perfect model would answer.

    Attributes:
        answers: Accepted texts, the first being the reference.
        choice: Letter of the right option.
        entities: Named masks.
        boxes: Reference boxes.
        caption_id: Identity of the matching text in a retrieval pool.
        absent: There is nothing to find: no mask is the right answer.
    """

    answers: tuple[str, ...] = ()
    choice: str | None = None
    entities: tuple[Entity, ...] = ()
    boxes: tuple[Box, ...] = ()
    caption_id: str | None = None
    absent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One question of a release, with its target.

    Attributes:
        id: `<dataset>/<split>/<source id>`.
        media: Images or volumes in the order the question means them.
        question: The release's own words; empty where the task's template asks.
        choices: Option texts in letter order.
        visual_prompts: What the release points at.
        target: What a perfect model would answer.
        strata: Lower-case value per stratum key.
        cluster: Patient, else study, else image: what is resampled together.
        defect: Why the sample cannot be asked (a missing or unreadable file); it becomes a `data_error`.
    """

    id: str
    media: tuple[Media, ...] = ()
    question: str = ""
    choices: tuple[str, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()
    target: Target = field(default_factory=Target)
    strata: Mapping[str, str] = field(default_factory=dict)
    cluster: str = ""
    defect: str | None = None


class MediaHandle(Protocol):
    """What an adapter holds for each image or volume of a request; see `harness.imaging.media_store.LocalMedia`."""

    @property
    def record(self) -> Media: ...

    @property
    def path(self) -> str: ...

    def image(self) -> Any: ...

    def volume(self) -> Any: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPart:
    """Words of a turn."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaPart:
    """An image or volume of a turn: a record in the plan, a handle at the model's door."""

    media: Media | MediaHandle


Part = TextPart | MediaPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn of the conversation that is put to the model."""

    role: Literal["system", "user", "assistant"]
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What the train split says of a target, for baselines that take `prior`.

    Attributes:
        answer: The most frequent train answer.
        answer_to_question: The most frequent train answer to this very question; None when train never asks it.
        choice: Of this request's options, the letter that is right most often in train.
        choice_to_question: The letter of the option that is `answer_to_question`; None when none is.
        mask: Pixels that are foreground in at least half of the train masks, in the frame of this request's image.
    """

    answer: str | None = None
    answer_to_question: str | None = None
    choice: str | None = None
    choice_to_question: str | None = None
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything a model may see of a sample, and no target.

    Attributes:
        kind: `generate`, `nll` (score each candidate as a continuation) or `embed`.
        wants: Which of text, masks, boxes, nll, embedding the task asks for.
        messages: The conversation; `<region>` and `<box>` stand in the text where a visual prompt is meant.
        visual_prompts: In the order of their marks, in the frame of the first image or volume as it is shown.
        candidates: Continuations (nll) or texts (embed).
        choices: For each option, in letter order, the reply that chooses it, where the task gives a choice in words.
        one_by_one: The images are slices of a volume that an adapter is handed each in a request of its own; its
            answers are put together by `harness.requests.volume_slices`.
        decoding: Generation settings of the task.
        repeat: 0-based number of the repetition.
        seed: Seed of the run, for models that draw.
        key: sha256 of the request and of the model's identity; the cache and resume key.
        sample_id, prior, target, oracle: Only for adapters that declare `per_sample` and take them.
    """

    kind: RequestKind = "generate"
    wants: tuple[str, ...] = ("text",)
    messages: tuple[Turn, ...] = ()
    visual_prompts: tuple[VisualPrompt, ...] = ()
    candidates: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    one_by_one: bool = False
    decoding: Mapping[str, Json] = field(default_factory=dict)
    repeat: int = 0
    seed: int = 0
    key: str = ""
    sample_id: str | None = None
    prior: Prior | None = None
    target: Target | None = None
    oracle: str | None = None

    @property
    def media(self) -> tuple[Media | MediaHandle, ...]:
        """Images and volumes of all turns, in order."""
        return tuple(part.media for turn in self.messages for part in turn.parts if isinstance(part, MediaPart))

    @property
    def images(self) -> tuple[Any, ...]:
        """Handles of the images, each with `.path`, `.size` and `.image()`."""
        return tuple(media for media in self.media if media.record.kind == "image")

    @property
    def volumes(self) -> tuple[Any, ...]:
        """Handles of the volumes, each with `.path`, `.size` and `.volume()`."""
        return tuple(media for media in self.media if media.record.kind == "volume")

    @property
    def prompt(self) -> str:
        """The words of the last user turn, without its images."""
        for turn in reversed(self.messages):
            if turn.role == "user":
                return "".join(part.text for part in turn.parts if isinstance(part, TextPart))
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """What went wrong, as data."""

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedEntity:
    """A named thing in a model's answer.

    Attributes:
        name: As the model wrote it.
        span: (start, end) of the name in the answer's text.
        mask: Index into the answer's masks; None when the model grounds it nowhere.
    """

    name: str
    span: tuple[int, int] | None = None
    mask: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The grid of a model's own space, on which it gives its masks.

    Attributes:
        size: (H, W) or (D, H, W).
        affine: Row-major 4 x 4 matrix from (x, y, z) voxels of the grid to millimetres, as `Media.affine`; None where
            the whole image or volume, as it was shown, was resized to `size`.
    """

    size: Size
    affine: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What an adapter returns for one request.

    Attributes:
        text: The reply, decoded.
        choice: A letter, for models that answer multiple choice without text.
        masks: Boolean arrays (H, W) or (D, H, W), or `Mask`, in the frame of the first image or volume as shown.
        soft_masks: Probabilities as float arrays of the same size; one per mask, or alone, which makes the pixels above
            0.5 the masks.
        grid: Where the masks lie on a grid of the model's own; they are brought to the frame by nearest neighbour.
        mask_scores: One confidence per mask.
        boxes: In the frame of the first image or volume as shown.
        entities: Names bound to masks.
        nll: Mean negative log likelihood per candidate.
        nll_tokens: How many tokens each mean in `nll` is over.
        embedding: One image vector and one text vector; the harness itself puts several image vectors first, one per
            slice of a volume.
        rendered: What was finally sent to the model, after chat template and special tokens.
        usage: Counts such as prompt and answer tokens.
        status: `truncated` when the model stopped at its token limit, `refused` when its interface says so.
        error: Set when this request failed; the others of the batch stand.
    """

    text: str | None = None
    choice: str | None = None
    masks: Sequence[Any] = ()
    soft_masks: Sequence[Any] = ()
    grid: Grid | None = None
    mask_scores: Sequence[float] = ()
    boxes: Sequence[Box] = ()
    entities: Sequence[PredictedEntity] = ()
    nll: Sequence[float] = ()
    nll_tokens: Sequence[int] = ()
    embedding: Sequence[Sequence[float]] = ()
    rendered: str | None = None
    usage: Mapping[str, float] = field(default_factory=dict)
    status: AnswerStatus = "ok"
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One finished request: an `Answer` after the harness has checked and encoded it. Stored by key.

    Its masks are in the frame of the original image; `grid` says where the model gave them on another.
    """

    key: str
    status: PredictionStatus
    text: str | None = None
    choice: str | None = None
    masks: tuple[Mask, ...] = ()
    soft_masks: tuple[SoftMask, ...] = ()
    grid: Grid | None = None
    mask_scores: tuple[float, ...] = ()
    boxes: tuple[Box, ...] = ()
    entities: tuple[PredictedEntity, ...] = ()
    nll: tuple[float, ...] = ()
    nll_tokens: tuple[int, ...] = ()
    embedding: tuple[tuple[float, ...], ...] = ()
    rendered: str | None = None
    seconds: float = 0.0
    usage: Mapping[str, float] = field(default_factory=dict)
    error: ErrorInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One sample under one metric and protocol.

    Attributes:
        values: One number per name of the metric's table row; empty unless `status` is ok or unparsed.
        stats: The short tuple of floats that the metric's table row names; sums of it give pooled values.
        failed: The worst value stands in for a prediction that failed.
        detail: What the metric says of this sample beyond its numbers: the rule that fired, or what it raised.
    """

    sample_id: str
    repeat: int
    metric: str
    protocol: str
    status: ScoreStatus
    values: tuple[float | None, ...] = ()
    stats: tuple[float, ...] = ()
    failed: bool = False
    detail: Mapping[str, Json] = field(default_factory=dict)
    cluster: str = ""
    strata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One number of `results.json`.

    Attributes:
        metric, protocol, protocol_version: The table row it comes from.
        name: The metric's named value (`recall` of `token_prf`).
        stratum: One key and its lower-case value; None for the whole task.
        mean: `micro` (mean over samples), `macro` (unweighted mean over strata) or `pooled` (from summed stats).
        value: Natural, never percent; None when no number exists.
        ci: 95 % interval; None with fewer than 5 clusters.
        ci_method: `bca`, `percentile`, `delta` or `none`.
        n: Samples in the mean, failed ones included.
        clusters: Clusters that were resampled.
        undefined, failed, unparsed: Samples so counted.
        note: Why `value` is None, or what a reader must know.
    """

    metric: str
    name: str
    protocol: str
    protocol_version: int
    higher_is_better: bool
    stratum: Mapping[str, str] | None
    mean: Literal["micro", "macro", "pooled"]
    value: float | None
    ci: tuple[float, float] | None
    ci_method: str
    n: int
    clusters: int
    undefined: int
    failed: int
    unparsed: int
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one copy of a model needs."""

    cpus: float = 1.0
    gpus: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a model takes and gives; decided before any weight is loaded.

    Attributes:
        takes: Of text, image, images, volume, point, box, region; `prior` and `target` only with `per_sample`.
        gives: Of text, nll, masks, boxes, embedding.
        max_images: Most images in one request.
        max_batch: Most requests in one call of `predict`.
        batch_invariant: An answer does not depend on what else is in the batch, to the byte.
        per_sample: Requests also carry `sample_id`, and `prior` or `target` where `takes` names them.
        execution_only: Model arguments that cannot change an answer (device, sleep); left out of the key.
        weights: Files or folders whose bytes belong to the model's identity.
        resources: CPUs and GPUs of one copy.
    """

    takes: frozenset[str] = frozenset({"text", "image"})
    gives: frozenset[str] = frozenset({"text"})
    max_images: int = 1
    max_batch: int = 1
    batch_invariant: bool = False
    per_sample: bool = False
    execution_only: frozenset[str] = frozenset()
    weights: tuple[str, ...] = ()
    resources: Resources = field(default_factory=Resources)


class Adapter(Protocol):
    """The only thing a submitter writes. Arguments of `--model-args` come to `__init__` by keyword."""

    def capabilities(self) -> Capabilities:
        """Say what the model takes and gives; cheap: no weights, no heavy import."""
        ...

    def load(self, device: str) -> None:
        """Bring the model to `device` (`cpu`, `cuda:0`, ...); called once per process."""
        ...

    def predict(self, requests: Sequence[Request]) -> Sequence[Answer]:
        """Answer a batch: one `Answer` per request, in the same order."""
        ...

"""The answer that an adapter returns for a request, before the harness has checked it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.records.values import Size
from harness.records.visual_prompts import Box

AnswerStatus = Literal["ok", "truncated", "refused"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """An error as data, so that it can be stored with the prediction.

    Attributes:
        type: Name of the exception, or any short name of your own. `Timeout` is stored with the status `timeout`.
            `Stop` says that the request was not asked and that the run cannot go on, as when a budget is spent: nothing
            is stored for it, what else the batch holds is, and the run ends resumably with the message.
        message: The message for people to read.
        traceback: The traceback, if there is one.
    """

    type: str
    message: str
    traceback: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedEntity:
    """A named thing in a model's answer, and the mask it is grounded in.

    Attributes:
        name: The name as the model wrote it.
        span: (start, end) of the name in the answer's text, in characters, half-open.
        mask: Index into the answer's masks; None if the model grounds the entity nowhere.
    """

    name: str
    span: tuple[int, int] | None = None
    mask: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The grid on which a model gives its masks, if that is not the grid of the image or volume it was given.

    Attributes:
        size: (H, W) or (D, H, W) of the grid.
        affine: Row-major 4 x 4 matrix from (x, y, z) voxels of the grid to millimetres, as in `Media.affine`. None
            means that the whole image or volume was resized to `size`.
    """

    size: Size
    affine: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An adapter's answer to one request. Fill the fields that the request's `wants` names.

    Masks and boxes lie in the frame of the first image or volume of the request as its handle returns it, that is after
    cropping; the harness brings them to the original image. A model that finds nothing says so with a mask without
    foreground: an answer that holds nothing of what the request wants is stored as `empty`, which scores the worst
    value unless there is nothing to find.

    Attributes:
        text: The reply, decoded, without special tokens.
        choice: A letter, for models that answer multiple choice without text.
        masks: Boolean arrays (H, W) or (D, H, W), or `Mask` records.
        soft_masks: Probabilities in [0, 1] as float arrays of the same shape. Give one per mask, or give them alone:
            the masks are then the pixels above 0.5.
        grid: The grid of all masks and soft masks, if the model has a grid of its own. They are brought to the image
            or volume by nearest neighbour.
        mask_scores: One confidence per mask; higher is more confident.
        boxes: Half-open boxes in pixels, x1 y1 x2 y2 (3-D: z1 y1 x1 z2 y2 x2).
        points: Positions in pixels, (x, y) or (x, y, z); the centre of pixel i lies at i + 0.5.
        entities: Names that are bound to masks.
        nll: Mean negative log likelihood per token of each of the request's candidates, in their order.
        nll_tokens: The number of tokens behind each mean in `nll`.
        embedding: One image vector and one text vector. When the harness itself asks slice by slice, it puts together
            several image vectors, one per slice, before the text vector.
        rendered: The prompt that finally went into the model, after chat template and special tokens.
        usage: Counts such as the tokens of prompt and answer.
        status: `truncated` if the model stopped at its token limit, `refused` if its interface reports a refusal.
        error: Set this if only this request failed; the other answers of the batch remain valid.
        remarks: What was changed in reading the answer, one sentence each; those of submitted predictions are listed in
            `problems.jsonl`.
        read_as: The dialect and the frame in which the harness has read the text; nothing else reads boxes in it then.
    """

    text: str | None = None
    choice: str | None = None
    # Arrays are typed Any, because naming their type would import numpy with every `import harness`.
    masks: Sequence[Any] = ()
    soft_masks: Sequence[Any] = ()
    grid: Grid | None = None
    mask_scores: Sequence[float] = ()
    boxes: Sequence[Box] = ()
    points: Sequence[tuple[float, ...]] = ()
    entities: Sequence[PredictedEntity] = ()
    nll: Sequence[float] = ()
    nll_tokens: Sequence[int] = ()
    embedding: Sequence[Sequence[float]] = ()
    rendered: str | None = None
    usage: Mapping[str, float] = field(default_factory=dict)
    status: AnswerStatus = "ok"
    error: ErrorInfo | None = None
    remarks: Sequence[str] = ()
    read_as: str | None = None

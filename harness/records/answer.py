"""What an adapter returns for a request, before the harness has checked it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.records.values import Size
from harness.records.visual_prompts import Box

AnswerStatus = Literal["ok", "truncated", "refused"]


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

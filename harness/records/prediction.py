"""The prediction: an answer that the harness has checked and encoded, with its status."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from harness.records.answer import ErrorInfo, Grid, PredictedEntity
from harness.records.masks import Mask, SoftMask
from harness.records.visual_prompts import Box

PredictionStatus = Literal["ok", "truncated", "empty", "refused", "model_error", "timeout", "data_error"]

PREDICTION_STATUSES: tuple[PredictionStatus, ...] = (
    "ok",
    "truncated",
    "empty",
    "refused",
    "model_error",
    "timeout",
    "data_error",
)
# These score the worst value and stay in the denominator, so that a model gains nothing by not answering (but `empty`
# is a valid answer if there is nothing to find). `data_error` is left out: a broken file is not the model's fault.
FAILED: frozenset[str] = frozenset({"empty", "refused", "model_error", "timeout"})
# These count against `--max-failures`, because something broke; an empty or refused answer is the model's answer.
FAULTS: frozenset[str] = frozenset({"model_error", "timeout", "data_error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One finished request: an `Answer` that the harness has checked and encoded, stored under the request's key.

    The fields are those of `Answer`, except that masks and boxes lie in the frame of the original image or volume.

    Attributes:
        key: The key of the request.
        status: One of `PREDICTION_STATUSES`.
        grid: The model's own grid, if the masks were given on one and brought to the image.
        seconds: Time the model took for this request, in seconds.
        error: The error, if `status` is `model_error`, `timeout` or `data_error`.
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
    points: tuple[tuple[float, ...], ...] = ()
    entities: tuple[PredictedEntity, ...] = ()
    nll: tuple[float, ...] = ()
    nll_tokens: tuple[int, ...] = ()
    embedding: tuple[tuple[float, ...], ...] = ()
    rendered: str | None = None
    seconds: float = 0.0
    usage: Mapping[str, float] = field(default_factory=dict)
    error: ErrorInfo | None = None
    remarks: tuple[str, ...] = ()
    read_as: str | None = None

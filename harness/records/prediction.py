"""A finished request, checked and encoded, and the statuses it may have."""

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
FAILED: frozenset[str] = frozenset({"empty", "refused", "model_error", "timeout"})
"""Prediction statuses that score the worst value and stay in the denominator."""
FAULTS: frozenset[str] = frozenset({"model_error", "timeout", "data_error"})
"""Prediction statuses that `--max-failures` counts: something broke, as against a model that answered badly."""


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

"""The records that travel through an evaluation, from a release's sample to a score.

All are frozen. Arrays are (H, W) or (D, H, W); points are (x, y); boxes are half-open xyxy in pixels of the original
image (3-D: z1 y1 x1 z2 y2 x2). Masks are run-length encoded everywhere; see `harness.imaging.masks`.
"""

from harness.records.adapter import Adapter, Capabilities, Resources
from harness.records.answer import Answer, AnswerStatus, ErrorInfo, Grid, PredictedEntity
from harness.records.masks import Mask, SoftMask
from harness.records.media import Crop, Media, MediaHandle, Overlay
from harness.records.prediction import FAILED, FAULTS, PREDICTION_STATUSES, Prediction, PredictionStatus
from harness.records.request import MediaPart, Part, Prior, Request, RequestKind, TextPart, Turn
from harness.records.sample import Entity, Sample, Target
from harness.records.score import Result, Score, ScoreStatus
from harness.records.values import Json, Size
from harness.records.visual_prompts import Box, Points, Region, VisualPrompt

__all__ = [
    "FAILED",
    "FAULTS",
    "PREDICTION_STATUSES",
    "Adapter",
    "Answer",
    "AnswerStatus",
    "Box",
    "Capabilities",
    "Crop",
    "Entity",
    "ErrorInfo",
    "Grid",
    "Json",
    "Mask",
    "Media",
    "MediaHandle",
    "MediaPart",
    "Overlay",
    "Part",
    "Points",
    "PredictedEntity",
    "Prediction",
    "PredictionStatus",
    "Prior",
    "Region",
    "Request",
    "RequestKind",
    "Resources",
    "Result",
    "Sample",
    "Score",
    "ScoreStatus",
    "Size",
    "SoftMask",
    "Target",
    "TextPart",
    "Turn",
    "VisualPrompt",
]

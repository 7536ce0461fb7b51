"""The records that travel through an evaluation, from a sample of a release to its score.

Read them in the order in which they come up:

1. `media.py`, `masks.py` and `visual_prompts.py`: images, volumes, masks and visual prompts.
2. `sample.py`: a question of a release with its target.
3. `request.py`: a question as a model receives it.
4. `adapter.py` and `answer.py`: the interface that a submitter implements, and its answers.
5. `prediction.py`: the answer once the harness has checked it.
6. `judgement.py`: what a judge said of an answer.
7. `score.py`: the score of a prediction, and the results made of scores.

All records are frozen and share these conventions, axis by axis:

- Arrays are (H, W) for an image and (D, H, W) = (z, y, x) for a volume, which is held in the orientation closest to
  RAS+. Sizes follow the same order.
- Points are (x, y) or (x, y, z). Pixel i covers [i, i + 1), and a point names a pixel, not its centre.
- Boxes are half-open: x1 y1 x2 y2, or z1 y1 x1 z2 y2 x2 in 3-D. A box around one pixel is (x, y, x + 1, y + 1).
- Coordinates are pixels or voxels of the original image or volume unless a field says otherwise. Lengths are
  millimetres.
- Masks are run-length encoded everywhere; `harness.imaging.masks` encodes and decodes them.

Field names, order and defaults are the stored format: see `codec.py` before you change one.
"""

from harness.records.adapter import Adapter, Capabilities, Resources
from harness.records.answer import Answer, AnswerStatus, ErrorInfo, Grid, PredictedEntity
from harness.records.judgement import Judgement, JudgementStatus
from harness.records.masks import Mask, SoftMask
from harness.records.media import Crop, Media, MediaHandle, Overlay, View
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
    "Judgement",
    "JudgementStatus",
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
    "View",
    "VisualPrompt",
]

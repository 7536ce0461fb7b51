"""Visual prompts, one mask each: what a request asks of a segmenter, in an image or slice by slice in a volume."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, floor
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.imaging.media_store import SLICE_PERCENTILES, SLICE_VOXELS
from harness.imaging.windowing import limits, windowed
from harness.models.segmenters.encoding import Embedded, Encoder
from harness.records import Answer, Box, ErrorInfo, Points, Request, VisualPrompt


class Segmenter(Protocol):
    """A loaded model that gives a mask for each box or set of points.

    Attributes:
        encoder: Turns images into what `segment` takes.
    """

    encoder: Encoder

    def segment(self, image: Embedded, prompt: Box | Points) -> tuple[NDArray[np.bool_], float]:
        """Return the mask (H, W) of one thing, and the IoU that the model predicts for it.

        Args:
            image: From the encoder.
            prompt: x1 y1 x2 y2 within the image, or (x, y) of pixels of it with their labels.
        """
        ...


class Slices:
    """The axial slices of a volume in 8 bits, by the rule of slices that are shown as images.

    Args:
        handle: Of the volume, read when the first slice is asked for.
    """

    def __init__(self, handle: Any) -> None:
        self.handle = handle
        self._window: tuple[float, float] | None = handle.record.window

    def slice_of(self, z: int) -> Callable[[], NDArray[np.uint8]]:
        """Return what returns one slice as uint8 (H, W, 3)."""

        def image() -> NDArray[np.uint8]:
            voxels = self.handle.volume()
            if self._window is None:
                step = -(-voxels.size // SLICE_VOXELS)
                self._window = limits(SLICE_PERCENTILES, voxels.reshape(-1)[::step], self.handle.record.path)
            return np.repeat(windowed(voxels[z], self._window)[:, :, None], 3, axis=2)

        return image


def answered(request: Request, answer: Callable[[Request], Answer]) -> Answer:
    """Return a segmenter's answer to a request about an image or a volume, errors included."""
    try:
        if not request.media:
            raise ModelError("expected an image or a volume, found a request without either")
        return answer(request)
    except ModelError as error:
        return Answer(error=ErrorInfo(type="ModelError", message=str(error)))


def by_prompts(segmenter: Segmenter, request: Request) -> Answer:
    """Return the masks of a request's prompts in their order, with the model's own estimates of their IoU.

    What lies beside the image is cut off: a box is clipped, and points there are left out. A prompt of which nothing
    is left, or no point of the foreground, gives a mask without foreground and the score 0. In a volume a box is asked
    for in each slice of its range, and points in their own slices; the score is the mean over these slices.

    Args:
        segmenter: Loaded.
        request: With an image or a volume.
    Raises:
        ModelError: It has no visual prompt, or one that is neither a box nor points of as many axes as the image.
    """
    if not request.visual_prompts:
        raise ModelError("expected a box or points to segment by, found a request without either")
    flat = bool(request.images)
    handle = request.images[0] if flat else request.volumes[0]
    slices = None if flat else Slices(handle)
    found: list[tuple[NDArray[np.bool_], float]] = []
    for prompt in request.visual_prompts:
        if slices is None:
            shown = segmenter.encoder.embedded(pixels_of(handle), handle.image)
            inside = _inside(_checked(prompt, axes=2), shown.size)
            nothing = np.zeros(shown.size, dtype=np.bool_), 0.0
            found.append(nothing if inside is None else segmenter.segment(shown, inside))
            continue
        mask, scores = np.zeros(handle.record.size, dtype=np.bool_), []
        for z, prompt_of_slice in _by_slice(_checked(prompt, axes=3), len(mask)):
            inside = _inside(prompt_of_slice, mask.shape[1:])
            if inside is not None:
                shown = segmenter.encoder.embedded((pixels_of(handle), z), slices.slice_of(z))
                mask[z], score = segmenter.segment(shown, inside)
                scores.append(score)
        found.append((mask, sum(scores) / len(scores) if scores else 0.0))
    return Answer(
        masks=[mask for mask, _ in found],
        mask_scores=[score for _, score in found],
        rendered="\n".join(map(_words, request.visual_prompts)),
    )


def pixels_of(handle: Any) -> object:
    """Return what decides the pixels of an image or volume, wherever its file lies."""
    return replace(handle.record, path="")


def _checked(prompt: VisualPrompt, axes: int) -> Box | Points:
    """Return a prompt that is a box or points of as many axes.

    Raises:
        ModelError: It is another.
    """
    numbers: set[int] = set()
    if isinstance(prompt, Box):
        numbers = {len(prompt.corners) // 2}
    elif isinstance(prompt, Points):
        numbers = {len(point) for point in prompt.points}
    if not isinstance(prompt, Box | Points) or numbers != {axes}:
        raise ModelError(f"expected a box or points in {axes} dimensions, found {_words(prompt)}")
    return prompt


def _inside(prompt: Box | Points, size: Sequence[int]) -> Box | Points | None:
    """Return what of a prompt lies in an image of (H, W); None if that names nothing to segment."""
    height, width = size
    if isinstance(prompt, Points):
        signs = zip(prompt.points, prompt.labels, strict=True)
        kept = [(point, label) for point, label in signs if 0 <= point[0] < width and 0 <= point[1] < height]
        # Background alone names nothing to segment.
        if not any(label for _, label in kept):
            return None
        return Points(points=tuple(point for point, _ in kept), labels=tuple(label for _, label in kept))
    x1, y1, x2, y2 = prompt.corners
    x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    return Box(corners=(x1, y1, x2, y2)) if x1 < x2 and y1 < y2 else None


def _by_slice(prompt: Box | Points, depth: int) -> list[tuple[int, Box | Points]]:
    """Return the slices that a 3-D prompt touches, each with what of the prompt lies in it."""
    if isinstance(prompt, Box):
        z1, y1, x1, z2, y2, x2 = prompt.corners
        flat = Box(corners=(x1, y1, x2, y2))
        # A slice belongs to the box if the box covers some of its thickness.
        return [(z, flat) for z in range(max(0, floor(z1)), min(depth, ceil(z2)))]
    places: dict[int, list[int]] = {}
    for index, point in enumerate(prompt.points):
        places.setdefault(floor(point[2]), []).append(index)
    return [
        (
            z,
            Points(
                points=tuple(prompt.points[index][:2] for index in places[z]),
                labels=tuple(prompt.labels[index] for index in places[z]),
            ),
        )
        for z in sorted(places)
        if 0 <= z < depth
    ]


def _words(prompt: VisualPrompt) -> str:
    if isinstance(prompt, Box):
        return f"box {', '.join(f'{corner:g}' for corner in prompt.corners)}"
    if isinstance(prompt, Points):
        signs = zip(prompt.points, prompt.labels, strict=True)
        marked = (f"{'+' if label else '-'}({', '.join(f'{place:g}' for place in point)})" for point, label in signs)
        return f"points {' '.join(marked)}"
    return "a region"

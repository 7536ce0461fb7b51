"""The model `sam:PATH_OR_NAME`: SAM, MedSAM, SAM 2 and SAM 3, prompted by boxes and points."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError, SpecError
from harness.imaging.media_store import SLICE_PERCENTILES, SLICE_VOXELS
from harness.imaging.windowing import limits, windowed
from harness.models.segmenters import checkpoint
from harness.models.segmenters.promptable import Promptable
from harness.records import Answer, Box, Capabilities, ErrorInfo, Points, Request, Resources, VisualPrompt

NEEDED = ("torch", "transformers")
DTYPES = ("auto", "float32", "bfloat16", "float16")
MAX_BATCH = 64


class Sam:
    """A segmenter of the SAM family, by transformers' own classes.

    Every visual prompt of a request names one thing and gives one mask, in their order: of the masks that the model
    proposes for it the one with the highest IoU by the model's own estimate, which becomes the mask's score. Points of
    one prompt belong together. A volume is segmented slice by slice as it is stored: a box in the slices of its range,
    points in their own slices.

    Args:
        model: A folder, or a name on the hub.
        dtype: One of DTYPES; `auto` is that of the checkpoint.
        revision: Branch, tag or commit on the hub.
        multimask: False for a model that was trained to give one mask for a prompt, as MedSAM was.
        gpus: GPUs of one copy of the model; None: one, where there is any.

    Raises:
        SpecError: There is no such model, an argument has another form, or a package is missing.
    """

    version = "1"

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        revision: str | None = None,
        multimask: bool = True,
        gpus: float | None = None,
    ) -> None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise SpecError(f"--model sam: needs {', '.join(missing)}, not installed; pip install 'medground[models]'")
        if dtype not in DTYPES:
            raise SpecError(f"--model-args dtype: expected {' or '.join(DTYPES)}, found {dtype!r}")
        if type(multimask) is not bool:
            raise SpecError(f"--model-args multimask: expected true or false, found {multimask!r}")
        self.dtype, self.multimask, self.gpus = dtype, multimask, gpus
        self.checkpoint = checkpoint.find(str(model), revision=revision)

    def capabilities(self) -> Capabilities:
        """Return what the family takes and gives."""
        return Capabilities(
            takes=frozenset({"image", "volume", "box", "point"}),
            gives=frozenset({"masks"}),
            max_batch=MAX_BATCH,
            # Images are encoded, and prompts decoded, one at a time.
            batch_invariant=True,
            execution_only=frozenset({"gpus"}),
            weights=(str(self.checkpoint.weights),),
            resources=Resources(gpus=self.gpus),
        )

    def load(self, device: str) -> None:
        """Read the weights.

        Raises:
            ModelError: transformers cannot load the checkpoint.
        """
        self.segmenter = Promptable(self.checkpoint, device=device, dtype=self.dtype, multimask=self.multimask)

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the masks of each request's prompts, in their order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        try:
            if not request.media:
                raise ModelError("expected an image or a volume, found a request without either")
            if not request.visual_prompts:
                raise ModelError("expected a box or points to segment by, found a request without either")
            prompts = request.visual_prompts
            found = self._in_image(request) if request.images else self._in_volume(request)
        except ModelError as error:
            return Answer(error=ErrorInfo(type="ModelError", message=str(error)))
        masks, scores = zip(*found, strict=True)
        return Answer(masks=masks, mask_scores=scores, rendered="\n".join(map(_words, prompts)))

    def _in_image(self, request: Request) -> list[tuple[NDArray[np.bool_], float]]:
        media = request.images[0]
        shown = self.segmenter.embedded(replace(media.record, path=""), media.image)
        found = []
        for prompt in request.visual_prompts:
            inside = _inside(_checked(prompt, axes=2), shown.size)
            # A box of a text model may lie beside the image; a thing that is not there has no pixel.
            nothing = np.zeros(shown.size, dtype=np.bool_), 0.0
            found.append(nothing if inside is None else self.segmenter.segment(shown, inside))
        return found

    def _in_volume(self, request: Request) -> list[tuple[NDArray[np.bool_], float]]:
        """Return (D, H, W) masks, each with the mean score of its slices."""
        handle = request.volumes[0]
        volume = _Slices(handle)
        found = []
        for prompt in request.visual_prompts:
            mask, scores = np.zeros(handle.record.size, dtype=np.bool_), []
            for z, flat in _by_slice(_checked(prompt, axes=3), len(mask)):
                key = (replace(handle.record, path=""), z)
                shown = self.segmenter.embedded(key, volume.slice_of(z))
                inside = _inside(flat, shown.size)
                if inside is not None:
                    mask[z], score = self.segmenter.segment(shown, inside)
                    scores.append(score)
            found.append((mask, sum(scores) / len(scores) if scores else 0.0))
        return found


class _Slices:
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
    """Return a box clipped to an image of (H, W); None if nothing of it is inside. Points stay as they are."""
    if isinstance(prompt, Points):
        return prompt
    height, width = size
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
        # Background alone names nothing to segment.
        if 0 <= z < depth and any(prompt.labels[index] for index in places[z])
    ]


def _words(prompt: VisualPrompt) -> str:
    if isinstance(prompt, Box):
        return f"box {', '.join(f'{corner:g}' for corner in prompt.corners)}"
    if isinstance(prompt, Points):
        signs = zip(prompt.points, prompt.labels, strict=True)
        marked = (f"{'+' if label else '-'}({', '.join(f'{place:g}' for place in point)})" for point, label in signs)
        return f"points {' '.join(marked)}"
    return "a region"

"""The model `sam:PATH_OR_NAME`: SAM, MedSAM, SAM 2 and SAM 3, prompted by boxes and points, SAM 3 also by words."""

import importlib.util
import re
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
from harness.models.segmenters.concepts import MOST_TOKENS, Concepts
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
    points in their own slices, a concept in all of them.

    SAM 3 also takes words: where a request has no visual prompt, they name a concept, and each of its instances gives a
    mask. Beside visual prompts words are not read.

    Args:
        model: A folder, or a name on the hub.
        dtype: One of DTYPES; `auto` is that of the checkpoint.
        revision: Branch, tag or commit on the hub.
        multimask: False for a model that was trained to give one mask for a prompt, as MedSAM was.
        concept: Regular expression whose first group is the concept within a question, such as `segment the (.+)\\.`;
            None: all of the question. A question that it does not match is an error.
        threshold: The least score of an instance of a concept, in [0, 1]; 0.5 as in the released code of SAM 3.
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
        concept: str | None = None,
        threshold: float = 0.5,
        gpus: float | None = None,
    ) -> None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise SpecError(f"--model sam: needs {', '.join(missing)}, not installed; pip install 'medground[models]'")
        if dtype not in DTYPES:
            raise SpecError(f"--model-args dtype: expected {' or '.join(DTYPES)}, found {dtype!r}")
        if type(multimask) is not bool:
            raise SpecError(f"--model-args multimask: expected true or false, found {multimask!r}")
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise SpecError(f"--model-args threshold: expected a number from 0 to 1, found {threshold!r}")
        try:
            self.concept = None if concept is None else re.compile(str(concept), re.IGNORECASE)
        except re.error as error:
            raise SpecError(f"--model-args concept: {concept!r} is no regular expression: {error}") from error
        if self.concept is not None and not self.concept.groups:
            raise SpecError(f"--model-args concept: expected a group around the concept, as in (.+), found {concept!r}")
        self.dtype, self.multimask, self.threshold, self.gpus = dtype, multimask, threshold, gpus
        self.checkpoint = checkpoint.find(str(model), revision=revision)

    def capabilities(self) -> Capabilities:
        """Return what the checkpoint takes and gives."""
        kind = self.checkpoint.kind
        by_words = {"text"} if kind.concepts else set()
        return Capabilities(
            takes=frozenset({"image", "volume", *by_words, *({"box", "point"} if kind.points else ())}),
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
        kind, how = self.checkpoint.kind, {"device": device, "dtype": self.dtype}
        self.segmenter = Promptable(self.checkpoint, multimask=self.multimask, **how) if kind.points else None
        self.concepts = Concepts(self.checkpoint, threshold=self.threshold, **how) if kind.concepts else None

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the masks of each request's prompts, in their order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        try:
            if not request.media:
                raise ModelError("expected an image or a volume, found a request without either")
            if request.visual_prompts and self.segmenter is not None:
                return self._by_prompts(self.segmenter, request)
            if self.concepts is not None:
                return self._by_words(self.concepts, request)
            raise ModelError("expected a box or points to segment by, found a request without either")
        except ModelError as error:
            return Answer(error=ErrorInfo(type="ModelError", message=str(error)))

    def _by_prompts(self, segmenter: Promptable, request: Request) -> Answer:
        flat = bool(request.images)
        handle = request.images[0] if flat else request.volumes[0]
        slices = None if flat else _Slices(handle)
        found: list[tuple[NDArray[np.bool_], float]] = []
        for prompt in request.visual_prompts:
            if slices is None:
                shown = segmenter.encoder.embedded(_pixels_of(handle), handle.image)
                inside = _inside(_checked(prompt, axes=2), shown.size)
                # A box of a text model may lie beside the image; a thing that is not there has no pixel.
                nothing = np.zeros(shown.size, dtype=np.bool_), 0.0
                found.append(nothing if inside is None else segmenter.segment(shown, inside))
                continue
            mask, scores = np.zeros(handle.record.size, dtype=np.bool_), []
            for z, prompt_of_slice in _by_slice(_checked(prompt, axes=3), len(mask)):
                inside = _inside(prompt_of_slice, mask.shape[1:])
                if inside is not None:
                    shown = segmenter.encoder.embedded((_pixels_of(handle), z), slices.slice_of(z))
                    mask[z], score = segmenter.segment(shown, inside)
                    scores.append(score)
            found.append((mask, sum(scores) / len(scores) if scores else 0.0))
        return Answer(
            masks=[mask for mask, _ in found],
            mask_scores=[score for _, score in found],
            rendered="\n".join(map(_words, request.visual_prompts)),
        )

    def _by_words(self, segmenter: Concepts, request: Request) -> Answer:
        question = request.prompt.strip()
        matched = None if self.concept is None else self.concept.search(question)
        if self.concept is not None and matched is None:
            raise ModelError(f"--model-args concept: {self.concept.pattern!r} does not match the question {question!r}")
        concept = question if matched is None else matched[1]
        if not concept:
            raise ModelError("expected a concept in words, found a request without words")
        length = segmenter.length(concept)
        cut = (f"the concept has {length} tokens; the model reads the first {MOST_TOKENS}",)
        if request.images:
            handle = request.images[0]
            shown = segmenter.encoder.embedded(_pixels_of(handle), handle.image)
            found = segmenter.segment(shown, concept)
        else:
            handle = request.volumes[0]
            slices, mask, scores = _Slices(handle), np.zeros(handle.record.size, dtype=np.bool_), []
            # The instances of one slice are not matched with those of the next: a volume has one mask.
            for z in range(len(mask)):
                shown = segmenter.encoder.embedded((_pixels_of(handle), z), slices.slice_of(z))
                for instance, score in segmenter.segment(shown, concept):
                    mask[z] |= instance
                    scores.append(score)
            found = [(mask, sum(scores) / len(scores))] if scores else []
        nothing = [(np.zeros(handle.record.size, dtype=np.bool_), 0.0)]  # says that there is none
        return Answer(
            masks=[mask for mask, _ in found or nothing],
            mask_scores=[score for _, score in found or nothing],
            rendered=concept,
            remarks=cut if length > MOST_TOKENS else (),
        )


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


def _pixels_of(handle: Any) -> object:
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

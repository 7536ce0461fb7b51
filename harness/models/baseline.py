"""The baselines: what an answer is worth that took no learning."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from harness import masks
from harness.errors import SpecError, nearest
from harness.records import Adapter, Answer, Box, Capabilities, Points, PredictedEntity, Region, Request, Size, Target

ANYTHING = frozenset({"text", "image", "images", "volume", "point", "box", "region"})
GIVES_ALL = frozenset({"text", "masks", "boxes", "nll"})


class _Baseline(ABC):
    """Shared shape of the baselines: nothing to load, one answer per request, no randomness but the key."""

    version = "1"
    gives: frozenset[str] = GIVES_ALL
    takes: frozenset[str] = ANYTHING
    per_sample = False

    def capabilities(self) -> Capabilities:
        """Take anything a task may show; identical whatever the batch."""
        return Capabilities(
            takes=self.takes,
            gives=self.gives,
            max_images=1000,
            max_batch=1024,
            batch_invariant=True,
            per_sample=self.per_sample,
        )

    def load(self, device: str) -> None:  # noqa: B027 - every baseline is ready once built
        """Do nothing: a baseline has no weights."""

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer each request by itself."""
        return [self.answer(request) for request in requests]

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """Return the baseline's answer to one request."""


class Empty(_Baseline):
    """Says nothing and marks nothing: the floor of every metric."""

    def answer(self, request: Request) -> Answer:  # noqa: ARG002
        """Return an answer with nothing in it."""
        return Answer(text="")


class Oracle(_Baseline):
    """Answers with the target: the ceiling, and a check of the task itself. Enters no board."""

    gives = GIVES_ALL | {"embedding"}
    takes = ANYTHING | {"target"}
    per_sample = True

    def answer(self, request: Request) -> Answer:
        """Return the target as a perfect model would put it."""
        target = request.target
        assert target is not None
        found = [] if target.absent else [entity for entity in target.entities if entity.mask is not None]
        nll = _nll_of_choice(target, len(request.candidates))
        return Answer(
            text=request.oracle,
            choice=target.choice,
            masks=tuple(entity.mask for entity in found),
            mask_scores=(1.0,) * len(found),
            entities=tuple(PredictedEntity(name=entity.name, mask=index) for index, entity in enumerate(found)),
            boxes=target.boxes,
            nll=nll,
            nll_tokens=(1,) * len(nll),
        )


class Majority(_Baseline):
    """Answers with the train split's most frequent answer, or with the pixels most train masks share.

    Args:
        by: `question` answers with the most frequent train answer to the same question, where train asks it.
    """

    gives = frozenset({"text", "masks"})
    takes = ANYTHING | {"prior"}
    per_sample = True

    def __init__(self, *, by: str | None = None) -> None:
        if by not in (None, "question"):
            raise SpecError(f"baseline:majority: by: expected 'question', got '{by}'")
        self.by = by

    def answer(self, request: Request) -> Answer:
        """Return the prior's answer or mask."""
        prior = request.prior
        assert prior is not None
        if "masks" in request.wants and prior.mask is not None:
            return Answer(masks=(prior.mask,), mask_scores=(1.0,))
        by_question = prior.answer_to_question if self.by == "question" else None
        return Answer(text=by_question if by_question is not None else prior.answer)


class Random(_Baseline):
    """Draws by the hash of the request's key: an option, a yes or no, a rectangle. The same draw on every run."""

    gives = frozenset({"text", "masks", "nll"})

    def answer(self, request: Request) -> Answer:
        """Return a draw that fits what is asked for."""
        draw = np.random.default_rng(int.from_bytes(hashlib.sha256(request.key.encode()).digest()[:8], "big"))
        nll = tuple(float(value) for value in draw.random(len(request.candidates)))
        text = ("yes", "no")[int(draw.integers(2))] if "text" in request.wants else None
        answer = Answer(text=text, nll=nll, nll_tokens=(1,) * len(nll))
        if "masks" not in request.wants:
            return answer
        return replace(answer, masks=(masks.from_box(_random_box(draw, _size(request)), _size(request)),))


class CenterBox(_Baseline):
    """Marks the prompted box, else the central rectangle of half the image's height and width."""

    gives = frozenset({"masks"})

    def answer(self, request: Request) -> Answer:
        """Return one filled rectangle."""
        size = _size(request)
        return Answer(masks=(masks.from_box(_prompted_box(request) or _central_box(size), size),), mask_scores=(1.0,))


class Otsu(_Baseline):
    """Splits grey values at Otsu's threshold and marks the smaller side, inside the prompted box where there is one."""

    gives = frozenset({"masks"})
    takes = frozenset({"text", "image", "point", "box", "region"})

    def answer(self, request: Request) -> Answer:
        """Return one mask segmented from the pixels."""
        pixels = request.images[0].image()
        box = _prompted_box(request)
        mask = np.zeros(pixels.shape[:2], dtype=bool)
        window = _window(box, pixels.shape[:2])
        mask[window] = _smaller_side(_grey(pixels)[window])
        return Answer(masks=(mask,), mask_scores=(1.0,))


BASELINES: dict[str, Callable[[], Adapter]] = {
    "random": Random,
    "empty": Empty,
    "oracle": Oracle,
    "center-box": CenterBox,
    "otsu": Otsu,
}


def build(name: str = "", *, by: str | None = None) -> Adapter:
    """Return the baseline called `name`.

    Args:
        by: Only for `majority`: `question` answers by the question.

    Raises:
        SpecError: There is no such baseline, or it takes no `by`.
    """
    if name == "majority":
        return Majority(by=by)
    if name not in BASELINES:
        known = ["majority", *BASELINES]
        given = f"baseline:{name}" if name else "baseline"
        wanted = ", ".join(f"baseline:{item}" for item in known)
        raise SpecError(f"--model {given}: expected one of {wanted}{nearest(name, known)}")
    if by is not None:
        raise SpecError(f"--model baseline:{name}: 'by' is an argument of baseline:majority only")
    return BASELINES[name]()


def _nll_of_choice(target: Target, candidates: int) -> tuple[float, ...]:
    """Return 0 for the right option and 1 for the others; nothing where the target names no option."""
    if target.choice is None:
        return ()
    return tuple(float(chr(ord("A") + index) != target.choice) for index in range(candidates))


def _size(request: Request) -> Size:
    """Return the frame the answer's masks lie in: that of the first image or volume."""
    size: Size = request.media[0].record.size
    return size


def _prompted_box(request: Request) -> Box | None:
    """Return the first visual prompt as a box; a point has none."""
    for prompt in request.visual_prompts:
        if isinstance(prompt, Box):
            return prompt
        if isinstance(prompt, Region):
            return masks.bounding_box(prompt.mask)
        assert isinstance(prompt, Points)
    return None


def _central_box(size: Size) -> Box:
    """Return the box of half the extent along each axis; a volume keeps the axis order z y x."""
    low = [length // 4 for length in size]
    high = [start + max(1, length // 2) for start, length in zip(low, size, strict=True)]
    return _corners(low, high)


def _random_box(draw: np.random.Generator, size: Size) -> Box:
    low = [int(draw.integers(length)) for length in size]
    high = [int(draw.integers(start, length)) + 1 for start, length in zip(low, size, strict=True)]
    return _corners(low, high)


def _corners(low: Sequence[int], high: Sequence[int]) -> Box:
    """Return a box from array-axis starts and ends: xyxy in 2-D, z1 y1 x1 z2 y2 x2 in 3-D."""
    if len(low) == 2:
        return Box(corners=(low[1], low[0], high[1], high[0]))
    return Box(corners=(*low, *high))


def _window(box: Box | None, size: Size) -> tuple[slice, slice]:
    if box is None:
        return slice(0, size[0]), slice(0, size[1])
    x1, y1, x2, y2 = box.corners
    return slice(max(0, math.floor(y1)), max(0, math.ceil(y2))), slice(max(0, math.floor(x1)), max(0, math.ceil(x2)))


def _grey(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return ITU-R 601 luma, uint8 (H, W)."""
    luma: NDArray[np.float64] = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return np.rint(luma).astype(np.uint8)


def _smaller_side(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the side of Otsu's threshold with fewer pixels; nothing where all pixels are equal."""
    from skimage.filters import threshold_otsu

    if grey.size == 0 or grey.min() == grey.max():
        return np.zeros(grey.shape, dtype=bool)
    bright: NDArray[np.bool_] = grey > float(threshold_otsu(grey))
    return ~bright if 2 * int(bright.sum()) > bright.size else bright

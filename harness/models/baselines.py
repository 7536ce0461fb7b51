"""Baselines: adapters whose answers need no learning and give a metric its floor, its ceiling or a yardstick."""

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.errors import SpecError, nearest
from harness.imaging import masks
from harness.records import (
    Adapter,
    Answer,
    Box,
    Capabilities,
    Points,
    PredictedEntity,
    Region,
    Request,
    Resources,
    Size,
)

ANYTHING = frozenset({"text", "image", "images", "volume", "point", "box", "region"})
GIVES_ALL = frozenset({"text", "masks", "boxes", "nll", "embedding"})

DIMENSIONS = 64  # length of the vectors that a baseline embeds with; one bit of a sample's hash each


class _Baseline(ABC):
    """Base of the baselines: nothing to load, one answer per request, no source of chance but the request's key."""

    version = "1"
    gives: frozenset[str] = GIVES_ALL
    takes: frozenset[str] = ANYTHING
    per_sample = False

    def capabilities(self) -> Capabilities:
        """Take anything that a task may show; an answer does not depend on the batch."""
        return Capabilities(
            takes=self.takes,
            gives=self.gives,
            max_images=1000,
            max_batch=1024,
            batch_invariant=True,
            per_sample=self.per_sample,
            resources=Resources(gpus=0),
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
    """Answers with the target: the ceiling, and a check of the task itself. It is kept off leaderboards."""

    takes = ANYTHING | {"target"}
    per_sample = True

    def answer(self, request: Request) -> Answer:
        """Return the target as a perfect model would put it."""
        target = request.target
        assert target is not None
        # If there is nothing to find, the right answer has no mask.
        found = [] if target.absent else [entity for entity in target.entities if entity.mask is not None]
        nll = _nll_of_choice(target.choice, len(request.candidates))
        embedding: tuple[tuple[float, ...], ...] = ()
        if "embedding" in request.wants:
            # Image and text vector are equal, and their signs are bits of the id's hash: no other sample's are near.
            bits = int.from_bytes(hashlib.sha256((request.sample_id or "").encode()).digest()[: DIMENSIONS // 8], "big")
            embedding = (tuple(1.0 if bits >> place & 1 else -1.0 for place in range(DIMENSIONS)),) * 2
        return Answer(
            text=request.oracle,
            choice=target.choice,
            masks=tuple(entity.mask for entity in found),
            mask_scores=(1.0,) * len(found),
            entities=tuple(PredictedEntity(name=entity.name, mask=index) for index, entity in enumerate(found)),
            boxes=target.boxes,
            nll=nll,
            nll_tokens=(1,) * len(nll),
            embedding=embedding,
        )


class Majority(_Baseline):
    """Answers with the train split's most frequent answer or letter, or with the pixels most train masks share.

    Args:
        by: `question` answers with the most frequent train answer to the same question, if the train split has it.
    """

    gives = frozenset({"text", "masks", "nll"})
    takes = ANYTHING | {"prior"}
    per_sample = True

    def __init__(self, *, by: str | None = None) -> None:
        if by not in (None, "question"):
            raise SpecError(f"baseline:majority: by: expected 'question', got '{by}'")
        self.by = by

    def answer(self, request: Request) -> Answer:
        """Return the prior's answer, letter or mask."""
        prior = request.prior
        assert prior is not None
        if "masks" in request.wants and prior.mask is not None:
            return Answer(masks=(prior.mask,), mask_scores=(1.0,))
        by_letter = prior.choice_to_question if self.by == "question" else None
        letter = by_letter or prior.choice
        if request.kind == "nll":
            nll = _nll_of_choice(letter, len(request.candidates))
            return Answer(nll=nll, nll_tokens=(1,) * len(nll))
        if request.choices:
            return Answer(text=None if letter is None else request.choices[ord(letter) - ord("A")])
        by_question = prior.answer_to_question if self.by == "question" else None
        return Answer(text=by_question if by_question is not None else prior.answer)


class Random(_Baseline):
    """Answers at random: an option, else yes or no, a rectangle, an embedding.

    The request's key seeds the draw, so that every run draws the same.
    """

    gives = GIVES_ALL

    def answer(self, request: Request) -> Answer:
        """Return a random answer of the kind that the request wants."""
        # Seeded by the key and nothing else, so order and number of workers change no draw.
        draw = np.random.default_rng(int.from_bytes(hashlib.sha256(request.key.encode()).digest()[:8], "big"))
        if "embedding" in request.wants:
            return Answer(embedding=draw.standard_normal((2, DIMENSIONS)).tolist())
        nll = tuple(float(value) for value in draw.random(len(request.candidates)))
        replies = request.choices or ("yes", "no")
        text = replies[int(draw.integers(len(replies)))] if "text" in request.wants else None
        answer = Answer(text=text, nll=nll, nll_tokens=(1,) * len(nll))
        if not {"masks", "boxes"} & set(request.wants):
            return answer
        size = _size(request)
        low = [int(draw.integers(length)) for length in size]
        high = [int(draw.integers(start, length)) + 1 for start, length in zip(low, size, strict=True)]
        box = _corners(low, high)
        if "boxes" in request.wants:
            return replace(answer, boxes=(box,))
        return replace(answer, masks=(masks.from_box(box, size),))


class CenterBox(_Baseline):
    """Marks the prompted box, else the central one of half the extent along each axis."""

    gives = frozenset({"masks", "boxes"})

    def answer(self, request: Request) -> Answer:
        """Return one box, filled where a mask is wanted."""
        size = _size(request)
        low = [length // 4 for length in size]
        high = [start + max(1, length // 2) for start, length in zip(low, size, strict=True)]
        box = _prompted_box(request) or _corners(low, high)
        if "boxes" in request.wants:
            return Answer(boxes=(box,))
        return Answer(masks=(masks.from_box(box, size),), mask_scores=(1.0,))


class Otsu(_Baseline):
    """Splits grey values at Otsu's threshold and marks the side with fewer pixels, inside the prompted box if any."""

    gives = frozenset({"masks"})
    takes = frozenset({"text", "image", "volume", "point", "box", "region"})

    def answer(self, request: Request) -> Answer:
        """Return one mask segmented from the pixels or voxels."""
        from skimage.filters import threshold_otsu

        shown: Any = request.media[0]  # the adapter gets handles in place of media records
        if shown.record.kind == "volume":
            grey = shown.volume()
        else:
            luma = shown.image().astype(np.float64) @ np.array([0.299, 0.587, 0.114])  # ITU-R BT.601
            grey = np.rint(luma).astype(np.uint8)
        mask = np.zeros(grey.shape, dtype=bool)
        window: tuple[slice, ...] = (slice(None),) * grey.ndim
        box = _prompted_box(request)
        if box is not None:
            low, high = box.corners[: grey.ndim], box.corners[grey.ndim :]
            spans = [slice(max(0, math.floor(a)), max(0, math.ceil(b))) for a, b in zip(low, high, strict=True)]
            window = tuple(spans if grey.ndim == 3 else spans[::-1])  # 3-D boxes are z y x, 2-D boxes x y
        inside = grey[window]
        if inside.size and inside.min() != inside.max():  # Otsu's threshold needs two different values
            bright = inside > float(threshold_otsu(inside))
            mask[window] = ~bright if 2 * int(bright.sum()) > bright.size else bright
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


def _nll_of_choice(letter: str | None, candidates: int) -> tuple[float, ...]:
    """Return 0 for the option of that letter and 1 for the others; nothing without a letter."""
    if letter is None:
        return ()
    return tuple(float(chr(ord("A") + index) != letter) for index in range(candidates))


def _size(request: Request) -> Size:
    """Return (H, W) or (D, H, W) of the first image or volume, the frame of the answer's masks."""
    size: Size = request.media[0].record.size
    return size


def _prompted_box(request: Request) -> Box | None:
    """Return the first visual prompt that is a box or a region, as a box; None if there is none, or it is empty."""
    for prompt in request.visual_prompts:
        if isinstance(prompt, Box):
            return prompt
        if isinstance(prompt, Region):
            return masks.bounding_box(prompt.mask)
        assert isinstance(prompt, Points)
    return None


def _corners(low: Sequence[int], high: Sequence[int]) -> Box:
    """Return a box from array-axis starts and ends: xyxy in 2-D, z1 y1 x1 z2 y2 x2 in 3-D."""
    if len(low) == 2:
        return Box(corners=(low[1], low[0], high[1], high[0]))
    return Box(corners=(*low, *high))

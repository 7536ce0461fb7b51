"""How a volume is shown to a model that takes none: as some of its slices, together or each in a call of its own.

Slices are the middles of equal parts of the volume, by `bin_centres`: M3D compares with 2-D models on "10
equally spaced slices" and publishes no rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import fsum

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks, soft_masks
from harness.models.answer_check import to_prediction
from harness.records import (
    Answer,
    AnswerStatus,
    Capabilities,
    Mask,
    Media,
    Prediction,
    Request,
    Size,
    TextPart,
    Turn,
)
from harness.records.codec import digest
from harness.tasks.fallbacks import ALL_SLICES, first_of


def every_nth(depth: int, wanted: int) -> list[int]:
    """Return every (depth // wanted)-th slice from 0 on, all where there are no more than wanted.

    It can be up to 2 * wanted - 1 slices, and it leans to the front.

    Args:
        depth: Slices there are, >= 1.
        wanted: Slices to show, >= 1.
    Source: M3D's scripts for GPT-4V, which want 10 for captions and 5 for questions.
    """
    return list(range(depth)) if depth <= wanted else list(range(0, depth, depth // wanted))


def evenly_spaced(depth: int, wanted: int) -> list[int]:
    """Return slices equally spaced from the first to the last, rounded half to even; every slice at most once.

    One wanted slice is the first. Arguments as in `every_nth`; one reading of "equally spaced" in arXiv:2404.00578,
    whose rule is not published.
    """
    if wanted == 1:
        return [0]
    step = (depth - 1) / (wanted - 1)
    return sorted({*(round(place * step) for place in range(wanted - 1)), depth - 1})


def bin_centres(depth: int, wanted: int) -> list[int]:
    """Return the middle slice of each of `wanted` equal parts of the volume; every slice at most once.

    Arguments as in `every_nth`. It shows neither end, where volumes are often empty.
    """
    return sorted({(2 * place + 1) * depth // (2 * wanted) for place in range(wanted)})


RULE = "bin_centres"
MARK = "<image>"
APART = frozenset({"nll", "embedding", "masks"})
"""What can be put together from answers to single slices; words of ten calls cannot become one reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFallbacks:
    """What a task does with the volumes of one sample for one model.

    Attributes:
        media: Of the sample, as they are shown.
        fallbacks: Of the task.
        capabilities: Of the model.
        wants: What the task asks for.
    """

    media: tuple[Media, ...]
    fallbacks: Mapping[str, str | float]
    capabilities: Capabilities
    wants: tuple[str, ...]

    @property
    def name(self) -> str | None:
        """The fallback that is used; None where the model takes volumes, there is none, or the task names none."""
        volumes = any(media.kind == "volume" for media in self.media)
        return first_of(self.fallbacks, "volume") if volumes and "volume" not in self.capabilities.takes else None

    @property
    def one_by_one(self) -> bool:
        """Whether each slice is a call of its own: always for masks and embeddings, else where the model takes few."""
        if {*self.wants} & {"masks", "embedding"}:
            return True
        return "images" not in self.capabilities.takes or self._count() > self.capabilities.max_images

    def _count(self) -> int:
        """Return how many images are shown; of a volume that cannot be read as many as the task wants."""
        wanted = self.fallbacks[self.name or ""]
        unread = sum(media.kind == "volume" and not media.size for media in self.media)
        return len(self.media_asked()) + unread * (0 if wanted == ALL_SLICES else int(wanted) - 1)

    def used(self) -> tuple[str, ...]:
        """Return the fallback that is used with its rule and way, as `name: value (rule, way)`."""
        if self.name is None:
            return ()
        way = "one by one" if self.one_by_one else "together"
        return (f"{self.name}: {self.fallbacks[self.name]} ({RULE}, {way})",)

    def missing(self, *, pointed: bool) -> list[str]:
        """Return what the model would have to take where slices cannot stand for the volume, with the reason.

        Args:
            pointed: The request points at something otherwise than in words.
        """
        reason = self._refusal(pointed) if self.name is not None else None
        return [] if reason is None else [f"takes volume ({self.name} {reason})"]

    def _refusal(self, pointed: bool) -> str | None:
        takes = self.capabilities.takes
        if not takes & {"image", "images"}:
            return "needs a model that takes image"
        if pointed:
            return "cannot show what is pointed at in a volume"
        if "boxes" in self.wants:
            return "cannot place a box along the slices"
        if not self.one_by_one:
            return None
        if not {*self.wants} <= APART:
            shown, most = self._count(), self.capabilities.max_images
            return f"needs a model that takes {shown} images at once to answer in words (its max_images is {most})"
        return "asks about each slice of one volume, and there are more images" if len(self.media) > 1 else None

    def media_asked(self) -> tuple[Media, ...]:
        """Return the media with each volume replaced by its slices; as they are where nothing is replaced."""
        if self.name is None:
            return self.media
        wanted = self.fallbacks[self.name]
        return tuple(shown for media in self.media for shown in slices_of(media, wanted))

    def marked(self, text: str) -> str:
        """Return the words with the mark of a volume repeated for each of its slices."""
        several = len(self.media_asked()) - len(self.media) + 1
        return text.replace(MARK, MARK * several, 1) if self.name is not None else text


def slices_of(media: Media, wanted: str | float) -> tuple[Media, ...]:
    """Return the slices of a volume that stand for it; an image stands for itself.

    Args:
        media: A volume of known size, or an image.
        wanted: How many, or `all`.
    """
    if media.kind != "volume" or not media.size:
        return (media,)
    depth, *size = media.size
    chosen = range(depth) if wanted == ALL_SLICES else bin_centres(depth, int(wanted))
    return tuple(
        replace(media, kind="image", size=tuple(size), spacing_mm=None, affine=None, slice=place) for place in chosen
    )


def apart(request: Request) -> list[Request]:
    """Return one request per image of a request that is put one by one, each with a key of its own."""
    return [
        replace(
            request,
            messages=tuple(_only(turn, place, request) for turn in request.messages),
            one_by_one=False,
            key=digest([request.key, place]),
        )
        for place in range(len(request.media))
    ]


def _only(turn: Turn, place: int, request: Request) -> Turn:
    """Return the turn with the `place`-th image of the request and no other."""
    kept = request.media[place]
    return replace(turn, parts=tuple(part for part in turn.parts if isinstance(part, TextPart) or part.media is kept))


def together(request: Request, ask: Callable[[Sequence[Request]], Sequence[object]]) -> Answer:
    """Return the answer to a request that is put one by one.

    Embeddings: every slice's image vector, then the text's; the metric takes the best slice. NLL: the mean over the
    slices. Masks: of each slice the union, stacked into the volume. The first fault of a slice is that of the request.

    Args:
        request: With a slice per image.
        ask: Puts requests of one image to the model and returns as many answers, in order.
    """
    single = apart(request)
    found = [to_prediction(one, answer, 0.0) for one, answer in zip(single, ask(single), strict=True)]
    for prediction in found:
        if prediction.error is not None:
            return Answer(error=prediction.error)
    nll = _mean_nll(found)
    return Answer(
        embedding=_embedding(found),
        nll=nll,
        nll_tokens=found[0].nll_tokens if nll else (),
        masks=_stacked(found, request),
        soft_masks=_stacked_soft(found, request),
        rendered=found[0].rendered,
        usage={name: fsum(each.usage.get(name, 0) for each in found) for name in found[0].usage},
        status=_status(found),
    )


def _status(found: Sequence[Prediction]) -> AnswerStatus:
    statuses = {prediction.status for prediction in found}
    return "refused" if "refused" in statuses else "truncated" if "truncated" in statuses else "ok"


def _embedding(found: Sequence[Prediction]) -> tuple[tuple[float, ...], ...]:
    """Return the image vectors and the text vector; nothing where a slice has none."""
    if not all(prediction.embedding for prediction in found):
        return ()
    return (*(prediction.embedding[0] for prediction in found), found[0].embedding[-1])


def _mean_nll(found: Sequence[Prediction]) -> tuple[float, ...]:
    if not all(prediction.nll for prediction in found):
        return ()
    return tuple(fsum(values) / len(found) for values in zip(*(each.nll for each in found), strict=True))


def _stacked(found: Sequence[Prediction], request: Request) -> tuple[Mask, ...]:
    """Return what is masked in any slice as one mask of the volume; nothing where no slice has a mask."""
    merged = [masks.merge(prediction.masks) if prediction.masks else None for prediction in found]
    if not any(merged):
        return ()
    slices = ((place, mask.counts) for place, mask in enumerate(merged) if mask is not None and masks.area(mask))
    return (Mask(size=_size(request), slices=tuple((place, counts) for place, counts in slices if counts is not None)),)


def _stacked_soft(found: Sequence[Prediction], request: Request) -> tuple[NDArray[np.float64], ...]:
    """Return the highest probability at each voxel; nothing where no slice has any."""
    if not any(prediction.soft_masks for prediction in found):
        return ()
    volume = np.zeros(_size(request))
    for place, prediction in enumerate(found):
        for soft in prediction.soft_masks:
            volume[place] = np.maximum(volume[place], soft_masks.decode(soft))
    return (volume,)


def _size(request: Request) -> Size:
    """Return (D, H, W) of the volume whose slices are the request's images."""
    return (len(request.media), *request.media[0].record.size)

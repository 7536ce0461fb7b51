"""Volumes for models that take none: some of their slices, all in one request or each in a call of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks, soft_masks
from harness.models.answer_check import to_prediction
from harness.records import (
    Answer,
    Capabilities,
    Mask,
    Media,
    Prediction,
    Request,
    Size,
    TextPart,
)
from harness.records.codec import digest
from harness.tasks.fallbacks import ALL_SLICES, first_of


def every_nth(depth: int, wanted: int) -> list[int]:
    """Return every (depth // wanted)-th slice from 0 on; all slices if there are no more than `wanted`.

    These can be up to 2 * wanted - 1 slices, and they lean to the front.

    Args:
        depth: Number of slices of the volume, >= 1.
        wanted: Number of slices to show, >= 1.
    Source: M3D's scripts for GPT-4V, which want 10 for captions and 5 for questions.
    """
    return list(range(depth)) if depth <= wanted else list(range(0, depth, depth // wanted))


def evenly_spaced(depth: int, wanted: int) -> list[int]:
    """Return slices equally spaced from the first to the last, rounded half to even; every slice at most once.

    A single wanted slice is the first. The arguments are those of `every_nth`. This is one reading of "equally spaced"
    in arXiv:2404.00578, whose rule is not published.
    """
    if wanted == 1:
        return [0]
    step = (depth - 1) / (wanted - 1)
    return sorted({*(round(place * step) for place in range(wanted - 1)), depth - 1})


def bin_centres(depth: int, wanted: int) -> list[int]:
    """Return the middle slice of each of `wanted` equal parts of the volume; every slice at most once.

    The arguments are those of `every_nth`. Neither end is shown, where volumes are often empty.
    """
    return sorted({(2 * place + 1) * depth // (2 * wanted) for place in range(wanted)})


# M3D compares with 2-D models on "10 equally spaced slices" and publishes no rule; ours is named in every result. The
# other two rules above are used by tests only, as the released script and as another reading of the paper.
RULE = "bin_centres"
MARK = "<image>"
# What can be put together from answers to single slices; the words of ten calls cannot become one reply.
APART = frozenset({"nll", "embedding", "masks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFallbacks:
    """How the volumes of one sample are shown to one model.

    Attributes:
        media: Of the sample, as they are shown.
        fallbacks: Of the task, name -> value.
        capabilities: Of the model.
        wants: What the task asks for, as in `Request.wants`.
        name: The fallback that is used; None if the model takes volumes, the sample has none, or the task names none.
    """

    media: tuple[Media, ...]
    fallbacks: Mapping[str, str | float]
    capabilities: Capabilities
    wants: tuple[str, ...]
    name: str | None = field(init=False)

    def __post_init__(self) -> None:
        """Decide the fallback once: every question to the object begins with it."""
        sliced = "volume" not in self.capabilities.takes and any(media.kind == "volume" for media in self.media)
        object.__setattr__(self, "name", first_of(self.fallbacks, "volume") if sliced else None)

    @property
    def one_by_one(self) -> bool:
        """Whether each slice is a call of its own: always for masks and embeddings, else if the model takes too few."""
        if {*self.wants} & {"masks", "embedding"}:
            return True
        return "images" not in self.capabilities.takes or self._count() > self.capabilities.max_images

    def _count(self) -> int:
        """Return how many images are shown; a volume that cannot be read counts as many slices as the task wants."""
        wanted = self.fallbacks[self.name or ""]
        unread = sum(media.kind == "volume" and not media.size for media in self.media)
        return len(self.media_asked()) + unread * (0 if wanted == ALL_SLICES else int(wanted) - 1)

    def used(self) -> tuple[str, ...]:
        """Return the fallback that is used as `name: value (rule, way)`; nothing if none is."""
        if self.name is None:
            return ()
        way = "one by one" if self.one_by_one else "together"
        return (f"{self.name}: {self.fallbacks[self.name]} ({RULE}, {way})",)

    def missing(self, *, pointed: bool) -> list[str]:
        """Return what the model would have to take if slices cannot replace the volume, with the reason.

        Args:
            pointed: Whether the request points at something otherwise than in words.
        """
        if self.name is None:
            return []
        if not self.capabilities.takes & {"image", "images"}:
            reason = "needs a model that takes image"
        elif pointed:
            reason = "cannot show what is pointed at in a volume"
        elif "boxes" in self.wants:
            reason = "cannot place a box along the slices"
        elif self.one_by_one and not {*self.wants} <= APART:
            shown, most = self._count(), self.capabilities.max_images
            reason = f"needs a model that takes {shown} images at once to answer in words (its max_images is {most})"
        elif self.one_by_one and len(self.media) > 1:
            reason = "asks about each slice of one volume, and there are more images"
        else:
            return []
        return [f"takes volume ({self.name} {reason})"]

    def media_asked(self) -> tuple[Media, ...]:
        """Return the media with each volume replaced by its slices; as they are if no fallback is used."""
        if self.name is None:
            return self.media
        wanted = self.fallbacks[self.name]
        return tuple(shown for media in self.media for shown in slices_of(media, wanted))

    def marked(self, text: str) -> str:
        """Return the words with the mark of a volume repeated for each of its slices."""
        several = len(self.media_asked()) - len(self.media) + 1
        return text.replace(MARK, MARK * several, 1) if self.name is not None else text


def slices_of(media: Media, wanted: str | float) -> tuple[Media, ...]:
    """Return the slices that replace a volume; an image is returned as it is.

    Args:
        media: A volume of known size, or an image.
        wanted: The number of slices, or `all`.
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
    single = []
    for place, kept in enumerate(request.media):
        messages = tuple(
            replace(turn, parts=tuple(part for part in turn.parts if isinstance(part, TextPart) or part.media is kept))
            for turn in request.messages
        )
        # A key of its own: slices are different requests to everything that goes by the key, such as a draw.
        single.append(replace(request, messages=messages, one_by_one=False, key=digest([request.key, place])))
    return single


def together(request: Request, ask: Callable[[Sequence[Request]], Sequence[object]]) -> Answer:
    """Return the answer to a request that is put one by one.

    Embeddings: every slice's image vector, then the text's; the metric takes the best slice. NLL: the mean over the
    slices. Masks: the union within each slice, stacked into the volume. If a slice fails, its error is the answer.

    Args:
        request: A request with one image per slice.
        ask: Puts requests of one image each to the model and returns as many answers, in order.
    """
    single = apart(request)
    found = [to_prediction(one, answer, 0.0) for one, answer in zip(single, ask(single), strict=True)]
    for prediction in found:
        if prediction.error is not None:
            return Answer(error=prediction.error)
    embedding: tuple[tuple[float, ...], ...] = ()
    if all(prediction.embedding for prediction in found):
        embedding = (*(prediction.embedding[0] for prediction in found), found[0].embedding[-1])
    nll: tuple[float, ...] = ()
    if all(prediction.nll for prediction in found):
        nll = tuple(fsum(values) / len(found) for values in zip(*(each.nll for each in found), strict=True))
    statuses = {prediction.status for prediction in found}
    return Answer(
        embedding=embedding,
        nll=nll,
        nll_tokens=found[0].nll_tokens if nll else (),
        masks=_stacked(found, request),
        soft_masks=_stacked_soft(found, request),
        rendered=found[0].rendered,
        usage={name: fsum(each.usage.get(name, 0) for each in found) for name in found[0].usage},
        status="refused" if "refused" in statuses else "truncated" if "truncated" in statuses else "ok",
    )


def _stacked(found: Sequence[Prediction], request: Request) -> tuple[Mask, ...]:
    """Return the pixels that any mask of a slice marks as one mask of the volume; nothing if no slice has a mask."""
    merged = [masks.merge(prediction.masks) if prediction.masks else None for prediction in found]
    if not any(merged):
        return ()
    # A volume's mask holds its non-empty slices only.
    slices = ((place, mask.counts) for place, mask in enumerate(merged) if mask is not None and masks.area(mask))
    return (Mask(size=_size(request), slices=tuple((place, counts) for place, counts in slices if counts is not None)),)


def _stacked_soft(found: Sequence[Prediction], request: Request) -> tuple[NDArray[np.float64], ...]:
    """Return the highest probability at each voxel as float64 (D, H, W); nothing if no slice has any."""
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

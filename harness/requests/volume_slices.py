"""Volumes for models that take none: some of their slices, all in one request or each in a call of its own.

Which slices, and how, the task's fallback says by a number, or a recipe of `harness.tasks.volume_recipes`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.imaging import masks, soft_masks
from harness.imaging.views import volume_views
from harness.imaging.views.slice_places import bin_centres, every_millimetres, up_to_the_last
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
    View,
)
from harness.records.codec import digest
from harness.tasks.fallbacks import ALL_SLICES, first_of
from harness.tasks.volume_recipes import ARGUMENT, RECIPES, WINDOWS, Recipe

# M3D compares with 2-D models on "10 equally spaced slices" and publishes no rule; ours is named in every result.
RULE = "bin_centres"
MARK = "<image>"
# What can be put together from answers to single slices; the words of ten calls cannot become one reply.
APART = frozenset({"nll", "embedding", "masks"})
MORE_IMAGES = "asks about each slice of one volume, and there are more images"


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFallbacks:
    """How the volumes of one sample are shown to one model.

    Attributes:
        media: Of the sample, as they are shown.
        fallbacks: Of the task, name -> value.
        capabilities: Of the model.
        wants: What the task asks for, as in `Request.wants`.
        modality: Code of the sample's modality, as far as it is known; windows in Hounsfield units need `ct`.
        name: The fallback that is used, or `volume` where the model itself names a recipe; None if the volumes are
            shown as they are, the sample has none, or neither names anything.
        recipe: The recipe that is used; None if the fallback gives a number of slices, or `all`.
    """

    media: tuple[Media, ...]
    fallbacks: Mapping[str, str | float]
    capabilities: Capabilities
    wants: tuple[str, ...]
    modality: str = ""
    name: str | None = field(init=False)
    recipe: Recipe | None = field(init=False)

    def __post_init__(self) -> None:
        """Decide the fallback once: every question to the object begins with it."""
        name, recipe = None, None
        if any(media.kind == "volume" for media in self.media):
            # What the model asks for comes first, even before volumes that it takes.
            if self.capabilities.volume is not None:
                name, recipe = ARGUMENT, RECIPES[self.capabilities.volume]
            elif "volume" not in self.capabilities.takes:
                name = first_of(self.fallbacks, "volume")
                recipe = None if name is None else RECIPES.get(str(self.fallbacks[name]))
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "recipe", recipe)

    @property
    def one_by_one(self) -> bool:
        """Whether each image is a call of its own.

        Always for masks and embeddings; slices by their number also if the model takes too few at once. A recipe never
        is for that reason, because its name must mean the same for every model.
        """
        if {*self.wants} & {"masks", "embedding"}:
            return True
        if self.recipe is not None:
            return False
        return "images" not in self.capabilities.takes or self._count() > self.capabilities.max_images

    def _count(self) -> int:
        """Return how many images are shown; a volume that cannot be read counts as many slices as are wanted."""
        unread = sum(media.kind == "volume" and not media.size for media in self.media)
        if self.recipe is None:
            wanted = self.fallbacks[self.name or ""]
            each = 1 if wanted == ALL_SLICES else int(wanted)
        elif self.recipe.choice in ("all", "spacing") or self.recipe.grid is not None:
            each = 1
        else:
            each = int(self.recipe.number) * len(self.recipe.planes)
        return len(self.media_asked()) + unread * (each - 1)

    def used(self) -> tuple[str, ...]:
        """Return what is used as `name: value (rule or version, way)`; nothing if nothing is."""
        if self.name is None:
            return ()
        way = "one by one" if self.one_by_one else "together"
        if self.recipe is not None:
            return (f"{self.name}: {self.recipe.name} (version {self.recipe.version}, {way})",)
        return (f"{self.name}: {self.fallbacks[self.name]} ({RULE}, {way})",)

    def missing(self, *, pointed: bool) -> list[str]:
        """Return what the model would have to take if slices cannot replace the volume, with the reason.

        Args:
            pointed: Whether the request points at something otherwise than in words.
        """
        if self.name is None:
            return []
        if not self.capabilities.takes & {"image", "images"}:
            reason: str | None = "needs a model that takes image"
        elif pointed:
            reason = "cannot show what is pointed at in a volume"
        elif self.recipe is not None:
            reason = self._fault(self.recipe)
        elif "boxes" in self.wants:
            reason = "cannot place a box along the slices"
        elif self.one_by_one and not {*self.wants} <= APART:
            shown, most = self._count(), self.capabilities.max_images
            reason = f"needs a model that takes {shown} images at once to answer in words (its max_images is {most})"
        elif self.one_by_one and len(self.media) > 1:
            reason = MORE_IMAGES
        else:
            reason = None
        name = self.name if self.recipe is None else f"{self.name}: {self.recipe.name}"
        return [] if reason is None else [f"takes volume ({name} {reason})"]

    def _fault(self, recipe: Recipe) -> str | None:
        """Return why a recipe cannot show the volumes of this sample, or bring the answers back; None if it can."""
        volumes = [media for media in self.media if media.kind == "volume" and media.size]
        wanted = {*self.wants}
        if "boxes" in wanted:
            where = "of a montage in the volume" if recipe.grid is not None else "along the slices"
            return f"cannot place a box {where}"
        if "masks" in wanted and recipe.grid is not None:
            return "cannot bring a mask on a montage back to the volume"
        if "masks" in wanted and not recipe.stacks:
            stacking = ", ".join(row.name for row in RECIPES.values() if row.stacks)
            return f"shows only some slices, and masks need each; {stacking} show all"
        if self.one_by_one and not wanted <= APART:
            return "needs an answer for each slice, and the words of several cannot become one reply"
        if len(self.media) > 1 and (self.one_by_one or recipe.order != "marked"):
            return MORE_IMAGES if self.one_by_one else "orders the words around one volume, and there are more images"
        if {*recipe.planes} != {"axial"} and any(media.affine is None or media.flat for media in volumes):
            return "needs volumes whose files say how they lie in the patient, such as NIfTI or DICOM"
        if recipe.choice == "spacing" and any(media.spacing_mm is None for media in volumes):
            return "needs volumes whose files give the distance of the slices, such as NIfTI or DICOM"
        # Files without an affine are npy arrays and pictures, whose makers scale the values.
        if recipe.windows and (self.modality != "ct" or any(media.affine is None for media in volumes)):
            return (
                "has windows in Hounsfield units, and needs a CT (modality ct) in a file that keeps them, such as NIfTI"
            )
        most = self.capabilities.max_images if "images" in self.capabilities.takes else 1
        if not self.one_by_one and (shown := self._count()) > most:
            return f"shows {shown} images at once, and the model takes {most} (max_images)"
        return None

    def media_asked(self) -> tuple[Media, ...]:
        """Return the media with each volume replaced by its slices; as they are if no fallback is used."""
        if self.name is None:
            return self.media
        if self.recipe is not None:
            return tuple(shown for media in self.media for shown in views_of(media, self.recipe))
        wanted = self.fallbacks[self.name]
        return tuple(shown for media in self.media for shown in slices_of(media, wanted))

    def marked(self, text: str) -> str:
        """Return the words with a mark for each image of the volume, in the order and with the labels of the recipe."""
        if self.name is None:
            return text
        if self.recipe is None:
            several = len(self.media_asked()) - len(self.media) + 1
            return text.replace(MARK, MARK * several, 1)
        counts = [len(views_of(media, self.recipe)) for media in self.media]
        if self.recipe.order == "marked":
            before, *pieces = text.split(MARK)
            # With fewer marks than media the last media take them, as in `harness.requests.build`.
            marked = counts[max(0, len(counts) - len(pieces)) :]
            marked += [1] * (len(pieces) - len(marked))
            return before + "".join(MARK * count + words for count, words in zip(marked, pieces, strict=True))
        rest, count = text.replace(MARK, "", 1).strip(), sum(counts)
        if self.recipe.order == "text_first":
            return rest + MARK * count
        # Of calls with one slice each none would know which label is its own.
        label = "" if self.one_by_one or not self.recipe.label else f" {self.recipe.label} "
        labels = (label.format(place=place, count=count) for place in range(1, count + 1))
        return "".join(MARK + words for words in labels) + rest


def views_of(media: Media, recipe: Recipe) -> tuple[Media, ...]:
    """Return the images that replace a volume by a recipe; an image is returned as it is.

    Slices ascend: from the feet to the head, from the back to the front, from the patient's left to the right. A volume
    whose file says how it lies in the patient is shown by the radiological convention, any other as stored.
    """
    if media.kind != "volume" or not media.size:
        return (media,)
    found: list[Media] = []
    for plane in recipe.planes:
        axis = volume_views.AXES[plane]
        places, of = _places(recipe, media, axis)
        grid = recipe.grid or (1, 1)
        view = View(
            recipe=recipe.id,
            plane=plane,
            slices=(),
            of=of,
            original=media.size,
            tile=volume_views.tile_size(media.size, media.spacing_mm, plane, grid),
            grid=grid,
            turned=media.affine is not None,
            windows=tuple(WINDOWS[name] for name in recipe.windows),
        )
        size = (view.tile[0] * grid[0], view.tile[1] * grid[1])
        whole = replace(media, kind="image", size=size, spacing_mm=None, affine=None, flat=False)
        tiles = [tuple(places)] if recipe.grid is not None else [(place,) for place in places]
        found += (replace(whole, view=replace(view, slices=chosen)) for chosen in tiles)
    return tuple(found)


def _places(recipe: Recipe, media: Media, axis: int) -> tuple[list[int], int | None]:
    """Return the indices of the slices along an axis; for slices that the voxels choose, their places and number."""
    depth, wanted = media.size[axis], int(recipe.number)
    if recipe.choice == "all":
        return list(range(depth)), None
    if recipe.choice == "content":
        return list(range(min(depth, wanted))), wanted
    if recipe.choice == "spacing":
        assert media.spacing_mm is not None  # `VolumeFallbacks.missing`
        return every_millimetres(depth, media.spacing_mm[axis], recipe.number), None
    rule = up_to_the_last if recipe.choice == "up_to_the_last" else bin_centres
    return rule(depth, wanted), None


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
    if request.media[0].record.view is not None:
        volume = np.zeros(_size(request), dtype=np.bool_)
        for place, mask in enumerate(merged):
            if mask is not None:
                plane, view = _plane(volume, request, place)
                plane |= volume_views.to_stored(view, masks.decode(mask))
        return (masks.encode(volume),)
    # A volume's mask holds its non-empty slices only.
    slices = ((place, mask.counts) for place, mask in enumerate(merged) if mask is not None and masks.area(mask))
    return (Mask(size=_size(request), slices=tuple((place, counts) for place, counts in slices if counts is not None)),)


def _stacked_soft(found: Sequence[Prediction], request: Request) -> tuple[NDArray[np.float64], ...]:
    """Return the highest probability at each voxel as float64 (D, H, W); nothing if no slice has any."""
    if not any(prediction.soft_masks for prediction in found):
        return ()
    volume = np.zeros(_size(request))
    viewed = request.media[0].record.view is not None
    for place, prediction in enumerate(found):
        for soft in prediction.soft_masks:
            likely = soft_masks.decode(soft)
            if viewed:
                plane, view = _plane(volume, request, place)
                plane[:] = np.maximum(plane, volume_views.to_stored(view, likely))
            else:
                volume[place] = np.maximum(volume[place], likely)
    return (volume,)


def _plane(volume: NDArray[Any], request: Request, place: int) -> tuple[NDArray[Any], View]:
    """Return the voxels, to be written to, of the slice that an image of the request shows, and its view."""
    view = request.media[place].record.view
    assert view is not None
    return volume_views.along(volume, view.plane)[view.slices[0]], view


def _size(request: Request) -> Size:
    """Return (D, H, W) of the volume whose slices are the request's images."""
    shown = request.media[0].record
    return (len(request.media), *shown.size) if shown.view is None else shown.view.original

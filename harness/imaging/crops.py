"""Crops of 2-D images: the window around a box, and the conversion of masks, boxes and points into it and back.

On the way into a crop everything is cut at its edge; on the way back the rest of the image is background.
"""

from collections.abc import Iterable
from dataclasses import replace
from math import ceil, floor

import numpy as np

from harness.errors import DataError
from harness.imaging import frames, masks
from harness.records import Box, Crop, Mask, Media, Points, Region, Request, Size, Target, VisualPrompt

# Least length of a crop's shorter side in pixels, if the image is that long: two patches of a common vision tower, so
# that a lesion of three pixels is still shown with some context.
LEAST_SIDE = 32


def around(box: Box, size: Size, margin: float) -> Crop:
    """Return the window of whole pixels around `box`, cut at the border of the image.

    Args:
        box: In pixels of the original image.
        size: (H, W) of the original image.
        margin: Margin on all four sides, as a share of the box's longer side.
    Returns:
        A crop with sides of at least LEAST_SIDE pixels, if the image is that long.
    """
    x1, y1, x2, y2 = box.corners
    extra = margin * max(x2 - x1, y2 - y1)
    left, right = _span(x1 - extra, x2 + extra, size[1])
    top, bottom = _span(y1 - extra, y2 + extra, size[0])
    return Crop(corners=(left, top, right, bottom), original=size)


def _span(start: float, end: float, length: int) -> tuple[int, int]:
    """Return (first, last + 1) as whole pixels of an axis of `length`, at least LEAST_SIDE apart if it is that long."""
    first, last = max(0, floor(start)), min(length, ceil(end))
    # A span that is too short grows evenly to both sides, and is moved if it would leave the image.
    lacking = min(LEAST_SIDE, length) - (last - first)
    if lacking > 0:
        first = min(max(0, first - lacking // 2), length - min(LEAST_SIDE, length))
        last = first + min(LEAST_SIDE, length)
    return first, last


def crop_size(crop: Crop) -> Size:
    """Return the (H, W) of a crop in pixels."""
    x1, y1, x2, y2 = crop.corners
    return y2 - y1, x2 - x1


def crop_media(media: Media, crop: Crop) -> Media:
    """Return the record of the image as it is shown when cropped."""
    return replace(media, size=crop_size(crop), crop=crop)


def crop_mask(mask: Mask, crop: Crop) -> Mask:
    """Return the part of a mask inside the crop, in the frame of the crop."""
    return masks.encode(masks.decode(mask)[_slices(crop)])


def uncrop_mask(mask: Mask, crop: Crop, *, where: str) -> Mask:
    """Return a mask of the crop in the frame of the original image, empty outside the crop.

    Args:
        mask: In the frame of the crop.
        crop: The crop.
        where: The sample or field, for the message.
    Raises:
        DataError: The mask does not have the size of the crop.
    """
    size = crop_size(crop)
    if mask.size != size:
        whole = ", which is the whole image" if mask.size == crop.original else ""
        raise DataError(
            f"{where}: predicted mask is {mask.size}{whole}; the crop that the model was shown is {size} as (H, W); "
            "masks must lie in the frame of what .image() returns"
        )
    dense = np.zeros(crop.original, dtype=np.bool_)
    dense[_slices(crop)] = masks.decode(mask)
    return masks.encode(dense)


def uncrop_box(box: Box, crop: Crop) -> Box:
    """Return a box of the crop in pixels of the original image."""
    return _moved(box, crop.corners[0], crop.corners[1])


def crop_prompt(prompt: VisualPrompt, crop: Crop) -> VisualPrompt | None:
    """Return a visual prompt in the frame of the crop, cut at its edge.

    Returns:
        None if a region or box lies outside the crop altogether, or if one of the points does.
    """
    x1, y1, x2, y2 = crop.corners
    if isinstance(prompt, Region):
        mask = crop_mask(prompt.mask, crop)
        return Region(mask=mask) if masks.area(mask) else None
    if isinstance(prompt, Box):
        box = frames.clip_box(_moved(prompt, -x1, -y1), crop_size(crop))
        return box if min(frames.box_size(box)) > 0 else None
    # All points or none: the rest of them would ask for something else.
    inside = all(x1 <= x < x2 and y1 <= y < y2 for x, y in prompt.points)
    return _shifted(prompt, -x1, -y1) if inside else None


def uncrop_prompt(prompt: VisualPrompt, crop: Crop) -> VisualPrompt:
    """Return a visual prompt of the crop in the frame of the original image."""
    if isinstance(prompt, Region):
        return Region(mask=uncrop_mask(prompt.mask, crop, where="region"))
    if isinstance(prompt, Box):
        return uncrop_box(prompt, crop)
    return _shifted(prompt, crop.corners[0], crop.corners[1])


def crop_target(target: Target, crop: Crop) -> Target:
    """Return the target that a perfect model could give of the crop alone: masks and boxes are cut at its edge."""
    entities = (
        replace(entity, mask=None if entity.mask is None else crop_mask(entity.mask, crop))
        for entity in target.entities
    )
    boxes = (crop_prompt(box, crop) for box in target.boxes)
    return replace(target, entities=tuple(entities), boxes=tuple(box for box in boxes if isinstance(box, Box)))


def prompts_in_original(request: Request) -> tuple[VisualPrompt, ...]:
    """Return everything that a request points at, in the frame of the original image.

    Reports draw it over the whole image, whatever part of it the model was shown.

    Returns:
        The crop as a box, if there is one, then the visual prompts, then the prompts painted over the image.
    """
    media = [item.record for item in request.media[:1]]
    crop = media[0].crop if media else None
    drawn = [overlay.prompt for item in media for overlay in item.drawn]
    found: Iterable[VisualPrompt] = [*request.visual_prompts, *drawn]
    if crop is None:
        return tuple(found)
    return Box(corners=tuple(map(float, crop.corners))), *(uncrop_prompt(prompt, crop) for prompt in found)


def _slices(crop: Crop) -> tuple[slice, slice]:
    x1, y1, x2, y2 = crop.corners
    return slice(y1, y2), slice(x1, x2)


def _moved(box: Box, right: float, down: float) -> Box:
    x1, y1, x2, y2 = box.corners
    return Box(corners=(x1 + right, y1 + down, x2 + right, y2 + down))


def _shifted(points: Points, right: float, down: float) -> Points:
    return replace(points, points=tuple((x + right, y + down) for x, y in points.points))

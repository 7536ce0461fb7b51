"""The boxes, points and regions that a task shows the model."""

from collections.abc import Sequence

from harness.errors import DataError
from harness.imaging import frames, masks
from harness.records import (
    Box,
    Mask,
    Points,
    Region,
    Sample,
    Size,
    VisualPrompt,
)
from harness.tasks.spec import TaskSpec


def visual_prompts(task: TaskSpec, sample: Sample) -> tuple[VisualPrompt, ...]:
    """Return the boxes, points or regions that the task shows the model.

    `box`, `points` and `region` are drawn from the target: the tight box, the pixel deepest inside, the mask itself.

    Raises:
        DataError: There is nothing to draw them from, or what the release points at is not in its image.
    """
    if task.visual_prompt == "none":
        return ()
    if task.visual_prompt == "from_sample":
        for prompt in sample.visual_prompts:
            _check_prompt(prompt, sample.media[0].size if sample.media else (), sample.id)
        return sample.visual_prompts
    found = [entity.mask for entity in sample.target.entities if entity.mask is not None and masks.area(entity.mask)]
    if not found:
        raise DataError(f"{sample.id}: the task shows a {task.visual_prompt}, but the target's mask is empty")
    mask = masks.merge(found)
    if task.visual_prompt == "region":
        return (Region(mask=mask),)
    if task.visual_prompt == "points":
        return (Points(points=(_deepest_pixel(mask),), labels=(1,)),)
    box = masks.bounding_box(mask)
    assert box is not None
    return (box,)


def _check_prompt(prompt: VisualPrompt, size: Size, where: str) -> None:
    """Raise a DataError unless what the release points at is in its image; `size` is empty where it is unknown."""
    if isinstance(prompt, Region):
        if not masks.area(prompt.mask):
            raise DataError(f"{where}: the region that the release points at has no pixel")
        if size and prompt.mask.size != size:
            raise DataError(
                f"{where}: the region that the release points at is {prompt.mask.size}, its image {size}; "
                "`harness prepare` lists such pairs"
            )
    elif size and isinstance(prompt, Box):
        frames.check_box(prompt, size, where)
    elif isinstance(prompt, Points) and size:
        outside = [point for point in prompt.points if not _is_inside(point, size)]
        if outside:
            raise DataError(f"{where}: the point {outside[0]} that the release points at is outside its image {size}")


def _is_inside(point: Sequence[float], size: Size) -> bool:
    """Say whether a point (x, y) or (x, y, z) names a pixel of an image or volume of `size`."""
    return len(point) == len(size) and all(0 <= value < length for value, length in zip(point, size[::-1], strict=True))


def _deepest_pixel(mask: Mask) -> tuple[float, ...]:
    """Return the (x, y) or (x, y, z) of the pixel farthest from the outside; the first in scan order of equals."""
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    depth = distance_transform_edt(np.pad(masks.decode(mask), 1))
    index = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return tuple(float(position) - 1 for position in reversed(index))

"""The boxes, points and regions that a task shows the model."""

from harness.errors import DataError
from harness.imaging import frames, masks
from harness.records import Box, Mask, Points, Region, Sample, Size, VisualPrompt
from harness.tasks.spec import TaskSpec


def visual_prompts(task: TaskSpec, sample: Sample) -> tuple[VisualPrompt, ...]:
    """Return the boxes, points or regions that the task shows the model, in the frame of the first image or volume.

    `box`, `points` and `region` are derived from the target: the tight box, the pixel deepest inside, the mask itself.
    A task without visual prompts has none.

    Raises:
        DataError: The target's mask is empty, or a prompt of the release is outside its image.
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
    """Raise a DataError unless a prompt of the release is inside its image.

    Args:
        prompt: Of the release.
        size: (H, W) or (D, H, W) of the image; empty if it is unknown, because the file cannot be read.
        where: The sample's id.
    """
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
        extent = size[::-1]  # points are (x, y) or (x, y, z), sizes (H, W) or (D, H, W)
        for point in prompt.points:
            if len(point) != len(extent) or not all(
                0 <= place < most for place, most in zip(point, extent, strict=True)
            ):
                raise DataError(f"{where}: the point {point} that the release points at is outside its image {size}")


def _deepest_pixel(mask: Mask) -> tuple[float, ...]:
    """Return the (x, y) or (x, y, z) of the pixel farthest from the outside; of equals the first in scan order."""
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    # One pixel of padding makes the image's edge a border, so a mask that fills the image is deepest in its middle.
    depth = distance_transform_edt(np.pad(masks.decode(mask), 1))
    index = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return tuple(float(position) - 1 for position in reversed(index))

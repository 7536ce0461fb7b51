"""Whether a box or points of a MIMOSeg record lie where they should: in their image, and on what they point at."""

from collections.abc import Sequence

from harness.errors import DataError
from harness.imaging.frames import check_box
from harness.records import Box, Mask, Points, Size


def outside(prompt: Box | Points, size: Size) -> str | None:
    """Return what of a visual prompt is not in the image (H, W); None where all of it is."""
    if isinstance(prompt, Box):
        try:
            check_box(prompt, size, "prompt")
        except DataError as error:
            return str(error).removeprefix("prompt: ")
        return None
    height, width = size
    found = [f"({x:g}, {y:g})" for x, y in prompt.points if not (0 <= x < width and 0 <= y < height)]
    return f"point {found[0]} of an image {size} as (H, W)" if found else None


def touches(prompt: Box | Points, drawn: Sequence[Mask]) -> bool:
    """Say whether a box or a foreground point has a pixel in common with any of the masks."""
    from harness.imaging import masks  # numpy loads when a release is read, not listed

    boxes = [prompt] if isinstance(prompt, Box) else _pixels(prompt)
    return any(masks.intersection(masks.from_box(box, mask.size), mask) for box in boxes for mask in drawn)


def _pixels(points: Points) -> list[Box]:
    """Return the pixel of each foreground point."""
    chosen = zip(points.points, points.labels, strict=True)
    return [Box(corners=(int(x), int(y), int(x) + 1, int(y) + 1)) for (x, y), label in chosen if label]

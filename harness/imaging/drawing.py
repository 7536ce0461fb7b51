"""Small PNGs of an image with the outlines of its masks, for reports.

The target has a solid blue outline. The prediction has a dashed orange one, drawn over it, so that blue shows between
the dashes where both coincide. A thin white line marks the visual prompts.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from harness.imaging import masks
from harness.records import Box, Mask, Points, Region, Sample, Size, VisualPrompt

# Red, green and blue of each layer. Sky blue and orange can be distinguished with any colour vision (Okabe and Ito,
# 2008), and the dashes also without colour; the dark shade around every line keeps it visible on bright tissue.
SHADE, TARGET, PREDICTION, PROMPT = (0, 0, 0), (86, 180, 233), (240, 165, 0), (255, 255, 255)
GROUND = (58, 66, 75)  # drawn in place of an image whose pixels may not be shown
IMAGE_COLOURS = 60  # enough for a thumbnail, at a third of the bytes
MOST_ENLARGED = 2.0
DASH = 6  # pixels
SMOOTH = 3  # pixels; the outline of a blurred mask has a steady direction, by which dashes are counted
POINT_RADIUS = 2  # pixels

Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """The drawing of one sample.

    Attributes:
        png: Bytes of the PNG file.
        size: (H, W) of the drawing in pixels.
        slice: Index of the slice that is shown of a volume; None for an image.
    """

    png: bytes
    size: tuple[int, int]
    slice: int | None = None


def draw(
    size: Size,
    *,
    target: Mask | None = None,
    prediction: Mask | None = None,
    prompts: Sequence[Mask] = (),
    image: Pixels | None = None,
    side: int = 256,
) -> bytes:
    """Return the bytes of a PNG with the outlines, over the image or on a plain ground.

    Args:
        size: (H, W) of the original image, in whose frame all masks lie.
        target: Drawn solid, if given.
        prediction: Drawn dashed over the target, if given.
        prompts: The visual prompts as masks, drawn thin.
        image: uint8 (H, W, 3) RGB; None if its pixels may not be shown or are not available.
        side: Largest length of the longer edge in pixels. A small image is enlarged at most MOST_ENLARGED times.
    Raises:
        DataError: A mask does not have `size`.
    """
    for mask in (target, prediction, *prompts):
        if mask is not None:
            masks.check_size(mask, size, "overlay", what="mask")
    shape = scaled_size(size, side)
    palette: list[tuple[int, ...]]
    if image is None:
        canvas, palette = np.zeros(shape, dtype=np.uint8), [GROUND]
    else:
        canvas, palette = _reduced(image, shape)
    thin = np.zeros(shape, dtype=np.bool_)
    for mask in prompts:
        thin |= _edge(_scaled(mask, shape), 1)
    solid = _edge(_scaled(target, shape), 2)
    predicted = _scaled(prediction, shape)
    line = _edge(predicted, 2)
    shade = ~_eroded(~(solid | line | thin))
    # From the bottom up: each layer is painted over those before it.
    layers = ((shade, SHADE), (thin, PROMPT), (solid, TARGET), (line & _dashed(predicted), PREDICTION))
    for layer, colour in layers:
        canvas[layer] = len(palette)
        palette.append(colour)
    indexed = Image.fromarray(canvas)
    indexed.putpalette([value for colour in palette for value in colour])
    buffer = io.BytesIO()
    indexed.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def scaled_size(size: Size, side: int) -> tuple[int, int]:
    """Return the (H, W) in pixels that `draw` gives an image whose (H, W) is `size`."""
    scale = min(side / max(size), MOST_ENLARGED)
    height, width = (max(1, round(length * scale)) for length in size)
    return height, width


def draw_sample(
    sample: Sample,
    predicted: Sequence[Mask],
    *,
    prompts: Sequence[VisualPrompt] = (),
    image: Pixels | None = None,
    side: int = 256,
) -> Drawing | None:
    """Return the drawing of one sample, with the union of its target masks and the union of the predicted ones.

    A volume is shown as the slice that `slice_to_draw` selects, without visual prompts.

    Args:
        sample: The sample, with its target.
        predicted: Masks in the frame of the sample's first image or volume.
        prompts: Visual prompts in the same frame.
        image: uint8 (H, W, 3) RGB of that image or slice, if its pixels may be shown.
        side: Largest length of the longer edge in pixels.
    Returns:
        None if the sample has neither an image of known size nor a mask.
    Raises:
        DataError: A mask and its image differ in size.
    """
    targets, size = _targets_and_size(sample, predicted)
    if size is None:
        return None
    target = masks.merge(targets) if targets else None
    prediction = masks.merge(predicted) if predicted else None
    if len(size) == 2:
        prompt_masks = [prompt_mask(prompt, size) for prompt in prompts]
        png = draw(size, target=target, prediction=prediction, prompts=prompt_masks, image=image, side=side)
        return Drawing(png=png, size=scaled_size(size, side))
    index = slice_to_draw(sample, predicted)
    assert index is not None
    flat = [plane(mask, index) if mask is not None else None for mask in (target, prediction)]
    png = draw(size[1:], target=flat[0], prediction=flat[1], image=image, side=side)
    return Drawing(png=png, size=scaled_size(size[1:], side), slice=index)


def slice_to_draw(sample: Sample, predicted: Sequence[Mask]) -> int | None:
    """Return the index of the slice that holds most of the target, or of the prediction if there is no target.

    Returns:
        The middle slice if all masks are empty; None for an image.
    Raises:
        DataError: The target masks, or the predicted ones, differ in size.
    """
    targets, size = _targets_and_size(sample, predicted)
    if size is None or len(size) == 2:
        return None
    unions = (masks.merge(found) for found in (targets, predicted) if found)
    return fullest_slice(next((mask for mask in unions if masks.area(mask)), masks.empty(size)))


def _targets_and_size(sample: Sample, predicted: Sequence[Mask]) -> tuple[list[Mask], Size | None]:
    """Return the target masks, and the size of the first image or volume, or of the first mask if that is unknown."""
    targets = [entity.mask for entity in sample.target.entities if entity.mask is not None]
    sizes = [media.size for media in sample.media[:1] if media.size] or [mask.size for mask in [*targets, *predicted]]
    return targets, next(iter(sizes), None)


def prompt_mask(prompt: VisualPrompt, size: Size) -> Mask:
    """Return a visual prompt of an image as a mask; a point becomes a square of 2 * POINT_RADIUS + 1 pixels.

    Args:
        prompt: In the frame of the original image.
        size: (H, W) of the original image.
    Returns:
        A mask of `size`; empty if there are no points.
    """
    if isinstance(prompt, Region):
        return prompt.mask
    if isinstance(prompt, Box):
        return masks.from_box(prompt, size)
    assert isinstance(prompt, Points)
    squares = []
    for point in prompt.points:
        x, y = floor(point[0]), floor(point[1])
        corners = (x - POINT_RADIUS, y - POINT_RADIUS, x + POINT_RADIUS + 1, y + POINT_RADIUS + 1)
        squares.append(masks.from_box(Box(corners=corners), size))
    return masks.merge(squares) if squares else masks.empty(size)


def fullest_slice(mask: Mask) -> int:
    """Return the index of the slice of a 3-D mask with the most foreground; the middle one if the mask is empty."""
    assert mask.slices is not None
    areas = {index: masks.area(plane(mask, index)) for index, _ in mask.slices}
    # The index breaks ties: the first of several slices with equal areas wins.
    return max(areas, key=lambda index: (areas[index], -index), default=mask.size[0] // 2)


def plane(mask: Mask, index: int) -> Mask:
    """Return one slice of a (D, H, W) mask as a mask (H, W)."""
    assert mask.slices is not None
    counts = dict(mask.slices).get(index)
    return masks.empty(mask.size[1:]) if counts is None else Mask(size=mask.size[1:], counts=counts)


def _reduced(image: Pixels, shape: tuple[int, int]) -> tuple[Pixels, list[tuple[int, ...]]]:
    """Return the scaled image as palette indices, uint8 (H, W), and the palette."""
    # Without dithering, because flat areas then stay flat and compress well.
    small = Image.fromarray(image).resize(shape[::-1], Image.Resampling.BOX)
    found = small.quantize(IMAGE_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat = (found.getpalette() or [])[: 3 * IMAGE_COLOURS]
    return np.array(found, dtype=np.uint8), [tuple(flat[start : start + 3]) for start in range(0, len(flat), 3)]


def _dashed(dense: Bools) -> Bools:
    """Return the pixels at which the outline of the foreground is drawn rather than left out."""
    # Dashes are counted along rows where the outline runs steeply and along columns elsewhere: along one axis alone an
    # outline parallel to the other axis would be all dash or all gap.
    soft = Image.fromarray(dense.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(SMOOTH))
    down, right = np.gradient(np.pad(np.asarray(soft, dtype=np.float64), 1))
    steep = np.abs(right) > np.abs(down)
    rows, columns = np.indices(dense.shape)
    phase = np.where(steep[1:-1, 1:-1], rows, columns)
    drawn: Bools = phase // DASH % 2 == 0
    return drawn


def _scaled(mask: Mask | None, shape: tuple[int, int]) -> Bools:
    """Return the mask in the frame of the drawing; empty if there is no mask."""
    if mask is None:
        return np.zeros(shape, dtype=np.bool_)
    grey = Image.fromarray(masks.decode(mask).astype(np.uint8) * 255)
    share = np.asarray(grey.resize(shape[::-1], Image.Resampling.BOX))
    # A lesion of a few pixels covers less than half of a pixel of the thumbnail; it must not vanish.
    return share >= 128 if (share >= 128).any() else share > 0


def _edge(dense: Bools, thickness: int) -> Bools:
    """Return the outermost pixels of the foreground; the border of the drawing counts as an edge."""
    inner = dense
    for _ in range(thickness):
        inner = _eroded(inner, outside=False)
    return dense & ~inner


def _eroded(dense: Bools, *, outside: bool = True) -> Bools:
    """Return the foreground pixels whose four neighbours are foreground; `outside` is the value beyond the border."""
    padded = np.pad(dense, 1, constant_values=outside)
    inner: Bools = dense & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner

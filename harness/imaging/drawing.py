"""An image with its masks as outlines, as a small PNG.

The target has a solid blue outline, the prediction a dashed orange one drawn over it, so that blue shows between the
dashes where both run together; a thin white line marks what the prompt points at. Blue and orange are told apart with
any colour vision (Okabe and Ito, 2008).
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

SHADE, TARGET, PREDICTION, POINTED = (0, 0, 0), (86, 180, 233), (240, 165, 0), (255, 255, 255)
GROUND = (58, 66, 75)
"""What stands where there are no pixels."""
IMAGE_COLOURS = 60
"""Colours kept of an image: enough for a thumbnail, at a third of the bytes."""
MOST_ENLARGED = 2.0
DASH = 6
SMOOTH = 3
POINT_RADIUS = 2

Bools = NDArray[np.bool_]
Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """One sample as a picture.

    Attributes:
        png: The file's bytes.
        size: (H, W) of the picture.
        slice: Of a volume; None for an image.
    """

    png: bytes
    size: tuple[int, int]
    slice: int | None = None


def draw(
    size: Size,
    *,
    target: Mask | None = None,
    prediction: Mask | None = None,
    pointed: Sequence[Mask] = (),
    image: Pixels | None = None,
    side: int = 256,
) -> bytes:
    """Return a PNG of the outlines, over the image or on a plain ground.

    Args:
        size: (H, W) of the original image, in whose frame all masks lie.
        target: Drawn solid; None where there is none.
        prediction: Drawn dashed, over the target; None where there is none.
        pointed: What the visual prompts point at, drawn thin.
        image: uint8 (H, W, 3); None where its pixels may not be shown or are not here.
        side: Most pixels of the longer edge; a small image is enlarged at most MOST_ENLARGED times.
    Raises:
        DataError: A mask has another size.
    """
    for mask in (target, prediction, *pointed):
        if mask is not None:
            masks.check_size(mask, size, "overlay", what="mask")
    shape = scaled_size(size, side)
    canvas, palette = _ground(shape) if image is None else _reduced(image, shape)
    first = len(palette)
    layers = _layers(shape, target, prediction, pointed)
    for index, layer in enumerate(layers):
        canvas[layer] = first + index
    return _png(canvas, [*palette, SHADE, POINTED, TARGET, PREDICTION])


def scaled_size(size: Size, side: int) -> tuple[int, int]:
    """Return (H, W) of the picture that `draw` makes of an image of `size`."""
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
    """Return one sample with the union of its target masks and of the predicted ones; None where its size is unknown.

    Of a volume it is the slice that `shown_slice` names, without what is pointed at.

    Args:
        sample: With its target.
        predicted: Masks in the frame of the sample's first image or volume.
        prompts: What is pointed at there.
        image: uint8 (H, W, 3) of that image or of that slice, where its pixels may be shown.
        side: Most pixels of the longer edge.
    Raises:
        DataError: A mask has another size than its image.
    """
    targets = [entity.mask for entity in sample.target.entities if entity.mask is not None]
    sizes = [media.size for media in sample.media[:1] if media.size] or [mask.size for mask in [*targets, *predicted]]
    if not sizes:
        return None
    size = sizes[0]
    target = masks.merge(targets) if targets else None
    prediction = masks.merge(predicted) if predicted else None
    if len(size) == 2:
        pointed = [prompt_mask(prompt, size) for prompt in prompts]
        png = draw(size, target=target, prediction=prediction, pointed=pointed, image=image, side=side)
        return Drawing(png=png, size=scaled_size(size, side))
    shown = slice_to_draw(sample, predicted)
    assert shown is not None
    flat = [plane(mask, shown) if mask is not None else None for mask in (target, prediction)]
    png = draw(size[1:], target=flat[0], prediction=flat[1], image=image, side=side)
    return Drawing(png=png, size=scaled_size(size[1:], side), slice=shown)


def slice_to_draw(sample: Sample, predicted: Sequence[Mask]) -> int | None:
    """Return the slice of a volume that holds most of the target, else most of the prediction; None for an image.

    Raises:
        DataError: The masks of one side differ in size.
    """
    targets = [entity.mask for entity in sample.target.entities if entity.mask is not None]
    sizes = [media.size for media in sample.media[:1] if media.size] or [mask.size for mask in [*targets, *predicted]]
    if not sizes or len(sizes[0]) == 2:
        return None
    sides = (masks.merge(side) for side in (targets, list(predicted)) if side)
    return fullest_slice(next((mask for mask in sides if masks.area(mask)), masks.empty(sizes[0])))


def prompt_mask(prompt: VisualPrompt, size: Size) -> Mask:
    """Return what a visual prompt of an image points at as a mask; a point becomes a small square.

    Args:
        prompt: In the frame of the original image.
        size: (H, W) of that image.
    """
    if isinstance(prompt, Region):
        return prompt.mask
    if isinstance(prompt, Box):
        return masks.from_box(prompt, size)
    assert isinstance(prompt, Points)
    squares = [masks.from_box(_around(*point[:2]), size) for point in prompt.points]
    return masks.merge(squares) if squares else masks.empty(size)


def fullest_slice(mask: Mask) -> int:
    """Return the slice of a 3-D mask that has the most foreground; the middle one where all are empty."""
    assert mask.slices is not None
    areas = {index: masks.area(plane(mask, index)) for index, _ in mask.slices}
    return max(areas, key=lambda index: (areas[index], -index), default=mask.size[0] // 2)


def plane(mask: Mask, index: int) -> Mask:
    """Return one slice of a 3-D mask as a mask of its own."""
    assert mask.slices is not None
    counts = dict(mask.slices).get(index)
    return masks.empty(mask.size[1:]) if counts is None else Mask(size=mask.size[1:], counts=counts)


def _around(x: float, y: float) -> Box:
    x, y = floor(x), floor(y)
    return Box(corners=(x - POINT_RADIUS, y - POINT_RADIUS, x + POINT_RADIUS + 1, y + POINT_RADIUS + 1))


def _ground(shape: tuple[int, int]) -> tuple[Pixels, list[tuple[int, ...]]]:
    return np.zeros(shape, dtype=np.uint8), [GROUND]


def _reduced(image: Pixels, shape: tuple[int, int]) -> tuple[Pixels, list[tuple[int, ...]]]:
    """Return the scaled image as palette indices (H, W), and the palette."""
    small = Image.fromarray(image).resize(shape[::-1], Image.Resampling.BOX)
    found = small.quantize(IMAGE_COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat = (found.getpalette() or [])[: 3 * IMAGE_COLOURS]
    return np.array(found, dtype=np.uint8), [tuple(flat[start : start + 3]) for start in range(0, len(flat), 3)]


def _layers(
    shape: tuple[int, int], target: Mask | None, prediction: Mask | None, pointed: Sequence[Mask]
) -> tuple[Bools, Bools, Bools, Bools]:
    """Return where to draw, from the bottom up: shade, what is pointed at, target, dashes of the prediction."""
    thin = np.zeros(shape, dtype=np.bool_)
    for mask in pointed:
        thin |= _edge(_scaled(mask, shape), 1)
    solid = _edge(_scaled(target, shape), 2)
    predicted = _scaled(prediction, shape)
    line = _edge(predicted, 2)
    shade = ~_eroded(~(solid | line | thin))
    return shade, thin, solid, line & _dashed(predicted)


def _dashed(dense: Bools) -> Bools:
    """Return where the outline of the foreground is drawn: by row where it runs steeply, by column elsewhere."""
    soft = Image.fromarray(dense.astype(np.uint8) * 255).filter(ImageFilter.GaussianBlur(SMOOTH))
    down, right = np.gradient(np.pad(np.asarray(soft, dtype=np.float64), 1))
    steep = np.abs(right) > np.abs(down)
    rows, columns = np.indices(dense.shape)
    phase = np.where(steep[1:-1, 1:-1], rows, columns)
    drawn: Bools = phase // DASH % 2 == 0
    return drawn


def _scaled(mask: Mask | None, shape: tuple[int, int]) -> Bools:
    """Return the mask in the frame of the picture; however small, something of it stays."""
    if mask is None:
        return np.zeros(shape, dtype=np.bool_)
    grey = Image.fromarray(masks.decode(mask).astype(np.uint8) * 255)
    share = np.asarray(grey.resize(shape[::-1], Image.Resampling.BOX))
    return share >= 128 if (share >= 128).any() else share > 0


def _edge(dense: Bools, thickness: int) -> Bools:
    """Return the outermost pixels of the foreground; the border of the picture is an edge too."""
    inner = dense
    for _ in range(thickness):
        inner = _eroded(inner, outside=False)
    return dense & ~inner


def _eroded(dense: Bools, *, outside: bool = True) -> Bools:
    """Return the pixels whose four neighbours are foreground too; `outside` is what lies beyond the picture."""
    padded = np.pad(dense, 1, constant_values=outside)
    inner: Bools = dense & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inner


def _png(indices: Pixels, palette: Sequence[tuple[int, ...]]) -> bytes:
    picture = Image.fromarray(indices)
    picture.putpalette([value for colour in palette for value in colour])
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()

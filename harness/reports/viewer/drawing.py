"""Target, prediction and visual prompts of a sample as shapes over its image, and in words for those who see none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.imaging import masks
from harness.imaging.drawing import POINT_RADIUS
from harness.imaging.media_store import MediaStore
from harness.records import Box, Mask, Points, Prediction, Region, Sample, Size, VisualPrompt
from harness.reports.viewer.contours import path_of
from harness.reports.viewer.records import COLOURS, LayerKind, Plane, Shape
from harness.reports.viewer.volumes import planes_of
from harness.text.grounded_text import normalise_name

# Most masks of a sample that are shown one by one, targets and predictions each; the others are shown as one.
MOST_MASKS = 12
# Most boxes and points of a sample that are shown; a model that floods is no reason for a page of megabytes.
MOST_PLACES = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedMask:
    """A mask of a sample, and whose it is; `name` is empty for a mask without an entity."""

    kind: LayerKind
    name: str
    mask: Mask


def colours_of(sample: Sample, prediction: Prediction | None) -> dict[str, int]:
    """Return the number of the colour of every entity, by normalised name, targets first.

    Empty if there are fewer than two: target and prediction then differ by colour.
    """
    names = [normalise_name(entity.name) for entity in sample.target.entities]
    names += [normalise_name(entity.name) for entity in (prediction.entities if prediction is not None else ())]
    found = {name: index % COLOURS for index, name in enumerate(dict.fromkeys(name for name in names if name))}
    return found if len(found) > 1 else {}


def masks_of(sample: Sample, prediction: Prediction | None) -> list[NamedMask]:
    """Return the masks to show: of the target, then of the prediction, empty ones left out.

    Raises:
        DataError: Masks that are shown as one differ in size.
    """
    targets = [
        NamedMask(kind="target", name=entity.name, mask=entity.mask)
        for entity in sample.target.entities
        if entity.mask is not None
    ]
    names: dict[int, str] = {}
    for entity in prediction.entities if prediction is not None else ():
        if entity.mask is not None:
            names.setdefault(entity.mask, entity.name)
    predicted = [
        NamedMask(kind="prediction", name=names.get(index, ""), mask=mask)
        for index, mask in enumerate(prediction.masks if prediction is not None else ())
    ]
    found = []
    for several in (targets, predicted):
        filled = [named for named in several if masks.area(named.mask)]
        found += filled[:MOST_MASKS]
        if rest := [named.mask for named in filled[MOST_MASKS:]]:
            found.append(NamedMask(kind=filled[0].kind, name=f"{len(rest)} more", mask=masks.merge(rest)))
    return found


def image_shapes(
    size: Size,
    named: Sequence[NamedMask],
    prompts: Sequence[VisualPrompt],
    sample: Sample,
    prediction: Prediction | None,
    colours: Mapping[str, int],
) -> tuple[Shape, ...]:
    """Return the shapes over an image.

    Args:
        size: (H, W) of the image.
        named: Its masks.
        prompts: What the request points at, in the frame of the image.
        sample: For the boxes of the target.
        prediction: For predicted boxes and points.
        colours: From `colours_of`.
    Raises:
        DataError: A mask has another size.
    """
    found = [_place("prompt", prompt) for prompt in prompts[:MOST_PLACES]]
    for one in named:
        masks.check_size(one.mask, size, "overlay", what="mask")
        shape = Shape(
            kind=one.kind,
            colour=colours.get(normalise_name(one.name)),
            name=one.name,
            area=masks.area(one.mask),
            path=path_of(masks.decode(one.mask)),
        )
        found.append(shape)
    found += [_place("target", box) for box in sample.target.boxes[:MOST_PLACES]]
    if prediction is not None:
        found += [_place("prediction", box) for box in prediction.boxes[:MOST_PLACES]]
        points = tuple(point for point in prediction.points if len(point) == 2)[:MOST_PLACES]
        if points:
            found.append(_place("prediction", Points(points=points, labels=(1,) * len(points))))
    return tuple(shape for shape in found if shape.path)


def _place(kind: LayerKind, prompt: VisualPrompt) -> Shape:
    """Return a box, points or a region as a shape; one without a path if it has no place in an image."""
    if isinstance(prompt, Region):
        shown = prompt.mask.counts is not None
        return Shape(kind=kind, colour=None, name="region", path=path_of(masks.decode(prompt.mask)) if shown else "")
    if isinstance(prompt, Box):
        if len(prompt.corners) != 4:
            return Shape(kind=kind, colour=None, name="box")
        x1, y1, x2, y2 = (round(value, 1) for value in prompt.corners)
        return Shape(kind=kind, colour=None, name="box", path=f"M{x1:g} {y1:g}H{x2:g}V{y2:g}H{x1:g}z")
    places = (point for point in prompt.points[:MOST_PLACES] if len(point) == 2)
    path = "".join(
        f"M{round(x, 1):g} {round(y - POINT_RADIUS, 1):g}l{POINT_RADIUS} {POINT_RADIUS}l-{POINT_RADIUS} {POINT_RADIUS}"
        f"l-{POINT_RADIUS} -{POINT_RADIUS}z"
        for x, y in places
    )
    return Shape(kind=kind, colour=None, name="points", path=path)


def volume_shapes(
    sample: Sample,
    size: Size,
    named: Sequence[NamedMask],
    prediction: Prediction | None,
    colours: Mapping[str, int],
    store: MediaStore | None,
    windows: tuple[tuple[float, float], ...],
) -> tuple[tuple[Plane, ...], tuple[Shape, ...]]:
    """Return the planes of a volume and the shapes over them; 3-D boxes become masks.

    The arguments are those of `image_shapes` and `planes_of`.

    Raises:
        DataError: A mask has another size, or the volume cannot be read.
    """
    drawn = list(named)
    boxes: list[tuple[LayerKind, Box]] = [("target", box) for box in sample.target.boxes]
    boxes += [("prediction", box) for box in (prediction.boxes if prediction is not None else ())]
    drawn += [
        NamedMask(kind=kind, name="box", mask=masks.from_box(box, size))
        for kind, box in boxes[:MOST_MASKS]
        if len(box.corners) == 6
    ]
    for one in drawn:
        masks.check_size(one.mask, size, "overlay", what="mask")
    dense = [masks.decode(one.mask) for one in drawn]
    planes, paths = planes_of(sample.media[0] if sample.media else None, size, dense, store, windows)
    return planes, tuple(
        Shape(
            kind=one.kind,
            colour=colours.get(normalise_name(one.name)),
            name=one.name,
            area=masks.area(one.mask),
            slices=found,
        )
        for one, found in zip(drawn, paths, strict=True)
    )


def describe(named: Sequence[NamedMask], *, gives_masks: bool, unit: str) -> str:
    """Return the content of a drawing in words: pixels of the target, of the prediction, and of both.

    Args:
        named: The masks, empty ones left out.
        gives_masks: Whether the task asks for masks, so that their absence is worth a word.
        unit: `pixels` or `voxels`.
    Raises:
        DataError: The masks differ in size.
    """
    of = {kind: [one.mask for one in named if one.kind == kind] for kind in ("target", "prediction")}
    if not named and not gives_masks:
        return ""
    whole = {kind: masks.merge(found) for kind, found in of.items() if found}
    words = [
        f"{kind} {masks.area(whole[kind]):,} {unit}" if kind in whole else f"no {kind} mask"
        for kind in ("target", "prediction")
    ]
    if len(whole) == 2:
        words.append(f"overlap {masks.overlap(whole['target'], whole['prediction']).intersection:,}")
    text = ", ".join(words)
    return text[0].upper() + text[1:]

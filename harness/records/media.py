"""The images and volumes of a release, and how they are shown to a model: cropped, painted over, or as one slice."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.records.values import Size
from harness.records.visual_prompts import VisualPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One image or volume of a release, and how it is shown to a model.

    Attributes:
        path: Path of the file relative to the data root, with forward slashes.
        sha256: Digest of the file's bytes; None if the release lacks the file or it cannot be read.
        kind: `image` or `volume`.
        size: (H, W) or (D, H, W) as shown, which without a crop is as stored; empty if the file cannot be read.
        spacing_mm: Pixel or voxel size in millimetres, in the order of `size`; the length of the step along each axis
            where these are not at right angles.
        affine: Row-major 4 x 4 matrix of a volume, from (x, y, z) voxels to millimetres in RAS+.
        window: (low, high) grey values that become 0 and 255 when deeper pixels are converted to 8 bits.
        crop: The part of the image that is shown in place of the whole.
        drawn: Visual prompts that are painted over the pixels after the crop, in this order.
        axes: Order of the axes in the volume's file; `xyz` is transposed to `zyx` on reading.
        slice: Index of the slice of a volume that is shown as an image; None if the whole file is shown.
        flat: Whether the file holds a 2-D image that is kept as a volume of one slice, without a thickness.
        view: The slices of a volume that are shown as one image, by a recipe; None if no recipe is used.
    """

    path: str
    sha256: str | None
    kind: Literal["image", "volume"] = "image"
    size: Size = ()
    spacing_mm: tuple[float, ...] | None = None
    affine: tuple[float, ...] | None = None
    window: tuple[float, float] | None = None
    crop: "Crop | None" = None
    drawn: "tuple[Overlay, ...]" = ()
    axes: Literal["zyx", "xyz"] = "zyx"
    slice: int | None = None
    flat: bool = False
    view: "View | None" = None

    @property
    def record(self) -> "Media":
        """The record itself, so that a record and a `MediaHandle` can be asked in the same way."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A window of an image that is shown in its place; its first pixel becomes (0, 0).

    Attributes:
        corners: x1 y1 x2 y2 of the window in whole pixels of the original image, half-open.
        original: (H, W) of the original image.
    """

    corners: tuple[int, int, int, int]
    original: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One or several slices of a volume as one image; see `harness.imaging.views.volume_views`.

    Attributes:
        recipe: Name and version of the recipe that made it, as in `axial-10/1`.
        plane: Direction of the slices.
        slices: Their indices along the first, second or third axis of the volume (axial, coronal, sagittal), in reading
            order of the tiles. With `of` they are places among the slices that the voxels choose.
        of: How many slices are spread over the part of the volume that is not empty; None if `slices` are indices.
        original: (D, H, W) of the volume.
        tile: (rows, columns) of pixels of one slice as shown.
        grid: (rows, columns) of tiles.
        turned: Whether slices are turned to the radiological convention; else they are shown as stored.
        windows: (low, high) in Hounsfield units for red, green and blue, or one for all three; empty: the window of the
            record, else percentiles.
    """

    recipe: str
    plane: Literal["axial", "coronal", "sagittal"]
    slices: tuple[int, ...]
    of: int | None = None
    original: Size
    tile: Size
    grid: Size = (1, 1)
    turned: bool = False
    windows: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """A visual prompt that is painted over the image.

    Attributes:
        prompt: The box, points or region to paint, in the frame of the image as shown.
        style: `outline` of a region or box, `fill` of a region, `dot` on each point.
        colour: Red, green and blue, 0 to 255.
        width: Width of the line, or radius of the dot, in pixels; 0 for a fill.
        opacity: Share of the colour in a painted pixel, in percent.
    """

    prompt: VisualPrompt
    style: Literal["outline", "fill", "dot"]
    colour: tuple[int, int, int]
    width: int
    opacity: int


class MediaHandle(Protocol):
    """The handle through which an adapter opens an image or volume; see `harness.imaging.media_store.LocalMedia`."""

    @property
    def record(self) -> Media:
        """The record of the image or volume, with its spacing and affine."""
        ...

    @property
    def path(self) -> str:
        """A local file with the same content as `image` or `volume`."""
        ...

    def image(self) -> Any:
        """Return uint8 (H, W, 3) RGB, read-only."""
        ...

    def volume(self) -> Any:
        """Return float32 (D, H, W), read-only."""
        ...

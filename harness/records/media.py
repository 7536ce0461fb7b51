"""Images and volumes of a release, and how they are shown: cropped, painted over, as one slice."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from harness.records.values import Size
from harness.records.visual_prompts import VisualPrompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One image or volume of a release, and how it is shown.

    Attributes:
        path: Relative to the data root, POSIX.
        sha256: Digest of the file's bytes; None where the release lacks the file or it cannot be read.
        kind: `image` or `volume`.
        size: (H, W) or (D, H, W) as shown, which without a crop is as stored; empty where the file cannot be read.
        spacing_mm: Pixel size per array axis in millimetres.
        affine: Row-major 4 x 4 voxel-to-world matrix of a volume.
        window: (low, high) grey values that become 0 and 255 where 8-bit pixels are made of deeper ones.
        crop: The part of the image that is shown in its place.
        drawn: What is painted over the pixels, in this order, after the crop.
        axes: Order of the axes in a volume's file; `xyz` is turned round when it is read.
        slice: Which slice of a volume is shown as the image; None where all of the file is.
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

    @property
    def record(self) -> "Media":
        """The record itself, as a `MediaHandle` has it too."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """A window of an image that is shown in its place; its first pixel becomes (0, 0).

    Attributes:
        corners: x1 y1 x2 y2 of the window in whole pixels of the original image, half-open.
        original: (H, W) of that image.
    """

    corners: tuple[int, int, int, int]
    original: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """Paint over an image that points at something.

    Attributes:
        prompt: What is pointed at, in the frame of the image as shown.
        style: `outline` of a region or box, `fill` of a region, `dot` on each point.
        colour: Red, green, blue.
        width: Pixels of the line, or of the dot's radius; 0 for a fill.
        opacity: Percent of the colour in a painted pixel.
    """

    prompt: VisualPrompt
    style: Literal["outline", "fill", "dot"]
    colour: tuple[int, int, int]
    width: int
    opacity: int


class MediaHandle(Protocol):
    """What an adapter holds for each image or volume of a request; see `harness.imaging.media_store.LocalMedia`."""

    @property
    def record(self) -> Media: ...

    @property
    def path(self) -> str: ...

    def image(self) -> Any: ...

    def volume(self) -> Any: ...

"""Opening of 2-D images and masks by one rule: pixels as stored, three channels, no rotation, no silent scaling."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import DataError
from harness.imaging.windowing import Limits, Window, limits, windowed

PIXEL_CAP = 170_000_000
"""Most pixels of one image; Pillow itself refuses from about 179 million on."""

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif", "WEBP": ".webp"}
ORIENTATION_TAG = 0x0112
UPRIGHT = 1

# What Pillow raises on damaged files, found by flipping bytes and cutting files of each format above.
_DAMAGED = (OSError, ValueError, TypeError, SyntaxError, EOFError)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What there is to know of an image before anybody looks at it.

    Attributes:
        size: (H, W) as stored.
        window: (low, high) grey values that become 0 and 255; None where the image has 8 bits and needs none.
        orientation: EXIF orientation 1..8; 1 where the file is upright or does not say. It is never applied.
        suffix: The usual file suffix of the format, with its dot.
    """

    size: tuple[int, int]
    window: Limits | None
    orientation: int
    suffix: str


def read_image(data: bytes, *, window: Window | None, where: str) -> NDArray[np.uint8]:
    """Return the image as uint8 (H, W, 3) RGB in the stored frame.

    Palette and grey are expanded, alpha is dropped without blending, EXIF rotation is not applied.

    Args:
        data: The bytes of a PNG, JPEG, BMP, TIFF, GIF or WebP file.
        window: Which grey values become 0 and 255; only read for grey images of more than 8 bits.
        where: Named in errors.
    Raises:
        DataError: No such format, damaged or truncated, more than one frame, above `PIXEL_CAP`, colour of more than
            8 bits a channel, or deep grey without a window.
        SpecError: The window's low end is not below its high end.
    """
    with _opened(data, where) as image:
        if _is_deep(image):
            values = np.asarray(image)
            grey = windowed(values, _limits(values, image.mode, window, where))
            return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
        # Through RGBA, because Pillow warns of palettes with transparency on the direct way.
        plain = image.convert("RGBA") if image.mode == "P" else image
        return np.array(plain.convert("RGB"), dtype=np.uint8)


def read_mask(data: bytes, *, where: str) -> NDArray[np.bool_]:
    """Return a mask file as boolean (H, W): every stored value of at least 1 is foreground.

    Palette files count by index, so index 0 is background whatever its colour; of colour files any channel counts;
    alpha is dropped.

    Raises:
        DataError: As `read_image`; no window is needed.
    """
    with _opened(data, where) as image:
        opaque = {"RGBA": "RGB", "LA": "L", "PA": "P", "RGBX": "RGB"}.get(image.mode)
        values = np.asarray(image.convert(opaque) if opaque else image) >= 1
        return np.ascontiguousarray(values if values.ndim == 2 else values.any(axis=2))


def read_labels(data: bytes, *, where: str) -> NDArray[np.int64]:
    """Return a label image as int64 (H, W): palette files by index, grey ones by value.

    Raises:
        DataError: As `read_mask`; or its channels differ, or its values are not whole numbers of at least 0.
    """
    with _opened(data, where) as image:
        opaque = {"RGBA": "RGB", "LA": "L", "PA": "P", "RGBX": "RGB"}.get(image.mode)
        values = np.asarray(image.convert(opaque) if opaque else image)
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise DataError(f"{where}: expected one channel of labels or equal ones, found colours that differ")
        values = values[..., 0]
    return whole_labels(values, where)


def whole_labels(values: NDArray[Any], where: str) -> NDArray[np.int64]:
    """Return values as labels.

    Raises:
        DataError: One of them is not a whole number of at least 0.
    """
    labels: NDArray[np.int64] = np.nan_to_num(values, nan=-1.0).astype(np.int64)
    if labels.size and (labels.min() < 0 or (values.dtype.kind == "f" and (labels != values).any())):
        raise DataError(f"{where}: expected labels, whole numbers of at least 0, found other values")
    return labels


def examine_image(data: bytes, *, window: Window | None, where: str) -> ImageFacts:
    """Decode the whole image once and return its facts, so that what passes here can be read later.

    Raises:
        DataError: As `read_image`.
    """
    with _opened(data, where) as image:
        deep = _is_deep(image)
        return ImageFacts(
            size=(image.height, image.width),
            window=_limits(np.asarray(image), image.mode, window, where) if deep else None,
            orientation=_orientation(image),
            suffix=SUFFIXES[image.format or "PNG"],
        )


def image_size(data: bytes, *, where: str = "image") -> tuple[int, int]:
    """Return (H, W) as stored, from the header alone.

    Raises:
        DataError: The header cannot be read, or the image is above `PIXEL_CAP`.
    """
    with _translated(where), _header(data, where) as image:
        return image.height, image.width


@contextmanager
def _opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """Give the decoded image; damage that shows in decoding becomes a DataError."""
    with _translated(where), _header(data, where) as image:
        _refuse_frames(image, where)
        _refuse_deep_colour(image, where)
        image.load()
        yield image


@contextmanager
def _translated(where: str) -> Iterator[None]:
    """Turn what Pillow raises and warns into a DataError or silence; a filter left by a race of threads is harmless."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except Image.DecompressionBombError:
            raise _too_large(where) from None
        except _DAMAGED as error:
            raise DataError(f"{where}: cannot be read as an image ({_reason(error)}); replace the file") from error


def _header(data: bytes, where: str) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > PIXEL_CAP:
        raise _too_large(where)
    return image


def _reason(error: Exception) -> str:
    """Return Pillow's reason without the address of the buffer that it names."""
    return "no known format or a broken header" if "cannot identify" in str(error) else str(error)


def _too_large(where: str) -> DataError:
    return DataError(f"{where}: expected at most {PIXEL_CAP:,} pixels, found more; tile or shrink the image first")


def _refuse_frames(image: Image.Image, where: str) -> None:
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # cameras append a preview to the one picture
        raise DataError(f"{where}: expected one image, found {frames} frames; write each to a file of its own")


def _refuse_deep_colour(image: Image.Image, where: str) -> None:
    """Pillow cuts deep colour to 8 bits without a word; its tile descriptors still tell."""
    if not _is_deep(image) and any(";16" in str(tile) for tile in getattr(image, "tile", ())):
        raise DataError(f"{where}: expected 8 bits a colour channel, found 16; convert the file to 8 bits first")


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _limits(values: NDArray[Any], mode: str, window: Window | None, where: str) -> Limits:
    if window is None:
        raise DataError(
            f"{where}: holds grey values of more than 8 bits (mode {mode}) and the task names no window; "
            "add `window: [low, high]` to the task, the grey values to be shown as black and white"
        )
    return limits(window, values, where)


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT

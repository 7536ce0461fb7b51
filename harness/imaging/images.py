"""Reading of 2-D images and masks by one rule: pixels as stored, without rotation or silent scaling.

What a file's EXIF tag says of its rotation can be asked with `stored_as` and applied with `upright`. The tag of TIFF,
which is part of that format, is applied in decoding.
"""

import io
import struct
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

PIXEL_CAP = 170_000_000  # below the limit of about 179 million pixels from which on Pillow itself refuses

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP")
SUFFIXES = {"PNG": ".png", "JPEG": ".jpg", "MPO": ".jpg", "BMP": ".bmp", "TIFF": ".tif", "GIF": ".gif", "WEBP": ".webp"}
ORIENTATION_TAG = 0x0112
UPRIGHT = 1

# What to say about formats that are not read, with the bytes that they begin with from an offset on. ISO files (HEIC,
# AVIF) begin with a length and name their brand behind it.
_FOREIGN: tuple[tuple[str, int, tuple[bytes, ...]], ...] = (
    ("JPEG 2000; convert it to PNG, for example with Pillow", 0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("JPEG XL; convert it to PNG, for example with pillow-jxl-plugin", 0, (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
    (
        "HEIC; convert it to PNG, for example with pillow-heif",
        4,
        (b"ftypheic", b"ftypheix", b"ftyphevc", b"ftypheim", b"ftypmif1", b"ftypmsf1"),
    ),
    ("AVIF; convert it to PNG, for example with Pillow", 4, (b"ftypavif", b"ftypavis")),
    ("DICOM; give its name the suffix .dcm", 128, (b"DICM",)),
    ("NRRD; convert it to NIfTI, for example with SimpleITK", 0, (b"NRRD",)),
    ("MetaImage; convert it to NIfTI, for example with SimpleITK", 0, (b"ObjectType =",)),
    ("PDF; save its picture as PNG", 0, (b"%PDF",)),
)

# Difference of two channels of a grey pixel up to which a lossy format may have made it.
_SAME_COLOUR = 16

# The exceptions that Pillow raises on damaged files, found by flipping bytes in files of each format and cutting them.
_DAMAGED = (OSError, ValueError, TypeError, SyntaxError, EOFError, LookupError, struct.error, MemoryError)

# A file without one of these has no EXIF rotation: the marks of EXIF in JPEG, PNG (a chunk, or text) and WebP, of the
# rotation in XMP, and the beginnings of TIFF.
_TURNED_MARKS = (b"Exif\0", b"eXIf", b"Raw profile type", b"EXIF", b"tiff:Orientation")
_TIFF = (b"II", b"MM")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAs:
    """How an image file holds its pixels.

    Attributes:
        orientation: EXIF orientation of the pixels as they are decoded here, 1 to 8; 1 if the file does not say.
        turned: Whether other programs may show the file in another orientation than that in which it is stored.
        one_bit: Whether a pixel is black or white and nothing else.
    """

    orientation: int = UPRIGHT
    turned: bool = False
    one_bit: bool = False


def stored_as(data: bytes) -> StoredAs:
    """Return how an image file holds its pixels; a file that cannot be read says nothing, and raises nothing."""
    try:
        with _translated("", b""), _header(data, "") as image:
            # Most files have no such mark, and Pillow decodes a whole PNG to look for it.
            marked = data[:2] in _TIFF or any(mark in data for mark in _TURNED_MARKS)
            tag = _orientation(image) if marked else UPRIGHT
            # The tag of TIFF is applied in decoding.
            left = UPRIGHT if image.format == "TIFF" else tag
            return StoredAs(orientation=left, turned=tag != UPRIGHT, one_bit=image.mode == "1")
    except DataError:
        return StoredAs()


def _orientation(image: Image.Image) -> int:
    found = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
    # The tag of a damaged file may hold anything.
    return found if isinstance(found, int) and 1 <= found <= 8 else UPRIGHT


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return pixels as their EXIF orientation says that they are to be shown.

    Args:
        pixels: (H, W) or (H, W, C) of any dtype, as stored.
        orientation: 1 to 8. From 5 on height and width change places.
    Returns:
        A view of the pixels where that is possible.
    Source: EXIF 2.32, tag 0x0112.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    # After the transposition of 5 to 8: which of them, and of 2 to 4, are mirrored left to right and top to bottom.
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels


def upright_copy(data: bytes, orientation: int, *, where: str) -> bytes:
    """Return an image as it is to be shown, as a TIFF without a tag: grey of more than 8 bits as it is, else as RGB.

    Args:
        data: The bytes of a file that `read_image` reads.
        orientation: 1 to 8.
        where: Name of the file, for messages.
    Raises:
        DataError: As for `read_image`, except that no window is needed.
    """
    with _opened(data, where) as image:
        pixels = np.asarray(image) if _is_deep(image) else None
    if pixels is None:
        pixels = read_image(data, window=None, where=where)
    content = io.BytesIO()
    # Uncompressed TIFF: its bytes depend on the pixels alone, where PNG's depend on the version of zlib.
    Image.fromarray(np.ascontiguousarray(upright(pixels, orientation))).save(content, "TIFF")
    return content.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """The properties of an image that `harness prepare` records.

    Attributes:
        size: (H, W) as stored.
        window: (low, high) grey values that become 0 and 255; None if the image has 8 bits and needs no window.
        orientation: EXIF orientation, 1 to 8; 1 if the file is upright or does not say. It is not applied to `size`.
        suffix: The usual file suffix of the format, with its dot.
    """

    size: tuple[int, int]
    window: Limits | None
    orientation: int
    suffix: str


def read_image(data: bytes, *, window: Window | None, where: str) -> NDArray[np.uint8]:
    """Return the image as uint8 (H, W, 3) RGB in the stored frame.

    Palette and grey images are expanded, alpha is dropped without blending, and EXIF rotation is not applied: readers
    whose masks were made on the image as it is shown make an upright copy first.

    Args:
        data: The bytes of a PNG, JPEG, BMP, TIFF, GIF or WebP file.
        window: Grey values that become 0 and 255; used only for grey images of more than 8 bits.
        where: Name of the file, for messages.
    Raises:
        DataError: The file has another format, is damaged or truncated, has more than one frame, more than `PIXEL_CAP`
            pixels, colour of more than 8 bits per channel, or grey of more than 8 bits without a window.
        SpecError: The window's low end is not below its high end.
    """
    with _opened(data, where) as image:
        if _is_deep(image):
            values = np.asarray(image)
            grey = windowed(values, _limits(values, image.mode, window, where))
            return np.repeat(grey[:, :, np.newaxis], 3, axis=2)
        # Converted to RGBA first, because Pillow warns when a palette with transparency is converted directly.
        plain = image.convert("RGBA") if image.mode == "P" else image
        return np.array(plain.convert("RGB"), dtype=np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMask:
    """The values of a mask file, before `harness.imaging.mask_files` says what they mean.

    Attributes:
        values: (H, W) in the stored frame, booleans, integers or floats: palette files by index, others by value.
        lossy: Whether the format changes values in storing them.
        from_alpha: Whether the mask lies in the alpha channel, and the colours say nothing.
    """

    values: NDArray[Any]
    lossy: bool = False
    from_alpha: bool = False


def read_stored_mask(data: bytes, *, where: str) -> StoredMask:
    """Return the stored values of a mask file; of several equal channels one, and alpha only if nothing else varies.

    Args:
        data: The bytes of a PNG, JPEG, BMP, TIFF, GIF or WebP file.
        where: Name of the file, for messages.
    Raises:
        DataError: As for `read_image`, except that no window is needed; the channels differ; or pixels are transparent
            and hold a value, so that colours and alpha are two masks.
    """
    with _opened(data, where) as image:
        # The lossless coder of WebP names itself `VP8L`.
        lossy = (
            image.format in ("JPEG", "MPO")
            or image.info.get("compression") == "jpeg"
            or (image.format == "WEBP" and b"VP8L" not in data)
        )
        # Pillow's array of single bits holds 255 for True, which NumPy takes for 1 or 255 as the case may be.
        values, bands = np.asarray(image.convert("L") if image.mode == "1" else image), image.getbands()
        if image.mode == "1":
            values = values > 0
    if values.ndim == 2:
        return StoredMask(values=values, lossy=lossy)
    colours, alpha = (values[..., :-1], values[..., -1]) if bands[-1] in ("A", "a") else (values, None)
    colours = colours[..., :3] if bands[-1] == "X" else colours
    if alpha is not None and alpha.min() != alpha.max():
        if (colours == colours[0, 0]).all():
            return StoredMask(values=alpha, lossy=lossy, from_alpha=True)
        if ((alpha == 0) & colours.any(axis=2)).any():
            raise DataError(
                f"{where}: expected one mask, found colours and an alpha channel that differ; save the one that is "
                "meant as a grey image"
            )
    apart = int((colours.max(axis=2).astype(np.int64) - colours.min(axis=2)).max())
    if apart > (_SAME_COLOUR if lossy else 0):
        raise DataError(f"{where}: expected one channel of labels or equal ones, found colours that differ")
    return StoredMask(values=colours[..., 0] if not apart else np.median(colours, axis=2).astype(np.uint8), lossy=lossy)


def examine_image(data: bytes, *, window: Window | None, where: str) -> ImageFacts:
    """Return the properties of an image. It is decoded in full, so that a file that passes here can be read later.

    Args:
        data: The bytes of the file.
        window: As for `read_image`.
        where: Name of the file, for messages.
    Raises:
        DataError: As for `read_image`.
        SpecError: The window's low end is not below its high end.
    """
    with _opened(data, where) as image:
        grey_limits = _limits(np.asarray(image), image.mode, window, where) if _is_deep(image) else None
        return ImageFacts(
            size=(image.height, image.width),
            window=grey_limits,
            orientation=_orientation(image),
            suffix=SUFFIXES[image.format or "PNG"],
        )


def image_size(data: bytes, *, where: str = "image") -> tuple[int, int]:
    """Return the (H, W) of an image as stored, from its header alone.

    Raises:
        DataError: The header cannot be read, or the image has more than `PIXEL_CAP` pixels.
    """
    with _translated(where, data), _header(data, where) as image:
        return image.height, image.width


@contextmanager
def _opened(data: bytes, where: str) -> Iterator[Image.Image]:
    """Yield the decoded image; damage that shows only in decoding becomes a DataError, too."""
    with _translated(where, data), _header(data, where) as image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # cameras append a preview to the only image and call the file MPO
            raise DataError(f"{where}: expected one image, found {frames} frames; write each to a file of its own")
        # Pillow reduces deep colour to 8 bits silently; only its tile descriptors still say so.
        if not _is_deep(image) and any(";16" in str(tile) for tile in getattr(image, "tile", ())):
            raise DataError(f"{where}: expected 8 bits a colour channel, found 16; convert the file to 8 bits first")
        image.load()
        yield image


@contextmanager
def _translated(where: str, data: bytes) -> Iterator[None]:
    """Turn Pillow's exceptions into a DataError that names the format of `data` if it can, and silence its warnings."""
    # Warning filters belong to the process, so another thread may find or lose ours; that is harmless.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            yield
        except Image.DecompressionBombError:
            raise _too_large(where) from None
        except _DAMAGED as error:
            foreign = next(
                (words for words, start, marks in _FOREIGN if data[start : start + 12].startswith(marks)), ""
            )
            if foreign:
                readable = ", ".join(FORMATS)
                raise DataError(f"{where}: expected an image as {readable}, found {foreign}") from error
            # Pillow's "cannot identify image file" names the address of the buffer, which differs between runs.
            unknown = "cannot identify" in str(error)
            reason = "no known format or a broken header" if unknown else str(error) or "too large for the memory"
            raise DataError(f"{where}: cannot be read as an image ({reason}); replace the file") from error


def _header(data: bytes, where: str) -> Image.Image:
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if image.width * image.height > PIXEL_CAP:
        raise _too_large(where)
    return image


def _too_large(where: str) -> DataError:
    return DataError(f"{where}: expected at most {PIXEL_CAP:,} pixels, found more; tile or shrink the image first")


def _is_deep(image: Image.Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _limits(values: NDArray[Any], mode: str, window: Window | None, where: str) -> Limits:
    if window is None:
        raise DataError(
            f"{where}: holds grey values of more than 8 bits (mode {mode}) and the task names no window; "
            "add `window: [low, high]` to the task, the grey values to be shown as black and white"
        )
    return limits(window, values, where)

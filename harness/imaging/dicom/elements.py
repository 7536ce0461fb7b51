"""Values of DICOM elements: numbers, lengths and directions, and the size of the pixels of a single image."""

import math
from collections.abc import Iterable
from operator import mul
from typing import Any

Vector = tuple[float, ...]

# By how much the lengths of direction cosines and their right angle may be off: some files hold three digits.
_DIRECTION_SLACK = 0.01
LEAST_MM = 1e-6  # a nanometre; what is shorter is a 0 that went through arithmetic
# Relative difference of two pixel sizes that is no contradiction: some headers round to three digits.
_SAME_SIZE = 0.01
_CENTIMETRES = 3  # code of a unit of length along an axis of an ultrasound region (PS3.3 C.8.5.5.1.15)


def pixel_mm(data: Any, spacing: Vector | None) -> tuple[Vector | None, tuple[str, ...]]:
    """Return the size of the pixels of a single image in mm, row before column, and what contradicts it.

    The first that is given counts: the spacing in the patient, that in the detector divided by the magnification, that
    of a scanned film, and the calibration of an ultrasound image in which all regions agree.

    Args:
        data: The header.
        spacing: Pixel Spacing.
    Returns:
        (size, remarks); None if the header gives no size.
    Source: DICOM PS3.3 10.7 (pixel spacing and its calibration) and C.8.5.5 (ultrasound regions).
    """
    detector = lengths(data, "ImagerPixelSpacing")
    magnification = number(data, "EstimatedRadiographicMagnificationFactor", 1.0)
    in_patient = detector
    if detector is not None and math.isfinite(magnification) and magnification > 0:
        in_patient = (detector[0] / magnification, detector[1] / magnification)
    scanned, sound = lengths(data, "NominalScannedPixelSpacing"), _ultrasound_mm(data)
    remarks = []
    if spacing is not None and detector is not None and not data.get("PixelSpacingCalibrationType"):
        # With a calibration type the two differ by what was calibrated; without one both should be of one plane.
        if not _alike(spacing, detector) and not _alike(spacing, in_patient):
            remarks.append(
                f"PixelSpacing is {_mm(spacing)} and ImagerPixelSpacing {_mm(detector)} without a type of calibration; "
                "PixelSpacing counts"
            )
        elif not _alike(spacing, in_patient):
            remarks.append(
                f"PixelSpacing is that of the detector, {_mm(detector)}, with a magnification of {magnification:g}; "
                "PixelSpacing counts"
            )
    if spacing is not None and sound is not None and not _alike(spacing, sound):
        remarks.append(
            f"PixelSpacing is {_mm(spacing)} and the regions of the ultrasound image {_mm(sound)}; PixelSpacing counts"
        )
    found = (one for one in (spacing, in_patient, scanned, sound) if one is not None)
    return next(found, None), tuple(remarks)


def _ultrasound_mm(data: Any) -> Vector | None:
    """Return the size of a pixel in mm by the calibrated 2-D regions, None if there are none or they differ."""
    sizes = []
    for region in data.get("SequenceOfUltrasoundRegions") or ():
        units = [int(region.get(name) or 0) for name in ("PhysicalUnitsXDirection", "PhysicalUnitsYDirection")]
        # Other regions hold curves over time (M-mode, Doppler), whose axes are no lengths.
        if int(region.get("RegionSpatialFormat") or 0) == 1 and units == [_CENTIMETRES] * 2:
            deltas = [abs(number(region, name, 0.0)) * 10 for name in ("PhysicalDeltaY", "PhysicalDeltaX")]
            sizes.append(tuple(deltas))
    usable = sizes and all(0 < value < math.inf for size in sizes for value in size)
    return sizes[0] if usable and all(_alike(sizes[0], size) for size in sizes) else None


def _alike(first: Vector, second: Vector | None) -> bool:
    return second is not None and all(
        math.isclose(one, other, rel_tol=_SAME_SIZE) for one, other in zip(first, second, strict=True)
    )


def _mm(size: Vector) -> str:
    return f"{size[0]:.6g} x {size[1]:.6g} mm"


def vector(data: Any, name: str, length: int) -> Vector | None:
    """Return an element of so many finite numbers, None if the header leaves it out or has another number of them."""
    values = data.get(name)
    # pydicom gives a single number as itself.
    found = tuple(map(float, values)) if isinstance(values, Iterable) else ()
    return found if len(found) == length and all(map(math.isfinite, found)) else None


def lengths(data: Any, name: str) -> Vector | None:
    """Return two lengths in mm, None if the header leaves them out or one of them is not above 0."""
    found = vector(data, name, 2)
    return found if found is not None and min(found) > LEAST_MM else None


def directions(data: Any) -> Vector | None:
    """Return the direction cosines, None if the header leaves them out or they are no two axes at right angles."""
    found = vector(data, "ImageOrientationPatient", 6)
    if found is None:
        return None
    along, down = found[:3], found[3:]
    products = (math.hypot(*along) - 1, math.hypot(*down) - 1, sum(map(mul, along, down)))
    return found if max(map(abs, products)) < _DIRECTION_SLACK else None


def length(data: Any, name: str) -> float | None:
    """Return a length in mm without its sign, None if the header leaves it out or it is 0."""
    found = abs(number(data, name, 0.0))
    return found if found > LEAST_MM else None


def number(data: Any, name: str, default: float) -> float:
    """Return a finite number, the default if the header leaves it out or has another value."""
    value = data.get(name)
    found = default if value is None or str(value) == "" else float(value)
    return found if math.isfinite(found) else default

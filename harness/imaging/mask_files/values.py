"""What the stored numbers of a mask file mean, by one set of rules for targets and predictions.

- Numbers that differ from whole ones by rounding are rounded, and NaN is background. Any other fraction is refused,
  unless a threshold is declared.
- A binary mask with intermediate values (smoothed edges, JPEG noise, probabilities in 255 steps) is cut at half of its
  full value. A label image is left as it is.

Every change is a note, which becomes a finding on a target and a remark on a prediction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError
from harness.records import Json

MOST_LABEL = 2**16 - 1  # the largest label that a 16-bit file can hold; larger values are grey values or damage

# Resampling and scl_slope move labels off whole numbers by less than this; interpolated labels are further off.
ROUNDING = 1e-4
# A label image rarely holds more values than this, and a mask with JPEG noise rarely fewer.
FEW = 16
# Share of the pixels between empty and full that must have four equal neighbours for them to be the areas of a label:
# in edges and noise almost none has, in a structure three pixels wide a third.
AREAS = 0.2
# The same if noise has moved the values of a label, by up to NOISE of the full value: more than a smoothed edge has.
THICK = 0.3
NOISE = 1 / 16
# Share of the values between empty and full that lie around one value if they are those of a label under noise. Of
# three such labels each has a third; probabilities are spread over all values.
CROWDED = 0.3
# Usual step between unequal neighbours, as a share of the largest value, up to which values change smoothly.
SMOOTH = 1 / 32

FULL_VALUES = (255, MOST_LABEL)  # what 8 and 16 bits can hold

Labels = NDArray[Any]


class Note(NamedTuple):
    """A change in reading a mask file.

    Attributes:
        kind: `nan_background`, `soft_mask` or `merged_values`, keys of `harness.data.integrity.FINDINGS`.
        detail: What was found, with its number, and how it is read.
    """

    kind: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskValues:
    """The labels of a mask file.

    Attributes:
        labels: Unsigned integers (H, W) or (D, H, W), 0 for background.
        notes: What was changed.
    """

    labels: Labels
    notes: tuple[Note, ...] = ()


def read_values(
    stored: NDArray[Any],
    *,
    where: str,
    named: Sequence[int] | None,
    lossy: bool = False,
    threshold: float | None = None,
) -> MaskValues:
    """Return the labels that stored numbers stand for.

    Args:
        stored: Booleans, integers or floats (H, W) or (D, H, W) as the file holds them, its slope applied.
        where: Name of the file; begins every message.
        named: The values that the file's labels have. Empty: any value is foreground. None: unknown, so that
            values are kept.
        lossy: Whether the format changes values in storing them, as JPEG does.
        threshold: Numbers from this one on are foreground, which gets the value that is named, or 1. None: the numbers
            are labels.
    Returns:
        The labels, with a note of each change. Numbers off whole ones by more than `ROUNDING` are refused.
    Raises:
        DataError: A number is not a label, or the foreground is ambiguous.
    """
    if stored.dtype.kind not in "biuf":
        raise DataError(f"{where}: expected numbers, found {stored.dtype}")
    notes: list[Note] = []
    values: NDArray[Any] = stored.astype(np.uint8) if stored.dtype == np.bool_ else stored
    if values.dtype.kind == "f":
        with np.errstate(invalid="ignore"):  # NaN, infinity and numbers below 0 or beyond 16 bits are examined below
            whole = values.astype(np.uint16)
        # Most floats are whole, which one comparison finds.
        values = whole if np.array_equal(whole, values) else _finite(values, where, notes)
    if threshold is not None:
        return MaskValues(labels=_cut(values, threshold, (named or (1,))[0], where), notes=tuple(notes))
    values = _whole(values, where)
    if named is not None and len(set(named)) < 2:
        values = _two_values(values, where, named[0] if named else None, lossy, notes)
    elif lossy and values.any():
        _check_lossy_labels(values, named or (), where)
    return MaskValues(labels=values, notes=tuple(notes))


def threshold_fault(value: Json) -> str:
    """Return what is wrong with a declared threshold, or an empty string if it is right."""
    # By type, because True is an int too; NaN and infinity are below no bound.
    right = value is None or (type(value) in (int, float) and abs(value) < 1e9)
    return "" if right else f"expected a number in the values of the file, such as 0.5, found {value!r:.80}"


def counted(labels: Labels) -> NDArray[np.int64]:
    """Return how often each value from 0 to the largest occurs in unsigned integers (H, W) or (D, H, W)."""
    most = int(labels.max(initial=0)) + 1
    # Plane by plane, because `bincount` makes an int64 copy of what it counts.
    planes = labels if labels.ndim == 3 else labels[np.newaxis]
    counts: NDArray[np.int64] = np.zeros(most, dtype=np.int64)
    for plane in planes:
        counts += np.bincount(plane.ravel(), minlength=most)
    return counts


# --- floats


def _finite(values: NDArray[Any], where: str, notes: list[Note]) -> NDArray[Any]:
    """Return floats with 0 for NaN, which is noted."""
    if np.isfinite(values).all():
        return values
    missing = np.isnan(values)
    if missing.all():
        raise DataError(f"{where}: expected labels, whole numbers of at least 0, found nothing but NaN")
    if missing.any():
        detail = f"NaN in {int(missing.sum()):,} of {values.size:,} pixels, read as background"
        notes.append(Note("nan_background", detail))
        values = np.where(missing, values.dtype.type(0), values)
    if np.isinf(values).any():
        raise DataError(f"{where}: expected labels, whole numbers of at least 0, found {values[np.isinf(values)][0]}")
    return values


def _whole(values: NDArray[Any], where: str) -> Labels:
    """Return numbers as the smallest unsigned integers that hold them."""
    expected = f"{where}: expected labels, whole numbers of at least 0"
    if values.dtype.kind == "f":
        rounded = np.rint(values)
        if not np.array_equal(values, rounded):
            # In float32 0.9999 differs from 1 by 1.0002e-4.
            allowed = ROUNDING + np.finfo(np.float32).eps * abs(rounded)
            beside = values[abs(values - rounded) > allowed]
            if beside.size:
                raise DataError(f"{expected}, found {_fractions(values, beside)}")
        values = rounded
    lowest, highest = values.min(initial=0), values.max(initial=0)
    if lowest < 0:
        raise DataError(f"{expected}, found {lowest:g} as the lowest; give the background the value 0")
    if highest > MOST_LABEL:
        raise DataError(f"{where}: expected labels of at most {MOST_LABEL}, found {highest:.0f}")
    return values.astype(np.uint8 if highest <= 255 else np.uint16, copy=False)


def _fractions(values: NDArray[Any], beside: NDArray[Any]) -> str:
    """Return which numbers are no labels, what they seem to be and what helps."""
    lowest, highest = float(values.min()), float(values.max())
    others = f" and {beside.size - 1:,} other numbers that are not whole" if beside.size > 1 else ""
    found = f"{float(beside[0]):.6g}{others}"
    if lowest < -ROUNDING:
        return f"{found}, from {lowest:.6g} to {highest:.6g} as logits are; threshold them first"
    if highest <= 1 + ROUNDING:
        return (
            f"{found} between 0 and 1, as in a map of probabilities; threshold it first, or declare the threshold, "
            "such as `threshold: 0.5`"
        )
    return f"{found}, as in labels that were interpolated; resample labels by nearest neighbour"


def _cut(values: NDArray[Any], threshold: float, value: int, where: str) -> Labels:
    """Return `value` where a number reaches the threshold, and 0 elsewhere."""
    lowest, highest = float(values.min()), float(values.max())
    said = f"{where}: threshold {threshold:g}"
    if threshold <= 0 <= lowest:
        raise DataError(f"{said} makes every pixel foreground, because the lowest value is {lowest:g}")
    if threshold > 1 >= highest > 0:
        raise DataError(f"{said} is above every value, from {lowest:g} to {highest:g}; give it in the file's values")
    if 0 < threshold < 1 < highest and lowest >= 0:
        above = values[values > 0]
        # A binary mask fits any threshold between its values, so a file of 0 and 255 may be among probabilities.
        if (above != above[0]).any() and (above == np.rint(above)).all():
            raise DataError(
                f"{said} makes every value above 0 foreground, because the file holds whole numbers up to {highest:g}; "
                f"give it in the file's values, such as {highest / 2:g}"
            )
    return (values >= threshold).astype(np.uint16) * np.uint16(value)


# --- masks of two values


def _two_values(values: Labels, where: str, named: int | None, lossy: bool, notes: list[Note]) -> Labels:
    """Return the values of a file whose task names one value or none, cut at half if they are a mask with more.

    Args:
        values: Unsigned integers (H, W) or (D, H, W).
        where: Name of the file, for messages.
        named: The only value that is named; None if any value is foreground.
        lossy: Whether the format changes values in storing them.
        notes: Extended by what was changed.
    """
    highest = int(values.max(initial=0))
    # Most masks are binary, which is found without counting values.
    two = bool(((values == 0) | (values == highest)).all())
    if highest == 0 or (two and not lossy):
        return values
    by_bits = FULL_VALUES[0] if highest <= FULL_VALUES[0] else FULL_VALUES[1]
    full = highest if highest == named and 2 * highest >= FULL_VALUES[0] else by_bits
    if two and highest == full:
        return values
    counts = counted(values)
    shown = np.flatnonzero(counts)
    shown = shown[shown > 0]
    if not _is_soft(values, shown, full, where, named, lossy):
        if named is None:
            listed = ", ".join(map(str, shown[:10].tolist())) + (", ..." if shown.size > 10 else "")
            notes.append(Note("merged_values", f"no label names the values {listed}; all of them count as foreground"))
        return values
    half = (full + 1) // 2
    between = shown[shown != full]
    pixels = int(counts[between].sum())
    detail = (
        f"{len(between)} {'value' if len(between) == 1 else 'values'} beside 0 and {full} in {pixels:,} of "
        f"{values.size:,} pixels, {between.min()} to {between.max()}; cut at half, from {half} on"
    )
    notes.append(Note("soft_mask", detail))
    cut: Labels = np.where(values >= half, full, 0).astype(values.dtype)
    return cut


def _is_soft(values: Labels, shown: NDArray[np.int64], full: int, where: str, named: int | None, lossy: bool) -> bool:
    """Return whether more than two values are a mask of 0 and `full` with soft edges, or with the noise of a format.

    Labels form areas: some of their pixels have four equal neighbours. Edges, noise and probabilities do not.

    Args:
        values: Unsigned integers (H, W) or (D, H, W).
        shown: The values above 0 that occur, ascending.
        full: The value of the mask's inside.
        where: Name of the file, for messages.
        named: The only value that is named; None if any value is foreground.
        lossy: Whether the format changes values in storing them.
    Raises:
        DataError: It is ambiguous.
    """
    few, highest = shown.size <= FEW, int(shown.max())
    reaches_half = 2 * highest >= full
    # A single value in the middle is a second label: smoothed edges have several.
    second = shown.size == 2 and full // 8 < shown[0] < full - full // 8
    if not lossy and (second or (few and not (reaches_half and named in (None, full)))):
        return False
    # A mask may also have areas near empty and near full, of 1 and 254 for example, so the middle decides. Without a
    # middle, values near full are noise, and those near empty may be labels, with 255 for "unknown".
    middle = (values > full // 8) & (values < full - full // 8)
    decides = bool(middle.any())
    if not decides:
        middle = (values > 0) & (values != full)
    areas = _share_in_areas(values, middle, 0) >= AREAS
    if areas and values.ndim == 2 and not few:
        areas = not _is_smooth(values, highest)
    if not decides and (lossy or (shown > full - full // 8).sum() > 1):
        areas = False
    expected = f"{where}: expected 0 and {full}"
    noisy = reaches_half and decides and not areas and _share_in_areas(values, middle, int(NOISE * full)) >= THICK
    if noisy and _is_crowded(values[middle], full):
        raise DataError(
            f"{expected}, found areas of values between that vary, as of labels that JPEG changed or of probabilities "
            "near one half; save labels as PNG, or declare the threshold of probabilities"
        )
    if lossy and (areas or not reaches_half):
        found = f"areas of values between, up to {highest}" if areas else f"none above {highest}"
        raise DataError(f"{expected} in a file whose format changes values, found {found}; save masks as PNG")
    if areas:
        return False
    if not reaches_half:
        raise DataError(
            f"{where}: expected labels or a mask of two values, found {shown.size} values from {shown[0]} to {highest} "
            "that form no areas, as in a map of probabilities; threshold it first, or declare the threshold, such as "
            f"`threshold: {highest / 2:g}`"
        )
    return True


def _share_in_areas(values: Labels, chosen: NDArray[np.bool_], apart: int) -> float:
    """Return the share of the chosen pixels that lie amid an area, by their four neighbours in their plane.

    Args:
        values: Unsigned integers (H, W) or (D, H, W).
        chosen: The pixels to examine, boolean, in the same shape.
        apart: Difference from a neighbour up to which a pixel belongs with it.
    """
    before, after, middle = slice(None, -2), slice(2, None), slice(1, -1)
    inner = values[..., middle, middle].astype(np.int32)
    amid = chosen[..., middle, middle].copy()
    for rows, columns in ((before, middle), (after, middle), (middle, before), (middle, after)):
        amid &= abs(inner - values[..., rows, columns]) <= apart
    return float(amid.sum()) / max(int(chosen.sum()), 1)


def _is_crowded(between: Labels, full: int) -> bool:
    """Return whether many of the values between empty and full lie around one: those of a label, not of an edge."""
    width = full // 16
    counts = np.bincount(between, minlength=width)
    sums = np.cumsum(np.concatenate(([0], counts)))
    return bool((sums[width:] - sums[:-width]).max() >= CROWDED * between.size)


def _is_smooth(values: Labels, highest: int) -> bool:
    """Return whether values (H, W) change in small steps, as probabilities do and labels do not."""
    steps = abs(np.diff(values.astype(np.int32), axis=1))
    return bool(np.median(steps[steps > 0]) <= SMOOTH * highest) if steps.any() else False


def _check_lossy_labels(values: Labels, named: Sequence[int], where: str) -> None:
    """Refuse values beside the named ones in a file whose format changes values."""
    found = np.flatnonzero(counted(values))
    others = [value for value in found.tolist() if value and value not in named]
    if others:
        wanted = f"only {', '.join(map(str, named))}" if named else "labels as they were written"
        raise DataError(
            f"{where}: expected {wanted}, found {len(others)} other values such as {others[0]}; the file's format "
            "changes values, so several labels cannot be separated: save masks as PNG"
        )

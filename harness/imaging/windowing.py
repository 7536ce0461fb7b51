"""Which grey values of an image or volume become black and white where 8-bit pixels are made of deeper ones."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import SpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Limits = tuple[float, float]
"""(low, high) grey values that become 0 and 255."""


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A window that is found anew for each image or volume.

    Attributes:
        percentiles: (low, high) in [0, 100]; (0, 100) is its smallest and its largest value.
    """

    percentiles: Limits


Window = Limits | Percentiles

MIN_MAX = Percentiles((0.0, 100.0))


def limits(window: Window, values: "NDArray[Any]", where: str) -> Limits:
    """Return the grey values that become 0 and 255; of a flat image the upper one is raised by 1.

    Args:
        window: As a task names it.
        values: Any shape; values that are not finite do not count.
        where: Named in errors.
    Raises:
        SpecError: The window's low end is not below its high end.
    """
    import numpy as np  # heavy, and the index of tasks needs only the classes above

    if isinstance(window, Percentiles):
        finite = values if values.dtype.kind in "iub" else values[np.isfinite(values)]
        if finite.size == 0:
            return 0.0, 1.0
        low, high = (float(value) for value in np.percentile(finite, window.percentiles))
        return low, high if low < high else low + 1.0
    low, high = window
    if not low < high:
        raise SpecError(f"{where}: window: expected [low, high] with low < high, found [{low}, {high}]")
    return low, high


def windowed(values: "NDArray[Any]", window: Limits) -> "NDArray[np.uint8]":
    """Return uint8 of the same shape: low and below become 0, high and above 255, NaN becomes 0."""
    import numpy as np

    low, high = window
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)
    return np.rint(np.nan_to_num(share) * 255).astype(np.uint8)

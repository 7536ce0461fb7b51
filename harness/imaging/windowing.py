"""Grey-value windows: the conversion of images and volumes with more than 8 bits to 8-bit pixels."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.errors import SpecError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Limits = tuple[float, float]  # (low, high) grey values that become 0 and 255


@dataclass(frozen=True, slots=True)
class Percentiles:
    """A window that is computed for each image or volume anew.

    Attributes:
        percentiles: (low, high) in [0, 100]; (0, 100) takes the smallest and the largest value.
    """

    percentiles: Limits


Window = Limits | Percentiles

MIN_MAX = Percentiles((0.0, 100.0))


def limits(window: Window, values: "NDArray[Any]", where: str) -> Limits:
    """Return the grey values that become 0 and 255.

    Args:
        window: The window that the task names.
        values: Grey values, any shape and numeric dtype; values that are not finite are ignored.
        where: Name of the file, for messages.
    Returns:
        (low, high). If all values are equal, high is low + 1; without any finite value it is (0, 1).
    Raises:
        SpecError: The window's low end is not below its high end.
    """
    import numpy as np  # imported here, because listing tasks needs only the classes above and numpy is slow to import

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
    """Return 8-bit pixels.

    Args:
        values: Grey values, any shape and numeric dtype.
        window: (low, high) grey values.
    Returns:
        uint8 of the same shape: low and below become 0, high and above become 255, NaN becomes 0.
    """
    import numpy as np

    low, high = window
    share = np.clip((values.astype(np.float64) - low) / (high - low), 0.0, 1.0)
    return np.rint(np.nan_to_num(share) * 255).astype(np.uint8)

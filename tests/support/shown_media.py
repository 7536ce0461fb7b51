"""A handle of media in memory, as an adapter gets one of files."""

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from harness.records import Media


@dataclass(frozen=True)
class Shown:
    """The handle of an image or volume in memory."""

    record: Media
    values: NDArray[Any]

    def image(self) -> NDArray[Any]:
        """Return uint8 (H, W, 3)."""
        return self.values

    def volume(self) -> NDArray[Any]:
        """Return float32 (D, H, W)."""
        return self.values

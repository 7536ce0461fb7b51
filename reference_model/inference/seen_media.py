"""Images and volumes with what a model has computed of each alone, once for all questions about it.

Shape suffixes: S side of an image as the tower sees it, P patches, C width of the tower, K channels and G cells of the
pixel encoder's features, D, H, W of a volume on the model's grid, 3 colours.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from harness.records import Media, MediaHandle
from reference_model.inference.key_values import Layer
from reference_model.inputs.images import Pixels
from reference_model.inputs.volumes import VolumeFrame


@dataclass(slots=True, kw_only=True, eq=False)
class SeenImage:
    """An image.

    Attributes:
        image_HW3: uint8, RGB.
        vision_3SS: float32, as the image tower reads it.
        features_1PC: Floating point, from the image tower; None until a question is asked.
        prefix: Keys and values of the positions up to the image's last one.
        cells_1KGG: Floating point, from the pixel encoder; None until a mask is wanted.
    """

    image_HW3: Pixels
    vision_3SS: Tensor
    features_1PC: Tensor | None = None
    prefix: tuple[Layer, ...] = ()
    cells_1KGG: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image, in pixels."""
        return self.image_HW3.shape[0], self.image_HW3.shape[1]


@dataclass(slots=True, kw_only=True, eq=False)
class SeenVolume:
    """A volume.

    Attributes:
        volume_1DHW: float32, 0 to 1, on the grid of the model.
        frame: Its place on that grid.
        prefix: Keys and values of the positions up to the volume's last one.
    """

    volume_1DHW: Tensor
    frame: VolumeFrame
    prefix: tuple[Layer, ...] = ()


Seen = TypeVar("Seen", SeenImage, SeenVolume)


class LastSeen(Generic[Seen]):
    """The images or volumes of the last batch.

    A plan asks all questions about an image in a row, so that those of the batch before are all that can come again.
    """

    def __init__(self, read: Callable[[MediaHandle], Seen]) -> None:
        """Begin with none.

        Args:
            read: Reads one that is new.
        """
        self._read: Callable[[MediaHandle], Seen] = read
        self._last: dict[Media, Seen] = {}

    def of(self, handles: Sequence[MediaHandle]) -> list[Seen]:
        """Return the image or volume of each handle, the same object for equal ones; those of no handle are dropped.

        Raises:
            DataError: One cannot be read.
        """
        known = {handle.record: self._last.get(handle.record) for handle in handles}
        self._last = {}  # dropped before others are read, which may be large
        found = {record: seen for record, seen in known.items() if seen is not None}
        for handle in handles:
            if handle.record not in found:
                found[handle.record] = self._read(handle)
        self._last = found
        return [found[handle.record] for handle in handles]

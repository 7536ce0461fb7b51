"""Images and volumes with what a model has computed of each alone, once for all questions about it.

Shape suffixes: N images, S side of an image as the tower sees it, P patches, C width of the tower, K channels and G
cells of the pixel encoder's features, D, H, W of a volume on the model's grid, 3 colours.
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
class SeenImages:
    """The images of a question.

    Attributes:
        vision_N3SS: float32, as the image tower reads them.
        features_NPC: Floating point, from the image tower; None until a question is asked.
        prefix: Keys and values of the positions up to the last one of the last image.
    """

    vision_N3SS: Tensor
    features_NPC: Tensor | None = None
    prefix: tuple[Layer, ...] = ()


@dataclass(slots=True, kw_only=True, eq=False)
class SeenImage(SeenImages):
    """An image alone: N is 1.

    Attributes:
        image_HW3: uint8, RGB.
        cells_1KGG: Floating point, from the pixel encoder; None until a mask is wanted.
    """

    image_HW3: Pixels
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


Seen = TypeVar("Seen", SeenImages, SeenImage, SeenVolume)
# What a question is about: one image or volume, or several images.
Asked = TypeVar("Asked", MediaHandle, tuple[MediaHandle, ...])


class LastSeen(Generic[Asked, Seen]):
    """The images or volumes of the last batch.

    A plan asks all questions about an image in a row, so that those of the batch before are all that can come again.
    """

    def __init__(self, read: Callable[[Asked], Seen]) -> None:
        """Begin with none.

        Args:
            read: Reads one that is new.
        """
        self._read: Callable[[Asked], Seen] = read
        self._last: dict[tuple[Media, ...], Seen] = {}

    def of(self, asked: Sequence[Asked]) -> list[Seen]:
        """Return the media of each question, the same object for equal ones; those of no question are dropped.

        Raises:
            DataError: One cannot be read.
        """
        records = [tuple(one.record for one in (each if isinstance(each, tuple) else (each,))) for each in asked]
        known = {record: self._last.get(record) for record in records}
        self._last = {}  # dropped before others are read, which may be large
        found = {record: seen for record, seen in known.items() if seen is not None}
        for record, each in zip(records, asked, strict=True):
            if record not in found:
                found[record] = self._read(each)
        self._last = found
        return [found[record] for record in records]

"""The encoder of a segmenter, which sees each image once however many prompts it is asked about."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.records import Size

# Of the embeddings that are kept, on the device of the model. An image takes 4 MB of SAM, 16 MB of SAM 2 and 0.25 MB of
# SAM-Med2D, so the slices of a volume stay from one prompt to the next.
MOST_BYTES = 512 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """An image after the encoder.

    Attributes:
        size: (H, W) of the image.
        filled: (H, W) of the encoder's pixels that it fills.
        embeddings: As the model itself gives them.
    """

    size: Size
    filled: Size
    embeddings: Any


class Encoder:
    """An encoder with a memory of the last images, of which it forgets those first that were not asked for longest.

    Args:
        encode: Runs the model's encoder on uint8 (H, W, 3) RGB.
        most_bytes: Of the embeddings that are kept; the last image is kept in any case.
    """

    def __init__(self, encode: Callable[[NDArray[np.uint8]], Embedded], *, most_bytes: int = MOST_BYTES) -> None:
        self.encode, self.most_bytes = encode, most_bytes
        self.recent: OrderedDict[object, Embedded] = OrderedDict()

    def embedded(self, key: object, image: Callable[[], NDArray[np.uint8]]) -> Embedded:
        """Return an image after the encoder, which sees it only if it is not remembered.

        Args:
            key: Decides the pixels.
            image: Returns uint8 (H, W, 3) RGB.
        """
        if key in self.recent:
            self.recent.move_to_end(key)
            return self.recent[key]
        found = self.encode(image())
        self.recent[key] = found
        while len(self.recent) > 1 and sum(_bytes_of(one.embeddings) for one in self.recent.values()) > self.most_bytes:
            self.recent.popitem(last=False)
        return found


def _bytes_of(embeddings: Any) -> int:
    """Return the bytes of a tensor, or of all tensors in what a model returns."""
    if isinstance(embeddings, Mapping):
        return sum(map(_bytes_of, embeddings.values()))
    if isinstance(embeddings, list | tuple):
        return sum(map(_bytes_of, embeddings))
    return int(getattr(embeddings, "nbytes", 0))

"""From images to the pixels that an encoder of the SAM family sees, and from its masks back to the image.

SAM pads an image to a square, as its processor for Pillow does; SAM 2 and SAM 3 stretch it to one. Their processors in
transformers need torchvision and so a build of it for the very torch that is installed; the one step that they take,
torch's own antialiased bilinear resizing of 8-bit pixels, is taken here with or without it, so that no number depends
on what else is installed.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.errors import ModelError
from harness.records import Size


class Pixels(Protocol):
    """The way between images and an encoder."""

    def shown(self, image: NDArray[np.uint8]) -> tuple[Any, Size]:
        """Return float32 pixels (1, 3, S, S), and the (H, W) that the image fills of them.

        Args:
            image: uint8 (H, W, 3) RGB.
        """
        ...

    def restored(self, logits: Any, filled: Size, size: Size) -> NDArray[np.bool_]:
        """Return masks (K, H, W) of the image: where the logits, brought to its grid, are above 0.

        Args:
            logits: float32 (K, h, w) on the decoder's grid.
            filled: From `shown`.
            size: (H, W) of the image.
        """
        ...


class PaddedPixels:
    """The way of SAM: the longest edge to S, the rest padded on the right and below.

    Args:
        source: Folder or name on the hub that holds `preprocessor_config.json`.
        revision: Commit on the hub.
    """

    def __init__(self, source: str, revision: str | None) -> None:
        # With Pillow, as the released code resizes, whether or not torchvision is installed.
        place = importlib.import_module("transformers.models.sam.image_processing_pil_sam")
        self._processor: Any = place.SamImageProcessorPil.from_pretrained(source, revision=revision)

    def shown(self, image: NDArray[np.uint8]) -> tuple[Any, Size]:
        """Return pixels as `Pixels.shown` does."""
        found = self._processor(images=image, return_tensors="pt")
        return found["pixel_values"].float(), tuple(int(length) for length in found["reshaped_input_sizes"][0])

    def restored(self, logits: Any, filled: Size, size: Size) -> NDArray[np.bool_]:
        """Return masks as `Pixels.restored` does."""
        whole = self._processor.post_process_masks([logits[None]], [list(size)], [list(filled)])
        masks: NDArray[np.bool_] = whole[0][0].cpu().numpy()
        return masks


@dataclass(frozen=True, slots=True)
class StretchedPixels:
    """The way of SAM 2 and SAM 3: both edges to S.

    Attributes:
        edge: S.
        mean, std: Of each channel, after the values were divided by 255.
    """

    edge: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def read(cls, source: str, revision: str | None) -> "StretchedPixels":
        """Return what `preprocessor_config.json`, or the part for images of `processor_config.json`, says.

        Raises:
            ModelError: It describes another way.
        """
        place: Any = importlib.import_module("transformers.image_processing_base")
        config, _ = place.ImageProcessingMixin.get_image_processor_dict(source, revision=revision)
        size = config.get("size")
        edges = [size.get("height"), size.get("width")] if isinstance(size, Mapping) else [None]
        if len({*edges}) != 1 or type(edges[0]) is not int or "image_mean" not in config or "image_std" not in config:
            raise ModelError(
                f"{source}: its image processor: expected a square size with height and width, image_mean and "
                f"image_std, found size {size!r}"
            )
        mean, std = (tuple(float(value) for value in config[name]) for name in ("image_mean", "image_std"))
        return cls(edges[0], mean, std)  # type: ignore[arg-type]

    def shown(self, image: NDArray[np.uint8]) -> tuple[Any, Size]:
        """Return pixels as `Pixels.shown` does."""
        import torch

        edge = self.edge
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
        resized = torch.nn.functional.interpolate(pixels, size=(edge, edge), mode="bilinear", antialias=True)
        # Of mean and deviation in 255ths, as transformers joins the two steps.
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (self.mean, self.std))
        return (resized.float() - mean) / std, (edge, edge)

    def restored(self, logits: Any, filled: Size, size: Size) -> NDArray[np.bool_]:  # noqa: ARG002
        """Return masks as `Pixels.restored` does."""
        import torch

        whole = torch.nn.functional.interpolate(logits[None], tuple(size), mode="bilinear", align_corners=False)
        masks: NDArray[np.bool_] = (whole[0] > 0).cpu().numpy()
        return masks

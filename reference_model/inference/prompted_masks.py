"""Masks by boxes and points: pixel encoder and mask decoder of the reference model, without its language model.

Shape suffixes: S side of the square that the encoder sees, G cells along it, K channels of the features, P proposals,
L = 4 G pixels along a side of the decoder's output, H, W of the image, 3 colours.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness.errors import DataError
from harness.imaging.frames import padding
from harness.models.segmenters.encoding import Embedded, Encoder
from harness.records import Box, Json, Points
from reference_model.checkpoints.checkpoint import WEIGHTS, check_names, load_about
from reference_model.config import LlavaModelConfig, Square, VolumeModelConfig
from reference_model.convert.checkpoint_files import open_checkpoint
from reference_model.convert.layouts import rule_for, sam_med2d_rules
from reference_model.inputs.images import SAM_MEAN, SAM_STD, Pixels, for_pixel_encoder
from reference_model.modeling.mask_decoder import MaskDecoder, build_mask_decoder, resized, to_original
from reference_model.modeling.pixel_encoder import PixelEncoder, build_pixel_encoder
from reference_model.preset_files import load_preset

# The preset whose parts for masks are SAM-Med2D-B.
SAM_MED2D = "medplib-7b"
PARTS = ("pixel_encoder", "mask_decoder")


class PromptedMasks:
    """The two parts that make masks, in evaluation mode on their device.

    Args:
        pixel_encoder, mask_decoder: The parts, on one device.
        side: S.
        square: `stretched`: both edges of an image become S, by the nearest pixel, as SAM-Med2D's predictor shows it;
            `padded`: its longest edge, as MedPLIB and the reference model are trained.
        multimask: Whether the best of three proposals is taken, by the decoder's own estimates, or the only one.
    """

    def __init__(
        self, *, pixel_encoder: PixelEncoder, mask_decoder: MaskDecoder, side: int, square: Square, multimask: bool
    ) -> None:
        self.pixel_encoder, self.mask_decoder = pixel_encoder, mask_decoder
        self.side, self.square, self.multimask = side, square, multimask
        self.device = next(pixel_encoder.parameters()).device
        self.encoder = Encoder(self._encode)

    @classmethod
    def load(
        cls, path: Path, device: str, *, preset: str | None, square: Square | None, multimask: bool | None
    ) -> "PromptedMasks":
        """Read both parts from a released file or from the folder of a model.

        Args:
            path: The file or folder.
            device: Where they go.
            preset: The sizes of a file; None: those of SAM-Med2D-B.
            square, multimask: As for the class; None: as those have it who trained the weights.

        Raises:
            DataError: A file is torn, or holds other tensors than a model of these sizes.
        """
        if path.is_dir():
            about = load_about(path)
            config, released = about.config, _is_sam_med2d(about.origin)
        else:
            config, released = load_preset(preset or SAM_MED2D), True
        if isinstance(config, VolumeModelConfig):
            raise DataError(f"{path}: expected a model that segments images, found {config.name}, which reads volumes")
        if isinstance(config, LlavaModelConfig):
            raise DataError(f"{path}: expected a model that segments images, found {config.name}, which gives words")
        stored = open_checkpoint(path / WEIGHTS if path.is_dir() else path).tensors
        if path.is_dir():
            named = {name: stored[name] for name in stored if name.partition(".")[0] in PARTS}
        else:
            rules = sam_med2d_rules(config)
            # Names that no rule matches stay, for the message.
            named = {(rule_for(name, rules) or (None, name))[1]: value for name, value in stored.items()}
        with torch.device("meta"):  # names and shapes: numbers at random would only be replaced
            encoder = build_pixel_encoder(config.pixel_encoder)
            decoder = build_mask_decoder(config.mask_decoder, config.pixel_encoder)
        whole = nn.ModuleDict({"pixel_encoder": encoder, "mask_decoder": decoder})
        own = whole.state_dict()
        weights = {name: value.read() for name, value in named.items()}
        try:
            check_names(weights, own, path)
        except DataError as error:
            raise DataError(
                f"{error}; `sam-med2d:` reads SAM-Med2D with its adapters, of the sizes of the preset {config.name}"
            ) from error
        # Copied, since they are mapped from a file that may change.
        copies = {name: value.to(own[name].dtype, copy=True) for name, value in weights.items()}
        whole.load_state_dict(copies, assign=True)
        whole.to(device).eval()
        return cls(
            pixel_encoder=encoder,
            mask_decoder=decoder,
            side=config.pixel_encoder.image_size,
            square=square or ("stretched" if released else "padded"),
            multimask=released if multimask is None else multimask,
        )

    def _encode(self, image: NDArray[np.uint8]) -> Embedded:
        size = (image.shape[0], image.shape[1])
        if self.square == "stretched":
            shown_3SS, filled = stretched(image, self.side), (self.side, self.side)
        else:
            shown_3SS, filled = for_pixel_encoder(image, self.side), padding(size, self.side)[0]
        with torch.inference_mode():
            features_1KGG: Tensor = self.pixel_encoder(shown_3SS[None].to(self.device))
        return Embedded(size=size, filled=filled, embeddings=features_1KGG)

    def segment(self, image: Embedded, prompt: Box | Points) -> tuple[NDArray[np.bool_], float]:
        """Return the mask (H, W) of one thing, and the IoU that the decoder predicts for it.

        Args:
            image: From the encoder.
            prompt: x1 y1 x2 y2, or (x, y) of pixels with their labels; as in SAM, the decoder goes to a pixel's centre
                itself.
        """
        size = (image.size[0], image.size[1])
        given = np.array(prompt.corners if isinstance(prompt, Box) else prompt.points, dtype=np.float64).reshape(-1, 2)
        scale = np.array([image.filled[1] / size[1], image.filled[0] / size[0]])
        top, left = (0, 0) if self.square == "stretched" else padding(size, self.side)[1]
        places = torch.from_numpy(given * scale + (left, top)).float().to(self.device)
        with torch.inference_mode():
            if isinstance(prompt, Box):
                sparse = self.mask_decoder.embed_boxes(places.reshape(1, 4))
            else:
                labels = torch.tensor(prompt.labels, dtype=torch.int64, device=self.device)
                sparse = self.mask_decoder.embed_points(places[None], labels[None])
            logits_1PLL, iou_1P = self.mask_decoder.proposals(image.embeddings, sparse, several=self.multimask)
            best = int(iou_1P[0].argmax())
            logits_1LL = logits_1PLL[:, best]
            if self.square == "stretched":
                whole = resized(resized(logits_1LL[:, None], (self.side, self.side)), size)[0, 0]
            else:
                whole = to_original(logits_1LL, size, side=self.side)[0]
            mask: NDArray[np.bool_] = (whole > 0).cpu().numpy()
        return mask, float(iou_1P[0, best])


def stretched(image_HW3: Pixels, side: int) -> Tensor:
    """Return float32 (3, S, S): stretched to a square by the nearest pixel, normalised as SAM does.

    Args:
        image_HW3: uint8, RGB, as SAM-Med2D's predictor takes it; its training reads BGR.
        side: S.
    """
    # As OpenCV's INTER_NEAREST, which takes the pixel at the upper left of a place and not the one at its centre.
    rows, columns = (
        np.minimum(np.floor(np.arange(side) * (length / side)).astype(np.intp), length - 1)
        for length in image_HW3.shape[:2]
    )
    nearest_SS3 = image_HW3[rows[:, None], columns].astype(np.float64)
    normalised_SS3 = (nearest_SS3 - np.array(SAM_MEAN)) / np.array(SAM_STD)
    return torch.from_numpy(np.ascontiguousarray(normalised_SS3.transpose(2, 0, 1), dtype=np.float32))


def _is_sam_med2d(origin: Mapping[str, Json]) -> bool:
    """Return whether the parts for masks are SAM-Med2D's own, converted and not trained further."""
    converted = origin.get("converted")
    files = converted.get("files") if isinstance(converted, Mapping) else None
    return isinstance(files, Mapping) and "--sam-med2d" in files

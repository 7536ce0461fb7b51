"""The model `sam-med2d:PATH`: SAM-Med2D by boxes and points, with the reference model's pixel encoder and mask decoder.

Torch is imported when weights are loaded: the class is built to list and to check models, too.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from harness.errors import SpecError, nearest
from harness.models.segmenters.prompts import answered, by_prompts
from harness.records import Answer, Capabilities, Request, Resources
from reference_model.adapter import INSTALL, NEEDED
from reference_model.config import Square
from reference_model.preset_files import preset_names

if TYPE_CHECKING:
    from reference_model.inference.prompted_masks import PromptedMasks

FILES = (".pth", ".pt", ".bin", ".safetensors")
WEIGHTS = "model.safetensors"
MAX_BATCH = 64


class SamMed2d:
    """A segmenter of SAM-Med2D's architecture: SAM's, with an adapter in every layer of the encoder, at 256 pixels.

    Every visual prompt of a request gives one mask, in their order, and a volume is segmented slice by slice, as by
    `sam:`. `square` and `multimask` are by default as the weights know them: SAM-Med2D's way for a file and for a
    folder converted from one, else the reference model's.

    Args:
        model: A file of SAM-Med2D as it is released, or the folder of a model of the reference family, of which the
            two parts for masks are read.
        preset: The sizes of a file; None: those of SAM-Med2D-B, which `medplib-7b` has. A folder brings its own.
        square: How an image fills the square that the encoder sees: `stretched` as in SAM-Med2D's predictor, or
            `padded` as in MedPLIB and the training of the reference model.
        multimask: Whether the decoder proposes three masks for a prompt, of which the one counts that it scores
            highest, as in SAM-Med2D's predictor, or one, as in MedPLIB and the training of the reference model.
        gpus: GPUs of one copy of the model; None: one, where there is any.

    Raises:
        SpecError: There is no such model, an argument has another form, or a package is missing.
    """

    version = "1"

    def __init__(
        self,
        model: str,
        *,
        preset: str | None = None,
        square: str | None = None,
        multimask: bool | None = None,
        gpus: float | None = None,
    ) -> None:
        missing = [name for name in NEEDED[:3] if importlib.util.find_spec(name) is None]
        if missing:
            raise SpecError(f"--model sam-med2d: needs {', '.join(missing)}, not installed; {INSTALL}")
        squares = get_args(Square)
        if square is not None and square not in squares:
            raise SpecError(f"--model-args square: expected {' or '.join(squares)}, found {square!r}")
        if multimask is not None and type(multimask) is not bool:
            raise SpecError(f"--model-args multimask: expected true or false, found {multimask!r}")
        if preset is not None and preset not in preset_names():
            hint = nearest(str(preset), preset_names())
            raise SpecError(f"--model-args preset: expected one of {', '.join(preset_names())}, found {preset!r}{hint}")
        self.path = Path(model)
        if self.path.is_dir():
            if not (self.path / WEIGHTS).is_file():
                raise SpecError(
                    f"--model sam-med2d:{model}: expected the folder of a model of the reference family, found no "
                    f"{WEIGHTS} in it; name SAM-Med2D's own file as a file"
                )
            if preset is not None:
                raise SpecError(f"--model-args preset: is of a file of weights, and {model} is a folder with its own")
        elif not self.path.is_file():
            raise SpecError(
                f"--model sam-med2d:{model}: no such file or folder; expected sam-med2d_b.pth as released, or a folder "
                "that `reference-model convert` or `reference-model train` wrote"
            )
        elif self.path.suffix not in FILES:
            raise SpecError(
                f"--model sam-med2d:{model}: expected a file that ends in {' or '.join(FILES)}, or a folder"
            )
        self.preset, self.multimask, self.gpus = preset, multimask, gpus
        self.square = cast(Square | None, square)
        self._segmenter: PromptedMasks | None = None

    def capabilities(self) -> Capabilities:
        """Return that it takes boxes and points in images and volumes, and gives masks."""
        return Capabilities(
            takes=frozenset({"image", "volume", "box", "point"}),
            gives=frozenset({"masks"}),
            max_batch=MAX_BATCH,
            # Images are encoded, and prompts decoded, one at a time.
            batch_invariant=True,
            execution_only=frozenset({"gpus"}),
            weights=(str(self.path),),
            resources=Resources(gpus=self.gpus),
        )

    def load(self, device: str) -> None:
        """Read the weights onto a device.

        Raises:
            DataError: A file is torn, or holds other tensors than a model of these sizes.
        """
        from reference_model.inference.prompted_masks import PromptedMasks

        self._segmenter = PromptedMasks.load(
            self.path, device, preset=self.preset, square=self.square, multimask=self.multimask
        )

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the masks of each request's prompts, in their order."""
        segmenter = self._segmenter
        assert segmenter is not None, "load() comes first"
        return [answered(request, lambda request: by_prompts(segmenter, request)) for request in requests]

"""The adapter of the reference models: one by its name, such as `reference:tiny`, or `reference:FOLDER`."""

import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import DataError, HarnessError, SpecError, nearest
from harness.records import Answer, Capabilities, ErrorInfo, Request
from reference_model.config import EntityModelConfig, LlavaModelConfig, VolumeModelConfig
from reference_model.preset_files import read_config

if TYPE_CHECKING:
    from reference_model.inference.llava_predictor import LlavaPredictor
    from reference_model.inference.predictor import Predictor
    from reference_model.inference.volume_predictor import VolumePredictor

WEIGHTS = Path(__file__).parent / "weights"
# Names of models of the package, and their folders below `WEIGHTS`.
SHIPPED: Mapping[str, str] = {
    "tiny": "medplib-tiny",
    "mimo-tiny": "mimo-tiny",
    "m3d-tiny": "m3d-lamed-tiny",
    "huatuo-tiny": "huatuo-vision-tiny",
}
MAX_BATCH = 16
# Packages of the extra [models], those first that answers need.
NEEDED = ("torch", "transformers", "safetensors", "tokenizers", "accelerate", "peft", "matplotlib")
# Names of precisions, as `convert` has them and as `hf:` and torch do.
DTYPES: Mapping[str, str] = {
    "fp32": "float32", "bf16": "bfloat16", "fp16": "float16",
    "float32": "float32", "bfloat16": "bfloat16", "float16": "float16",
}  # fmt: skip
INSTALL = "pip install 'medground[models]'"


class Reference:
    """Answers in words and masks: about an image with points, boxes or regions, or about a volume with boxes.

    A model of MIMO's architecture takes no regions, and returns the entities that its words bind to masks. One of
    HuatuoGPT-Vision's takes several images and gives words alone.

    Args:
        model: A name of `SHIPPED`, or the folder of a model that was trained or converted.
        threshold: The probability above which a pixel or voxel is foreground, in (0, 1); None: the model's own.
        dtype: The precision of the weights and of what is computed, one of `DTYPES`; routers stay in single precision.

    Raises:
        SpecError: The threshold is not in (0, 1), the precision has another name, the folder holds no model, or torch
            is not installed.
    """

    version = "1"

    def __init__(self, model: str = "tiny", *, threshold: float | None = None, dtype: str = "fp32") -> None:
        # Said here, before data are prepared for a model that cannot be loaded.
        missing = [name for name in NEEDED[:3] if importlib.util.find_spec(name) is None]
        if missing:
            raise SpecError(f"reference:{model}: needs {', '.join(missing)}, not installed; {INSTALL}")
        if threshold is not None and not 0 < threshold < 1:
            raise SpecError(f"reference:{model}: threshold: expected a probability between 0 and 1, got {threshold}")
        if dtype not in DTYPES:
            raise SpecError(f"reference:{model}: dtype: expected one of {', '.join(DTYPES)}, got {dtype!r}")
        self.folder = WEIGHTS / SHIPPED[model] if model in SHIPPED else Path(model)
        if not (self.folder / "model.safetensors").is_file():
            names = ", ".join(SHIPPED)
            raise SpecError(
                f"reference:{model}: expected one of {names}, or the folder of a model, found no "
                f"{self.folder / 'model.safetensors'}{nearest(model, tuple(SHIPPED))}; "
                "`reference-model train` or `reference-model convert` makes one"
            )
        config = read_config(self.folder / "config.json")
        self.reads_volumes = isinstance(config, VolumeModelConfig)
        self.takes_regions = not isinstance(config, EntityModelConfig)
        # 0 for a model that marks images: it takes one alone.
        self.max_images = config.prompt.max_images if isinstance(config, LlavaModelConfig) else 0
        self.threshold = threshold
        self.dtype = DTYPES[dtype]
        self._answering: Predictor | LlavaPredictor | VolumePredictor | None = None

    def capabilities(self) -> Capabilities:
        """Return the capabilities: input is one image with visual prompts, several images, or one volume with boxes."""
        if self.reads_volumes:
            takes, gives = {"text", "volume", "box"}, {"text", "masks", "boxes", "embedding"}
        elif self.max_images:
            takes, gives = {"text", "image", "images"}, {"text"}
        else:
            takes, gives = {"text", "image", "point", "box"}, {"text", "masks", "boxes"}
            if self.takes_regions:
                takes.add("region")
        return Capabilities(
            takes=frozenset(takes),
            gives=frozenset(gives),
            max_images=max(1, self.max_images),
            max_batch=MAX_BATCH,
            weights=(str(self.folder),),
        )

    def load(self, device: str) -> None:
        """Read the weights onto a device.

        Raises:
            DataError: A file of the model is missing or torn.
        """
        # Imported here: torch takes seconds to import, and `capabilities` does not need it.
        import torch

        from reference_model.inference.predictor import load_predictor

        dtype = getattr(torch, self.dtype)
        self._answering = load_predictor(self.folder, device, threshold=self.threshold, dtype=dtype)

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request, errors included; requests with equal decoding options form one batch."""
        assert self._answering is not None, "load() comes first"
        answers: dict[int, Answer] = {}
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            fault = self._fault(request)
            if fault is None:
                key = repr((request.kind, sorted(request.decoding.items()), request.seed, request.repeat))
                groups.setdefault(key, []).append(index)
            else:
                answers[index] = _failed(DataError(fault))
        for places in groups.values():
            answers |= zip(places, self._answer([requests[index] for index in places]), strict=True)
        return [answers[index] for index in range(len(requests))]

    def _answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests with equal decoding options; if one of them cannot be read, answer each on its own."""
        assert self._answering is not None
        try:
            return self._answering.answer(requests)
        except HarnessError as error:
            if len(requests) == 1:
                return [_failed(error)]
            return [answer for request in requests for answer in self._answer([request])]

    def _fault(self, request: Request) -> str | None:
        """Return why the model cannot answer a request; None if it can."""
        kinds = ("generate", "embed") if self.reads_volumes else ("generate",)
        media = "volume" if self.reads_volumes else "image"
        if request.kind not in kinds:
            return f"this reference model can {' and '.join(kinds)}; it was asked to {request.kind}"
        kinds_found = {one.record.kind for one in request.media}
        if kinds_found != {media} or len(request.media) > max(1, self.max_images):
            found = ", ".join(one.record.kind for one in request.media) or "nothing"
            wanted = f"one to {self.max_images} images" if self.max_images else f"one {media}"
            return f"this reference model is asked about {wanted}, found {found}"
        if request.kind == "embed" and not request.candidates:
            return "this reference model embeds a volume beside a text, found no candidate"
        return None


def _failed(error: HarnessError) -> Answer:
    return Answer(error=ErrorInfo(type=type(error).__name__, message=str(error)))

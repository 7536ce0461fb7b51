"""The adapter of the reference model: `reference:tiny`, or `reference:FOLDER` with a model of the user's own."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import DataError, HarnessError, SpecError
from harness.records import Answer, Capabilities, ErrorInfo, Request

if TYPE_CHECKING:
    from reference_model.inference.predictor import Predictor

WEIGHTS = Path(__file__).parent / "weights"
MAX_BATCH = 16
# Packages of the extra [models], those first that answers need.
NEEDED = ("torch", "transformers", "safetensors", "tokenizers", "accelerate", "peft", "matplotlib")
INSTALL = "pip install 'medground[models]'"


class Reference:
    """Answers in words and masks; takes points, boxes and regions.

    Args:
        model: `tiny`, or the folder of a model that was trained or converted.
        threshold: The probability above which a pixel is foreground, in (0, 1); None: the model's own.

    Raises:
        SpecError: The threshold is not in (0, 1), the folder holds no model, or torch is not installed.
    """

    version = "1"

    def __init__(self, model: str = "tiny", *, threshold: float | None = None) -> None:
        # Said here, before data are prepared for a model that cannot be loaded.
        missing = [name for name in NEEDED[:3] if importlib.util.find_spec(name) is None]
        if missing:
            raise SpecError(f"reference:{model}: needs {', '.join(missing)}, not installed; {INSTALL}")
        if threshold is not None and not 0 < threshold < 1:
            raise SpecError(f"reference:{model}: threshold: expected a probability between 0 and 1, got {threshold}")
        self.folder = WEIGHTS / f"medplib-{model}" if (WEIGHTS / f"medplib-{model}").is_dir() else Path(model)
        if not (self.folder / "model.safetensors").is_file():
            raise SpecError(
                f"reference:{model}: expected the folder of a model, found no {self.folder / 'model.safetensors'}; "
                "`reference-model train` or `reference-model convert` makes one"
            )
        self.threshold = threshold
        self._answering: Predictor | None = None

    def capabilities(self) -> Capabilities:
        """Return the capabilities: one image with visual prompts as input; text, masks and boxes as output."""
        return Capabilities(
            takes=frozenset({"text", "image", "point", "box", "region"}),
            gives=frozenset({"text", "masks", "boxes"}),
            max_batch=MAX_BATCH,
            weights=(str(self.folder),),
        )

    def load(self, device: str) -> None:
        """Read the weights onto a device.

        Raises:
            DataError: A file of the model is missing or torn.
        """
        # Imported here: torch takes seconds to import, and `capabilities` does not need it.
        from reference_model.inference.predictor import Predictor

        self._answering = Predictor.load(self.folder, device, threshold=self.threshold)

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return one answer per request, errors included; requests with equal decoding options form one batch."""
        assert self._answering is not None, "load() comes first"
        answers: dict[int, Answer] = {}
        groups: dict[str, list[int]] = {}
        for index, request in enumerate(requests):
            fault = _fault(request)
            if fault is None:
                key = repr((sorted(request.decoding.items()), request.seed, request.repeat))
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


def _fault(request: Request) -> str | None:
    """Return why the model cannot answer a request; None if it can."""
    if request.kind != "generate":
        return f"the reference model writes answers; it was asked to {request.kind}"
    if len(request.images) != 1 or len(request.media) != 1:
        return f"the reference model is asked about one image, found {len(request.media)}"
    return None


def _failed(error: HarnessError) -> Answer:
    return Answer(error=ErrorInfo(type=type(error).__name__, message=str(error)))

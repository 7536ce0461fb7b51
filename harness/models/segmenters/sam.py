"""The model `sam:PATH_OR_NAME`: SAM, MedSAM, SAM 2 and SAM 3, prompted by boxes and points, SAM 3 also by words."""

import importlib.util
import re
from collections.abc import Sequence

import numpy as np

from harness.errors import ModelError, SpecError
from harness.models.segmenters import checkpoint
from harness.models.segmenters.concepts import MOST_TOKENS, Concepts
from harness.models.segmenters.promptable import Promptable
from harness.models.segmenters.prompts import Slices, answered, by_prompts, pixels_of
from harness.records import Answer, Capabilities, Request, Resources

NEEDED = ("torch", "transformers")
DTYPES = ("auto", "float32", "bfloat16", "float16")
MAX_BATCH = 64


class Sam:
    """A segmenter of the SAM family, by transformers' own classes.

    Every visual prompt of a request names one thing and gives one mask, in their order: of the masks that the model
    proposes for it the one with the highest IoU by the model's own estimate, which becomes the mask's score. Points of
    one prompt belong together. A volume is segmented slice by slice as it is stored: a box in the slices of its range,
    points in their own slices, a concept in all of them.

    SAM 3 also takes words: where a request has no visual prompt, they name a concept, and each of its instances gives a
    mask. Beside visual prompts words are not read.

    Args:
        model: A folder, or a name on the hub.
        dtype: One of DTYPES; `auto` is that of the checkpoint.
        revision: Branch, tag or commit on the hub.
        multimask: False for a model that was trained to give one mask for a prompt, as MedSAM was.
        concept: Regular expression whose first group is the concept within a question, such as `segment the (.+)\\.`;
            None: all of the question. A question that it does not match is an error.
        threshold: The least score of an instance of a concept, in [0, 1]; 0.5 as in the released code of SAM 3.
        gpus: GPUs of one copy of the model; None: one, where there is any.

    Raises:
        SpecError: There is no such model, an argument has another form, or a package is missing.
    """

    version = "2"  # 1 asked for points beside the image, too

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        revision: str | None = None,
        multimask: bool = True,
        concept: str | None = None,
        threshold: float = 0.5,
        gpus: float | None = None,
    ) -> None:
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise SpecError(f"--model sam: needs {', '.join(missing)}, not installed; pip install 'medground[models]'")
        if dtype not in DTYPES:
            raise SpecError(f"--model-args dtype: expected {' or '.join(DTYPES)}, found {dtype!r}")
        if type(multimask) is not bool:
            raise SpecError(f"--model-args multimask: expected true or false, found {multimask!r}")
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 <= threshold <= 1:
            raise SpecError(f"--model-args threshold: expected a number from 0 to 1, found {threshold!r}")
        try:
            self.concept = None if concept is None else re.compile(str(concept), re.IGNORECASE)
        except re.error as error:
            raise SpecError(f"--model-args concept: {concept!r} is no regular expression: {error}") from error
        if self.concept is not None and not self.concept.groups:
            raise SpecError(f"--model-args concept: expected a group around the concept, as in (.+), found {concept!r}")
        self.dtype, self.multimask, self.threshold, self.gpus = dtype, multimask, threshold, gpus
        self.checkpoint = checkpoint.find(str(model), revision=revision)

    def capabilities(self) -> Capabilities:
        """Return what the checkpoint takes and gives."""
        kind = self.checkpoint.kind
        by_words = {"text"} if kind.concepts else set()
        return Capabilities(
            takes=frozenset({"image", "volume", *by_words, *({"box", "point"} if kind.points else ())}),
            gives=frozenset({"masks"}),
            max_batch=MAX_BATCH,
            # Images are encoded, and prompts decoded, one at a time.
            batch_invariant=True,
            execution_only=frozenset({"gpus"}),
            weights=(str(self.checkpoint.weights),),
            resources=Resources(gpus=self.gpus),
        )

    def load(self, device: str) -> None:
        """Read the weights.

        Raises:
            ModelError: transformers cannot load the checkpoint.
        """
        kind, how = self.checkpoint.kind, {"device": device, "dtype": self.dtype}
        self.segmenter = Promptable(self.checkpoint, multimask=self.multimask, **how) if kind.points else None
        self.concepts = Concepts(self.checkpoint, threshold=self.threshold, **how) if kind.concepts else None

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the masks of each request's prompts, in their order."""
        return [answered(request, self._answer) for request in requests]

    def _answer(self, request: Request) -> Answer:
        if self.segmenter is not None and (request.visual_prompts or self.concepts is None):
            return by_prompts(self.segmenter, request)
        assert self.concepts is not None, "load() comes first"
        return self._by_words(self.concepts, request)

    def _by_words(self, segmenter: Concepts, request: Request) -> Answer:
        question = request.prompt.strip()
        matched = None if self.concept is None else self.concept.search(question)
        if self.concept is not None and matched is None:
            raise ModelError(f"--model-args concept: {self.concept.pattern!r} does not match the question {question!r}")
        concept = question if matched is None else matched[1]
        if not concept:
            raise ModelError("expected a concept in words, found a request without words")
        length = segmenter.length(concept)
        cut = (f"the concept has {length} tokens; the model reads the first {MOST_TOKENS}",)
        if request.images:
            handle = request.images[0]
            shown = segmenter.encoder.embedded(pixels_of(handle), handle.image)
            found = segmenter.segment(shown, concept)
        else:
            handle = request.volumes[0]
            slices, mask, scores = Slices(handle), np.zeros(handle.record.size, dtype=np.bool_), []
            # The instances of one slice are not matched with those of the next: a volume has one mask.
            for z in range(len(mask)):
                shown = segmenter.encoder.embedded((pixels_of(handle), z), slices.slice_of(z))
                for instance, score in segmenter.segment(shown, concept):
                    mask[z] |= instance
                    scores.append(score)
            found = [(mask, sum(scores) / len(scores))] if scores else []
        nothing = [(np.zeros(handle.record.size, dtype=np.bool_), 0.0)]  # says that there is none
        return Answer(
            masks=[mask for mask, _ in found or nothing],
            mask_scores=[score for _, score in found or nothing],
            rendered=concept,
            remarks=cut if length > MOST_TOKENS else (),
        )

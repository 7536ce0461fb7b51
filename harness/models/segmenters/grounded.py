"""The model `grounded:TEXT_MODEL+SEGMENTER`: the boxes of a text model become the prompts of a segmenter."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import floor
from typing import TYPE_CHECKING, Any

from harness.errors import ModelError, SpecError
from harness.imaging import masks
from harness.models import resolve
from harness.records import (
    Answer,
    Capabilities,
    ErrorInfo,
    Json,
    MediaPart,
    Points,
    PredictedEntity,
    Request,
    Resources,
    Turn,
    VisualPrompt,
)
from harness.text.dialects import typed_answers

if TYPE_CHECKING:
    from harness.text.dialects.reply_reader import ReplyReader

FORM = "expected TEXT_MODEL+SEGMENTER, as in grounded:hf:Qwen/Qwen3-VL-8B-Instruct+sam:facebook/sam-vit-base"
# Models that give boxes in words alone, in whatever dialect they were trained to.
IN_WORDS = frozenset({"hf", "openai", "lm-eval"})


class Grounded:
    """A text model that says where, and a segmenter that draws the outline.

    Where a task wants masks, the text model is asked for boxes in their place. Its words, boxes and points stay in the
    answer; each box, or without any box each point, becomes a prompt of the segmenter and so a mask, in their order,
    named as the reply names it. A reply that says in its dialect that there is nothing gives a mask without foreground;
    one that cannot be read gives none. All else is asked of the text model alone.

    Args:
        parts: The references of both, joined by the last `+`.
        text: Arguments of the text model, an object.
        segmenter: Arguments of the segmenter, an object.
        reply, frame, frame_args: The dialect of the text model's boxes, as for any model.

    Raises:
        SpecError: A part does not exist, does not take or give what it must, or the dialect is not declared.
    """

    version = "1"

    def __init__(
        self,
        parts: str,
        *,
        text: Json = None,
        segmenter: Json = None,
        reply: Json = None,
        frame: Json = None,
        frame_args: Json = None,
    ) -> None:
        first, plus, second = str(parts).rpartition("+")
        if not (plus and first and second):
            raise SpecError(f"--model grounded:{parts}: {FORM}")
        for name, value in (("text", text), ("segmenter", segmenter)):
            if value is not None and not isinstance(value, Mapping):
                raise SpecError(
                    f"--model-args {name}: expected a JSON object of that part's arguments, found {value!r}"
                )
        dialect = {"reply": reply, "frame": frame, "frame_args": frame_args}
        given = {name: value for name, value in dialect.items() if value is not None}
        own = dict(text) if isinstance(text, Mapping) else {}
        self.text = resolve.Part.of(first, {**own, **given})
        self.segmenter = resolve.Part.of(second, dict(segmenter) if isinstance(segmenter, Mapping) else {})
        self.reader: ReplyReader | None = resolve.reply_reader(self.text.reference, self.text.capabilities)
        in_words = first.partition(":")[0] in IN_WORDS
        if self.reader is not None:
            placed = bool(self.reader.dialect.gives & {"boxes", "points"})
        else:
            placed = "boxes" in self.text.capabilities.gives and not in_words
        if not placed:
            raise SpecError(
                f"--model grounded:{parts}: {first} gives no boxes or points that can be read; declare the dialect of "
                "its replies, as in --model-args reply=qwen3_vl,frame=per_mille (docs/models.md)"
            )
        found = self.segmenter.capabilities
        if "masks" not in found.gives or not found.takes & {"box", "point"} or found.per_sample:
            raise SpecError(
                f"--model grounded:{parts}: {second} is no segmenter; expected a model that takes boxes or points and "
                "gives masks, such as sam:"
            )

    @property
    def model_parts(self) -> tuple[resolve.Part, resolve.Part]:
        """Both models, whose identities are part of this one's."""
        return self.text, self.segmenter

    def capabilities(self) -> Capabilities:
        """Return what the text model takes and gives, and masks."""
        words, outlines = self.text.capabilities, self.segmenter.capabilities
        takes = words.takes if "volume" in outlines.takes else words.takes - {"volume"}
        gpus = [part.resources.gpus for part in (words, outlines)]
        return Capabilities(
            takes=takes,
            gives=words.gives | {"masks"},
            max_images=words.max_images,
            max_batch=words.max_batch,
            usual_batch=words.usual_batch,
            batch_invariant=words.batch_invariant and outlines.batch_invariant,
            per_sample=words.per_sample,
            # They are in the identities of the parts, without what cannot change an answer.
            execution_only=frozenset({"text", "segmenter", *typed_answers.ARGUMENTS}),
            resources=Resources(
                cpus=max(words.resources.cpus, outlines.resources.cpus),
                gpus=None if None in gpus else max(number for number in gpus if number is not None),
            ),
            sends_data_to=words.sends_data_to or outlines.sends_data_to,
            volume=words.volume,
        )

    def begin_run(self, folder: Any, timeout: float) -> None:
        """Tell both models where their files may lie."""
        for part in self.model_parts:
            if (begin := getattr(part.adapter, "begin_run", None)) is not None:
                begin(folder, timeout)

    def load(self, device: str) -> None:
        """Load both models onto one device."""
        for part in self.model_parts:
            part.adapter.load(device)

    def close(self) -> None:
        """End both models."""
        for part in self.model_parts:
            if (close := getattr(part.adapter, "close", None)) is not None:
                close()

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the text model's answers, with masks where they are wanted.

        Raises:
            ModelError: A part returns more or fewer answers than it was asked for.
        """
        asked = [_without_masks(request) for request in requests]
        replies = _of(self.text, asked)
        if self.reader is not None:
            pairs = zip(asked, replies, strict=True)
            replies = [typed_answers.typed(self.reader, request, reply) for request, reply in pairs]
        answers: list[Any] = list(replies)
        places: list[int] = []
        outlined: list[Request] = []
        for place, (request, reply) in enumerate(zip(requests, replies, strict=True)):
            if "masks" not in request.wants or not isinstance(reply, Answer) or reply.error is not None:
                continue
            if not request.media:
                answers[place] = _failed("the request holds no image to segment")
            elif prompts := self._prompts(reply):
                places.append(place)
                outlined.append(
                    Request(
                        wants=("masks",),
                        messages=(Turn(role="user", parts=(MediaPart(media=request.media[0]),)),),
                        visual_prompts=prompts,
                        seed=request.seed,
                        key=request.key,
                    )
                )
            elif self._says_nothing(request, reply):
                answers[place] = replace(reply, masks=[masks.empty(request.media[0].record.size)])
        size = self.segmenter.capabilities.max_batch
        for start in range(0, len(outlined), size):
            found = _of(self.segmenter, outlined[start : start + size])
            for place, outline in zip(places[start : start + size], found, strict=True):
                answers[place] = self._joined(requests[place], answers[place], outline)
        return answers

    def _prompts(self, reply: Answer) -> tuple[VisualPrompt, ...]:
        """Return what the segmenter is asked: the boxes of a reply, else its points one by one."""
        takes = self.segmenter.capabilities.takes
        if reply.boxes and "box" in takes:
            return tuple(reply.boxes)
        if not reply.points or "point" not in takes:
            return ()
        # A position of 7.9 lies in pixel 7, and visual prompts name pixels.
        pixels = (tuple(float(floor(place)) for place in point) for point in reply.points)
        return tuple(Points(points=(pixel,), labels=(1,)) for pixel in pixels)

    def _says_nothing(self, request: Request, reply: Answer) -> bool:
        if self.reader is None or reply.text is None:
            return False
        reading = self.reader.read(reply.text, request.media[0].record.size)
        return reading.status == "ok" and not (reading.boxes or reading.points or reading.phrases)

    def _joined(self, request: Request, reply: Answer, outline: object) -> Answer:
        """Return the text model's answer with the segmenter's masks."""
        if not isinstance(outline, Answer):
            return _failed(f"the segmenter returned {type(outline).__name__}, expected Answer")
        if outline.error is not None:
            return replace(_failed(f"the segmenter: {outline.error.message}"), usage=reply.usage)
        entities = reply.entities
        if not entities and self.reader is not None and reply.text is not None:
            reading = self.reader.read(reply.text, request.media[0].record.size)
            names = [name.label for name in (reading.box_names if reply.boxes else reading.point_names)]
            if all(names) and len(names) == len(outline.masks):
                entities = [PredictedEntity(name=name, mask=index) for index, name in enumerate(names)]
        return replace(
            reply,
            masks=outline.masks,
            soft_masks=outline.soft_masks,
            grid=outline.grid,
            mask_scores=outline.mask_scores,
            entities=entities,
            remarks=(*reply.remarks, *outline.remarks),
        )


def _of(part: resolve.Part, requests: Sequence[Request]) -> list[Any]:
    answers = list(part.adapter.predict(requests)) if requests else []
    if len(answers) != len(requests):
        raise ModelError(
            f"{part.reference.text}: predict() returned {len(answers)} answers for {len(requests)} requests; expected "
            "one per request, in order"
        )
    return answers


def _without_masks(request: Request) -> Request:
    """Return what the text model is asked: for boxes in place of masks."""
    if "masks" not in request.wants:
        return request
    return replace(request, wants=tuple(dict.fromkeys("boxes" if want == "masks" else want for want in request.wants)))


def _failed(message: str) -> Answer:
    return Answer(error=ErrorInfo(type="ModelError", message=message))

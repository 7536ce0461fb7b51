"""A model whose words are read: `reply=`, `frame=` and `frame_args=`, or what the adapter declares, make typed answers.

The text stays as the model wrote it, for protocols of released code. Nothing is guessed: boxes come from the declared
dialect and frame alone, and a reply that the dialect cannot read has none.
"""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import DataError
from harness.records import Answer, Capabilities, ErrorInfo, Json, PredictedEntity, Request

if TYPE_CHECKING:
    from harness.text.dialects.reply_reader import ReplyReader

# Arguments of every model that gives text. The last two belong to the first: without it an adapter may have its own.
ARGUMENTS = ("reply", "frame", "frame_args")


def reply_arguments(factory: Any, arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Return the arguments that say how a model's replies are read; none if `reply` is an argument of the model's own.

    Args:
        factory: The class or function that builds the model.
        arguments: Those of `--model-args`.
    """
    if ARGUMENTS[0] not in arguments:
        return {}
    try:
        own = set(inspect.signature(factory).parameters)
    except (TypeError, ValueError):  # some classes written in C have no signature
        own = set()
    taken = () if ARGUMENTS[0] in own else ARGUMENTS
    return {name: arguments[name] for name in taken if name in arguments}


def reader_of(text: str, arguments: Mapping[str, Json], capabilities: Capabilities) -> "ReplyReader | None":
    """Return the reader of a model's replies; None if nothing is declared.

    Args:
        text: The model's reference, for messages.
        arguments: From `reply_arguments`; they count more than what the adapter declares.
        capabilities: The adapter's own.
    Raises:
        SpecError: The dialect, the frame or an argument does not exist.
    """
    given: dict[str, Json] = {}
    where = f"--model-args: {ARGUMENTS[0]}"
    if arguments:
        names = zip(("dialect", "frame", "frame_args"), ARGUMENTS, strict=True)
        given = {name: arguments[argument] for name, argument in names if argument in arguments}
    elif capabilities.reply:
        given, where = dict(capabilities.reply), f"--model {text}: capabilities().reply"
    else:
        return None
    # Only for a model whose replies are read: the readers of masks need numpy.
    from harness.text.dialects.reply_reader import declared

    return declared(given, where)


def with_reader(capabilities: Capabilities, reader: "ReplyReader | None") -> Capabilities:
    """Return what a model gives once its replies are read: also the boxes and masks of its dialect.

    A model that gives no text gives nothing to read.
    """
    if reader is None or "text" not in capabilities.gives:
        return capabilities
    return replace(capabilities, gives=capabilities.gives | (reader.dialect.gives & {"boxes", "masks"}))


def public_arguments(arguments: Mapping[str, Json]) -> dict[str, Json]:
    """Return arguments as records show them: a folder of mask files by its name, not by its place on a machine."""
    frame_args = arguments.get("frame_args")
    if ARGUMENTS[0] not in arguments or not isinstance(frame_args, Mapping) or "folder" not in frame_args:
        return dict(arguments)
    return {**arguments, "frame_args": {**frame_args, "folder": Path(str(frame_args["folder"])).name}}


def typed(reader: "ReplyReader", request: Request, answer: object) -> object:
    """Return an answer with what its text says, in pixels of the image that the request shows.

    Boxes, points and masks that the model gives itself stay. A reply that says in its dialect that there is nothing
    becomes a mask without foreground where masks are wanted.

    Args:
        reader: The dialect and the frame.
        request: As the model got it.
        answer: What `predict` returned for it; anything but an answer in words is returned as it is.
    """
    if not isinstance(answer, Answer) or answer.error is not None or not isinstance(answer.text, str):
        return answer
    media = request.media
    if not {"boxes", "masks"} & {*request.wants} or not media or not media[0].record.size:
        return answer
    size = tuple(media[0].record.size)
    try:
        found = reader.read(answer.text, size)
    except DataError as error:
        return replace(answer, error=ErrorInfo(type="DataError", message=str(error)))
    given_masks = len(answer.masks) or len(answer.soft_masks)
    shown = list(found.masks)
    nothing = found.status == "ok" and not (found.boxes or found.points or found.masks or found.phrases)
    if nothing and "masks" in request.wants and "masks" in reader.dialect.gives:
        from harness.imaging import masks

        shown = [masks.empty(size)]
    scores = [name.score for name in found.mask_names if name.score is not None]
    entities: list[PredictedEntity] = []
    if given_masks and len(found.phrases) == given_masks:
        entities = [
            PredictedEntity(name=name, span=span, mask=index) for index, (name, span) in enumerate(found.phrases)
        ]
    elif not given_masks and shown and all(name.label for name in found.mask_names):
        entities = [PredictedEntity(name=name.label, mask=index) for index, name in enumerate(found.mask_names)]
    return replace(
        answer,
        boxes=answer.boxes or found.boxes,
        points=answer.points or found.points,
        masks=answer.masks if given_masks else shown,
        mask_scores=scores if not given_masks and scores and len(scores) == len(shown) else answer.mask_scores,
        entities=answer.entities or entities,
        read_as=str(reader),
    )

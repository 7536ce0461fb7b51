"""Check and encoding of a model's answers: an `Answer` becomes a `Prediction` or a named model error."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, get_args

import numpy as np

from harness.errors import DataError, ModelError
from harness.imaging import crops, mask_files, masks, soft_masks
from harness.imaging.resampling import Resampling, resampling
from harness.models.secrets import masked
from harness.models.submitted.prediction_lines import MOST_TEXT
from harness.records import (
    Answer,
    AnswerStatus,
    Box,
    Crop,
    ErrorInfo,
    Mask,
    PredictedEntity,
    Prediction,
    PredictionStatus,
    Request,
    Size,
    SoftMask,
)

# The statuses that a model may give its answer; all others are decided by the harness alone.
STATUSES: tuple[AnswerStatus, ...] = get_args(AnswerStatus)

Item = TypeVar("Item")


def to_prediction(request: Request, answer: object, seconds: float) -> Prediction:
    """Return the prediction to store for one request.

    An answer that breaks the Protocol becomes a `model_error` whose message says what was expected and what was found.

    Args:
        request: The request as the model got it.
        answer: The object that `predict` returned for it.
        seconds: Time that the model took for this request, in seconds.
    """
    if isinstance(answer, Answer) and answer.error is not None:
        error: object = answer.error  # submitted code fills this in: the annotation may not hold
        if not isinstance(error, ErrorInfo):
            error = ErrorInfo(type="ModelError", message=f"error: expected ErrorInfo, found {error!r}")
        status: PredictionStatus = "timeout" if error.type == "Timeout" else "model_error"
        try:
            usage = _usage(answer.usage)  # what a failed request cost was spent all the same
        except ModelError:
            usage = {}  # the error of the model says more
        return replace(failed(request.key, status, error, seconds), usage=usage)
    try:
        return checked(request, answer, seconds)
    except (DataError, ModelError) as fault:
        info = ErrorInfo(type=type(fault).__name__, message=str(fault))
        return failed(request.key, "model_error", info, seconds)


def failed(key: str, status: PredictionStatus, error: ErrorInfo, seconds: float = 0.0) -> Prediction:
    """Return the prediction of a request that has no answer.

    Args:
        key: Key of the request.
        status: `model_error`, `timeout` or `data_error`.
        error: The reason; characters that cannot be written as UTF-8 are escaped, and well-known keys masked.
        seconds: Time that the model took for this request, in seconds.
    """
    # Half of a surrogate pair, as in the name of a file that is not UTF-8, would end the run when it is written.
    kind, message, traceback = (
        masked(str(text).encode("utf-8", "backslashreplace").decode(), ())
        for text in (error.type, error.message, error.traceback)
    )
    plain = ErrorInfo(type=kind, message=message, traceback=traceback)
    return Prediction(key=key, status=status, error=plain, seconds=seconds)


def batch_length_error(expected: int, answers: Sequence[object]) -> ErrorInfo:
    """Return the error of a batch that came back with a number of answers other than `expected`."""
    message = f"predict() returned {len(answers)} answers for {expected} requests; expected one per request, in order"
    return ErrorInfo(type="ModelError", message=message)


def checked(request: Request, answer: object, seconds: float = 0.0) -> Prediction:
    """Return the prediction of an answer: masks encoded, every number finite, every index in range.

    Masks on a grid of the model's own are resampled to the image; masks and boxes of a crop are placed in the original.

    Args:
        request: The request as the model got it.
        answer: The object that `predict` returned for it.
        seconds: Time that the model took for this request, in seconds.
    Raises:
        ModelError: The answer breaks the Protocol.
        DataError: A mask is invalid, or has another frame than the request's first image or volume as it is shown.
    """
    if not isinstance(answer, Answer):
        raise ModelError(f"predict() returned {type(answer).__name__} for a request, expected Answer")
    media = request.media
    size, crop = (media[0].record.size, media[0].record.crop) if media else ((), None)
    if request.one_by_one:  # the images are the slices of one volume, and the answers are put together already
        view = media[0].record.view
        size = (len(media), *size) if view is None else view.original
    way = None if answer.grid is None or not media else resampling(answer.grid, media[0].record, size)
    found = _each(answer.masks, "masks", lambda mask, where: _mask(mask, size, where, crop, way))
    soft = _each(answer.soft_masks, "soft_masks", lambda mask, where: _soft_mask(mask, size, where, crop, way))
    if found and soft and len(found) != len(soft):
        raise ModelError(f"soft_masks: expected one per mask ({len(found)}) or no masks, found {len(soft)}")
    found = found or tuple(soft_masks.cut(mask, soft_masks.HALF) for mask in soft)
    text, choice = _text(answer.text, "text"), _text(answer.choice, "choice")
    boxes = _each(answer.boxes, "boxes", lambda box, where: _box(box, size, where, crop))
    nll = _counted(answer.nll, "nll", _number, len(request.candidates), "candidate")
    embedding = _embedding(answer.embedding, images=len(media) if request.one_by_one else 1)
    said = bool((text or "").strip())
    given = {
        "text": said or bool(choice),
        "masks": bool(found),
        "boxes": bool(boxes) or said,  # a box may be given in words; the metrics read them
        "nll": bool(nll),
        "embedding": bool(embedding),
    }
    status = next((known for known in STATUSES if answer.status == known), None)
    if status is None:
        raise ModelError(f"status: expected {', '.join(STATUSES[:-1])} or {STATUSES[-1]}, found {answer.status!r}")
    # A refusal needs no content; any other answer without something that was asked for is `empty`.
    something = status == "refused" or any(given[want] for want in request.wants)
    return Prediction(
        key=request.key,
        status=status if something else "empty",
        text=text,
        choice=choice,
        masks=found,
        soft_masks=soft,
        grid=None if way is None else way.grid,
        mask_scores=_counted(answer.mask_scores, "mask_scores", _number, len(found), "mask"),
        boxes=boxes,
        points=_each(answer.points, "points", lambda point, where: _point(point, size, where, crop)),
        entities=_each(answer.entities, "entities", lambda entity, where: _entity(entity, len(found), where)),
        nll=nll,
        nll_tokens=_counted(answer.nll_tokens, "nll_tokens", _token_count, len(nll), "number in nll"),
        embedding=embedding,
        rendered=_text(answer.rendered, "rendered"),
        seconds=seconds,
        usage=_usage(answer.usage),
        remarks=_each(answer.remarks, "remarks", lambda remark, where: _text(remark, where) or ""),
        read_as=_text(answer.read_as, "read_as"),
    )


def _each(items: Any, name: str, check: Callable[[Any, str], Item]) -> tuple[Item, ...]:
    """Return every item as `check` returns it; messages begin with the name and the index."""
    if type(items) is tuple and not items:  # the default of every field, and so the usual case
        return ()
    try:
        listed = list(items)
    except TypeError:
        raise ModelError(f"{name}: expected a list, found {type(items).__name__}") from None
    return tuple(check(item, f"{name}[{index}]") for index, item in enumerate(listed))


def _counted(items: Any, name: str, check: Callable[[Any, str], Item], expected: int, owner: str) -> tuple[Item, ...]:
    """Return the checked numbers, of which there must be one per `owner` or none at all."""
    numbers = _each(items, name, check)
    if numbers and len(numbers) != expected:
        raise ModelError(f"{name}: expected one per {owner} ({expected}), found {len(numbers)}")
    return numbers


def _token_count(value: Any, where: str) -> int:
    count = _index(value)
    if count < 1:
        raise ModelError(f"{where}: expected a whole number of at least 1, found {value!r:.80}")
    return count


def _number(value: Any, where: str) -> float:
    # `float` would take "1", b"1" and True as well, which are more likely mistakes than numbers.
    if not isinstance(value, str | bytes | bool):
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if math.isfinite(number):
            return number
    raise ModelError(f"{where}: expected a finite number, found {value!r:.80}")


def _text(text: Any, name: str) -> str | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise ModelError(f"{name}: expected text or None, found {type(text).__name__}")
    if len(text) > MOST_TEXT and name != "rendered":
        raise ModelError(f"{name}: expected at most {MOST_TEXT:,} characters, found {len(text):,}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ModelError(
            f"{name}: expected Unicode text, found half of a surrogate pair at character {error.start}"
        ) from None
    return str(text)


def _mask(mask: Any, size: Size, where: str, crop: Crop | None, way: Resampling | None) -> Mask:
    """Return the encoded mask in the frame of the original image; run lengths from the model are verified.

    Args:
        mask: Array (H, W) or (D, H, W) of bool or 0/1 integers, or a `Mask`.
        size: (H, W) or (D, H, W) of the image or volume as it was shown; empty if there is none.
        where: Place in the answer, for errors.
        crop: Of the first image, if it was cropped.
        way: From the model's own grid to the image as it was shown, if the answer has a grid.
    """
    try:
        # A `Mask` of the model's is read like one from a file, because nothing has checked its run lengths yet.
        encoded = (
            mask_files.from_json(mask_files.to_json(mask), where=where)
            if isinstance(mask, Mask)
            else masks.encode(mask, where=where)
        )
    except (TypeError, ValueError, RuntimeError) as error:
        # Tensors on a GPU, or with a gradient, raise TypeError and RuntimeError when NumPy asks for their values.
        message = f"{where}: expected a boolean array (H, W) or (D, H, W), found {type(mask).__name__}: {error}"
        raise ModelError(message) from None
    if way is not None:
        encoded = way.mask(encoded, where)
    if crop is not None:
        # From the model's grid to the image as it was shown, and only then from the crop to the original.
        return crops.uncrop_mask(encoded, crop, where=where)
    if size:
        masks.check_size(encoded, size, where)
    return encoded


def _soft_mask(mask: Any, size: Size, where: str, crop: Crop | None, way: Resampling | None) -> SoftMask:
    """Return the encoded probabilities; outside of a crop they are 0. The arguments are those of `_mask`."""
    try:
        encoded = soft_masks.encode(mask, where=where)
    except (TypeError, ValueError, RuntimeError) as error:
        message = f"{where}: expected an array of probabilities (H, W) or (D, H, W), found {type(mask).__name__}"
        raise ModelError(f"{message}: {error}") from None
    if way is not None:
        encoded = way.soft_mask(encoded, where)
    if size:
        masks.check_size(encoded, size, where, what="predicted soft mask")
    if crop is None:
        return encoded
    (x1, y1, x2, y2), shown = crop.corners, soft_masks.decode(encoded)
    whole = np.zeros(crop.original)
    whole[y1:y2, x1:x2] = shown
    return soft_masks.encode(whole, where=where)


def _box(box: Any, size: Size, where: str, crop: Crop | None) -> Box:
    # Without an image the request does not say whether it is about two dimensions or three.
    expected = (2 * len(size),) if size else (4, 6)
    if not isinstance(box, Box) or len(box.corners) not in expected:
        counts = " or ".join(map(str, expected))
        raise ModelError(f"{where}: expected Box(corners=...) with {counts} numbers, found {box!r}")
    checked_box = Box(corners=_each(box.corners, f"{where}.corners", _number))
    return checked_box if crop is None else crops.uncrop_box(checked_box, crop)


def _point(point: Any, size: Size, where: str, crop: Crop | None) -> tuple[float, ...]:
    numbers = _each(point, where, _number)
    if len(numbers) not in ((len(size),) if size else (2, 3)):
        counts = str(len(size)) if size else "2 or 3"
        raise ModelError(f"{where}: expected {counts} numbers, x first, found {point!r:.80}")
    if crop is None:
        return numbers
    return numbers[0] + crop.corners[0], numbers[1] + crop.corners[1]


def _entity(entity: Any, masks_given: int, where: str) -> PredictedEntity:
    if not isinstance(entity, PredictedEntity):
        found = type(entity).__name__
        hint = "; an Entity is a part of a target" if found == "Entity" else ""
        raise ModelError(f"{where}: expected harness.PredictedEntity(name=..., mask=INDEX), found {found}{hint}")
    name = _text(entity.name, f"{where}.name")
    if name is None:
        raise ModelError(f"{where}.name: expected text, found None")
    mask = None if entity.mask is None else _index(entity.mask)
    if mask is not None and not 0 <= mask < masks_given:
        raise ModelError(f"{where}.mask: expected None or an index into the {masks_given} masks, found {entity.mask!r}")
    return PredictedEntity(name=name, span=_span(entity.span, f"{where}.span"), mask=mask)


def _index(value: Any) -> int:
    """Return a whole number, of Python or NumPy, as int; -1 for anything else, which no index or count can be."""
    try:
        # NumPy's integers have `__index__` and floats do not: 1.0 is not an index.
        return -1 if isinstance(value, bool) else int(value.__index__())
    except (AttributeError, TypeError):
        return -1


def _span(span: Any, where: str) -> tuple[int, int] | None:
    if span is None:
        return None
    ends = _each(span, where, lambda end, _: _index(end))
    if len(ends) != 2 or not 0 <= ends[0] <= ends[1]:
        raise ModelError(f"{where}: expected (start, end) in the answer's text, found {span!r}")
    return ends[0], ends[1]


def _embedding(vectors: Any, images: int) -> tuple[tuple[float, ...], ...]:
    result = _each(vectors, "embedding", lambda vector, where: _each(vector, where, _number))
    # One vector per image or slice, and the text's vector last.
    if result and (len(result) != images + 1 or len({len(vector) for vector in result}) != 1):
        wanted = "one image" if images == 1 else f"{images} image vectors"
        lengths = ", ".join(str(len(vector)) for vector in result)
        raise ModelError(f"embedding: expected {wanted} and one text vector of one length, found lengths {lengths}")
    return result


def _usage(usage: Any) -> dict[str, float]:
    if not isinstance(usage, Mapping):
        raise ModelError(f"usage: expected a mapping from names to numbers, found {type(usage).__name__}")
    return {
        str(name): value if type(value) is int else _number(value, f"usage['{name}']") for name, value in usage.items()
    }

"""What a model answered, checked and encoded: an `Answer` becomes a `Prediction` or a named model error."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from harness import masks
from harness.errors import DataError, ModelError
from harness.records import Answer, Box, ErrorInfo, Mask, PredictedEntity, Prediction, PredictionStatus, Request, Size


def to_prediction(request: Request, answer: object, seconds: float) -> Prediction:
    """Return the prediction to store for one request.

    An answer that breaks the Protocol becomes a `model_error` whose message says what was expected and what was found.

    Args:
        seconds: Time the model took for this request.
    """
    if not isinstance(answer, Answer):
        message = f"predict() returned {type(answer).__name__} for a request, expected Answer"
        return failed(request.key, "model_error", ErrorInfo(type="ModelError", message=message), seconds)
    if answer.error is not None:
        status: PredictionStatus = "timeout" if answer.error.type == "Timeout" else "model_error"
        return failed(request.key, status, answer.error, seconds)
    try:
        return _checked(request, answer, seconds)
    except (DataError, ModelError) as error:
        info = ErrorInfo(type=type(error).__name__, message=str(error))
        return failed(request.key, "model_error", info, seconds)


def failed(key: str, status: PredictionStatus, error: ErrorInfo, seconds: float = 0.0) -> Prediction:
    """Return the prediction of a request that has no answer."""
    return Prediction(key=key, status=status, error=error, seconds=seconds)


def _checked(request: Request, answer: Answer, seconds: float) -> Prediction:
    size = request.media[0].record.size if request.media else ()
    found = tuple(_mask(mask, size, f"answer.masks[{index}]") for index, mask in enumerate(answer.masks))
    scores = _numbers(answer.mask_scores, "answer.mask_scores")
    if scores and len(scores) != len(found):
        raise ModelError(f"answer.mask_scores: expected one per mask ({len(found)}), found {len(scores)}")
    nll = _numbers(answer.nll, "answer.nll")
    if nll and len(nll) != len(request.candidates):
        raise ModelError(f"answer.nll: expected one per candidate ({len(request.candidates)}), found {len(nll)}")
    prediction = Prediction(
        key=request.key,
        status="ok",
        text=_text(answer.text, "text"),
        choice=_text(answer.choice, "choice"),
        masks=found,
        mask_scores=scores,
        boxes=tuple(_box(box, index) for index, box in enumerate(answer.boxes)),
        entities=tuple(_entity(entity, len(found), index) for index, entity in enumerate(answer.entities)),
        nll=nll,
        embedding=tuple(_numbers(vector, "answer.embedding") for vector in answer.embedding),
        rendered=answer.rendered,
        seconds=seconds,
        usage=dict(answer.usage),
    )
    return _with_status(prediction, _status(request, prediction, answer))


def _with_status(prediction: Prediction, status: PredictionStatus) -> Prediction:
    from dataclasses import replace

    return prediction if status == "ok" else replace(prediction, status=status)


def _status(request: Request, prediction: Prediction, answer: Answer) -> PredictionStatus:
    """Return `refused` and `truncated` as declared; `empty` when nothing that was asked for is there."""
    if answer.status not in ("ok", "truncated", "refused"):
        raise ModelError(f"answer.status: expected ok, truncated or refused, found {answer.status!r}")
    if answer.status == "refused":
        return "refused"
    given = {
        "text": bool((prediction.text or "").strip() or prediction.choice),
        "masks": bool(prediction.masks),
        "boxes": bool(prediction.boxes),
        "nll": bool(prediction.nll),
        "embedding": bool(prediction.embedding),
    }
    return answer.status if any(given[want] for want in request.wants) else "empty"


def _mask(mask: Any, size: Size, where: str) -> Mask:
    encoded = mask if isinstance(mask, Mask) else masks.encode(mask)
    if size:
        masks.check_size(encoded, size, where)
    return encoded


def _numbers(values: Iterable[float], where: str) -> tuple[float, ...]:
    result = tuple(float(value) for value in values)
    for value in result:
        if not math.isfinite(value):
            raise ModelError(f"{where}: expected finite numbers, found {value}")
    return result


def _text(text: Any, name: str) -> str | None:
    if text is not None and not isinstance(text, str):
        raise ModelError(f"answer.{name}: expected text or None, found {type(text).__name__}")
    return text


def _box(box: Any, index: int) -> Box:
    if not isinstance(box, Box) or len(box.corners) not in (4, 6):
        raise ModelError(f"answer.boxes[{index}]: expected Box(corners=...) with 4 or 6 numbers, found {box!r}")
    return Box(corners=_numbers(box.corners, f"answer.boxes[{index}]"))


def _entity(entity: Any, masks_given: int, index: int) -> PredictedEntity:
    if not isinstance(entity, PredictedEntity):
        raise ModelError(f"answer.entities[{index}]: expected PredictedEntity, found {type(entity).__name__}")
    if entity.mask is not None and not 0 <= entity.mask < masks_given:
        raise ModelError(f"answer.entities[{index}].mask: expected an index below {masks_given}, found {entity.mask}")
    return entity


def batch_length_error(expected: int, answers: Sequence[object]) -> ErrorInfo:
    """Return the error of a batch that came back with another number of answers."""
    message = f"predict() returned {len(answers)} answers for {expected} requests; expected one per request, in order"
    return ErrorInfo(type="ModelError", message=message)

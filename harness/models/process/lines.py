"""The lines of JSON between the harness and a model in a process of its own: requests out, `ready` and answers in.

docs/own-process.md has the schema.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import DataError, ModelError, nearest
from harness.errors import listed as listed_items
from harness.imaging import masks
from harness.models.process.child import OutOfStepError
from harness.models.resolve import GIVES, TAKES
from harness.models.submitted import prediction_lines
from harness.models.submitted.predictions_file import UNFORESEEN, owner_of, reason_of
from harness.records import Answer, Box, ErrorInfo, Json, Mask, MediaPart, Points, Request, TextPart, VisualPrompt
from harness.records.codec import mask_to_json

TAKEN = TAKES - {"prior", "target"}  # these two are for baselines that know what a model must not
# If the process says nothing of it: the protocol is made for batches, and `--batch-size` lowers them.
MAX_BATCH = 64
# The same for a process that takes `images`: as many slices as a volume is shown by.
MAX_IMAGES = 100
READY_FIELDS = (
    "ready",
    "takes",
    "gives",
    "max_batch",
    "max_images",
    "batch_invariant",
    "version",
    "sends_data_to",
    "error",
)
ANSWER_FIELDS = ("id", *(set(prediction_lines.FIELDS) - {"sample_id", "repeat"}), "usage", "rendered")
MOST_STRAYS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What a process says of itself before the first request.

    Attributes:
        takes, gives: As in `Capabilities`.
        max_batch, max_images, batch_invariant: As in `Capabilities`; None if the process says nothing of it.
        version: Of the model, part of every request's key.
        sends_data_to: The host that gets questions and images, as in `Capabilities`.
    """

    takes: frozenset[str]
    gives: frozenset[str]
    max_batch: int | None = None
    max_images: int | None = None
    batch_invariant: bool | None = None
    version: str | None = None
    sends_data_to: str | None = None


def read_ready(line: bytes) -> Ready:
    """Return what the first line of a process says.

    Raises:
        ModelError: The line is no `ready` line, or a field of it has another form.
    """
    value = _object(line, '{"ready": true, "takes": [...], "gives": [...]}')
    if value.get("ready") is not True:
        if "ready" in value:
            raise ModelError(f"the process says that it is not ready: {value.get('error') or value['ready']!r:.500}")
        raise ModelError(
            'expected {"ready": true, "takes": [...], "gives": [...]} as the first line of JSON, found '
            f"{_shown(line)}"
        )
    for name in value:
        # A field that is ours but for a letter would be lost in silence; others are the model's own.
        if name not in READY_FIELDS and (hint := nearest(name[:80], READY_FIELDS)):
            raise ModelError(f"ready: unknown field {name!r:.80}{hint}")
    for name in ("max_batch", "max_images"):
        found = value.get(name)
        if found is not None and (type(found) is not int or found < 1):
            raise ModelError(f"ready: {name}: expected a whole number of at least 1, found {found!r:.80}")
    texts = (("version", str, "text"), ("sends_data_to", str, "the name of a host"))
    for name, kind, what in (("batch_invariant", bool, "true or false"), *texts):
        found = value.get(name)
        if found is not None and type(found) is not kind:
            raise ModelError(f"ready: {name}: expected {what}, found {found!r:.80}")
    return Ready(
        takes=words_of("ready: takes", value.get("takes"), TAKEN),
        gives=words_of("ready: gives", value.get("gives"), GIVES),
        max_batch=value.get("max_batch"),
        max_images=value.get("max_images"),
        batch_invariant=value.get("batch_invariant"),
        version=value.get("version"),
        sends_data_to=value.get("sends_data_to"),
    )


def words_of(where: str, value: Json, known: frozenset[str]) -> frozenset[str]:
    """Return a list of words, or words with blanks between, as a set.

    Raises:
        ModelError: It is neither, it is empty, or a word is not known.
    """
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise ModelError(f"{where}: expected a list with some of {', '.join(sorted(known))}, found {value!r:.80}")
    for word in words:
        if word not in known:
            hint = nearest(word[:80], sorted(known))
            raise ModelError(f"{where}: expected some of {', '.join(sorted(known))}, found {word!r:.80}{hint}")
    return frozenset(words)


def ids_of(requests: Sequence[Request]) -> list[str]:
    """Return an id for each request of a batch: its key, or its place where two requests have one key."""
    keys = [request.key for request in requests]
    return [key if key and keys.count(key) == 1 else f"{key or 'request'}-{place}" for place, key in enumerate(keys)]


def requests_line(requests: Sequence[Request], ids: Sequence[str], folder: Path) -> bytes:
    """Return a batch as one line.

    Args:
        requests: The batch, with handles for media.
        ids: The id of each.
        folder: Empty folder of this batch, in which the process may write masks; regions are written there.
    Raises:
        DataError: An image that is shown cropped or painted cannot be written.
    """
    asked = [_request(request, name, folder) for request, name in zip(requests, ids, strict=True)]
    return json.dumps({"requests": asked, "folder": str(folder)}, ensure_ascii=False).encode() + b"\n"


def _request(request: Request, name: str, folder: Path) -> dict[str, Json]:
    shown: list[Any] = list(request.media)
    paths = {id(media): media.path for media in shown}
    turns = [
        {
            "role": turn.role,
            "parts": [
                {"text": part.text} if isinstance(part, TextPart) else {part.media.record.kind: paths[id(part.media)]}
                for part in turn.parts
                if isinstance(part, TextPart | MediaPart)
            ],
        }
        for turn in request.messages
    ]
    return {
        "id": name,
        "kind": request.kind,
        "wants": list(request.wants),
        "prompt": request.prompt,
        "images": [paths[id(media)] for media in request.images],
        "volumes": [paths[id(media)] for media in request.volumes],
        "media": [
            {
                "kind": media.record.kind,
                "path": paths[id(media)],
                "size": list(media.record.size),
                "spacing_mm": media.record.spacing_mm,
                "affine": media.record.affine if media.record.crop is None else None,
            }
            for media in shown
        ],
        "visual_prompts": [
            _visual_prompt(prompt, folder / f"{name}-region-{place}")
            for place, prompt in enumerate(request.visual_prompts)
        ],
        "messages": turns,
        "candidates": list(request.candidates),
        "choices": list(request.choices),
        "decoding": dict(request.decoding),
        "seed": request.seed,
        "repeat": request.repeat,
    }


def _visual_prompt(prompt: VisualPrompt, file: Path) -> dict[str, Json]:
    """Return a box or points as numbers, a region as run lengths and as a file: few languages read run lengths."""
    if isinstance(prompt, Box):
        return {"box": list(prompt.corners)}
    if isinstance(prompt, Points):
        return {"points": [list(point) for point in prompt.points], "labels": list(prompt.labels)}
    return {"region": mask_to_json(prompt.mask), "path": str(_written(prompt.mask, file))}


def _written(mask: Mask, file: Path) -> Path:
    """Write a mask as a PNG of 0 and 255, or as an npy of 0 and 1, uint8 (D, H, W); return the file."""
    pixels = masks.decode(mask)
    if pixels.ndim == 2:
        from PIL import Image

        path = file.with_suffix(".png")
        Image.fromarray(pixels.astype(np.uint8) * 255).save(path)
        return path
    path = file.with_suffix(".npy")
    np.save(path, pixels.astype(np.uint8))
    return path


def read_answers(line: bytes, requests: Sequence[Request], ids: Sequence[str], folder: Path) -> list[Answer]:
    """Return the answer to each request of a batch, in the order of the requests.

    An answer that is missing, is given twice or cannot be read becomes an error of its own request only.

    Args:
        line: The line of the process.
        requests, ids: The batch as it was asked.
        folder: Folder from which relative paths of mask files count.
    Raises:
        OutOfStepError: The line holds no list of answers, or none that belongs to this batch.
    """
    try:
        value = _object(line, '{"answers": [...]}')
    except ModelError as error:
        raise OutOfStepError(str(error)) from None
    listed = value.get("answers")
    if not isinstance(listed, list):
        found = ", ".join(f"'{name:.40}'" for name in list(value)[:5]) or "no key"
        hint = nearest(str(next(iter(value), ""))[:40], ["answers"])
        what = found if "answers" not in value else f"answers as {type(listed).__name__}"
        if fault := value.get("error"):
            said = fault if isinstance(fault, str) else json.dumps(fault, ensure_ascii=False)
            raise OutOfStepError(
                f"the process says of the whole line: {prediction_lines.printable(said, prediction_lines.MOST_MESSAGE)}"
            )
        raise OutOfStepError(
            f'expected {{"answers": [...]}} with one answer per request, found {what}{hint}; stdout is for answers, '
            "print to stderr"
        )
    by_id: dict[str, list[Mapping[str, Json]]] = {name: [] for name in ids}
    strays: list[str] = []
    for item in listed:
        name = item.get("id") if isinstance(item, dict) else None
        if isinstance(name, str) and name in by_id:
            by_id[name].append(item)
        else:
            strays.append(
                f"id {name!r:.80}" if isinstance(item, dict) else f"{type(item).__name__} in place of an object"
            )
    stray = ""
    if strays:
        stray = f"; found {listed_items(strays, MOST_STRAYS)}, which no request has"
    if strays and not any(by_id.values()):
        raise OutOfStepError(f"no answer has the id of a request of this batch{stray}")
    answers = [_one_answer(by_id[name], request, folder, stray) for name, request in zip(ids, requests, strict=True)]
    if stray and all(by_id.values()):
        remark = f"answers beside those of the batch are passed over{stray}"
        answers[0] = replace(answers[0], remarks=(*answers[0].remarks, remark))
    return answers


def _one_answer(found: Sequence[Mapping[str, Json]], request: Request, folder: Path, stray: str) -> Answer:
    """Return the answer that the items with one id hold."""
    if not found:
        return _failed(f"the process gave no answer to this request{stray}")
    if len(found) > 1:
        return _failed(f"the process answered this request {len(found)} times in one line; expected one answer per id")
    value = dict(found[0])
    status, error = value.get("status", "ok"), value.pop("error", None)
    if error or status in ("model_error", "timeout"):
        kind = "Timeout" if status == "timeout" else "ProcessError"  # not the ModelError of a broken protocol
        words: Json = error or f"the process says {status}"
        if isinstance(error, dict):
            kind, words = str(error.get("type") or kind), error.get("message") or error
        message = words if isinstance(words, str) else json.dumps(words, ensure_ascii=False)
        return _failed(prediction_lines.printable(message, prediction_lines.MOST_MESSAGE), kind[:80])
    if isinstance(value.get("masks"), list):
        value["masks"] = [_file_if_text(mask) for mask in value["masks"]]
    if isinstance(value.get("entities"), list):
        value["entities"] = [
            {**entity, "mask": _file_if_text(entity["mask"])}
            if isinstance(entity, dict) and "mask" in entity
            else entity
            for entity in value["entities"]
        ]
    try:
        answer = prediction_lines.to_answer(value, folder, owner_of(request), anywhere=True)
    except DataError as error:
        return _failed(prediction_lines.printable(str(error), prediction_lines.MOST_MESSAGE))
    except UNFORESEEN as error:
        words = f"the answer cannot be read ({reason_of(error)})"
        return _failed(prediction_lines.printable(words, prediction_lines.MOST_MESSAGE))
    unknown = tuple(
        f"unknown field {name!r:.80}{nearest(name[:80], ANSWER_FIELDS)} in the answer; it is passed over"
        for name in list(value)
        if name not in ANSWER_FIELDS
    )
    usage, rendered = value.get("usage"), value.get("rendered")
    return replace(
        answer,
        usage={} if usage is None else usage,
        rendered=rendered,
        remarks=(*answer.remarks, *unknown[: prediction_lines.MOST_UNKNOWN_FIELDS]),
    )


def _file_if_text(mask: Json) -> Json:
    return {"path": mask} if isinstance(mask, str) else mask


def _failed(message: str, kind: str = "ModelError") -> Answer:
    return Answer(error=ErrorInfo(type=kind, message=message))


def _object(line: bytes, expected: str) -> dict[str, Json]:
    """Return the JSON object of a line.

    Raises:
        ModelError: It is no UTF-8, no JSON or no object.
    """
    try:
        value = json.loads(line.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        reason = f"{error.msg}, column {error.colno} of {len(line):,}"
        if line.strip() in (b"{", b"["):
            reason = "it goes on in the next line"
    except UnicodeDecodeError as error:
        reason = f"byte {error.start + 1} is not UTF-8"
    except RecursionError:
        reason = "lists or objects are nested too deeply"
    except ValueError:  # Python's limit on the digits of a whole number
        reason = "a number has thousands of digits"
    else:
        if isinstance(value, dict):
            return value
        reason = f"it is a {type(value).__name__}"
    raise ModelError(f"expected {expected} in one line of JSON; {reason}: {_shown(line)}")


def _shown(line: bytes) -> str:
    return prediction_lines.printable(line.decode("utf-8", "backslashreplace").strip(), 120)

"""Logs of inspect_ai: `.eval`, an archive with one JSON file per sample and epoch, and `.json`, one document."""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import zstandard

from harness.errors import DataError
from harness.models.submitted.foreign_logs.logged_answer import (
    MOST_MEMBER_BYTES,
    MOST_WHOLE_BYTES,
    LoggedAnswer,
    Row,
    UnreadRow,
    digest_of_image,
    ids_in,
    json_of,
)
from harness.models.submitted.prediction_lines import MOST_MESSAGE, printable
from harness.records import Json

# Zstandard, which inspect_ai writes since 2025 and `zipfile` reads from Python 3.14 on.
ZSTANDARD = 93
ATTACHMENT = "attachment://"
STATUS_OF_STOP = {"max_tokens": "truncated", "model_length": "truncated", "content_filter": "refused"}


def rows(path: Path) -> Iterator[Row]:
    """Yield the answer of every sample and epoch; a sample at fault costs itself only.

    Raises:
        DataError: The file is neither form of a log, or holds no samples.
        OSError: It cannot be read.
    """
    if zipfile.is_zipfile(path):
        yield from _rows_of_archive(path)
        return
    if (size := path.stat().st_size) > MOST_WHOLE_BYTES:
        raise DataError(
            f"has {size:,} bytes; expected at most {MOST_WHOLE_BYTES:,}; `inspect log convert --to eval` makes an "
            "archive of it, which is read sample by sample"
        )
    log = json_of(path.read_bytes())
    samples = log.get("samples") if isinstance(log, dict) else None
    if not isinstance(samples, list) or not samples:
        raise DataError("has no samples; expected a log of inspect_ai that was written with its samples")
    for number, sample in enumerate(samples, start=1):
        yield _row(sample, f"sample {number}")


def _rows_of_archive(path: Path) -> Iterator[Row]:
    with zipfile.ZipFile(path) as archive:
        members = [
            info
            for info in archive.infolist()
            if info.filename.startswith("samples/") and info.filename.endswith(".json")
        ]
        if not members:
            raise DataError("is an archive without samples/*.json; expected a log of inspect_ai with its samples")
        for info in members:
            place = printable(info.filename)
            try:
                yield _row(json_of(_member(path, archive, info)), place)
            except DataError as error:
                yield UnreadRow(place=place, message=str(error))


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """Return the bytes of a member, of which at most MOST_MEMBER_BYTES are unpacked whatever its header says.

    Raises:
        DataError: It is larger, damaged or packed in another way.
    """
    most = MOST_MEMBER_BYTES + 1
    try:
        if info.compress_type == ZSTANDARD:
            with path.open("rb") as file:
                file.seek(info.header_offset)
                header = file.read(30)  # its last four bytes are the lengths of the name and of the extra field
                file.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
                packed = file.read(min(info.compress_size, most))
            content = zstandard.ZstdDecompressor(max_window_size=2**27).stream_reader(packed).read(most)
        else:
            with archive.open(info) as member:
                content = member.read(most)
    except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"cannot be unpacked ({type(error).__name__}: {error})") from None
    except zstandard.ZstdError as error:
        raise DataError(f"cannot be unpacked ({error})") from None
    if len(content) == most:
        raise DataError(f"has more than {MOST_MEMBER_BYTES:,} bytes unpacked; it is not read")
    return content


def _row(sample: Json, place: str) -> Row:
    if not isinstance(sample, dict):
        return UnreadRow(place=place, message=f"expected an object, found {type(sample).__name__}")
    attachments = sample.get("attachments")
    attachments = attachments if isinstance(attachments, dict) else {}
    asked = sample.get("input")
    messages = asked if isinstance(asked, list) else [{"role": "user", "content": asked}]
    texts: list[str] = []
    images: list[str] = []
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ("user", "system"):
            continue
        for kind, found in _parts(message.get("content"), attachments):
            if kind == "text":
                texts.append(found)
            elif kind == "image" and (sha256 := digest_of_image(found)) is not None:
                images.append(sha256)
    metadata = sample.get("metadata")
    epoch = sample.get("epoch", 1)
    if type(epoch) is not int or epoch < 1:
        return UnreadRow(place=place, message=f"epoch: expected a whole number of at least 1, found {epoch!r:.60}")
    output = sample.get("output")
    choices = output.get("choices") if isinstance(output, dict) else None
    error, status = _message_of(sample.get("error")), "ok"
    text: str | None = None
    limit = sample.get("limit")
    reached = limit.get("type") if isinstance(limit, dict) else None
    if error is not None:
        status = "model_error"
    elif not choices:
        status = "timeout" if reached in ("time", "working") else "empty"
        error = f"limit of inspect_ai: {reached}" if status == "timeout" else None
    elif not isinstance(choices, list) or len(choices) > 1 or not isinstance(choices[0], dict):
        what = f"{len(choices)} choices" if isinstance(choices, list) else type(choices).__name__
        return UnreadRow(place=place, message=f"output.choices: expected one choice, found {what}")
    else:
        message = choices[0].get("message")
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, str | list):
            return UnreadRow(place=place, message=f"output: expected a message with content, found {message!r:.60}")
        # Reasoning is a part of its own kind, and no answer.
        text = "\n".join(words for kind, words in _parts(content, attachments) if kind == "text")
        status = STATUS_OF_STOP.get(str(choices[0].get("stop_reason")), "ok")
    return LoggedAnswer(
        place=place,
        ids=tuple(dict.fromkeys((*ids_in(sample), *(ids_in(metadata) if isinstance(metadata, dict) else ())))),
        questions=tuple(texts),
        prompt="\n".join(texts),
        images=tuple(images),
        repeat=epoch - 1,
        text=text,
        status=status,
        error=error,
    )


def _parts(content: Json, attachments: dict[str, Json]) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each part of a message; long texts lie among the sample's attachments."""
    for part in content if isinstance(content, list) else [{"type": "text", "text": content}]:
        if not isinstance(part, dict):
            continue
        kind = str(part.get("type"))
        words = part.get(kind)
        if isinstance(words, str) and words.startswith(ATTACHMENT):
            words = attachments.get(words.removeprefix(ATTACHMENT), "")
        if isinstance(words, str):
            yield kind, words


def _message_of(error: Json) -> str | None:
    if error is None:
        return None
    words = error.get("message") if isinstance(error, dict) else error
    return printable(str(words or "failed in inspect_ai"), MOST_MESSAGE)

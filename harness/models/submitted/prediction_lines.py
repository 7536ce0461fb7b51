"""Read one line of a predictions file as JSON, and convert it to an answer."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from harness.errors import DataError, nearest
from harness.imaging import mask_files
from harness.records import Answer, AnswerStatus, Box, ErrorInfo, Grid, Json, Mask, PredictedEntity
from harness.records.codec import digest, sha256_file

FIELDS = (
    "sample_id",
    "text",
    "choice",
    "masks",
    "grid",
    "mask_scores",
    "entities",
    "boxes",
    "nll",
    "nll_tokens",
    "embedding",
    "status",
    "error",
    "repeat",
)
MASK_FIELDS = ("path", "label", "threshold")  # of a mask in a file of its own
STATUSES = ("ok", "truncated", "refused", "empty", "model_error", "timeout")

# A longer line is not read: parsed JSON takes about ten times the memory of its text. Run lengths of the masks of a
# large CT are below 5 MB.
MOST_LINE_BYTES = 32 * 2**20
# Bytes that are kept of a longer line: enough to find the sample that it is meant for.
KEPT_OF_A_LONG_LINE = 64 * 1024
# Characters of `text`, above the longest reply of 64,000 tokens; the text metrics would take minutes over more.
MOST_TEXT = 500_000
MOST_ID = 1000
MOST_MESSAGE = 2000
MOST_UNKNOWN_FIELDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a file.

    Attributes:
        number: 1-based.
        offset: Of its first byte in the file.
        content: Its bytes; of a line above MOST_LINE_BYTES only the first.
        size: Its number of bytes.
    """

    number: int
    offset: int
    content: bytes
    size: int


def lines_of(file: BinaryIO) -> Iterator[Line]:
    """Yield the lines of a file; no more than MOST_LINE_BYTES of it are in memory at a time."""
    number = offset = 0
    while content := file.readline(MOST_LINE_BYTES):
        number += 1
        size = len(content)
        if not content.endswith(b"\n"):
            while rest := file.readline(MOST_LINE_BYTES):
                content = content[:KEPT_OF_A_LONG_LINE]
                size += len(rest)
                if rest.endswith(b"\n"):
                    break
        yield Line(number=number, offset=offset, content=content, size=size)
        offset += size


def printable(text: str, most: int = 200) -> str:
    """Return text that any terminal, page or file can show: control characters and half surrogate pairs are escaped.

    Args:
        text: Any text.
        most: Characters that are kept; longer text ends with an ellipsis.
    """
    short = text if len(text) <= most else f"{text[: most - 1]}…"
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in short
    )


def parse(line: Line) -> dict[str, Json]:
    """Return the object that a line holds, its sample id and repetition checked.

    Raises:
        DataError: The line is too long, not UTF-8, not a JSON object, repeats a key, or its sample id or
            repetition is missing or of the wrong type.
    """
    if line.size > MOST_LINE_BYTES:
        raise DataError(
            f"has {line.size:,} bytes; expected at most {MOST_LINE_BYTES:,}. Masks of this size belong in files of "
            "their own"
        )
    try:
        value = json.loads(line.content.decode("utf-8-sig").strip(), object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        raise DataError(f"cannot be read as JSON ({error.msg}, column {error.colno})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"cannot be read as JSON (byte {error.start + 1} is not UTF-8)") from None
    except RecursionError:
        raise DataError("cannot be read as JSON (lists or objects are nested too deeply)") from None
    except ValueError:  # Python's limit on the digits of a whole number, 4,300 by default
        raise DataError("cannot be read as JSON (a number has thousands of digits)") from None
    if not isinstance(value, dict):
        raise DataError(f"expected a JSON object, found {type(value).__name__}")
    if "sample_id" not in value:
        raise DataError("has no sample_id")
    sample_id, repeat = value["sample_id"], value.get("repeat", 0)
    if not isinstance(sample_id, str):
        raise DataError(f"sample_id: expected text, found {_shown(sample_id)}")
    if len(sample_id) > MOST_ID:
        raise DataError(f"sample_id: expected at most {MOST_ID} characters, found {len(sample_id)}")
    if not _is_unicode(sample_id):
        raise DataError("sample_id: expected Unicode text, found half of a surrogate pair")
    if type(repeat) is not int or repeat < 0:  # JSON's true is an int in Python
        raise DataError(f"repeat: expected a whole number of at least 0, found {_shown(repeat)}")
    return value


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) < len(pairs):
        # Readers of JSON disagree on which of the two counts.
        names = [name for name, _ in pairs]
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise DataError(f"holds the key {twice!r:.80} twice")
    return found


def _shown(value: Json) -> str:
    """Return at most 80 characters of a value, without control characters and half surrogate pairs."""
    try:
        return f"{value!r:.80}"
    except (ValueError, RecursionError):  # thousands of digits, or nested too deeply to be written out
        return type(value).__name__


def _is_unicode(text: str) -> bool:
    # Half a surrogate pair, which JSON can hold as an escape, can be written to no file.
    return not any("\ud800" <= letter <= "\udfff" for letter in text)


def unknown_fields(value: Mapping[str, Json]) -> list[str]:
    """Return a message for each field that a line may not have, at most MOST_UNKNOWN_FIELDS and one for the rest."""
    unknown = [name for name in value if name not in FIELDS]
    messages = [
        f"unknown field {name!r:.80}{nearest(name[:80], FIELDS)}; the field is ignored"
        for name in unknown[:MOST_UNKNOWN_FIELDS]
    ]
    if len(unknown) > MOST_UNKNOWN_FIELDS:
        messages.append(f"{len(unknown) - MOST_UNKNOWN_FIELDS} more unknown fields; they are ignored")
    return messages


def to_answer(value: Mapping[str, Json], folder: Path, owner: Grid | None = None, *, anywhere: bool = False) -> Answer:
    """Return the answer of one line as records; `answer_check.checked` judges their content.

    Args:
        value: The line.
        folder: Folder below which mask files lie.
        owner: Size and affine of the image or volume that mask files are compared with; None if that is not known. The
            line's own `grid` takes its place.
        anywhere: Mask files may also lie elsewhere: the line comes from a program that the user runs.
    Raises:
        DataError: A part has another shape than its record, or a text is too long.
    """
    status = value.get("status", "ok")
    if status not in STATUSES:
        raise DataError(f"status: expected one of {', '.join(STATUSES)}, found {_shown(status)}")
    if status in ("model_error", "timeout"):
        kind = "Timeout" if status == "timeout" else "Submitted"
        said = value.get("error")
        words = printable(said, MOST_MESSAGE) if isinstance(said, str) and said else f"submitted as {status}"
        return Answer(error=ErrorInfo(type=kind, message=words))
    if status == "empty":
        return Answer()
    for name in ("text", "choice"):
        text = value.get(name)
        if isinstance(text, str) and len(text) > MOST_TEXT:
            raise DataError(f"{name}: expected at most {MOST_TEXT:,} characters, found {len(text):,}")
    grid = _grid(value.get("grid"))
    remarks: list[str] = []
    place = partial(_anywhere if anywhere else _below, folder)
    mask_of = partial(_mask, place=place, owner=owner if grid is None else grid, remark=remarks.append)
    # Masks before entities, because the mask of an entity is appended to those of the line.
    found = [mask_of(item, f"masks[{index}]") for index, item in enumerate(_list(value, "masks"))]
    entities = tuple(
        _entity(item, f"entities[{index}]", found, mask_of) for index, item in enumerate(_list(value, "entities"))
    )
    boxes = []
    for index, item in enumerate(_list(value, "boxes")):
        if not isinstance(item, list):
            raise DataError(f"boxes[{index}]: expected a list of numbers, found {type(item).__name__}")
        boxes.append(Box(corners=tuple(item)))
    return Answer(
        text=value.get("text"),
        choice=value.get("choice"),
        masks=tuple(found),
        grid=grid,
        mask_scores=_list(value, "mask_scores"),
        entities=entities,
        boxes=tuple(boxes),
        nll=_list(value, "nll"),
        nll_tokens=_list(value, "nll_tokens"),
        embedding=_list(value, "embedding"),
        status=cast(AnswerStatus, status),
        remarks=tuple(printable(remark, MOST_MESSAGE) for remark in remarks),
    )


def _list(value: Mapping[str, Json], name: str) -> list[Json]:
    items = value.get(name)
    if items is None:
        return []
    if not isinstance(items, list):
        raise DataError(f"{name}: expected a list, found {type(items).__name__}")
    return items


def _grid(value: Json) -> Grid | None:
    """Return the grid that the masks lie on; `answer_check.checked` judges its numbers."""
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("size"), list) or set(value) - {"size", "affine"}:
        raise DataError(f'grid: expected {{"size": [...]}} and perhaps "affine", found {_shown(value)}')
    affine = value.get("affine")
    return Grid(size=tuple(value["size"]), affine=tuple(affine) if isinstance(affine, list) else affine)


def _mask(
    value: Json,
    where: str,
    *,
    place: Callable[[Json, str], Path],
    owner: Grid | None,
    remark: Callable[[str], None],
) -> Mask:
    """Return the mask of a JSON value; one in a file of its own, found by `place`, is compared with `owner`."""
    if not isinstance(value, dict) or "path" not in value:
        return mask_files.from_json(value, where=where)
    for name in value:
        if name not in MASK_FIELDS:
            raise DataError(
                f"{where}: expected a mask file with {', '.join(MASK_FIELDS)}, found {name!r:.80}"
                f"{nearest(name[:80], MASK_FIELDS)}"
            )
    file, label, threshold = place(value["path"], where), value.get("label"), value.get("threshold")
    return mask_files.read_file(file, label, where, threshold=threshold, owner=owner, remark=remark)


def _below(folder: Path, path: Json, where: str) -> Path:
    """Return the file below `folder`; absolute paths and `..` are refused."""
    # The file comes from outside: it must not make the harness read other files of this machine.
    if (
        not isinstance(path, str)
        or not _is_unicode(path)
        or PurePosixPath(path).is_absolute()
        or ".." in PurePosixPath(path).parts
    ):
        raise DataError(f"{where}.path: expected a path below the predictions file's folder, found {_shown(path)}")
    return folder / path


def _anywhere(folder: Path, path: Json, where: str) -> Path:
    """Return the file that a path names from `folder`."""
    if not isinstance(path, str) or not path or not _is_unicode(path) or "\0" in path:
        raise DataError(f"{where}.path: expected the path of a mask file, found {_shown(path)}")
    return folder / path


def _entity(value: Json, where: str, found: list[Mask], mask_of: Callable[[Json, str], Mask]) -> PredictedEntity:
    """Return the named entity; a mask that is given in place of an index is appended to `found`."""
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise DataError(f'{where}: expected {{"name": text, "mask": index, mask or null}}, found {_shown(value)}')
    if len(value["name"]) > MOST_ID:
        raise DataError(f"{where}.name: expected at most {MOST_ID} characters, found {len(value['name']):,}")
    mask = value.get("mask")
    if isinstance(mask, dict | list):
        found.append(mask_of(mask, f"{where}.mask"))
        mask = len(found) - 1
    return PredictedEntity(name=value["name"], mask=mask)


def mask_files_digest(path: Path) -> str | None:
    """Return the sha256 of the names and bytes of the mask files in a predictions file; None if it names none."""
    found: set[Path] = set()
    with path.open("rb") as file:
        for line in lines_of(file):
            if b'"path"' in line.content and line.size <= MOST_LINE_BYTES:
                with suppress(ValueError, RecursionError):
                    found.update(_paths(json.loads(line.content)))
    files: dict[str, Path] = {}
    for name in found:
        masks = path.parent / name
        # A DICOM SEG may be a folder of files.
        inside = sorted(masks.iterdir()) if masks.is_dir() else [masks]
        files.update({one.relative_to(path.parent).as_posix(): one for one in inside if one.is_file()})
    return digest({name: sha256_file(file) for name, file in files.items()}) if files else None


def _paths(value: Json) -> Iterator[Path]:
    """Yield every path below the predictions file's folder that a line holds, at any depth."""
    waiting: list[Sequence[Json]] = [[value]]  # not recursive: a line may be nested as deeply as JSON's reader allows
    while waiting:
        for item in waiting.pop():
            if isinstance(item, list):
                waiting.append(item)
            elif isinstance(item, dict):
                waiting.append(list(item.values()))
                if isinstance(item.get("path"), str):
                    with suppress(DataError):
                        yield _below(Path(), item["path"], "")

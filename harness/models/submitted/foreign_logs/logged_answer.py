"""One answer out of another harness's log, and what its row says about the sample that was asked."""

import binascii
import hashlib
import json
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from harness.errors import DataError
from harness.records import Json

# Fields in which data sets and harnesses keep the id of a question. `doc_id` and `index` are missing on purpose:
# lm-eval, lmms-eval and VLMEvalKit number the rows in them.
ID_FIELDS = ("sample_id", "id", "qid", "question_id", "questionId", "uid", "sampleid", "question_ID")
# Bytes of one file or member that is read as a whole; parsed JSON takes about ten times the memory of its text.
MOST_WHOLE_BYTES = 512 * 2**20
MOST_MEMBER_BYTES = 64 * 2**20
# Longer fields hold an image or a document and no question.
MOST_QUESTION = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedAnswer:
    """One answer of a log.

    Attributes:
        line: 1-based line of the log; 0 if it does not consist of lines.
        place: Where the row is in a log that does not consist of lines, such as `row 3`; empty otherwise.
        ids: Texts that may be the id of the sample, in full or as the release has it.
        questions: Texts of which one may be the question, as a whole.
        prompt: What the model was asked, in which the question may stand among other words.
        images: The sha256 of each image file that the row holds.
        repeat: 0-based number of the repetition.
        text: The raw reply; None for a failed request.
        status: `ok`, `truncated`, `refused`, `empty`, `model_error` or `timeout`, as in a predictions file.
        error: Why the request failed.
    """

    line: int = 0
    place: str = ""
    ids: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    prompt: str = ""
    images: tuple[str, ...] = ()
    repeat: int = 0
    text: str | None = None
    status: str = "ok"
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadRow:
    """A row that holds no answer which could be scored; `message` says why."""

    line: int = 0
    place: str = ""
    message: str


Row = LoggedAnswer | UnreadRow


def json_of(content: bytes) -> Json:
    """Return the value of JSON text in UTF-8.

    Raises:
        DataError: It is none.
    """
    try:
        return json.loads(content.decode("utf-8-sig").strip())
    except UnicodeDecodeError as error:
        raise DataError(f"cannot be read as JSON (byte {error.start + 1} is not UTF-8)") from None
    except json.JSONDecodeError as error:
        raise DataError(f"cannot be read as JSON ({error.msg}, line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise DataError("cannot be read as JSON (lists or objects are nested too deeply)") from None
    except ValueError:  # Python's limit on the digits of a whole number, 4,300 by default
        raise DataError("cannot be read as JSON (a number has thousands of digits)") from None


def ids_in(fields: Mapping[str, Json]) -> tuple[str, ...]:
    """Return the texts and whole numbers of the fields that hold an id, as text."""
    found = (fields.get(name) for name in ID_FIELDS)
    return tuple(dict.fromkeys(str(value) for value in found if type(value) in (str, int) and str(value)))


def texts_in(fields: Mapping[str, Json]) -> Iterator[str]:
    """Yield every text among the fields, and among the fields of objects in them, that may be a question."""
    for value in fields.values():
        for text in value.values() if isinstance(value, dict) else (value,):
            if isinstance(text, str) and 0 < len(text) <= MOST_QUESTION:
                yield text


def digest_of_image(encoded: str) -> str | None:
    """Return the sha256 of the image file in a data URL or in base64 text; None if it holds no file."""
    if encoded.startswith("data:"):
        header, _, encoded = encoded.partition(",")
        if not header.endswith(";base64"):
            return None
    # Shorter text is a path, or VLMEvalKit's reference to the image of another row.
    if len(encoded) <= 64:
        return None
    try:
        return hashlib.sha256(b64decode(encoded, validate=True)).hexdigest()
    except (binascii.Error, ValueError):
        return None

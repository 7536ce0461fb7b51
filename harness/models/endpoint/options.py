"""The arguments of an endpoint, checked before anything is prepared or sent."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from harness.errors import SpecError
from harness.records import Json

CHOICES: Mapping[str, Sequence[object]] = {
    "token_limit": (None, "max_tokens", "max_completion_tokens"),
    "images": ("send", "leave_out"),
    "detail": (None, "low", "high", "auto"),
    "logprobs": (True, False),
}


def host_of(base_url: object) -> str:
    """Return the host of an address.

    Raises:
        SpecError: It is no address of an API.
    """
    try:
        parts = urlsplit(str(base_url))
        host, scheme, rest = parts.hostname, parts.scheme, parts.query or parts.fragment
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        host, scheme, rest = None, "", ""
    if scheme not in ("http", "https") or not host or rest:
        raise SpecError(
            f"--model-args base_url: expected an address such as http://127.0.0.1:8000/v1, found {base_url!r}"
        )
    return host


def response_format_of(text: str | None) -> tuple[str | None, Mapping[str, Json] | None]:
    """Return the file of the schema, if there is one, and what the call holds.

    Raises:
        SpecError: The text is neither `json_object` nor `json_schema@FILE`, or the file holds no schema.
    """
    if text is None:
        return None, None
    if text == "json_object":
        return None, {"type": text}
    kind, _, name = str(text).partition("@")
    if kind != "json_schema" or not name:
        raise SpecError(f"--model-args response_format: expected json_object or json_schema@FILE, found {text!r}")
    try:
        schema = json.loads(Path(name).read_text(encoding="utf-8"))
    except OSError as error:
        raise SpecError(f"--model-args response_format: {name}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SpecError(f"--model-args response_format: {name}: expected a JSON schema: {error}") from error
    if not isinstance(schema, dict):
        raise SpecError(f"--model-args response_format: {name}: expected a JSON schema, found {type(schema).__name__}")
    return name, {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema, "strict": True}}


def check_choices(**given: object) -> None:
    """Check arguments that are one of CHOICES.

    Raises:
        SpecError: One is none of them.
    """
    for name, value in given.items():
        # Not by equality: 1 is no True.
        if not any(value is known or (isinstance(value, str) and value == known) for known in CHOICES[name]):
            words = [
                str(known).lower() if isinstance(known, bool) else known for known in CHOICES[name] if known is not None
            ]
            raise SpecError(f"--model-args {name}: expected {' or '.join(map(str, words))}, found {value!r}")


def check_count(name: str, value: object, least: int, most: int) -> None:
    """Check a whole number.

    Raises:
        SpecError: It is none, or not between `least` and `most`.
    """
    if type(value) is not int or not least <= value <= most:
        raise SpecError(f"--model-args {name}: expected a whole number from {least} to {most}, found {value!r}")


def limit_of(name: str, value: object) -> float:
    """Return a limit; infinity where none is given.

    Raises:
        SpecError: It is no number of at least 0.
    """
    if value is None:
        return math.inf
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise SpecError(f"--model-args {name}: expected a number of at least 0, found {value!r}")
    return float(value)

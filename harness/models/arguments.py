"""The text of `--model-args`: `k=v,...` or `@file.yaml`."""

import json
import re
from pathlib import Path

from harness.errors import SpecError
from harness.records import Json

NAME = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*")
VALUE_END = re.compile(r"\s*(?:,|$)")
DECODER = json.JSONDecoder(parse_constant=lambda constant: constant)  # NaN and Infinity are words, not numbers


def parse_arguments(text: str) -> dict[str, Json]:
    """Return the arguments by name; a value is read as JSON if it parses, else as text up to the next comma.

    Commas inside JSON, such as a list or a quoted text, belong to the value.

    Raises:
        SpecError: A part is not `name=value`, a name is given twice, or the file is missing or not a mapping.
    """
    if text.startswith("@"):
        return _from_file(Path(text[1:]))
    text = text.strip()
    arguments: dict[str, Json] = {}
    position = 0
    while position < len(text):
        match = NAME.match(text, position)
        if match is None:
            raise SpecError(
                f"--model-args: expected name=value, found '{text[position:].partition(',')[0]}'; "
                "a text that holds a comma stands in double quotes"
            )
        if match[1] in arguments:
            raise SpecError(f"--model-args: '{match[1]}' is given twice")
        arguments[match[1]], position = _value(text, match.end())
    return arguments


def _value(text: str, start: int) -> tuple[Json, int]:
    """Return the value that begins at `start`, and the position of the next argument."""
    try:
        value, end = DECODER.raw_decode(text, start)
    except ValueError:
        end = -1
    # `3d` begins with a number: it is JSON only if the value ends where JSON does.
    rest = VALUE_END.match(text, end) if end >= 0 else None
    if rest is not None:
        return value, rest.end()
    words, comma, _ = text[start:].partition(",")
    return words, start + len(words) + len(comma)


def _from_file(path: Path) -> dict[str, Json]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        raise SpecError(f"--model-args @{path}: no such file")
    try:
        value = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError) as error:
        raise SpecError(f"--model-args @{path}: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SpecError(f"--model-args @{path}: expected a mapping of argument names to values")
    for name, item in value.items():
        try:
            # Arguments are part of the model's identity, which is digested as JSON; YAML also holds dates and NaN.
            json.dumps(item, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise SpecError(f"--model-args @{path}: {name}: expected a value that JSON can hold: {error}") from error
    return value

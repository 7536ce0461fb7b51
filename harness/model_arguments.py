"""The text of `--model-args`: `k=v,...` or `@file.yaml`."""

import json
import re
from pathlib import Path
from typing import Any

from harness.errors import SpecError


def parse_arguments(text: str) -> dict[str, Any]:
    """Return the arguments by name; a value is read as JSON where it parses, else it is text.

    Commas inside brackets, braces and quotes belong to the value.

    Raises:
        SpecError: A part is not `name=value`, or the file is missing or no mapping.
    """
    if text.startswith("@"):
        return _from_file(Path(text[1:]))
    arguments: dict[str, Any] = {}
    for part in _split(text):
        name, equals, value = part.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise SpecError(f"--model-args: expected name=value, found '{part}'")
        arguments[name.strip()] = _value(value)
    return arguments


def _split(text: str) -> list[str]:
    parts, depth, quoted, part = [], 0, False, ""
    for letter in text:
        quoted ^= letter == '"'
        depth += 0 if quoted else (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0 and not quoted:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [item for item in [*parts, part] if item.strip()]


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=lambda constant: constant)
    except ValueError:
        return text


def _from_file(path: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if not path.is_file():
        raise SpecError(f"--model-args @{path}: no such file")
    try:
        value = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except YAMLError as error:
        raise SpecError(f"--model-args @{path}: {error}") from error
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SpecError(f"--model-args @{path}: expected a mapping of argument names to values")
    return value

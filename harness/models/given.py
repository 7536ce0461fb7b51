"""Models given from Python, as a class or an object in place of a reference in words."""

import inspect
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import SpecError
from harness.models.resolve import ONLY_THIS, ModelReference
from harness.records import Json
from harness.records.codec import sha256_text


def reference_to(model: object, arguments: Mapping[str, Json]) -> ModelReference:
    """Return the reference of an adapter class, or of an adapter that is built already.

    What decides the answers must be part of their keys, or a changed model would be taken for the same. So a class
    counts by the bytes of its file, as `file.py:Class` does, and an object by its class and its attributes. What cannot
    be identified so, such as a class of a notebook or an attribute that holds a network, makes every evaluation one of
    its own, which cannot be resumed.

    Args:
        model: The class, or the object.
        arguments: Keyword arguments for the class; none for an object.
    Raises:
        SpecError: An object is given with arguments, or something that no adapter can be, such as None.
    """
    is_class = inspect.isclass(model)
    kind: Any = model if is_class else type(model)
    if kind.__module__ == "builtins":
        raise SpecError(
            f"model: expected a reference such as 'baseline:otsu', an adapter class or its object, found {model!r}"
        )
    if not is_class and arguments:
        raise SpecError(
            f"model_args: the {kind.__name__} is built already; give the class, {kind.__name__}, and its arguments"
        )
    source = _source(kind)
    state = dict(arguments) if is_class else _attributes(model)
    if source is None or state is None:
        state = {**(state or {}), ONLY_THIS: uuid.uuid4().hex}
    name = kind.__qualname__.rpartition(".")[2]
    return ModelReference(
        text=name if source is None else f"{Path(inspect.getfile(kind)).stem}:{name}",
        target=f"{kind.__module__}:{kind.__qualname__}",
        arguments=state,
        given=model,
        given_sha256=None if source is None else sha256_text(source),
    )


def _source(kind: type) -> str | None:
    """Return the text of the file that defines a class; None if no file does, as in a notebook."""
    try:
        return Path(inspect.getfile(kind)).read_text(encoding="utf-8")
    except (TypeError, OSError, UnicodeDecodeError):
        return None


def _attributes(model: object) -> dict[str, Json] | None:
    """Return an object's attributes if all of them are JSON values, texts of paths included; else None."""
    values = getattr(model, "__dict__", None)
    if values is None:
        return None
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in values.items()}
    try:
        # Through JSON and back, so that what is compared with a stored run has no tuples.
        result: dict[str, Json] = json.loads(json.dumps(plain, allow_nan=False))
    except (TypeError, ValueError):
        return None
    return result

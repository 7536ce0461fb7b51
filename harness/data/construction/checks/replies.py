"""JSON in the replies of language models, read or rejected by name."""

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from harness.data.construction.checks.wording import refusal_in
from harness.data.construction.records import Rejection
from harness.records import Json
from harness.text.reply import answer_part

FieldKind = Literal["text", "texts"]
# A reply may hold braces in the words around its JSON; after so many places the search ends.
_MOST_STARTS = 50
_HALF = re.compile("[\ud800-\udfff]")
_NAMES: Mapping[str, str] = {"text": "text", "texts": "a list of texts"}


def read_object(reply: str, fields: Mapping[str, FieldKind]) -> dict[str, Json] | Rejection:
    """Return the wanted fields of the first JSON object in a reply; words and fences around it are left out.

    Args:
        reply: The raw reply.
        fields: Name and kind of each wanted field. Other fields are ignored.
    Returns:
        The fields, texts without outer blanks, or why the reply cannot be used.
    """
    found = _first_json(reply, "{")
    return found if isinstance(found, Rejection) else _checked(found, fields, "the object")


def read_objects(reply: str, fields: Mapping[str, FieldKind]) -> list[dict[str, Json] | Rejection] | Rejection:
    """Return the objects of the first JSON list in a reply, each by itself read or rejected.

    Args:
        reply: As for `read_object`.
        fields: Name and kind of each field that every object has.
    Returns:
        One entry per element of the list, or why the whole reply cannot be used.
    """
    found = _first_json(reply, "[")
    if isinstance(found, Rejection):
        return found
    return [_checked(one, fields, f"element {place}") for place, one in enumerate(found, 1)]


def _first_json(reply: str, opening: str) -> Any:
    """Return the first JSON value in a reply that begins with `opening`, or why there is none."""
    text = answer_part(reply)
    if text is None:
        return Rejection(reason="wrong_json", detail="the reply ends while the model reasons")
    decoder = json.JSONDecoder(parse_constant=_refuse)
    start, fault = text.find(opening), f"found no {opening!r}"
    for _ in range(_MOST_STARTS):
        if start < 0:
            break
        try:
            return decoder.raw_decode(text, start)[0]
        except (ValueError, RecursionError) as error:
            fault = str(error)
            start = text.find(opening, start + 1)
    if declined := refusal_in(text):
        return Rejection(reason="refusal", detail=f"found {declined!r}")
    return Rejection(reason="wrong_json", detail=f"{fault} in {text.strip()[:60]!r}")


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")


def _checked(value: Json, fields: Mapping[str, FieldKind], where: str) -> dict[str, Json] | Rejection:
    if not isinstance(value, dict):
        return Rejection(reason="schema", detail=f"{where}: expected an object, found {str(value)[:40]!r}")
    found: dict[str, Json] = {}
    for name, kind in fields.items():
        if name not in value:
            return Rejection(
                reason="schema", detail=f"{where}: expected the key {name!r}, found {', '.join(value)[:80]!r}"[:200]
            )
        content = value[name]
        listed = isinstance(content, list) and all(isinstance(one, str) for one in content)
        if not (isinstance(content, str) if kind == "text" else listed):
            return Rejection(
                reason="schema", detail=f"{where}: {name}: expected {_NAMES[kind]}, found {str(content)[:40]!r}"
            )
        texts = [content] if isinstance(content, str) else content
        if half := next((one for one in texts if _HALF.search(one)), None):
            # An escape such as \\ud83d alone: JSON may hold it, and no file of UTF-8 can.
            detail = f"{where}: {name}: expected whole characters, found {half[:40]!r}"
            return Rejection(reason="wrong_json", detail=detail)
        found[name] = content.strip() if isinstance(content, str) else [one.strip() for one in content]
    return found

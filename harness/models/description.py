"""The description of a model by its submitter: name, page, paper, parameters, licence. No score depends on it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self
from urllib.parse import urlsplit

from harness.errors import SpecError
from harness.records import Json

MOST_NAME = 80  # characters; a longer name would make every table of the board scroll
MOST_TEXT = 200
MOST_URL = 500

_PARAMS = re.compile(r"(\d+(?:\.\d+)?)\s*([KMBT]?)", re.IGNORECASE)
_FACTORS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "T": 10**12}
_MOST_PARAMS = 10**16


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """The description of a model, every field None if it is not given.

    Attributes:
        name: The name that tables, reports and the board show.
        url: Page of the model, http or https.
        paper: Its paper, as a citation, DOI, arXiv number or address.
        params: Number of all its parameters.
        licence: Licence of its weights, such as an SPDX identifier.
    """

    name: str | None = None
    url: str | None = None
    paper: str | None = None
    params: int | None = None
    licence: str | None = None

    @classmethod
    def read(
        cls,
        *,
        name: str | None = None,
        url: str | None = None,
        paper: str | None = None,
        params: str | int | None = None,
        licence: str | None = None,
    ) -> Self:
        """Return the description that options give, checked.

        Args:
            name: 1 to 80 characters that can be shown.
            url: An http or https address of at most 500 characters, without a user name or password.
            paper: 1 to 200 characters that can be shown.
            params: A whole number, or one with K, M, B or T behind it, such as `7B` or `0.35B`.
            licence: 1 to 80 characters that can be shown.
        Raises:
            SpecError: A value has another form.
        """
        return cls(
            name=_text(name, "name", MOST_NAME),
            url=_url(url),
            paper=_text(paper, "paper", MOST_TEXT),
            params=_params(params),
            licence=_text(licence, "licence", MOST_NAME),
        )

    def to_json(self) -> dict[str, Json]:
        """Return the fields that are given."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}


FIELDS = tuple(field.name for field in fields(ModelDescription))


def display_name(model: Mapping[str, Json]) -> str:
    """Return the name to show for the `model` block of `run.json` or `results.json`: the given one, else its id."""
    return str(model.get("name") or model["id"])


def described(model: Mapping[str, Json], description: ModelDescription, stored: Mapping[str, Json]) -> dict[str, Json]:
    """Return a `model` block with its description: what is given now, else what is stored.

    Args:
        model: The block; a description that it holds counts least.
        description: What is given now.
        stored: The block of the run that is resumed; empty if there is none.
    """
    kept = {name: stored[name] for name in FIELDS if name in stored}
    return {**model, **kept, **description.to_json()}


def undescribed(run: Mapping[str, Json]) -> dict[str, Json]:
    """Return the content of `run.json` without the model's description, which may change while a run is resumed."""
    model = run.get("model")
    if not isinstance(model, dict):
        return dict(run)
    return {**run, "model": {name: value for name, value in model.items() if name not in FIELDS}}


def _text(value: str | None, name: str, most: int) -> str | None:
    if value is None:
        return None
    text = value.strip()
    # Neither control characters, nor half surrogate pairs, nor marks that turn the direction of the text around it.
    if not text or len(text) > most or not all(letter.isprintable() for letter in text):
        raise SpecError(f"--{name}: expected 1 to {most} characters that can be shown, found {value!r:.100}")
    return text


def _url(value: str | None) -> str | None:
    text = _text(value, "url", MOST_URL)
    if text is None:
        return None
    try:
        parts = urlsplit(text)
        host, secret = parts.hostname, parts.username or parts.password
    except ValueError:  # such as an unclosed bracket around the host
        parts, host, secret = None, None, None
    if parts is None or parts.scheme not in ("http", "https") or not host or " " in text:
        raise SpecError(f"--url: expected an address that begins with https:// or http://, found {text!r:.100}")
    if secret is not None:
        raise SpecError("--url: expected an address without a user name or password, because it is published")
    return text


def _params(value: str | int | None) -> int | None:
    if value is None:
        return None
    match = _PARAMS.fullmatch(str(value).strip().replace(",", "").replace("_", ""))
    number = round(float(match[1]) * _FACTORS[match[2].upper()]) if match and len(match[1]) < 40 else 0
    if not 1 <= number <= _MOST_PARAMS:
        raise SpecError(
            f"--params: expected the number of parameters, such as 7B, 350M or 7000000000, found {value!r:.80}"
        )
    return number

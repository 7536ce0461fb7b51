"""What an entry says of its model: name, page, size, paper and licence, read with the same suspicion as its numbers."""

from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

MOST_DESCRIBED = 500  # characters of each text that describes a model
MOST_PARAMS = 10**16


class Reader(Protocol):
    """Takes typed values out of JSON and notes faults; see `leaderboard.entry_file`."""

    def fault(self, where: str, message: str) -> None:
        """Note a fault."""

    def text(self, value: Any, where: str) -> str:
        """Return a text."""

    def count(self, value: Any, where: str) -> int:
        """Return a whole number of at least 0."""


def read_description(reader: Reader, model: Mapping[str, Any], key: str) -> str | None:
    """Return a text that describes the model; None if it is not given or cannot be shown."""
    if model.get(key) is None:
        return None
    text = reader.text(model[key], f"model.{key}")
    # Marks that turn the direction of text would make a row read as another model's.
    if len(text) > MOST_DESCRIBED or not all(letter.isprintable() for letter in text):
        reader.fault(f"model.{key}", f"expected at most {MOST_DESCRIBED} characters that can be shown")
        return None
    return text


def read_url(reader: Reader, model: Mapping[str, Any]) -> str | None:
    """Return the page of the model; None if it is not given or no http or https address."""
    text = read_description(reader, model, "url")
    try:
        is_page = text is None or (urlsplit(text).scheme in ("http", "https") and bool(urlsplit(text).hostname))
    except ValueError:  # such as an unclosed bracket around the host
        is_page = False
    if not is_page:
        reader.fault("model.url", f"expected an address that begins with https:// or http://, got '{text}'")
        return None
    return text


def read_size_paper_licence(reader: Reader, model: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the number of parameters, the paper and the licence in words, as far as they are given."""
    found = []
    if model.get("params") is not None:
        params = reader.count(model["params"], "model.params")
        if params > MOST_PARAMS:
            reader.fault("model.params", f"expected at most {MOST_PARAMS:,} parameters")
            params = 0
        size, unit = next(
            (
                (size, unit)
                for size, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
                if params >= size
            ),
            (1, ""),
        )
        found.append(f"{params / size:.3g}{unit} parameters")
    texts = (read_description(reader, model, "paper"), read_description(reader, model, "licence"))
    return (*found, *(text for text in texts if text is not None))

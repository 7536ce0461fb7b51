"""The key of a request, by which predictions are cached and runs resumed."""

from collections.abc import Mapping

from harness.records import Json, Request
from harness.records.codec import canonical, sha256_text, to_json

# Fields of a medium that change what is shown. Only if set: an image as it is stored keeps the key that it had before
# there were crops and slices.
CHANGES = ("crop", "drawn", "axes", "slice", "view")


class RequestKeys:
    """The keys of requests to one model, whose identity is written as JSON once and not for each of a million.

    Args:
        identity: The model's, from `harness.models.resolve.identity`.
    """

    def __init__(self, identity: Mapping[str, Json]) -> None:
        self._model = canonical(identity)

    def of(self, content: Mapping[str, Json]) -> str:
        """Return the key of a request, given as `to_json` writes it without its key.

        The key is the sha256 of the canonical JSON of `{"model": identity, "request": content}`, as 64 hexadecimal
        digits. Media count by digest and decode settings, so the key does not depend on the place of a release.
        """
        messages = [{**turn, "parts": [_shown(part) for part in turn["parts"]]} for turn in content.get("messages", ())]
        asked = {**content, "messages": messages} if messages else content
        return sha256_text(f'{{"model":{self._model},"request":{canonical(asked)}}}')


def _shown(part: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return a part of a turn with what its medium shows in place of where it lies."""
    media = part.get("media")
    if media is None:
        return part
    shown = {"sha256": media.get("sha256"), "kind": media.get("kind"), "window": media.get("window")}
    return {"media": shown | {name: media[name] for name in CHANGES if name in media}}


def request_key(request: Request, identity: Mapping[str, Json]) -> str:
    """Return the key of a request to a model, see `RequestKeys`; the request's own `key` does not count."""
    content = to_json(request)
    content.pop("key", None)
    return RequestKeys(identity).of(content)

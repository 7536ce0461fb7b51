"""The key of a request, by which predictions are cached and runs resumed."""

from collections.abc import Mapping
from dataclasses import replace

from harness.records import Json, Request
from harness.records.codec import digest, to_json


def request_key(request: Request, identity: Mapping[str, Json]) -> str:
    """Return the sha256 of a request and of the model's identity, as 64 hexadecimal digits.

    Media count by digest and decode settings, so the key does not depend on the place of a release.

    Args:
        request: The request; its own `key` does not count.
        identity: The model's, from `harness.models.resolve.identity`.
    """
    content = to_json(replace(request, key=""))
    for turn in content.get("messages", ()):
        for part in turn["parts"]:
            if "media" in part:
                media = part["media"]
                # Only if set: an image as it is stored keeps the key that it had before there were crops and slices.
                changes = {name: media[name] for name in ("crop", "drawn", "axes", "slice", "view") if name in media}
                part["media"] = {name: media.get(name) for name in ("sha256", "kind", "window")} | changes
    return digest({"request": content, "model": identity})

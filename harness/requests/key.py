"""The key of a request: what it is cached and resumed by."""

from collections.abc import Mapping
from dataclasses import replace

from harness.records import (
    Json,
    Request,
)
from harness.records.codec import digest, to_json


def request_key(request: Request, identity: Mapping[str, Json]) -> str:
    """Return sha256 of the request and of the model's identity: the cache and resume key.

    Media count by digest and decode settings, so the key does not depend on where a release lies.
    """
    content = to_json(replace(request, key=""))
    for turn in content.get("messages", ()):
        for part in turn["parts"]:
            if "media" in part:
                part["media"] = _in_key(part["media"])
    return digest({"request": content, "model": identity})


def _in_key(media: Mapping[str, Json]) -> dict[str, Json]:
    """Return what of a media record decides on the pixels; one as stored has no crop, paint, other axes or slice."""
    shown = {name: media[name] for name in ("crop", "drawn", "axes", "slice") if name in media}
    return {name: media.get(name) for name in ("sha256", "kind", "window")} | shown

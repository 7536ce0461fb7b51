"""The page on which a person keeps or rejects a sample of a construction, and from which the labels are saved."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from harness.data.construction.records import Source
from harness.errors import DataError
from harness.imaging.images import read_image
from harness.imaging.volumes import read_slices, read_volume
from harness.reports.html import environment

# Longest side of an image on the page, in pixels: enough to see what is asked, for a hundred of them in one file.
SIDE = 320


def review_page(lines: Sequence[Mapping[str, Any]], sources: Mapping[str, Source], root: Path, title: str) -> str:
    """Return the page as HTML; it needs nothing from anywhere, and saves a file of labels.

    Args:
        lines: The sample, lines of `pedigree.jsonl`.
        sources: The source of each, by id.
        root: The data root, for the images.
        title: What was constructed.
    """
    images = {name: _image(source, root) for name, source in sources.items()}
    items = [
        {
            "id": line["item"],
            "place": line["place"],
            "split": line["split"],
            "record": line["record"],
            "image": images.get(line["source"]),
            "facts": json.dumps(dict(sources[line["source"]].facts), indent=1, ensure_ascii=False)
            if line["source"] in sources
            else "",
            "replies": line["replies"],
        }
        for line in lines
    ]
    return environment().get_template("construction_review.html").render(items=items, title=title)


def _image(source: Source, root: Path) -> str | None:
    """Return the first image of a source as a data URL, of a volume the middle slice; None if there is none to show."""
    if not source.media:
        return None
    media = source.media[0]
    path = root / media.path
    try:
        if media.kind == "image":
            pixels = read_image(path.read_bytes(), window=None, where=media.path)
        else:
            slices = read_slices(path, where=media.path).slices if path.is_dir() else list(read_volume(path).voxels)
            one = np.asarray(slices[len(slices) // 2], dtype=np.float32)
            low, high = float(one.min()), float(one.max())
            grey = np.zeros(one.shape) if high <= low else (one - low) / (high - low)
            pixels = np.repeat((grey * 255).astype(np.uint8)[..., np.newaxis], 3, axis=-1)
    except (OSError, DataError, ValueError):
        return None  # a reviewer may still judge the words
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"

"""Writes MeCoVQA as its authors ship it, and the part of SA-Med2D-20M that it refers to."""

import json
from typing import IO

from harness.data.construction.outputs.release_files import JsonListFile
from harness.data.construction.pipeline import ReleaseFolder
from harness.data.construction.records import Item
from harness.data.releases.samed2d import mecovqa
from harness.data.releases.samed2d import reader as samed2d
from harness.data.releases.samed2d.mecovqa_record import SEGMENT_MARK, TURNS
from harness.records import Json

REGION = "<region>"


class MecovqaWriter:
    """Writes records, links the images and masks that they need, and lists them as SA-Med2D-20M does.

    Args:
        folder: The release.
    """

    def __init__(self, folder: ReleaseFolder) -> None:
        self._folder = folder
        self._files = {path: JsonListFile(folder.path / path) for paths in mecovqa.FILES.values() for path in paths}
        folder.link(samed2d.CLASSES)
        listing = folder.path / samed2d.LISTING
        listing.parent.mkdir(parents=True, exist_ok=True)
        self._listing: IO[str] = listing.open("w", encoding="utf-8", newline="\n")
        self._listed = ""

    def add(self, item: Item, split: str) -> str:
        """Write one item; return its place."""
        facts, subset = item.source.facts, item.kind.partition("_")[0]
        image = str(facts["image"])
        self._list(item)
        question, answer = item.question, item.answer
        mask = str(item.fields.get("mask", ""))
        if subset == "region":
            question = question.replace(REGION, f"{REGION}{mask}</region>")
        elif subset == "grounding":
            answer = f"{SEGMENT_MARK}<mask>{mask}</mask>"
        record: dict[str, Json] = {
            "id": image.rpartition("/")[2].removesuffix(".png"),
            "image": image,
            TURNS: [{"from": "human", "value": f"<image>\n{question}"}, {"from": "gpt", "value": answer}],
        }
        (path,) = mecovqa.FILES[split, subset]
        return f"{path}[{self._files[path].add(record)}]"

    def _list(self, item: Item) -> None:
        """Link an image with all of its masks and list it, when its first item is written."""
        image = str(item.source.facts["image"])
        # The items of an image follow each other.
        if image == self._listed:
            return
        masks = [mask for one in item.source.facts["structures"] for mask in one["masks"] if not one["fault"]]
        for path in (image, *masks):
            self._folder.link(f"{samed2d.FOLDER}/{path}")
        self._listing.write(f"{',' if self._listed else '{'}\n{json.dumps(image)}: {json.dumps(masks)}")
        self._listed = image

    def close(self) -> None:
        """Write the ends of all files."""
        for file in self._files.values():
            file.close()
        self._listing.write("\n}\n" if self._listed else "{}\n")
        self._listing.close()

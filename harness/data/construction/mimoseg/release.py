"""Writes MIMOSeg in the layout that the README of its task family documents, the paper's own being unreleased."""

from collections.abc import Mapping

from harness.data.construction.outputs.release_files import JsonListFile
from harness.data.construction.pipeline import ReleaseFolder
from harness.data.construction.records import Item
from harness.data.releases.mimoseg.reader import FOLDER, SPLITS, SUBSETS, file_of
from harness.data.releases.samed2d import reader as samed2d
from harness.records import Json


class MimosegWriter:
    """Writes records, and links the images and masks that they name.

    Args:
        folder: The release.
    """

    def __init__(self, folder: ReleaseFolder) -> None:
        self._folder = folder
        self._files = {
            (split, subset): JsonListFile(folder.path / file_of(split, subset))
            for split in SPLITS
            for subset in SUBSETS
        }

    def add(self, item: Item, split: str) -> str:
        """Write one item; return its place."""
        subset = item.kind
        record: dict[str, Json] = {
            "id": item.id,
            "image": self._linked(str(item.source.facts["image"])),
            "instruction": item.question,
            "answer": item.answer,
            "entities": [
                {"name": entity["name"], "mask": [self._linked(path) for path in entity["masks"]]}
                for entity in item.fields["entities"]
            ],
        }
        for name in ("modality", "source", "case"):
            record[name] = item.source.facts[name]
        if item.fields.get("wording"):
            record["wording"] = item.fields["wording"]
        prompt: Mapping[str, Json] | None = item.fields.get("prompt")
        if prompt is not None:
            record["prompt"] = {name: value for name, value in prompt.items() if name != "names"}
        number = self._files[split, subset].add(record)
        return f"{file_of(split, subset)}[{number}]"

    def close(self) -> None:
        """Write the ends of all files."""
        for file in self._files.values():
            file.close()

    def _linked(self, path: str) -> str:
        self._folder.link(f"{samed2d.FOLDER}/{path}", f"{FOLDER}/{path}")
        return path

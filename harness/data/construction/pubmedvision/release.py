"""Writes PubMedVision as its authors ship it: two lists of records, and a folder of images."""

from pathlib import PurePosixPath

from harness.data.construction.outputs.release_files import JsonListFile
from harness.data.construction.pipeline import ReleaseFolder
from harness.data.construction.records import Item
from harness.data.releases.vqa.pubmedvision import FILES, FOLDER
from harness.records import Json


class PubmedvisionWriter:
    """Writes records, and links their images under names that begin with their article.

    Args:
        folder: The release.
    """

    def __init__(self, folder: ReleaseFolder) -> None:
        self._folder = folder
        self._files = {kind: JsonListFile(folder.path / path) for kind, path in FILES.items()}

    def add(self, item: Item, split: str) -> str:
        """Write one item; return its place. The release has one split."""
        del split
        images: list[Json] = []
        for number, media in enumerate(item.source.media):
            name = f"images/{item.source.id}_{number}{PurePosixPath(media.path).suffix}"
            self._folder.link(media.path, f"{FOLDER}/{name}")
            images.append(name)
        record: dict[str, Json] = {
            "id": item.source.id,
            "image": images,
            "conversations": [
                {"from": "human", "value": item.question},
                {"from": "gpt", "value": item.answer},
            ],
        }
        if item.fields.get("scenario"):
            record["scenario"] = item.fields["scenario"]
        return f"{FILES[item.kind]}[{self._files[item.kind].add(record)}]"

    def close(self) -> None:
        """Write the ends of both files."""
        for file in self._files.values():
            file.close()

"""The model that is a file: answers handed in as JSON lines, in the format of docs/hand-in-predictions.md."""

from collections.abc import Sequence
from pathlib import Path

from harness import handin
from harness.records import Answer, Capabilities, Request


class Predictions:
    """Answers each sample with its line of a predictions file.

    Args:
        file: JSON lines, one object a sample.
    """

    def __init__(self, file: str) -> None:
        self.path = Path(file).resolve()
        self.hand_in: handin.HandIn | None = None

    @property
    def version(self) -> str:
        """The adapter's version and, where the file names mask files, the digest of their names and bytes."""
        masks = handin.mask_files_digest(self.path) if self.path.is_file() else None
        return "1" if masks is None else f"1+{masks}"

    def capabilities(self) -> Capabilities:
        """Anything may have been asked and answered."""
        return Capabilities(
            takes=frozenset({"text", "image", "images", "volume", "point", "box", "region"}),
            gives=frozenset({"text", "masks", "boxes", "nll", "embedding"}),
            max_images=1000,
            max_batch=1024,
            batch_invariant=True,
            per_sample=True,
            weights=(str(self.path),),
        )

    def load(self, device: str) -> None:  # noqa: ARG002 - there is nothing to place on a device
        """Index the file."""
        self.hand_in = handin.read(self.path)

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Look each sample up."""
        assert self.hand_in is not None
        with self.path.open("rb") as file:
            return [self.hand_in.answer(request, file) for request in requests]

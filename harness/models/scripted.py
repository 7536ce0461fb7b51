"""The scripted model: fixed replies and, if asked, the faults that real models show."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.errors import SpecError
from harness.records import Answer, Capabilities, ErrorInfo, Json, Request, Resources

HANG_SECONDS = 10**6  # eleven days: longer than any time limit of a sample
CRASH_EXIT_CODE = 70  # distinguishes a planned crash from any other, for tests


class Scripted:
    """Replies with one text, or with the text of a JSON lines file by sample id.

    Args:
        text: The reply to every request; a value other than text is replied as JSON writes it.
        file: JSON lines `{"sample_id": ..., "text": ...}`; a sample without a line gets `text`.
        sleep: Seconds to wait per sample.
        fail_every: About one sample in N is answered by an error, chosen by the hash of its id, so that the choice
            depends on neither order nor workers.
        crash_on: The sample id at which the process ends.
        hang_on: The sample id at which it never returns.
    """

    version = "1"

    def __init__(
        self,
        *,
        text: Json = "",
        file: str | None = None,
        sleep: float = 0.0,
        fail_every: int = 0,
        crash_on: str | None = None,
        hang_on: str | None = None,
    ) -> None:
        if isinstance(sleep, bool) or not isinstance(sleep, int | float) or sleep < 0:
            raise SpecError(f"scripted: sleep: expected seconds of at least 0, found {sleep!r}")
        if type(fail_every) is not int or fail_every < 0:
            raise SpecError(f"scripted: fail_every: expected a whole number of at least 0, found {fail_every!r}")
        self.text = _words(text)
        self.file = file
        self.sleep = sleep
        self.fail_every = fail_every
        self.crash_on = crash_on
        self.hang_on = hang_on
        self.replies: Mapping[str, str] = {}

    def capabilities(self) -> Capabilities:
        """Take anything, give text; a reply does not depend on the batch."""
        return Capabilities(
            takes=frozenset({"text", "image", "images", "volume", "point", "box", "region"}),
            gives=frozenset({"text"}),
            max_images=1000,
            max_batch=1024,
            batch_invariant=True,
            per_sample=True,
            execution_only=frozenset({"sleep"}),
            weights=() if self.file is None else (self.file,),
            resources=Resources(gpus=0),
        )

    def load(self, device: str) -> None:  # noqa: ARG002 - there is nothing to place on a device
        """Read the replies."""
        if self.file is not None:
            self.replies = _read_replies(Path(self.file))

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        """Reply to each request in turn."""
        return [self._reply(request.sample_id or "") for request in requests]

    def _reply(self, sample_id: str) -> Answer:
        if self.sleep:
            time.sleep(self.sleep)
        if sample_id == self.crash_on:
            os._exit(CRASH_EXIT_CODE)  # at once, as a killed process ends: no handler, no flush
        if sample_id == self.hang_on:
            time.sleep(HANG_SECONDS)
        if self.fail_every:
            number = int.from_bytes(hashlib.sha256(sample_id.encode()).digest()[:8], "big")
            if number % self.fail_every == 0:
                message = f"{sample_id}: told to fail by fail_every"
                return Answer(error=ErrorInfo(type="ScriptedFailure", message=message))
        return Answer(text=self.replies.get(sample_id, self.text))


def _words(value: Json) -> str:
    """Return a text as it is and other values as JSON: the command line reads `text=3` and `text=true` as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _read_replies(path: Path) -> dict[str, str]:
    """Return text by sample id.

    Raises:
        SpecError: A line is not an object with a sample_id and a text.
    """
    replies: dict[str, str] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record: Json = json.loads(line)
            replies[record["sample_id"]] = _words(record["text"])
        except (ValueError, KeyError, TypeError) as error:
            expected = '{"sample_id": ..., "text": ...}'
            raise SpecError(f"{path}:{number}: expected {expected}: {type(error).__name__}: {error}") from error
    return replies

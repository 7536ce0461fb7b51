"""The answers that have arrived, on disk before anything else happens to them: a paid answer survives any kill."""

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from harness.records import Answer, ErrorInfo, Json


class CallLog:
    """Records by key in a folder of the run; each process appends to a file of its own and reads those of all.

    The driver stores a batch when all of it is answered. What was answered before a kill, in a batch that was not, is
    found here, and is not paid for again. A record is given to the system in one write: it outlives every end of the
    process, though not a power failure within seconds.

    Args:
        folder: The folder, which is made with the first record; None keeps nothing, and finds nothing.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        # Key -> where its line begins: the answers themselves would fill the memory of a large run.
        self._places: dict[str, tuple[Path, int]] = {}
        self._file: BinaryIO | None = None
        for path in sorted(folder.glob("answers-*.jsonl")) if folder is not None else ():
            offset = 0
            with path.open("rb") as lines:
                for line in lines:
                    if record := _record(line):
                        self._places[record["key"]] = (path, offset)
                    offset += len(line)

    def get(self, key: str) -> dict[str, Json] | None:
        """Return the record with this key; None if there is none."""
        place = self._places.get(key)
        if place is None:
            return None
        path, offset = place
        with path.open("rb") as file:
            file.seek(offset)
            record: dict[str, Json] | None = _record(file.readline())
            return record

    def add(self, key: str, record: Mapping[str, Json]) -> None:
        """Append a record.

        Raises:
            OSError: The disk refuses it.
        """
        if self.folder is None:
            return
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"answers-{os.getpid()}-{uuid.uuid4().hex[:8]}.jsonl"
            self._file = path.open("ab", buffering=0)
        offset = self._file.tell()
        self._file.write((json.dumps({"key": key, **record}) + "\n").encode())
        self._places[key] = (Path(self._file.name), offset)

    def close(self) -> None:
        """Close the file of this process."""
        if self._file is not None:
            self._file.close()
            self._file = None


def answer_of(record: Mapping[str, Any], rendered: str) -> Answer:
    """Return the answer that a record holds, or its error; `rendered` is what was sent."""
    usage = record.get("usage", {})
    if "error" in record:
        return Answer(error=ErrorInfo(type="MalformedReply", message=record["error"]), usage=usage)
    if "nll" in record:
        return Answer(nll=[record["nll"]], nll_tokens=[record["nll_tokens"]], rendered=rendered, usage=usage)
    return Answer(text=record["text"], status=record["status"], rendered=rendered, usage=usage)


def _record(line: bytes) -> Any:
    """Return the record of a line; None for one that is torn or of another kind."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("key"), str) else None

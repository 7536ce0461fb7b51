"""Faults that `harness chaos` plants in a worker: calls that come late, and calls whose answers are lost with it."""

import hashlib
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.errors import SpecError

# EX_TEMPFAIL of sysexits.h. In process it is the exit code of the whole command.
EXIT_DROPPED = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Disturbance:
    """What happens to the calls of a model; which call, follows from the seed and the keys of its requests.

    Attributes:
        seed: Seed.
        delay: Longest time that a call waits before it is made, in seconds.
        drop: Share of the calls whose answers are lost, since the worker's process ends before it hands them on.
        marks: Folder that gets an empty file per dropped request, so that none is dropped twice; each node has its own.
    """

    seed: int
    delay: float
    drop: float
    marks: str

    def to_text(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> "Disturbance":
        """Return what `to_text` gave.

        Raises:
            SpecError: The text is something else.
        """
        try:
            value: dict[str, Any] = json.loads(text)
            return cls(
                seed=int(value["seed"]),
                delay=float(value["delay"]),
                drop=float(value["drop"]),
                marks=str(value["marks"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SpecError(
                f"--disturb {text}: expected what `harness chaos` gives ({type(error).__name__}: {error})"
            ) from error

    def wait(self, keys: Sequence[str]) -> None:
        """Let a call wait as long as it should."""
        time.sleep(self.delay * self._chance("delay", keys))

    def drop_answers(self, keys: Sequence[str]) -> None:
        """End the process if the answers to these requests are to be lost, and none of them was lost before."""
        if not keys or self._chance("drop", keys) >= self.drop:
            return
        folder = Path(self.marks)
        folder.mkdir(parents=True, exist_ok=True)
        if not any((folder / key).exists() for key in keys):
            for key in keys:
                (folder / key).touch()
            os._exit(EXIT_DROPPED)

    def _chance(self, what: str, keys: Sequence[str]) -> float:
        """Return a number in [0, 1) that follows from the seed and the keys."""
        seen = hashlib.sha256("\n".join((what, str(self.seed), *keys)).encode())
        return int.from_bytes(seen.digest()[:6], "big") / (1 << 48)

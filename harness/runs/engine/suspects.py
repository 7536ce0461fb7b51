"""Requests that were in flight when earlier sessions ended abruptly, such as by a crash."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Suspects:
    """The requests that earlier sessions in process left in flight when they ended abruptly; all by key.

    Attributes:
        ends: Number of such ends, since anything finished, at which the request was in flight.
        alone: Number of the most recent such ends, in a row, at which it was the only one in flight.
        causes: The cause of the last such end: `hang` or `crash`.
    """

    ends: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    causes: dict[str, str] = field(default_factory=dict)

    def note_end(self, keys: Sequence[str], cause: str) -> None:
        """Note an abrupt end at which `keys` were in flight."""
        self.ends.update(keys)
        self.alone = Counter({key: self.alone[key] + 1 for key in keys} if len(keys) == 1 else {})
        self.causes.update(dict.fromkeys(keys, cause))


def find_suspects(events: Iterable[Mapping[str, Any]]) -> Suspects:
    """Return the requests that may have hung or ended the process, from the events of earlier sessions.

    An end counts if the session ran in process and did not note that it stopped, as it does after Ctrl-C or a full
    disk. On Ray the driver's end says nothing about a sample, because the model has processes of its own.
    """
    suspects = Suspects()
    session = _Session()
    for event in events:
        # Events are read back from a file that a user may have touched, so nothing is taken for granted.
        found = event.get("keys")
        keys = [str(key) for key in found] if isinstance(found, list) else []
        if event["event"] == "session":
            session.end(suspects)
            session = _Session(runner=str(event.get("runner", "process")), open=True)
        elif event["event"] in ("finished", "given_up") and keys:
            # The run went on, so no unfinished sample is to blame for the ends so far.
            suspects = Suspects()
        session.take(str(event["event"]), event.get("batch"), keys)
    session.end(suspects)
    return suspects


@dataclass(slots=True)
class _Session:
    """One session, rebuilt from its events.

    Attributes:
        runner: `process` or `ray`.
        open: It has begun and has not noted that it stopped.
        asked: A batch was started.
        cause: `hang` if the watchdog ended it, else `crash`.
        flying: Keys of the batches in flight, by the batch's number.
    """

    runner: str = "process"
    open: bool = False
    asked: bool = False
    cause: str = "crash"
    flying: dict[object, list[str]] = field(default_factory=dict)

    def take(self, event: str, batch: object, keys: list[str]) -> None:
        """Follow one event."""
        if event == "started":
            self.asked = True
            self.flying[batch] = keys
        elif event == "stopped":
            self.open = False
        elif event == "hung" and batch is None:  # the watchdog's event; one about a Ray actor names its batch
            self.cause = "hang"
        elif event in ("finished", "died", "hung"):
            self.flying.pop(batch, None)

    def end(self, suspects: Suspects) -> None:
        """Note the end if it was abrupt; a session that asked nothing is no evidence."""
        if self.open and self.asked and self.runner == "process":
            suspects.note_end([key for keys in self.flying.values() for key in keys], self.cause)

"""Requests that were in flight when earlier sessions ended without a word."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Suspects:
    """What earlier sessions in process left in flight when they ended without a word, nothing having finished since.

    Attributes:
        ends: At how many such ends a request was in flight.
        alone: At how many of the last such ends, in a row, it was the only one in flight.
        causes: Of the last such end: `hang` or `crash`.
    """

    ends: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)
    causes: dict[str, str] = field(default_factory=dict)

    def note_end(self, keys: Sequence[str], cause: str) -> None:
        """Note an end without a word at which `keys` were in flight."""
        self.ends.update(keys)
        self.alone = Counter({key: self.alone[key] + 1 for key in keys} if len(keys) == 1 else {})
        self.causes.update(dict.fromkeys(keys, cause))


def find_suspects(events: Iterable[Mapping[str, Any]]) -> Suspects:
    """Return what the events of earlier sessions say about requests that ended the process or hung.

    An end counts when the session ran in process and did not say that it stopped (Ctrl-C and a full disk do say so).
    On Ray the driver's end says nothing about a sample: the model has processes of its own.
    """
    suspects = Suspects()
    session = _Session()
    for event in events:
        keys = _keys(event)
        if event["event"] == "session":
            session.end(suspects)
            session = _Session(runner=str(event.get("runner", "process")), open=True)
        elif event["event"] in ("finished", "given_up") and keys:
            suspects = Suspects()
        session.take(str(event["event"]), event.get("batch"), keys)
    session.end(suspects)
    return suspects


@dataclass(slots=True)
class _Session:
    """One session as its events tell it."""

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
        elif event == "hung" and batch is None:
            self.cause = "hang"
        elif event in ("finished", "died", "hung"):
            self.flying.pop(batch, None)

    def end(self, suspects: Suspects) -> None:
        """Note the end if it came without a word; a session that asked nothing says nothing."""
        if self.open and self.asked and self.runner == "process":
            suspects.note_end([key for keys in self.flying.values() for key in keys], self.cause)


def _keys(event: Mapping[str, Any]) -> list[str]:
    keys = event.get("keys")
    return [str(key) for key in keys] if isinstance(keys, list) else []

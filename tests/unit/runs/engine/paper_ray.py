"""A Ray that exists on paper only: its actors answer at once, die or hang, as a test says."""

import hashlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from harness.records import Prediction
from harness.runs.engine.ray_actors import MediaLibrary, versions
from harness.runs.engine.worker import Finished, to_finished

Behaviour = Callable[[list[str]], Any]


class RayError(Exception):
    """As ray.exceptions.RayError."""


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def reply(requests: list[str]) -> list[Finished]:
    return [to_finished(Prediction(key=key(name), status="ok", text=name)) for name in requests]


class PaperActor:
    """Its calls return what was called, with what, and something that tells one call from another."""

    def __init__(self, number: int) -> None:
        self.is_up = SimpleNamespace(remote=lambda: Call("is_up", number))
        self.load = SimpleNamespace(remote=lambda: Call("load", number))
        self.answer = SimpleNamespace(remote=lambda requests: Call("answer", requests))
        self.close = SimpleNamespace(remote=lambda: Call("close", None))


class Call:
    """A reference to what a call will return."""

    def __init__(self, what: str, argument: Any) -> None:
        self.what, self.argument = what, argument


class PaperRay:
    """Actors that answer at once, die or hang, as the behaviours say; one call is one reference."""

    def __init__(self, answer: Behaviour = reply, load: Callable[[int], Any] = lambda _: versions()) -> None:
        self.exceptions = SimpleNamespace(RayError=RayError)
        self._answer, self._load = answer, load
        self.actors = 0
        self.killed: list[Any] = []
        self.never: dict[str, int] = {}  # calls that never return, by name, of the first so many actors
        self.machines: list[dict[str, Any]] = [{"Alive": True, "Resources": {"CPU": 4.0}}]

    def remote(self, **_: Any) -> Callable[[type], Any]:
        return lambda kind: SimpleNamespace(remote=lambda *_: self._actor(kind))

    def _actor(self, kind: type) -> Any:
        if kind is MediaLibrary:
            return object()
        self.actors += 1
        return PaperActor(self.actors)

    def wait(self, references: list[Any], *, num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        _ = timeout

        def is_ready(each: Call) -> bool:
            if each.what in self.never:
                return bool(each.argument > self.never[each.what])
            return each.what != "answer" or "hang" not in each.argument

        ready = [each for each in references if is_ready(each)]
        return ready[:num_returns], []

    def get(self, reference: Call) -> Any:
        found = self._load(reference.argument) if reference.what == "load" else self._answer(reference.argument)
        if isinstance(found, Exception):
            raise found
        return found

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "0" * 56)

    def nodes(self) -> list[dict[str, Any]]:
        return self.machines

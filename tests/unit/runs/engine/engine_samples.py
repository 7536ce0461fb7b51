"""A model whose behaviour is given, and requests that are named by a letter."""

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from harness.models.resolve import ModelReference
from harness.records import Answer, Capabilities, MediaPart, Request, TextPart, Turn
from harness.records.codec import canonical, to_json
from harness.runs.engine.worker import WorkerSetup
from harness.runs.plan_file import Ask

Predict = Callable[[Sequence[Request]], object]


class Model:
    """An adapter whose `predict` and `load` are given."""

    def __init__(self, predict: Predict, load: Callable[[str], None] = lambda _: None) -> None:
        self.load, self._predict = load, predict
        self.batches: list[list[str]] = []

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def predict(self, requests: Sequence[Request]) -> Any:
        self.batches.append([request.prompt for request in requests])
        return self._predict(requests)


def echo(requests: Sequence[Request]) -> list[Answer]:
    return [Answer(text=request.prompt) for request in requests]


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def ask(name: str, *more: MediaPart) -> Ask:
    turn = Turn(role="user", parts=(*more, TextPart(text=name)))
    return Ask(key(name), canonical(to_json(Request(messages=(turn,), key=key(name)))), f"d/test/{name}")


def asks(names: str) -> list[Ask]:
    return [ask(name) for name in names]


SETUP = WorkerSetup(reference=ModelReference(text="mine.py:Mine", target="mine:Mine"), roots=())

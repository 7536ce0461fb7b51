"""A run directory, and a way to have workers build a given model."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.runs.engine import worker as worker_module
from harness.runs.store import RunStore
from tests.unit.runs.engine.engine_samples import Model


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], Model]:
    """Have workers build this model."""

    def use(model: Model) -> Model:
        monkeypatch.setattr(worker_module, "build", lambda _: model)
        return model

    return use


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(tmp_path / "run")
    store.open({"seed": 0})
    yield store
    store.close()

"""Adapters that are loaded and closed, and retries that cost no time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.models.endpoint import client
from harness.models.endpoint.adapter import OpenAI

Open = Callable[..., OpenAI]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Return a loaded adapter; it is closed after the test."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    adapters: list[OpenAI] = []

    def open_one(
        base_url: str | None, *, folder: Path | None = None, timeout: float = 20.0, **arguments: Any
    ) -> OpenAI:
        adapter = OpenAI("m", base_url=base_url, **arguments)
        adapter.begin_run(folder, timeout)
        adapters.append(adapter)
        adapter.load("cpu")
        return adapter

    yield open_one
    for adapter in adapters:
        adapter.close()

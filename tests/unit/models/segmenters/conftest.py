"""Checkpoints of the SAM family made here, each once."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from harness.models.segmenters.sam import Sam


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """A function from the name of a family to its checkpoint."""
    import torch

    from tests.support import tiny_segmenters as tiny

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield cache(lambda family: tiny.make(family, tmp_path_factory.mktemp(family)))
    torch.set_num_threads(threads)


@pytest.fixture(scope="package")
def loaded(folder: Callable[[str], Path]) -> Callable[[str], Sam]:
    """A function from the name of a family to its adapter, loaded once."""

    @cache
    def load(family: str) -> Sam:
        adapter = Sam(str(folder(family)))
        adapter.load("cpu")
        return adapter

    return load

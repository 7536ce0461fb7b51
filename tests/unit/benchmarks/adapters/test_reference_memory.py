"""The reference model answers in little more memory than its weights take, in every precision."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.adapters.reference_memory import PAIRS, TARGET, held, measure, write_model


@pytest.fixture(scope="module", params=sorted({stored for stored, _ in PAIRS}))
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, int]]:
    """The precision of a model, its folder and its number of parameters; under a gigabyte, deleted afterwards."""
    folder = tmp_path_factory.mktemp("stored")
    parameters = write_model(folder, request.param)
    yield request.param, folder, parameters
    (folder / "model.safetensors").unlink()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_an_answer_takes_a_tenth_more_memory_than_the_weights_at_most(stored: tuple[str, Path, int]) -> None:
    precision, folder, parameters = stored
    assert 0.4e9 < parameters < 1e9
    for dtype in [dtype for file, dtype in PAIRS if file == precision]:
        found = measure(folder, dtype, parameters)
        # More than half: otherwise the weights were not read at all.
        assert 0.5 * found.weights < found.peak < TARGET * found.weights, (dtype, found)
        assert found.loaded <= found.peak


def test_memory_is_read_in_bytes() -> None:
    assert 1e6 < held("VmRSS") <= held("VmHWM") < 1e12

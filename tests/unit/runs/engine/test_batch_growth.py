"""How the batches of `--batch-size auto` grow, and what stops them."""

import pytest

from harness.runs.engine import batch_growth
from harness.runs.engine.batch_growth import BatchGrowth, free_share, is_out_of_memory


@pytest.fixture(autouse=True)
def much_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_growth, "free_share", lambda: 1.0)


def sizes(growth: BatchGrowth, seconds: "list[float]") -> list[int]:
    found = []
    for one in seconds:
        growth.note(growth.size, one)
        found.append(growth.size)
    return found


def test_a_batch_doubles_while_it_answers_more_a_second() -> None:
    assert sizes(BatchGrowth(64), [0.4, 0.5, 0.6, 0.7, 0.8]) == [8, 16, 32, 64, 64]


def test_it_stays_below_the_models_maximum() -> None:
    assert sizes(BatchGrowth(3), [0.1, 0.1]) == [3, 3]
    assert sizes(BatchGrowth(6), [0.1, 0.1]) == [6, 6]


def test_a_batch_that_is_no_faster_a_sample_is_halved_again_and_stays() -> None:
    assert sizes(BatchGrowth(64), [0.4, 0.8, 0.1, 0.1]) == [8, 4, 4, 4]


def test_no_batch_takes_longer_than_latency_allows() -> None:
    assert sizes(BatchGrowth(64), [6.0, 11.0, 11.0]) == [8, 8, 8]


def test_little_free_memory_ends_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_growth, "free_share", lambda: 0.3)
    assert sizes(BatchGrowth(64), [0.1, 0.1]) == [4, 4]


def test_the_part_that_is_left_of_a_batch_says_nothing() -> None:
    growth = BatchGrowth(64)
    growth.note(1, 30.0)
    assert (growth.size, growth.grows) == (4, True)


def test_a_batch_that_did_not_fit_is_halved_for_good() -> None:
    growth = BatchGrowth(64, size=32)
    growth.out_of_memory(32)
    growth.out_of_memory(16)
    growth.note(8, 0.001)
    assert (growth.size, growth.grows) == (8, False)
    growth.out_of_memory(1)
    assert growth.size == 1


def test_errors_of_short_memory_are_known_by_type_or_words() -> None:
    class OutOfMemoryError(RuntimeError):
        pass

    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(OutOfMemoryError("CUDA"))
    assert is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not is_out_of_memory(ValueError("shapes differ"))


def test_the_free_share_of_memory_is_a_share() -> None:
    assert 0.0 < free_share() <= 1.0

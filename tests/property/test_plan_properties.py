"""Whatever is finished when a run is resumed, every request is asked exactly once more, in batches that do not move."""

import hashlib
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.records import Sample
from harness.runs import plan_file
from harness.runs.plan_file import Ask, PlannedRequest

NUMBERS = st.lists(st.integers(0, 40), max_size=60)


def key(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def planned(tasks: list[list[int]], size: int) -> list[list[Ask]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.parquet" for index in range(len(tasks))]
        for path, numbers in zip(paths, tasks, strict=True):
            rows = [
                PlannedRequest(
                    sample=Sample(id=str(n)), repeat=0, key=key(n), size_class=n % 3, media=str(n % 4), request="{}"
                )
                for n in numbers
            ]
            plan_file.write(path, rows)
        return list(plan_file.batches(paths, size))


def keys(batches: list[list[Ask]]) -> list[str]:
    return [ask.key for batch in batches for ask in batch]


@settings(max_examples=25, deadline=None)
@given(tasks=st.lists(NUMBERS, min_size=1, max_size=3), size=st.integers(1, 9))
def test_every_request_is_in_exactly_one_batch(tasks: list[list[int]], size: int) -> None:
    batches = planned(tasks, size)
    assert sorted(keys(batches)) == sorted({key(number) for numbers in tasks for number in numbers})
    assert all(1 <= len(batch) <= size for batch in batches)


@settings(max_examples=25, deadline=None)
@given(numbers=NUMBERS, size=st.integers(1, 9), seed=st.randoms(use_true_random=False))
def test_batches_do_not_depend_on_the_order_of_the_release(numbers: list[int], size: int, seed: object) -> None:
    shuffled = list(numbers)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    assert planned([numbers], size) == planned([shuffled], size)


@given(
    cut=st.lists(st.integers(1, 5), max_size=12),
    done=st.sets(st.integers(0, 60)),
    size=st.integers(1, 9),
    batch_invariant=st.booleans(),
)
def test_what_is_due_is_what_is_missing(cut: list[int], done: set[int], size: int, batch_invariant: bool) -> None:
    numbers = iter(range(60))
    whole = [[Ask(key(n), "{}", str(n)) for n, _ in zip(numbers, range(length), strict=False)] for length in cut]
    finished = {key(n) for n in done}
    due = list(plan_file.due(whole, finished.__contains__, batch_invariant=batch_invariant, size=size))
    missing = [name for name in keys(whole) if name not in finished]
    assert [name for name in keys(due) if name not in finished] == missing
    if batch_invariant:
        assert keys(due) == missing
        assert all(len(batch) == size for batch in due[:-1])
    else:
        assert all(batch in whole for batch in due)

"""Speed is read from the events and the stored predictions."""

import json
from pathlib import Path

import pytest

from harness.runs.performance import performance_of
from harness.runs.store import RunStore


def _run(folder: Path, events: list[dict[str, object]], predictions: list[dict[str, object]]) -> RunStore:
    store = RunStore(folder)
    store.predictions.path.parent.mkdir(parents=True)
    store.predictions.path.write_text("".join(json.dumps(line) + "\n" for line in predictions))
    store.events.path.write_text("".join(json.dumps(line) + "\n" for line in events))
    return store


def test_seconds_run_from_the_first_request_to_the_last_answer_of_each_session(tmp_path: Path) -> None:
    events: list[dict[str, object]] = [
        {"event": "session", "time": 100.0},
        {"event": "started", "time": 110.0},
        {"event": "finished", "time": 112.0},
        {"event": "session", "time": 500.0},
        {"event": "started", "time": 510.0},
        {"event": "died", "time": 511.0},
        {"event": "finished", "time": 513.0},
        {"event": "stopped", "time": 599.0},
    ]
    predictions: list[dict[str, object]] = [
        {"key": "a", "seconds": 0.5, "usage": {"tokens": 3}},
        {"key": "b", "seconds": 1.5, "usage": {"tokens": 4}},
    ]
    performance = performance_of(_run(tmp_path, events, predictions).directory)
    assert performance["seconds"] == 5.0
    assert performance["requests_per_second"] == 0.4
    assert performance["model_seconds"] == 2.0
    assert performance["sessions"] == 2
    assert performance["workers_lost"] == 1
    assert performance["usage"] == {"tokens": 7}


@pytest.mark.parametrize("jump", [-1e9, -5.0, 1e9])
@pytest.mark.parametrize("clock", [True, False])
def test_a_clock_that_jumps_gives_no_time_that_passed_backwards(tmp_path: Path, jump: float, clock: bool) -> None:
    other: dict[str, object] = {"clock": 7.0} if clock else {}
    events: list[dict[str, object]] = [
        {"event": "session", "time": 100.0, **other},
        {"event": "started", "time": 110.0, **other},
        {"event": "finished", "time": 112.0 + jump, **({"clock": 9.0} if clock else {})},
    ]
    seconds = performance_of(_run(tmp_path, events, [{"key": "a"}]).directory)["seconds"]
    assert seconds == (2.0 if clock else max(0.0, 2.0 + jump))


def test_an_event_of_an_older_run_without_a_time_is_no_traceback(tmp_path: Path) -> None:
    events: list[dict[str, object]] = [{"event": "session"}, {"event": "started"}, {"event": "finished", "time": "x"}]
    assert performance_of(_run(tmp_path, events, []).directory)["seconds"] == 0.0


def test_a_session_that_asked_nothing_counts_for_nothing(tmp_path: Path) -> None:
    performance = performance_of(_run(tmp_path, [{"event": "session", "time": 1.0}], []).directory)
    assert performance["sessions"] == 0
    assert performance["requests_per_second"] is None


def test_a_damaged_line_is_passed_over(tmp_path: Path) -> None:
    store = _run(tmp_path, [], [{"key": "a", "seconds": 0.5}])
    with store.predictions.path.open("a") as file:
        file.write('{"key": "b", "sec')
    assert performance_of(store.directory)["requests"] == 1


def test_tokens_cost_and_repeated_attempts_are_summed(tmp_path: Path) -> None:
    predictions: list[dict[str, object]] = [
        {"key": "a", "usage": {"prompt_tokens": 9, "completion_tokens": 1, "cached_tokens": 5, "cost": 0.1}},
        {"key": "b", "usage": {"prompt_tokens": 9, "cost": 0.2, "retries": 2}},
    ]
    performance = performance_of(_run(tmp_path, [], predictions).directory)
    assert (performance["tokens"], performance["cost"], performance["retries"]) == (19, 0.3, 2)


def test_peak_memory_is_that_of_the_worker_that_held_most(tmp_path: Path) -> None:
    events: list[dict[str, object]] = [
        {"event": "session", "time": 1.0},
        {"event": "started", "time": 1.0},
        {"event": "finished", "time": 2.0, "memory": 3_000_000, "gpu_memory": 7},
        {"event": "finished", "time": 3.0, "memory": 2_000_000},
    ]
    found = performance_of(_run(tmp_path, events, []).directory)
    assert (found["peak_memory_bytes"], found["peak_gpu_memory_bytes"]) == (3_000_000, 7)


def test_a_model_that_counts_nothing_has_neither_tokens_nor_cost(tmp_path: Path) -> None:
    performance = performance_of(_run(tmp_path, [], [{"key": "a"}]).directory)
    assert (performance["tokens"], performance["cost"], performance["retries"]) == (None, None, 0)

"""What is counted, stored and noted while a run goes on."""

import json
from pathlib import Path
from typing import Any

from harness.records import Prediction, PredictionStatus
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.worker import Finished, to_finished
from harness.runs.store import RunStore
from tests.unit.runs.engine.engine_samples import ask, asks, key


def finished(name: str, status: PredictionStatus = "ok", text: str = "yes") -> Finished:
    return to_finished(Prediction(key=key(name), status=status, text=text))


def events(store: RunStore) -> list[dict[str, Any]]:
    return [{name: value for name, value in event.items() if name != "time"} for event in store.directory.read_events()]


def test_a_batch_is_noted_before_it_is_asked_and_after_it_is_stored(store: RunStore) -> None:
    progress = RunProgress(store=store, total=2)
    assert progress.start(asks("ab"), worker="driver", attempt=1) == 1
    assert events(store) == [
        {"event": "started", "batch": 1, "worker": "driver", "attempt": 1, "keys": [key("a"), key("b")]}
    ]
    progress.finish(1, [finished("a"), finished("b", "empty")])
    assert events(store)[1:] == [{"event": "finished", "batch": 1, "keys": [key("a"), key("b")]}]
    assert progress.counts == {"ok": 1, "empty": 1}


def test_a_request_that_was_finished_before_is_neither_counted_nor_noted_again(store: RunStore) -> None:
    progress = RunProgress(store=store, total=2)
    progress.finish(1, [finished("a", text="first")])
    progress.finish(2, [finished("a", text="second"), finished("b")])
    assert progress.done == 2
    assert events(store)[-1]["keys"] == [key("b")]
    prediction = store.prediction(key("a"))
    assert prediction is not None
    assert prediction.text == "first"


def test_coverage_is_lost_by_the_data_and_not_by_the_model(store: RunStore) -> None:
    progress = RunProgress(store=store, total=4)
    assert progress.coverage == 1.0
    progress.finish(1, [finished("a"), finished("b", "data_error"), finished("c", "model_error")])
    assert progress.coverage == 1 - 1 / 3
    assert progress.faults == 2


def test_a_request_that_no_worker_survives_is_stored_as_a_failure(store: RunStore) -> None:
    seen: list[int] = []
    progress = RunProgress(store=store, total=2, watch=lambda found: seen.append(found.done))
    progress.give_up(ask("a"), "timeout", "the model did not return")
    progress.give_up(ask("b"), "model_error", "the model's process ended")
    kinds = {}
    for name in "ab":
        prediction = store.prediction(key(name))
        assert prediction is not None
        assert prediction.error is not None
        kinds[name] = (prediction.status, prediction.error.type, prediction.error.message)
    assert kinds == {
        "a": ("timeout", "Timeout", "d/test/a: the model did not return"),
        "b": ("model_error", "WorkerDied", "d/test/b: the model's process ended"),
    }
    assert [event["status"] for event in events(store)] == ["timeout", "model_error"]
    assert seen == [1, 2]


def test_the_status_file_holds_what_earlier_sessions_finished_too(store: RunStore, tmp_path: Path) -> None:
    progress = RunProgress(store=store, total=3)
    progress.counts.update({"ok": 1})
    progress.finish(1, [finished("b", "empty")])
    assert json.loads((tmp_path / "run" / "status.json").read_text()) == {
        "state": "running",
        "done": 2,
        "total": 3,
        "counts": {"empty": 1, "ok": 1},
    }

"""What is counted, stored and noted while a run goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import InterruptedRunError
from harness.records import ErrorInfo, Prediction, PredictionStatus
from harness.runs.engine.progress import FailureLimit, RunProgress
from harness.runs.engine.worker import Finished, to_finished
from harness.runs.store import RunStore
from tests.unit.runs.engine.engine_samples import ask, asks, key


def finished(name: str, status: PredictionStatus = "ok", text: str = "yes") -> Finished:
    return to_finished(Prediction(key=key(name), status=status, text=text))


def events(store: RunStore) -> list[dict[str, Any]]:
    return [
        {name: value for name, value in event.items() if name not in ("time", "clock")}
        for event in store.directory.read_events()
    ]


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


def failed(name: str, status: PredictionStatus = "model_error") -> Finished:
    trace = 'Traceback (most recent call last):\n  File "mine.py", line 7, in predict\nValueError: no'
    error = ErrorInfo(type="ValueError", message=f"no {name}", traceback=trace)
    return to_finished(Prediction(key=key(name), status=status, error=error))


def finished_until_it_stops(store: RunStore, statuses: str, limit: FailureLimit | None, batch: int = 1) -> str:
    """Finish requests, `.` well, `x` failed, `t` timed out and `d` without data; return which were taken."""
    progress = RunProgress(store=store, total=100, limit=limit)
    kinds: dict[str, PredictionStatus] = {"x": "model_error", "t": "timeout", "d": "data_error"}
    for start in range(0, len(statuses), batch):
        part = statuses[start : start + batch]
        names = [f"{start + index}" for index in range(len(part))]
        items = [
            finished(name) if kind == "." else failed(name, kinds[kind]) for name, kind in zip(names, part, strict=True)
        ]
        try:
            progress.finish(start, items)
        except InterruptedRunError:
            return statuses[: start + len(part)]
    return ""


ONE_PERCENT = FailureLimit(option="1%", allowed=1, wanted=100)


@pytest.mark.parametrize(
    ("statuses", "limit", "taken"),
    [
        ("x" * 50, ONE_PERCENT, "x" * 20),
        ("xt" * 25, ONE_PERCENT, "xt" * 10),
        ("d" * 5 + "x" * 50, ONE_PERCENT, "d" * 5 + "x" * 20),  # a file that is missing says nothing of the model
        ("x" * 50, FailureLimit(option="60%", allowed=60, wanted=100), "x" * 20),
        ("." * 30 + "xx" + "." * 9, ONE_PERCENT, "." * 30 + "xx"),
        ("xx" + "." * 40, ONE_PERCENT, "xx" + "." * 18),
        (".x" * 30, FailureLimit(option="20", allowed=20, wanted=100), ".x" * 21),
        ("." * 60 + "x", ONE_PERCENT, ""),
        ("x" + "d" * 60, ONE_PERCENT, ""),
        ("x" * 100, FailureLimit(option="100%", allowed=100, wanted=100), ""),
        ("x" * 100, None, ""),
        ("." * 98 + "xx", ONE_PERCENT, ""),  # nothing is left to be spared
    ],
)
def test_a_run_that_has_failed_already_stops(
    store: RunStore, statuses: str, limit: FailureLimit | None, taken: str
) -> None:
    assert finished_until_it_stops(store, statuses, limit) == taken


def test_each_sample_of_a_batch_counts(store: RunStore) -> None:
    assert finished_until_it_stops(store, "x" * 64, ONE_PERCENT, batch=8) == "x" * 24


def test_a_run_that_stops_says_why_where_the_model_failed_and_how_to_go_on(store: RunStore) -> None:
    progress = RunProgress(store=store, total=100, limit=ONE_PERCENT)
    with pytest.raises(InterruptedRunError) as raised:
        progress.finish(1, [failed(str(number)) for number in range(20)])
    assert str(raised.value) == (
        "the model failed on all of the first 20 requests, and the run stops before the other 80: --max-failures 1% "
        "allows 1 of 100.\n"
        "20 failures like this one:\n"
        'Traceback (most recent call last):\n  File "mine.py", line 7, in predict\nValueError: no\n'
        "What is finished is kept, failures included. The same command with --max-failures 100% goes on in spite of "
        "them; another --out begins anew."
    )
    assert events(store)[-1]["event"] == "finished"
    assert len(store.offsets) == 20


def test_requests_that_are_given_up_count_among_the_failures(store: RunStore) -> None:
    progress = RunProgress(store=store, total=100, limit=ONE_PERCENT)
    progress.finish(1, [finished(str(number)) for number in range(20)])
    progress.give_up(ask("a"), "timeout", "no answer within 5 s")
    with pytest.raises(InterruptedRunError, match=r"the model failed on 2 of 22 requests(.|\n)*WorkerDied"):
        progress.give_up(ask("b"), "model_error", "the process ended")


def test_a_model_that_stops_the_run_stops_it_after_its_answers_are_stored(store: RunStore) -> None:
    progress = RunProgress(store=store, total=3)
    with pytest.raises(InterruptedRunError) as caught:
        progress.finish(1, [Finished("", "model_error", "the budget is spent"), finished("a")])
    assert str(caught.value) == ("the budget is spent. What is finished is kept; run the same command again to go on.")
    assert progress.counts == {"ok": 1}
    assert events(store)[-1]["keys"] == [key("a")]

"""The runner in process: what a dead process left is dealt with, signals and hung models end the run resumably."""

import json
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.records import Answer, Prediction, Request
from harness.records.codec import request_from_json
from harness.runs.directory import RunDirectory
from harness.runs.engine.in_process import Watchdog, run_in_process
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.signals import TerminatedError
from harness.runs.engine.suspects import find_suspects
from harness.runs.engine.worker import Finished, Worker, to_finished
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore
from tests.unit.runs.engine.engine_samples import SETUP, Model, asks, echo, key


def in_process(store: RunStore, batches: Iterable[list[Ask]], total: int, *, invariant: bool = True) -> RunProgress:
    """Run as a session that does not say that it stopped."""
    suspects = find_suspects(list(store.directory.read_events()))
    store.event("session", runner="process")
    progress = RunProgress(store=store, total=total)
    run_in_process(SETUP, batches, progress, suspects, timeout=60, batch_invariant=invariant)
    return progress


def test_a_run_stores_every_answer_and_keeps_its_books(use: Callable[[Model], Model], store: RunStore) -> None:
    use(Model(echo))
    told: list[int] = []
    progress = RunProgress(store=store, total=3, watch=lambda books: told.append(books.done))
    run_in_process(SETUP, [asks("ab"), asks("c")], progress, find_suspects([]), timeout=60, batch_invariant=True)
    assert (progress.done, progress.faults, progress.coverage, told) == (3, 0, 1.0, [2, 3])
    events = [(event["event"], event.get("attempt"), len(event["keys"])) for event in store.directory.read_events()]
    assert events == [("started", 1, 2), ("finished", None, 2), ("started", 1, 1), ("finished", None, 1)]


class DiedError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def dies_on_b(use: Callable[[Model], Model], monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model that ends the process on the request `b`, past the worker that makes records of all its exceptions."""
    model = use(Model(echo))
    answer = Worker.answer

    def dying(self: Worker, requests: Sequence[str]) -> list[Finished]:
        if any('"text":"b"' in text for text in requests):
            model.batches.append([request_from_json(json.loads(text)).prompt for text in requests])
            raise DiedError
        return answer(self, requests)

    monkeypatch.setattr(Worker, "answer", dying)
    return model


def sessions(store: RunStore, names: str, *, invariant: bool) -> int:
    """Run until a session ends in peace; return how many died before."""
    for died in range(20):
        batches = [missing] if (missing := [each for each in asks(names) if not store.is_done(each.key)]) else []
        if not invariant:
            batches = [asks(names)] if batches else []
        try:
            in_process(store, batches, len(names), invariant=invariant)
        except DiedError:
            continue
        return died
    pytest.fail("it never ends")


@pytest.mark.usefixtures("dies_on_b")
def test_a_sample_alone_at_three_ends_in_a_row_is_given_up(store: RunStore) -> None:
    assert sessions(store, "abcd", invariant=True) == 4  # once in its batch, three times alone
    assert store.statuses == {}
    prediction = store.prediction(key("b"))
    assert prediction is not None
    assert prediction.status == "model_error"
    assert prediction.error is not None
    assert prediction.error.message == "d/test/b: the model ended the process 3 times with only this sample in flight"
    assert all(store.is_done(key(name)) for name in "abcd")


def test_a_batch_that_must_stay_whole_is_split_only_after_three_ends(dies_on_b: Model, store: RunStore) -> None:
    model = dies_on_b
    assert sessions(store, "abcd", invariant=False) == 6
    assert model.batches[:4] == [*([list("abcd")] * 3), ["a"]]
    assert model.batches[4:] == [["b"], ["b"], ["b"], list("acd")]


def test_a_prediction_without_its_event_is_not_asked_again(use: Callable[[Model], Model], store: RunStore) -> None:
    store.event("session", runner="process")
    store.event("started", batch=1, keys=[key("a"), key("b")])
    store.record(key("a"), to_finished(Prediction(key=key("a"), status="ok", text="a")).line)
    model = use(Model(echo))
    assert sessions(store, "ab", invariant=True) == 0
    assert model.batches == [["b"]]


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, TerminatedError)])
def test_a_signal_ends_the_run_at_once(
    use: Callable[[Model], Model], store: RunStore, number: signal.Signals, kind: type[KeyboardInterrupt]
) -> None:
    before = signal.getsignal(number)

    def predict(_: Sequence[Request]) -> list[Answer]:
        signal.raise_signal(number)
        raise AssertionError("the signal did not come through")

    use(Model(predict))
    with pytest.raises(kind) as raised:
        in_process(store, [asks("ab")], 2)
    assert getattr(raised.value, "exit_code", 130) == (143 if kind is TerminatedError else 130)
    assert signal.getsignal(number) is before
    assert not store.offsets


def test_a_signal_that_the_model_swallows_ends_the_run_and_its_answers_are_not_trusted(
    use: Callable[[Model], Model], store: RunStore
) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException:  # noqa: BLE001 - what a careless model does
            return [Answer(text="aborted") for _ in requests]
        return []

    use(Model(predict))
    with pytest.raises(KeyboardInterrupt):
        in_process(store, [asks("ab")], 2)
    assert not store.offsets


def test_a_signal_waits_while_the_books_are_written(
    use: Callable[[Model], Model], store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(Model(echo))
    record = RunStore.record

    def interrupted(self: RunStore, name: str, line: str) -> bool:
        signal.raise_signal(signal.SIGINT)
        return record(self, name, line)

    monkeypatch.setattr(RunStore, "record", interrupted)
    with pytest.raises(KeyboardInterrupt):
        in_process(store, [asks("ab"), asks("c")], 3)
    assert [event["event"] for event in store.directory.read_events()] == ["session", "started", "finished"]
    assert len(store.offsets) == 2


def test_the_watchdog_leaves_those_alone_that_return_in_time(store: RunStore) -> None:
    with Watchdog(RunProgress(store=store, total=1)) as watchdog:
        watchdog.expect(0.05, asks("a"))
        watchdog.relax()
        time.sleep(0.25)
    assert list(store.directory.read_events()) == []


def test_the_watchdog_ends_the_process_with_3_and_notes_what_hung(tmp_path: Path) -> None:
    program = f"""
        import time
        from pathlib import Path
        from harness.runs.engine.progress import RunProgress
        from harness.runs.plan_file import Ask
        from harness.runs.engine.in_process import Watchdog
        from harness.runs.store import RunStore
        store = RunStore(Path({str(tmp_path)!r}) / "run")
        store.open({{}})
        with Watchdog(RunProgress(store=store, total=9)) as watchdog:
            watchdog.expect(0.1, [Ask("k%d" % n, "", "d/test/%d" % n) for n in range(5)])
            time.sleep(60)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 3
    assert "did not return within 0.1 s on d/test/0, d/test/1, d/test/2 .... What is finished is kept" in done.stderr
    (event,) = RunDirectory(tmp_path / "run").read_events()
    assert (event["event"], event["keys"]) == ("hung", ["k0", "k1", "k2", "k3", "k4"])
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "hung"


def test_a_model_is_closed_however_the_run_ends(use: Callable[[Model], Model], store: RunStore) -> None:
    closed: list[str] = []

    def fail(_: str) -> None:
        raise ValueError("no weights")

    for load in (lambda _: None, fail):
        model = Model(echo, load)
        model.close = lambda: closed.append("closed")  # type: ignore[attr-defined]
        use(model)
        try:
            run_in_process(
                SETUP,
                [asks("a")],
                RunProgress(store=store, total=1),
                find_suspects([]),
                timeout=60,
                batch_invariant=True,
            )
        except ModelError:
            closed.append("not loaded")
    assert closed == ["closed", "closed", "not loaded"]

"""The reference semantics: every fault of a model becomes a record, and what a dead process left is dealt with."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, ModelError, SpecError
from harness.models.resolve import ModelReference
from harness.records import Answer, Capabilities, ErrorInfo, Media, MediaPart, Prediction, Request, TextPart, Turn
from harness.records.codec import canonical, prediction_from_json, to_json
from harness.runs.directory import RunDirectory
from harness.runs.engine import worker as worker_module
from harness.runs.engine.in_process import Watchdog, run_in_process
from harness.runs.engine.progress import RunProgress
from harness.runs.engine.signals import Interruption, TerminatedError
from harness.runs.engine.suspects import find_suspects
from harness.runs.engine.worker import Worker, WorkerSetup, stdout_to_stderr, to_finished
from harness.runs.plan_file import Ask
from harness.runs.store import RunStore

Predict = Callable[[Sequence[Request]], object]


class Model:
    """An adapter whose `predict` and `load` are given."""

    def __init__(self, predict: Predict, load: Callable[[str], None] = lambda _: None) -> None:
        self.load, self._predict = load, predict
        self.batches: list[list[str]] = []

    def capabilities(self) -> Capabilities:
        return Capabilities()

    def predict(self, requests: Sequence[Request]) -> Any:
        self.batches.append([request.prompt for request in requests])
        return self._predict(requests)


def echo(requests: Sequence[Request]) -> list[Answer]:
    return [Answer(text=request.prompt) for request in requests]


def key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def ask(name: str, *more: MediaPart) -> Ask:
    turn = Turn(role="user", parts=(*more, TextPart(text=name)))
    return Ask(key(name), canonical(to_json(Request(messages=(turn,), key=key(name)))), f"d/test/{name}")


def asks(names: str) -> list[Ask]:
    return [ask(name) for name in names]


SETUP = WorkerSetup(reference=ModelReference(text="mine.py:Mine", target="mine:Mine"), roots=())


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Model], Model]:
    """Have workers build this model."""

    def use(model: Model) -> Model:
        monkeypatch.setattr(worker_module, "build", lambda _: model)
        return model

    return use


def answered(_: Model, names: str, **more: Any) -> list[Prediction]:
    """Return what a worker that holds the model in use answers."""
    worker = Worker(SETUP, **more)
    worker.load()
    finished = worker.answer([each.request for each in asks(names)])
    assert [item.key for item in finished] == [key(name) for name in names]
    return [prediction_from_json(json.loads(item.line)) for item in finished]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    store = RunStore(tmp_path / "run")
    store.open({"seed": 0})
    yield store
    store.close()


def test_answers_come_back_by_key(use: Callable[[Model], Model]) -> None:
    predictions = answered(use(Model(echo)), "ab")
    assert [(each.status, each.text) for each in predictions] == [("ok", "a"), ("ok", "b")]


def test_a_sample_that_raises_fails_alone_and_the_others_stand(use: Callable[[Model], Model]) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        if any(request.prompt == "c" for request in requests):
            raise ValueError("no c")
        return echo(requests)

    model = use(Model(predict))
    predictions = answered(model, "abcd")
    assert [each.status for each in predictions] == ["ok", "ok", "model_error", "ok"]
    assert predictions[2].error is not None
    assert (predictions[2].error.type, predictions[2].error.message) == ("ValueError", "no c")
    assert "raise ValueError" in predictions[2].error.traceback
    assert model.batches == [list("abcd"), list("ab"), list("cd"), ["c"], ["d"]]


@pytest.mark.parametrize("error", [SystemExit(0), KeyboardInterrupt(), MemoryError(), RecursionError()])
def test_a_model_that_ends_the_program_by_an_exception_is_a_model_error(
    use: Callable[[Model], Model], error: BaseException
) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        if requests[-1].prompt == "b":
            raise error
        return echo(requests)

    predictions = answered(use(Model(predict)), "ab")
    assert [each.status for each in predictions] == ["ok", "model_error"]
    assert predictions[1].error is not None
    assert predictions[1].error.type == type(error).__name__


@pytest.mark.parametrize("error", [KeyboardInterrupt, TerminatedError])
def test_the_users_own_interruption_passes(use: Callable[[Model], Model], error: type[BaseException]) -> None:
    def predict(_: Sequence[Request]) -> list[Answer]:
        raise error

    with pytest.raises(error):
        answered(use(Model(predict)), "a", interrupted=lambda: True)


def test_an_interruption_that_the_model_turned_into_an_error_passes(use: Callable[[Model], Model]) -> None:
    def predict(_: Sequence[Request]) -> list[Answer]:
        raise RuntimeError("generation was aborted")

    with pytest.raises(KeyboardInterrupt):
        answered(use(Model(predict)), "a", interrupted=lambda: True)


def test_a_data_error_of_one_sample_is_its_own(use: Callable[[Model], Model]) -> None:
    def predict(_: Sequence[Request]) -> list[Answer]:
        raise DataError("slices are missing")

    (prediction,) = answered(use(Model(predict)), "a")
    assert prediction.status == "data_error"


def test_a_missing_file_is_a_data_error_and_the_model_is_not_asked(use: Callable[[Model], Model]) -> None:
    model = use(Model(echo))
    worker = Worker(SETUP)
    worker.load()
    lost = ask("lost", MediaPart(media=Media(path="gone.png", sha256=key("gone"))))
    finished = worker.answer([lost.request, ask("here").request])
    assert {item.key: item.status for item in finished} == {key("lost"): "data_error", key("here"): "ok"}
    assert model.batches == [["here"]]


def test_a_generator_is_as_good_as_a_list(use: Callable[[Model], Model]) -> None:
    predictions = answered(use(Model(lambda requests: (answer for answer in echo(requests)))), "ab")
    assert [each.text for each in predictions] == ["a", "b"]


def endless(_: Sequence[Request]) -> Iterable[Answer]:
    while True:
        yield Answer(text="more")


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda requests: echo(requests)[1:], "returned 1 answers for 2 requests; expected one per request, in order"),
        (lambda requests: [*echo(requests), Answer()], "returned 3 answers for 2 requests"),
        (endless, "returned 3 answers for 2 requests"),
        (lambda _: None, "predict() returned NoneType, expected one Answer per request, in order"),
        (lambda _: "ab", "predict() returned str, expected one Answer per request, in order"),
        (lambda requests: dict(enumerate(echo(requests))), "predict() returned dict, expected one Answer per request"),
        (lambda _: ["a", "b"], "predict() returned str for a request, expected Answer"),
    ],
)
def test_what_is_no_list_of_answers_is_a_model_error(
    use: Callable[[Model], Model], predict: Predict, message: str
) -> None:
    for prediction in answered(use(Model(predict)), "ab"):
        assert prediction.status == "model_error"
        assert prediction.error is not None
        assert message in prediction.error.message


@pytest.mark.parametrize(
    "answer",
    [
        Answer(text="half \ud800 of a pair"),
        Answer(text="yes", rendered=b"bytes"),  # type: ignore[arg-type]
        Answer(text="yes", usage={"tokens": float("nan")}),
        Answer(text="yes", usage={"tokens": object()}),  # type: ignore[dict-item]
        Answer(text="yes", masks=5),  # type: ignore[arg-type]
        Answer(text="yes", nll=[object()]),  # type: ignore[list-item]
    ],
)
def test_an_answer_that_cannot_be_stored_fails_alone(use: Callable[[Model], Model], answer: Answer) -> None:
    first, second = answered(use(Model(lambda _: [answer, Answer(text="fine")])), "ab")
    assert first.status == "model_error"
    assert first.error is not None
    assert first.error.type == "ModelError"
    assert second.text == "fine"


def test_an_error_with_half_a_character_can_be_stored(use: Callable[[Model], Model]) -> None:
    (prediction,) = answered(use(Model(lambda _: [Answer(error=ErrorInfo(type="E", message="\ud800!"))])), "a")
    assert prediction.error is not None
    assert prediction.error.message.endswith("!")


def test_a_model_that_changes_its_requests_changes_nothing_else(use: Callable[[Model], Model]) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        for request in requests:
            object.__setattr__(request, "key", "0" * 64)
            object.__setattr__(request, "wants", ("masks",))
        if len(requests) > 1:
            raise ValueError("one at a time")
        return [Answer(text=requests[0].prompt)]

    assert [each.status for each in answered(use(Model(predict)), "ab")] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (OSError("no such weights"), ModelError, r"--model mine\.py:Mine: load\(\) failed: OSError: no such weights\n"),
        (SystemExit(1), ModelError, r"load\(\) failed: SystemExit: 1\n"),
        (SpecError("line 3 is broken"), SpecError, r"--model mine\.py:Mine: load\(\) failed: line 3 is broken$"),
    ],
)
def test_a_model_that_cannot_be_loaded_says_so(
    use: Callable[[Model], Model], error: BaseException, kind: type[Exception], message: str
) -> None:
    def load(_: str) -> None:
        raise error

    use(Model(echo, load))
    with pytest.raises(kind, match=message):
        Worker(SETUP).load()


def test_what_a_model_prints_goes_to_stderr_also_from_native_code(capfd: pytest.CaptureFixture[str]) -> None:
    with stdout_to_stderr():
        print("from python")  # noqa: T201 - what a model might do
        os.write(1, b"from native code\n")
    os.write(1, b"result\n")
    captured = capfd.readouterr()
    assert captured.out == "result\n"
    assert "from native code" in captured.err


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
    assert (progress.done, progress.faults, progress.coverage, progress.answered, told) == (3, 0, 1.0, 3, [2, 3])
    events = [(event["event"], event.get("attempt"), len(event["keys"])) for event in store.directory.read_events()]
    assert events == [("started", 1, 2), ("finished", None, 2), ("started", 1, 1), ("finished", None, 1)]


class DiedError(BaseException):
    """Stands for the end of the process: nothing catches it."""


def dies_on(name: str) -> Predict:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        if any(request.prompt == name for request in requests):
            raise DiedError
        return echo(requests)

    return predict


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


def test_a_sample_alone_at_three_ends_in_a_row_is_given_up(use: Callable[[Model], Model], store: RunStore) -> None:
    use(Model(dies_on("b")))
    assert sessions(store, "abcd", invariant=True) == 4  # once in its batch, three times alone
    assert store.statuses == {}
    prediction = store.prediction(key("b"))
    assert prediction is not None
    assert prediction.status == "model_error"
    assert prediction.error is not None
    assert prediction.error.message == "d/test/b: the model ended the process 3 times with only this sample in flight"
    assert all(store.is_done(key(name)) for name in "abcd")


def test_a_batch_that_must_stay_whole_is_split_only_after_three_ends(
    use: Callable[[Model], Model], store: RunStore
) -> None:
    model = use(Model(dies_on("b")))
    assert sessions(store, "abcd", invariant=False) == 6
    assert model.batches[:4] == [*([list("abcd")] * 3), ["a"]]
    assert model.batches[4:] == [["b"], ["b"], ["b"], list("acd")]


def events(*lines: str) -> list[dict[str, Any]]:
    """Return the events that are meant by words such as `session`, `started 1 ab` and `finished 1 ab`."""
    found: list[dict[str, Any]] = []
    for text in lines:
        name, *rest = text.split()
        if name == "session":
            found.append({"event": name, "runner": rest[0] if rest else "process"})
        else:
            batch = int(rest[0]) if rest and rest[0].isdigit() else None
            found.append({"event": name, "batch": batch, "keys": list(rest[-1]) if rest else []})
    return found


@pytest.mark.parametrize(
    ("lines", "ends", "alone"),
    [
        ([], {}, {}),
        (["session", "started 1 ab"], {"a": 1, "b": 1}, {}),
        (["session", "started 1 ab", "finished 1 ab"], {}, {}),
        (["session", "started 1 a", "session", "started 1 a"], {"a": 2}, {"a": 2}),
        (["session", "started 1 a", "session", "started 1 a", "session"], {"a": 2}, {"a": 2}),
        (["session", "started 1 a", "session", "started 1 b", "finished 1 b", "started 2 a"], {"a": 1}, {"a": 1}),
        (["session", "started 1 a", "session", "started 1 b"], {"a": 1, "b": 1}, {"b": 1}),
        (["session", "started 1 a", "session", "started 1 ab", "session", "started 1 a"], {"a": 3, "b": 1}, {"a": 1}),
        (["session", "started 1 a", "stopped"], {}, {}),
        (["session", "started 1 a", "session", "started 1 a", "stopped", "session", "started 1 a"], {"a": 2}, {"a": 2}),
        (["session ray", "started 1 a", "started 2 b"], {}, {}),
        (["session", "started 1 a", "session ray", "started 1 a", "session", "started 1 a"], {"a": 2}, {"a": 2}),
        (["session", "started 1 a", "session", "given_up a", "started 1 b"], {"b": 1}, {"b": 1}),
    ],
)
def test_only_ends_without_a_word_make_suspects(lines: list[str], ends: dict[str, int], alone: dict[str, int]) -> None:
    suspects = find_suspects(events(*lines))
    assert dict(suspects.ends) == ends
    assert dict(suspects.alone) == alone


def test_the_watchdogs_word_makes_it_a_hang() -> None:
    suspects = find_suspects(events("session", "started 1 a", "hung a", "session", "started 1 a", "hung a"))
    assert suspects.causes == {"a": "hang"}
    assert suspects.alone == {"a": 2}


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


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    from threading import Thread

    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter() -> None:
        with Interruption() as interruption:
            seen.append(signal.getsignal(signal.SIGINT) is before and not interruption.has_come())

    thread = Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [True]


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

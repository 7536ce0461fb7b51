"""Every fault of a model becomes a record of the sample at fault, and the other samples are answered all the same."""

import asyncio
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from harness.errors import DataError, ModelError, SpecError
from harness.records import Answer, ErrorInfo, Media, MediaPart, Prediction, Request
from harness.records.codec import prediction_from_json
from harness.runs.engine.signals import TerminatedError
from harness.runs.engine.streams import stdout_to_stderr
from harness.runs.engine.worker import Worker
from tests.unit.runs.engine.engine_samples import SETUP, Model, Predict, ask, asks, echo, key


def answered(_: Model, names: str, **more: Any) -> list[Prediction]:
    """Return what a worker that holds the model in use answers."""
    worker = Worker(SETUP, **more)
    worker.load()
    finished = worker.answer([each.request for each in asks(names)])
    assert [item.key for item in finished] == [key(name) for name in names]
    return [prediction_from_json(json.loads(item.line)) for item in finished]


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


class PanicError(BaseException):
    """As libraries in Rust raise: no Exception, and its message cannot be read."""

    def __str__(self) -> str:
        raise GeneratorExit


ENDINGS = [
    SystemExit(0),
    KeyboardInterrupt(),
    MemoryError(),
    RecursionError(),
    asyncio.CancelledError(),
    GeneratorExit(),
    PanicError(),
]


@pytest.mark.parametrize("error", ENDINGS)
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
    assert "raise error" in predictions[1].error.traceback


def test_the_message_of_an_exception_is_recorded_whatever_it_is(use: Callable[[Model], Model]) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        raise {"a": PanicError(), "b": SystemExit(4), "c": SystemExit()}[requests[0].prompt]

    messages = [each.error.message for each in answered(use(Model(predict)), "abc") if each.error is not None]
    assert messages == [
        "<its message cannot be read: __str__ raises GeneratorExit>",
        "it calls sys.exit(4)",
        "it calls sys.exit()",
    ]


class Hollow(Answer):
    """An answer that ends the program when it is looked at."""

    @property
    def error(self) -> None:
        raise GeneratorExit("no more")


def test_an_answer_that_raises_when_it_is_read_costs_its_own_sample(use: Callable[[Model], Model]) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        return [Hollow.__new__(Hollow) if request.prompt == "a" else Answer(text="yes") for request in requests]

    predictions = answered(use(Model(predict)), "ab")
    assert [each.status for each in predictions] == ["model_error", "ok"]
    assert predictions[0].error is not None
    assert predictions[0].error.message == "the answer cannot be stored: GeneratorExit: no more"


def test_a_traceback_does_not_name_the_home_folder(
    use: Callable[[Model], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(Path(__file__).parent))

    def predict(_: Sequence[Request]) -> list[Answer]:
        raise ValueError

    (prediction,) = answered(use(Model(predict)), "a")
    assert prediction.error is not None
    assert 'File "~/test_worker.py"' in prediction.error.traceback


def test_a_model_that_cannot_be_loaded_onto_a_gpu_says_how_to_do_without(use: Callable[[Model], Model]) -> None:
    def load(_: str) -> None:
        raise RuntimeError("Torch not compiled with CUDA enabled")

    use(Model(echo, load))
    with pytest.raises(ModelError, match=r"\nIt was loaded onto cuda:0; --gpus-per-worker 0 loads it onto the CPU\.$"):
        Worker(replace(SETUP, device="cuda:0")).load()


@pytest.mark.parametrize("error", [SystemExit(0), asyncio.CancelledError(), PanicError()])
def test_a_load_that_ends_the_program_is_an_error_of_the_model(
    use: Callable[[Model], Model], error: BaseException
) -> None:
    def load(_: str) -> None:
        raise error

    use(Model(echo, load))
    with pytest.raises(ModelError, match=rf"--model mine.py:Mine: load\(\) failed: {type(error).__name__}: "):
        Worker(SETUP).load()


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
        (lambda requests: echo(requests)[1:], "returned 0 answers for 1 requests; expected one per request, in order"),
        (lambda requests: [*echo(requests), Answer()], "returned 2 answers for 1 requests"),
        (endless, "returned 2 answers for 1 requests"),
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


@pytest.mark.parametrize("wrong", [lambda answers: answers[1:], lambda answers: [*answers, Answer()], lambda _: []])
def test_a_batch_of_wrong_length_is_halved_and_only_the_guilty_fail(
    use: Callable[[Model], Model], wrong: Callable[[list[Answer]], list[Answer]]
) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        return wrong(echo(requests)) if any(request.prompt == "c" for request in requests) else echo(requests)

    assert {each.text: each.status for each in answered(use(Model(predict)), "abcdefgh")} == {
        **dict.fromkeys("abdefgh", "ok"),
        None: "model_error",
    }


def exits_by_itself(_: Sequence[Request]) -> list[Answer]:
    if os.fork() == 0:
        sys.exit(0)
    return [Answer(text="from the parent")]


def raises_in_the_child(_: Sequence[Request]) -> list[Answer]:
    if os.fork() == 0:
        raise ValueError("in the child")
    return [Answer(text="from the parent")]


def returns_twice(_: Sequence[Request]) -> list[Answer]:
    os.fork()
    return [Answer(text="from the parent")]


@pytest.mark.parametrize("predict", [exits_by_itself, raises_in_the_child, returns_twice])
def test_a_child_that_a_model_forks_is_no_second_worker(
    use: Callable[[Model], Model], predict: Predict, tmp_path: Path
) -> None:
    own, came_back = os.getpid(), tmp_path / "came back"
    worker = Worker(SETUP)
    use(Model(predict))
    worker.load()
    try:
        finished = worker.answer([ask("a").request])
    finally:
        if os.getpid() != own:
            came_back.touch()
            os._exit(0)
    pid, status = os.wait()
    assert (pid > 0, os.waitstatus_to_exitcode(status)) == (True, 1)
    assert not came_back.exists()
    assert [item.status for item in finished] == ["ok"]


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
        (SystemExit(1), ModelError, r"load\(\) failed: SystemExit: it calls sys\.exit\(1\)\n"),
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


def close_streams() -> None:
    sys.stdout.close()
    with sys.stderr:
        pass


def replace_streams() -> None:
    sys.stdout = sys.stderr = io.StringIO()


def drop_streams() -> None:
    sys.stdout = sys.stderr = None  # type: ignore[assignment]


def close_descriptors() -> None:
    os.closerange(1, 3)


@pytest.mark.parametrize("spoil", [close_streams, replace_streams, drop_streams, close_descriptors])
def test_what_a_model_does_to_the_streams_ends_with_it(
    spoil: Callable[[], None], capfd: pytest.CaptureFixture[str]
) -> None:
    with stdout_to_stderr():
        spoil()
    for descriptor, stream in ((1, sys.stdout), (2, sys.stderr)):
        stream.write("from python")
        stream.flush()
        os.write(descriptor, b", from native code")
    assert capfd.readouterr() == ("from python, from native code",) * 2


class Beginning(Model):
    """A model that takes its folder and the time of a sample, and says when it is closed."""

    def __init__(self, close: Callable[[], None] = lambda: None) -> None:
        super().__init__(echo)
        self.begun: list[tuple[Path | None, float]] = []
        self.close = close

    def begin_run(self, folder: Path | None, timeout: float) -> None:
        self.begun.append((folder, timeout))


def test_a_model_gets_a_folder_of_a_run_that_is_there(use: Callable[[Model], Model], tmp_path: Path) -> None:
    model = Beginning()
    use(model)
    for run in (tmp_path, tmp_path / "on another machine"):
        Worker(replace(SETUP, folder=run / "model", timeout=5.0)).load()
    Worker(SETUP).load()
    assert model.begun == [(tmp_path / "model", 5.0), (None, 5.0), (None, float("inf"))]


def test_a_model_that_cannot_be_closed_is_reported(
    use: Callable[[Model], Model], capsys: pytest.CaptureFixture[str]
) -> None:
    def close() -> None:
        raise ValueError("still open")

    use(Beginning(close))
    worker = Worker(SETUP)
    worker.close()  # before it is loaded there is nothing to close
    worker.load()
    worker.close()
    assert capsys.readouterr().err == "harness: --model mine.py:Mine: close() failed: ValueError: still open\n"


def test_a_model_may_stop_the_run_and_nothing_is_stored_for_what_it_did_not_ask(use: Callable[[Model], Model]) -> None:
    def predict(requests: Sequence[Request]) -> list[Answer]:
        stop = Answer(error=ErrorInfo(type="Stop", message="the budget is spent"))
        return [stop if request.prompt in "bc" else Answer(text="yes") for request in requests]

    use(Model(predict))
    worker = Worker(SETUP)
    worker.load()
    finished = worker.answer([each.request for each in asks("abcd")])
    assert [(item.key, item.line) for item in finished if not item.key] == [("", "the budget is spent")] * 2
    assert [item.key for item in finished if item.key] == [key("a"), key("d")]


def test_a_batch_of_auto_grows_and_is_halved_where_memory_is_short(
    use: Callable[[Model], Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.runs.engine.batch_growth.free_share", lambda: 1.0)  # whatever else runs here

    def predict(requests: Sequence[Request]) -> list[Answer]:
        if len(requests) > 6:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return echo(requests)

    model = use(Model(predict))
    worker = Worker(replace(SETUP, most_in_batch=64))
    worker.load()
    finished = worker.answer([each.request for each in asks("abcdefghijklmnopqrst")])
    assert [item.key for item in finished] == [key(name) for name in "abcdefghijklmnopqrst"]
    assert {item.status for item in finished} == {"ok"}
    assert [len(batch) for batch in model.batches] == [4, 8, 4, 4, 4, 4]


def test_media_of_the_next_batch_are_decoded_once_an_adapter_has_asked_for_some(
    use: Callable[[Model], Model], tmp_path: Path
) -> None:
    records = []
    for number in range(2):
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / f"{number}.png")
        digest = hashlib.sha256((tmp_path / f"{number}.png").read_bytes()).hexdigest()
        records.append(Media(path=f"{number}.png", sha256=digest, size=(3, 4)))

    def predict(requests: Sequence[Request]) -> list[Answer]:
        return [Answer(text=str(request.images[0].image()[0, 0, 0])) for request in requests]

    use(Model(predict))
    worker = Worker(replace(SETUP, roots=(tmp_path,)))
    worker.load()
    batches = [[ask(name, MediaPart(media=record)).request] for name, record in zip("ab", records, strict=True)]
    worker.prefetch(batches[0])
    assert worker.media._decoded == {}  # nothing is known yet of what the adapter does with them
    worker.answer(batches[0])
    worker.prefetch(batches[1])
    worker.close()
    assert len(worker.media._decoded) == 2

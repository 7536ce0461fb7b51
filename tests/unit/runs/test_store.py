"""The run directory: what is written stands, what is torn or damaged is found, and nobody writes beside us."""

import errno
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import DataError, InterruptedRunError, SpecError
from harness.records import Mask, Prediction, SoftMask
from harness.records.atomic_files import write_atomically
from harness.runs import store as store_module
from harness.runs.engine.worker import to_finished
from harness.runs.store import RunStore

RUN = {"model": {"id": "scripted"}, "seed": 0, "tasks": ("a", "b")}


def key(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def line(name: object, text: str = "yes") -> str:
    return to_finished(Prediction(key=key(name), status="ok", text=text)).line


OPENED: list[RunStore] = []


def opened(path: Path) -> RunStore:
    store = RunStore(path)
    store.open(RUN)
    OPENED.append(store)
    return store


@pytest.fixture(autouse=True)
def _closed_in_the_end() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def filled(path: Path, *names: object) -> Path:
    """Return the predictions file of a closed run that holds these."""
    store = opened(path)
    for name in names:
        assert store.record(key(name), line(name))
    store.close()
    return store.predictions.path


class FullDisk(io.FileIO):
    """A file that takes so many bytes and then no more."""

    room = 0

    def write(self, data: Any) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = super().write(bytes(data)[: self.room])
        self.room -= written
        return written


def test_what_is_recorded_is_there_in_this_process_and_the_next(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.record(key("a"), line("a", "Milz 脾"))
    assert store.is_done(key("a"))
    assert not store.is_done(key("b"))
    store.close()
    again = opened(tmp_path)
    prediction = again.prediction(key("a"))
    assert prediction is not None
    assert prediction.text == "Milz 脾"
    assert again.prediction(key("b")) is None
    assert again.statuses == {"ok": 1}
    assert again.repairs == []
    again.close()


def test_a_request_that_is_finished_keeps_its_first_answer(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.record(key("a"), line("a", "first"))
    assert not store.record(key("a"), line("a", "second"))
    store.close()
    assert store.predictions.path.read_bytes().count(b"\n") == 1


def test_of_a_line_that_stands_twice_the_first_counts_once(tmp_path: Path) -> None:
    first, second = filled(tmp_path / "one", "a"), filled(tmp_path / "two", "a", "b")
    second.write_bytes(second.read_bytes() + first.read_bytes())
    store = opened(tmp_path / "two")
    assert store.statuses == {"ok": 2}
    assert store.offsets[bytes.fromhex(key("a"))] == 0
    store.close()


@pytest.mark.parametrize("left", [0, 1, 70, 98, -1])
def test_a_torn_last_line_is_cut_off_and_the_rest_stands(tmp_path: Path, left: int) -> None:
    predictions = filled(tmp_path, "a", "b")
    first, second = predictions.read_bytes().splitlines(keepends=True)
    predictions.write_bytes(first + second[:left])
    store = opened(tmp_path)
    assert store.is_done(key("a"))
    assert not store.is_done(key("b"))
    assert bool(store.repairs) == bool(second[:left])
    assert store.record(key("b"), line("b"))
    store.close()
    assert predictions.read_bytes() == first + second


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"yes"', b'"yEs"'), (b'"ok"', b'"no"'), (b"}", b""), (b'{"key"', b"\0" * 6), (b"crc32", b"crc33")],
)
def test_a_damaged_line_is_reported_and_asked_again(tmp_path: Path, old: bytes, new: bytes) -> None:
    predictions = filled(tmp_path, "a", "b", "c")
    lines = predictions.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(old, new)
    predictions.write_bytes(b"".join(lines))
    store = opened(tmp_path)
    with pytest.raises(
        DataError, match=r"damaged in line 2, and a request of the run has no other answer; run the same"
    ):
        store.prediction(key("b"))
    assert store.prediction("") is None
    assert [store.is_done(key(name)) for name in "abc"] == [True, False, True]
    assert store.statuses == {"ok": 2}
    assert store.repairs == [f"{predictions}: damaged, so ignored and asked again: line 2"]
    (event,) = store.directory.read_events()
    assert (event["event"], event["damaged_lines"]) == ("repaired", [2])
    assert store.record(key("b"), line("b"))
    store.close()
    assert opened(tmp_path).is_done(key("b"))


def test_many_damaged_lines_are_named_in_one_sentence(tmp_path: Path) -> None:
    predictions = filled(tmp_path, "a")
    predictions.write_bytes(b"{}\n" * 7)
    assert opened(tmp_path).repairs[0].endswith("asked again: line 1, 2, 3, 4, 5 and 2 more")


def test_a_damaged_event_is_passed_over(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.event("one", batch=1)
    store.events.append(b'{"event": "tor')
    store.events.append(b"3")
    store.event("two")
    assert [event["event"] for event in store.directory.read_events()] == ["one", "two"]
    store.close()


def flip(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) == 1
    path.write_bytes(content.replace(old, new))


def test_damaged_events_and_sessions_are_said_and_left_out(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for name in ("one", "two"):
        store.event(name)
        store.add_session({"command": [name]})
    store.close()
    flip(store.directory.events_path, b"one", b"onf")
    flip(store.directory.sessions_path, b"one", b"onf")
    again = opened(tmp_path)
    again.add_session({"command": ["three"]})
    events, sessions = again.repairs
    assert events.endswith("events.jsonl: damaged, so ignored: 1 lines")
    assert sessions.endswith("sessions.jsonl: damaged, so left out: 1 of 2 lines")
    assert [session["command"] for session in again.directory.read_sessions()] == [["two"], ["three"]]
    assert [event["event"] for event in again.directory.read_events()] == ["two", "repaired", "repaired"]
    again.close()


@pytest.mark.parametrize("new", [b"{", b"\xff"])
def test_a_damaged_record_is_written_anew_by_its_own_command_only(tmp_path: Path, new: bytes) -> None:
    store = opened(tmp_path)
    store.close()
    whole = store.directory.run_path.read_bytes()
    for _ in (0, 1):
        flip(store.directory.run_path, whole[-9:], new)
        again = opened(tmp_path)
        again.close()
        assert store.directory.run_path.read_bytes() == whole
        assert again.repairs == [f"{store.directory.run_path}: was damaged and is written anew"]
    flip(store.directory.run_path, whole[-9:], new)
    other = RunStore(tmp_path)
    with pytest.raises(
        DataError, match=r"run\.json: is damaged .*; restore it, or repeat the command that began the run"
    ):
        other.open({**RUN, "seed": 99})


def test_a_damaged_list_of_digests_is_written_anew(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.close()
    path, whole = store.directory.checks.path, store.directory.checks.path.read_bytes()
    path.write_bytes(whole[:-9])
    again = opened(tmp_path)
    again.close()
    assert again.repairs == [f"{path}: was damaged and is written anew"]
    assert path.read_bytes() == whole


@pytest.mark.parametrize("room", [0, 30])
def test_a_full_disk_takes_the_line_back_and_says_so(tmp_path: Path, room: int) -> None:
    store = opened(tmp_path)
    store.record(key("a"), line("a"))
    full = FullDisk(store.predictions.path, "ab+")
    full.room = room
    whole, store.predictions._file = store.predictions._file, full  # type: ignore[assignment]
    with pytest.raises(InterruptedRunError) as raised:
        store.record(key("b"), line("b"))
    assert str(raised.value) == (
        f"{store.predictions.path}: cannot be written: No space left on device. What is finished is kept; make room "
        "and run the same command again."
    )
    assert not store.is_done(key("b"))
    assert whole is not None
    store.predictions._file = whole
    full.close()
    assert store.record(key("b"), line("b"))
    store.close()
    again = opened(tmp_path)
    assert again.statuses == {"ok": 2}
    assert again.repairs == []
    again.close()


def test_a_refused_sync_is_a_clear_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(tmp_path)

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(InterruptedRunError, match=r"predictions\.jsonl: cannot be written: Input/output error"):
            store.predictions.sync()
        with pytest.raises(InterruptedRunError, match="Input/output error"):
            store.close()
    opened(tmp_path).close()  # the lock was given back all the same


def test_a_journal_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "predictions").write_text("a file where a folder belongs")
    (tmp_path / "run.json").write_text(json.dumps(RUN))
    with pytest.raises(InterruptedRunError, match=r"predictions\.jsonl: cannot be written: (File exists|Not a dir)"):
        opened(tmp_path)


def test_large_masks_move_to_a_blob_and_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "BLOB_ABOVE_BYTES", 200)
    mask = Mask(size=(4, 4), counts="0" * 300)
    finished = to_finished(Prediction(key=key("a"), status="ok", masks=(mask,), text="seen"))
    store = opened(tmp_path)
    store.record(finished.key, finished.line)
    store.record(key("b"), line("b", "long" * 100))
    store.close()
    (blob,) = (tmp_path / "blobs").iterdir()
    again = opened(tmp_path)
    prediction = again.prediction(key("a"))
    assert prediction is not None
    assert prediction.masks == (mask,)
    assert prediction.text == "seen"
    blob.write_bytes(blob.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match=rf"{blob.name}: a stored prediction is damaged .* delete that file and run"):
        again.prediction(key("a"))
    again.close()
    blob.unlink()
    lacking = opened(tmp_path)
    assert not lacking.is_done(key("a"))
    assert lacking.is_done(key("b"))
    assert lacking.record(finished.key, finished.line)
    assert lacking.prediction(key("a")) == prediction
    lacking.close()


@pytest.mark.parametrize("masks", [(), (Mask(size=(4, 4), counts="0"),)])
def test_large_soft_masks_move_to_a_blob_and_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masks: tuple[Mask, ...]
) -> None:
    monkeypatch.setattr(store_module, "BLOB_ABOVE_BYTES", 200)
    soft = SoftMask(size=(4, 4), levels=(0.25, 0.5), data="A" * 300)
    wanted = Prediction(key=key("a"), status="ok", masks=masks, soft_masks=(soft,))
    finished = to_finished(wanted)
    store = opened(tmp_path)
    store.record(finished.key, finished.line)
    assert store.prediction(key("a")) == wanted
    assert "A" * 300 not in (tmp_path / "predictions" / "predictions.jsonl").read_text(encoding="utf-8")
    store.close()


def test_a_second_writer_is_refused_with_the_process_that_holds_the_run(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with pytest.raises(SpecError, match=f"--out {tmp_path}: process {os.getpid()} is writing this run; wait for it"):
        opened(tmp_path)
    store.close()
    opened(tmp_path).close()


def test_a_holder_that_left_no_number_is_another_process(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(SpecError, match="another process is writing this run"):
            opened(tmp_path)


def test_a_file_system_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(SpecError, match=f"--out {tmp_path}: cannot be written: No locks available; name a folder"):
        opened(tmp_path)


def test_another_run_is_refused_with_every_difference(tmp_path: Path) -> None:
    opened(tmp_path).close()
    other = RunStore(tmp_path)
    with pytest.raises(SpecError) as raised:
        other.open({"model": {"id": "otsu"}, "seed": 0, "limit": 3, "tasks": ["a", "b"]})
    assert str(raised.value).splitlines() == [
        f"--out {tmp_path}: holds another run; name another folder or repeat its command. It differs in:",
        "  limit: stored none, requested 3",
        '  model.id: stored "scripted", requested "otsu"',
    ]
    opened(tmp_path).close()  # the refused one left no lock


def test_what_differs_is_said_in_a_few_short_lines(tmp_path: Path) -> None:
    opened(tmp_path).close()
    tasks = {name: {"digest": "0" * 64} for name in "abcdefgh"}
    changed = {"model": {"id": "scripted", "weights": "f" * 64}, "seed": 0, "limit": None, "tasks": tasks}
    with pytest.raises(SpecError) as raised:
        RunStore(tmp_path).open({**changed, "words": "long " * 30})
    lines = str(raised.value).splitlines()[1:]
    assert lines[0] == "  model.weights: stored none, requested ffffffffffff"
    assert len(lines) == 3
    assert max(map(len, lines)) < 200


@pytest.mark.parametrize("name", [b"\xff", b"caf\xe9", b"a\xed\xa0\x80"])
def test_a_folder_whose_name_is_no_utf8_is_refused(tmp_path: Path, name: bytes) -> None:
    with pytest.raises(SpecError, match=r"^--out '.*\\udc.*': expected a path in UTF-8; name another folder$"):
        RunStore(tmp_path / os.fsdecode(name)).open({})


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(SpecError, match=r"holds other files and no run\.json; name an empty or a new folder"):
        opened(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(SpecError, match="out: is a file; expected a folder"):
        opened(tmp_path / "out")


def test_a_run_killed_before_its_first_file_can_begin_again(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / ".run.json.tmp").write_text('{"mod')
    store = opened(tmp_path)
    assert store.directory.read_run() == {**RUN, "tasks": ["a", "b"]}


def test_a_refused_replacement_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "status.json"
    write_atomically(path, "old")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(InterruptedRunError, match=r"status\.json: cannot be written: No space left on device"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_status_is_written_at_most_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("harness.runs.store.time.monotonic", lambda: now[0])
    store = RunStore(tmp_path)
    seen = []
    for seconds, at_once in ((0.0, False), (0.5, False), (0.6, True), (1.7, False)):
        now[0] = seconds
        store.status({"done": seconds}, at_once=at_once)
        seen.append(json.loads((tmp_path / "status.json").read_text())["done"])
    assert seen == [0.0, 0.0, 0.6, 1.7]


def test_workers_are_added_to_the_line_of_their_session(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.open({"seed": 0})
    store.add_worker({"worker": "nobody's"})
    for number in (1, 2):
        store.add_session({"command": ["harness", str(number)]})
        store.add_worker({"worker": "driver", "device": "cpu"})
    store.add_worker({"worker": "worker-2", "device": "cuda:0"})
    store.close()
    assert list(store.directory.read_sessions()) == [
        {"command": ["harness", "1"], "workers": [{"worker": "driver", "device": "cpu"}]},
        {
            "command": ["harness", "2"],
            "workers": [{"worker": "driver", "device": "cpu"}, {"worker": "worker-2", "device": "cuda:0"}],
        },
    ]

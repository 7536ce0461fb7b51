"""`process:COMMAND`: how the process is started, asked, restarted and ended."""

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import ModelError, SpecError
from harness.models.process import adapter as module
from harness.models.process import child as child_module
from harness.models.process.adapter import Process
from harness.models.resolve import build, capabilities_of, identity, parse
from harness.records import Answer, Request

READY = '{"ready": true, "takes": ["text"], "gives": ["text"]}'
INVARIANT = '{"ready": true, "takes": ["text"], "gives": ["text"], "batch_invariant": true}'
# Answers each request by its prompt; with `-S` Python starts in half the time.
HEAD = f"""
import json, os, sys, time
print('{INVARIANT}')
for line in sys.stdin:
    asked = json.loads(line)["requests"]
    prompts = [one["prompt"] for one in asked]
"""
REPLY = """
    print(json.dumps({"answers": [{"id": one["id"], "text": one["prompt"].upper()} for one in asked]}))
"""

Start = Callable[..., Process]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A factory of loaded adapters around a Python program, or around shell code with `shell=`."""
    made: list[Process] = []

    def begin(program: str = "", *, shell: str = "", **arguments: Any) -> Process:
        file = tmp_path / ("model.sh" if shell else "model.py")
        file.write_text(shell or program)
        command = f"sh {file}" if shell else f"{sys.executable} -S {file}"
        declared: dict[str, Any] = {"takes": "text", "gives": "text", **arguments}
        made.append(Process(command, **declared))
        made[-1].begin_run(tmp_path / "model", 60.0)
        made[-1].load("cpu")
        return made[-1]

    yield begin
    for one in made:
        one.close()


def asked(*prompts: str) -> list[Request]:
    from harness.records import TextPart, Turn

    return [
        Request(messages=(Turn(role="user", parts=(TextPart(text=prompt),)),), key=f"key-{prompt}")
        for prompt in prompts
    ]


def texts(answers: list[Answer]) -> list[str | None]:
    return [
        answer.text if answer.error is None else f"{answer.error.type}: {answer.error.message}" for answer in answers
    ]


def log(tmp_path: Path) -> str:
    (file,) = (tmp_path / "model").glob("process-*.log")
    return file.read_text()


def test_capabilities_are_what_the_process_says_and_are_remembered(tmp_path: Path, cache: Path) -> None:
    file = tmp_path / "model.sh"
    file.write_text(f"echo start >> {tmp_path}/starts\necho Loading...\necho '{READY[:-1]}, \"max_batch\": 3}}'\ncat\n")
    first = Process(f"sh {file}")
    found = capabilities_of(parse(f"process:sh {file}", {}), first)
    assert (found.takes, found.gives) == (frozenset({"text"}), frozenset({"text"}))
    assert (found.max_batch, found.max_images, found.batch_invariant, found.resources.gpus) == (3, 1, False, None)
    assert found.weights == (str(file),)
    assert Process(f"sh {file}", max_batch=5, gpus=0).capabilities().max_batch == 5
    assert (tmp_path / "starts").read_text() == "start\n"
    assert len(list((cache / "process").iterdir())) == 1
    file.write_text(f"{file.read_text()}# edited\n")
    Process(f"sh {file}").capabilities()
    assert (tmp_path / "starts").read_text() == "start\nstart\n"


def test_declared_capabilities_start_nothing() -> None:
    found = Process("sh -c 'exit 1'", takes=["text", "images"], gives="text masks").capabilities()
    assert (found.takes, found.gives, found.max_images) == (
        frozenset({"text", "images"}),
        frozenset({"text", "masks"}),
        100,
    )


def test_the_identity_holds_files_and_version_and_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model.sh").write_text("cat")
    (tmp_path / "weights.pt").write_text("1")
    arguments: dict[str, Any] = {"takes": "text", "gives": "text", "version": 3, "gpus": 0}
    reference = parse(f"process:sh {tmp_path}/model.sh --weights={tmp_path}/weights.pt -v /home/me/d:/data", arguments)
    adapter = build(reference)
    capabilities = capabilities_of(reference, adapter)
    found = identity(reference, adapter, capabilities)
    assert found["id"] == "process:sh model.sh --weights=weights.pt -v d:/data"
    assert (found["version"], found["arguments"], len(found["weights"])) == ("1+3", {"version": 3}, 2)


def test_prints_of_libraries_are_passed_over_and_kept_with_stderr(start: Start, tmp_path: Path) -> None:
    program = (
        HEAD
        + "    print('Loading... 100%')\n    print({'loss': 1})\n    sys.stderr.write('a\\rb sk-12345678abc\\n')"
        + REPLY
    )
    model = start(program)
    assert texts(model.predict(asked("yes", "no"))) == ["YES", "NO"]
    model.close()
    assert {"Loading... 100%", "{'loss': 1}", "a", "b ***"} <= set(log(tmp_path).splitlines())


def test_a_process_that_dies_is_started_again_and_loses_nothing(start: Start, tmp_path: Path) -> None:
    program = (
        HEAD
        + f"""
    if not os.path.exists("{tmp_path}/died"):
        open("{tmp_path}/died", "w").close()
        sys.stderr.write("out of memory")
        os.kill(os.getpid(), 9)
"""
        + REPLY
    )
    model = start(program)
    assert texts(model.predict(asked("a", "b"))) == ["A", "B"]
    assert "harness: the process ended by signal 9 (Killed); its last words: out of memory" in log(tmp_path)


def test_a_request_that_kills_the_process_is_given_up_and_the_others_are_answered(start: Start) -> None:
    model = start(HEAD + "    if 'bad' in prompts: sys.exit(4)" + REPLY)
    good, bad, other = texts(model.predict(asked("good", "bad", "other")))
    assert (good, other) == ("GOOD", "OTHER")
    assert bad == "ModelError: the process ended with exit code 4 (the 3 times that it was asked this alone)"


@pytest.mark.slow
def test_a_batch_whose_answers_depend_on_each_other_is_asked_whole_again(start: Start, tmp_path: Path) -> None:
    program = (
        HEAD.replace(', "batch_invariant": true', "")
        + f"""
    with open("{tmp_path}/batches", "a") as file: file.write(f"{{len(asked)}} ")
    if len(asked) == 2: sys.exit(4)
"""
        + REPLY
    )
    model = start(program)
    assert texts(model.predict(asked("a", "b"))) == ["A", "B"]
    assert (tmp_path / "batches").read_text() == "2 2 2 1 1 "


def test_a_process_that_only_dies_stops_the_run(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FRUITLESS", 4)
    model = start(shell=f"echo '{READY}'")  # it leaves with 0 at once
    first, second = texts(model.predict(asked("a"))), texts(model.predict(asked("b", "c")))
    assert first == ["ModelError: the process ended with exit code 0 (the 3 times that it was asked this alone)"]
    assert second[0] == second[1]
    assert second[0] is not None
    assert second[0].startswith("Stop: the process failed 4 times in a row and answered nothing between: ")


@pytest.mark.slow
def test_a_request_that_hangs_is_a_timeout_and_the_others_are_answered(start: Start) -> None:
    model = start(HEAD + "    if 'bad' in prompts: time.sleep(60)" + REPLY, timeout=0.4, batch_invariant=True)
    first, hung = texts(model.predict(asked("good", "bad")))
    assert (first, hung) == ("GOOD", "Timeout: no line within 0.4 s")


def test_a_timeout_needs_room_to_ask_again(start: Start) -> None:
    with pytest.raises(SpecError, match=r"timeout: expected at most half of --timeout, 30 s, .* found 31"):
        start(HEAD, timeout=31)


@pytest.mark.parametrize(
    ("shell", "message"),
    [
        ("echo gone >&2; exit 5", r"ended with exit code 5 before it wrote a line; its last words: gone"),
        ("exec sleep 60", r"did not say that it is ready: no line within 0.1 s; --model-args start_timeout=SECONDS"),
        ("echo '{\"answers\": []}'", "as the first line of JSON, found"),
        (f"echo '{READY}' | tr t x", r"expected .* in one line of JSON; Expecting value, column 11"),
        ("yes | head -c 3000", "printed more than 1,000 bytes of text on stdout where a line of JSON was expected"),
    ],
)
def test_a_process_that_does_not_get_ready_is_named(
    start: Start, monkeypatch: pytest.MonkeyPatch, shell: str, message: str
) -> None:
    monkeypatch.setattr(child_module, "MOST_PRINTED_BYTES", 1000)
    with pytest.raises(ModelError, match=message):
        start(shell=shell, start_timeout=0.1 if "sleep" in shell else 20)


def test_a_process_that_lacks_what_was_declared_is_refused(start: Start) -> None:
    with pytest.raises(
        ModelError,
        match=r"takes=text,gives=masks text: the process says that it takes text and gives text, without masks",
    ):
        start(shell=f"echo '{READY}'; cat", gives="text masks")


def test_a_process_that_says_something_new_is_asked_anew(tmp_path: Path) -> None:
    (tmp_path / "said").write_text(READY)
    command = f"sh -c 'cat {tmp_path}/said; echo; cat'"
    Process(command).capabilities()
    (tmp_path / "said").write_text(READY.replace('["text"]}', '["masks"], "version": "2"}'))
    with pytest.raises(ModelError) as caught:
        Process(command).load("cpu")
    assert str(caught.value) == (
        "the process says something else than before, so what was planned does not hold: gives was ['text'], is "
        "['masks'], version was None, is 2; run the same command again"
    )
    assert Process(command).capabilities().gives == {"masks"}


def test_a_line_that_is_too_long_ends_the_process(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "MOST_LINE_BYTES", 10_000)
    model = start(HEAD + "    if 'bad' in prompts: print('{\"' + 'x' * 100_000)" + REPLY)
    good, bad, other = texts(model.predict(asked("good", "bad", "other")))
    assert (good, other) == ("GOOD", "OTHER")
    assert bad is not None
    assert bad.startswith("ModelError: a line of the process is longer than 10,000 bytes; expected one line")


def test_two_lines_for_one_batch_shift_nothing(start: Start) -> None:
    model = start(HEAD + "    if 'bad' in prompts: print('{\"answers\": 0}')" + REPLY)
    (bad,) = texts(model.predict(asked("bad")))
    assert bad is not None
    assert bad.startswith('ModelError: expected {"answers": [...]} with one answer per request, found answers as int')
    assert texts(model.predict(asked("good"))) == ["GOOD"]


def test_answers_that_do_not_fit_into_a_pipe_arrive(start: Start) -> None:
    long = "x" * 200_000
    assert texts(start(HEAD + REPLY).predict(asked(long, "b"))) == [long.upper(), "B"]


@pytest.mark.slow
def test_the_process_and_what_it_started_end_with_the_adapter(start: Start, tmp_path: Path) -> None:
    model = start(
        shell=f"sleep 60 & echo $! $$ > {tmp_path}/pids; trap '' TERM; echo '{READY}'; while :; do sleep 1; done"
    )
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert model.child is not None
    began = time.monotonic()
    model.child.end(0)
    assert time.monotonic() - began < 2
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("", "expected a command, as in --model 'process:python my_model.py'"),
        ("sh 'a", "No closing quotation; quote it as in a shell"),
        ("no-such-program x", "'no-such-program' is no program; expected a name on the PATH or a path from"),
        ("{file}", "is not executable"),
    ],
)
def test_a_command_that_cannot_be_started_is_refused(tmp_path: Path, command: str, message: str) -> None:
    (tmp_path / "plain.txt").write_text("")
    with pytest.raises(SpecError, match=re.escape(message)):
        Process(command.replace("{file}", str(tmp_path / "plain.txt")))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"takes": "txet"}, "process: takes: expected some of"),
        ({"gives": ["mask"]}, "found 'mask' (did you mean 'masks'?)"),
        ({"timeout": 0}, "process: timeout: expected seconds above 0, found 0"),
        ({"start_timeout": "soon"}, "process: start_timeout: expected seconds above 0, found 'soon'"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=re.escape(message)):
        Process("sh", **arguments)

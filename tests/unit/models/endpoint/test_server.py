"""A server that is started for a model is up before it is asked, comes back when it ends, and never stays behind."""

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from harness.errors import ModelError, SpecError
from harness.models.endpoint.server import Server
from tests.support import tiny_endpoint
from tests.unit.models.endpoint.conftest import Open
from tests.unit.models.endpoint.test_adapter import ask

SERVE = f"{sys.executable} -S {tiny_endpoint.__file__} {{port}} {{model}}"


def starts(folder: Path) -> list[list[str]]:
    return [line.split() for line in (folder / "starts").read_text().splitlines()]


def gone(pid: int) -> bool:
    """Say whether a process ends within seconds."""
    for _ in range(100):
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            os.kill(pid, 0)
            if "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]:
                time.sleep(0.02)
                continue
        return True
    return False


@pytest.mark.slow
def test_a_server_is_started_revived_and_ended_with_all_that_it_started(opened: Open, tmp_path: Path) -> None:
    serve = SERVE.replace("{model}", str(tmp_path))
    adapter = opened(None, serve=serve, folder=tmp_path / "run" / "model")
    assert [answer.text for answer in adapter.predict([ask(0), ask(1)])] == ["yes"] * 2
    (tmp_path / "end").touch()
    assert [answer.text for answer in adapter.predict([ask(number) for number in range(2, 9)])] == ["yes"] * 7
    first, second = starts(tmp_path)
    adapter.close()
    assert all(gone(int(pid)) for pid in (*first[:2], *second[:2]))
    (log,) = (tmp_path / "run" / "model").glob("server-*.log")
    assert log.read_text() == "loading the model\n" * 2


def test_a_server_that_ends_at_once_says_its_last_words() -> None:
    command = f"{sys.executable} -S -c \"print('no GPU'); raise SystemExit(5)\" {{port}}"
    server = Server(command, "m", folder=None, seconds=10)
    with pytest.raises(
        ModelError, match=r"serve: the server ended with exit code 5 before it answered; its last words:\nno GPU"
    ):
        server.start()


def test_a_server_that_does_not_come_up_is_ended(tmp_path: Path) -> None:
    (tmp_path / "never").touch()
    server = Server(SERVE, str(tmp_path), folder=None, seconds=0.3)
    with pytest.raises(
        ModelError, match=r"did not answer /health or /v1/models on port \d+ within 0\.3 s; serve_timeout="
    ):
        server.start()
    assert all(gone(int(pid)) for pid in starts(tmp_path)[0][:2])


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("vllm serve {model}", "expected a command with {port} in it, as in 'vllm serve {model} --port {port}', found"),
        ("", "expected a command with {port} in it"),
        ("vllm 'serve {port}", "serve: No closing quotation"),
    ],
)
def test_a_command_without_a_place_for_the_port_is_refused(command: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Server(command, "m", folder=None, seconds=1)
    assert message in str(caught.value)


def test_a_server_that_keeps_ending_stops_the_run_and_never_had_the_key(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.models.endpoint.server.MOST_RESTARTS", 0)
    environment = {**os.environ, "OPENAI_API_KEY": "secret-of-another-host"}
    monkeypatch.setattr("harness.models.endpoint.server.os.environ", environment)
    adapter = opened(None, serve=SERVE.replace("{model}", str(tmp_path)))
    (tmp_path / "end").touch()
    (answer,) = adapter.predict([ask()])
    assert answer.error is not None
    assert answer.error.type == "Stop"
    assert answer.error.message.startswith("serve: the server ended 1 times, last with exit code 7; its last words:")
    assert starts(tmp_path)[0][2] == "None"

"""Whole runs of a model behind an endpoint: what is sent, what is stored, what it costs, and what a kill wastes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import InterruptedRunError, SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec, refuse_sending
from harness.models.endpoint import client
from harness.runs.directory import RunDirectory
from harness.tasks.catalog import index
from tests.support import tiny_endpoint
from tests.support.loopback import Asked, Loopback, Said, reply, serving
from tests.support.tiny_vqa_rad import write_release

KEY = "local-secret-4711-abc"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def run_spec(server: Loopback, folder: Path, samples: int = 12, **changes: Any) -> RunSpec:
    data = folder / "data"
    if not data.exists():
        write_release(data, samples)
    stated: dict[str, Any] = {
        "tasks": ("vqa_rad",),
        "model": "openai:m",
        "data_roots": (str(data),),
        "out": folder / "run",
        "cache": folder / "cache",
        "ray": "off",
        "max_failures": "100%",
    }
    arguments = {"base_url": server.url, **changes.pop("model_args", {})}
    return RunSpec(**{**stated, **changes, "model_args": arguments})


def write_prices(folder: Path) -> str:
    (folder / "prices.json").write_text('{"m": {"input": 1000, "output": 1000}}')
    return str(folder / "prices.json")


def test_a_run_stores_its_cost_and_no_key(tmp_path: Path) -> None:
    def say(asked: Asked, number: int) -> Said:
        if number % 5 == 3:
            return Said(status=500, body={"error": {"message": f"Bearer {KEY}"}})
        if "finding 1 " in asked.question:
            return Said(status=400, body={"error": {"message": f"unknown key {KEY}"}})
        return Said(body=reply(f"yes, {asked.headers['Authorization']}" if "finding 2 " in asked.question else "yes"))

    with serving(say) as server:
        spec = run_spec(server, tmp_path, model_args={"prices": write_prices(tmp_path), "concurrency": 4})
        found = evaluate(spec, command=["harness", "run", f"--model-args=extra={{}},system={KEY}"])
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"ok": 11, "model_error": 1}
    performance = json.loads((found.out / "performance.json").read_text())
    assert performance["tokens"] == 110
    assert performance["cost"] == pytest.approx(0.11)
    assert performance["retries"] == len(server.asked) - 12 > 0
    report = (found.out / "report.html").read_text()
    assert "<dt>cost</dt><dd>0.1100</dd>" in report
    assert "<dt>tokens</dt><dd>110, 99 of them read</dd>" in report
    files = {path.name: path.read_bytes() for path in found.out.rglob("*") if path.is_file()}
    assert {"predictions.jsonl", "events.jsonl", "sessions.jsonl", "results.json", "report.html"} <= files.keys()
    # The words of the command line are the test's own; a user who types the key there shows it to every program.
    assert [name for name, content in files.items() if KEY.encode() in content] == ["sessions.jsonl"]


def test_a_run_stops_at_its_budget_and_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    with serving() as server:
        whole = evaluate(run_spec(server, tmp_path))
        arguments: dict[str, Any] = {"prices": write_prices(tmp_path), "max_cost": 0.1}
        spec = run_spec(server, tmp_path, out=tmp_path / "other", model_args=arguments)
        before = len(server.asked)
        with pytest.raises(
            InterruptedRunError, match=r"max_cost=0\.1: 0\.0\d+ is spent, and the next call may take .*kept"
        ):
            evaluate(spec)
        spent = len(server.asked) - before
        # 10 tokens for 0.01 a call, and for each call in flight the limit of new tokens of the task is set aside.
        assert spent <= 10
        resumed = evaluate(run_spec(server, tmp_path, out=tmp_path / "other", model_args={**arguments, "max_cost": 9}))
    assert len(server.asked) == before + 12
    assert (resumed.out / "results.json").read_bytes() == (whole.out / "results.json").read_bytes()


def test_a_wrong_key_ends_the_command_resumably_and_stores_no_failure(tmp_path: Path) -> None:
    write_release(tmp_path / "data", 5)
    with serving(Said(status=401, body={"error": {"message": "bad key", "code": "invalid_api_key"}})) as server:
        words = ["run", "--tasks", "vqa_rad", "--model", "openai:m", "--model-args", f"base_url={server.url}", "--ray"]
        words += ["off", "--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "-q"]
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 3
    assert "bad key; OPENAI_API_KEY is not its key. What is finished is kept" in result.stderr
    assert list(RunDirectory(tmp_path / "run").read_values()) == []


def test_data_that_may_not_be_sent_are_sent_to_a_named_host_only(tmp_path: Path) -> None:
    with serving() as server:
        spec = run_spec(server, tmp_path, tasks=("vqa_rad", "mecovqa_c", "m3d_reg"))
        with pytest.raises(SpecError) as caught:
            evaluate(spec)
        assert server.asked == []
    assert str(caught.value) == (
        "--model sends questions and images to 127.0.0.1, which the terms of mecovqa_c, m3d_reg do not allow "
        "(terms.external_api is false). Nothing was sent; if you have the right to, add --send-data-to 127.0.0.1"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("host", "allowed", "passes"),
    [
        (None, (), True),
        ("api.openai.com", ("API.openai.com",), True),
        ("127.0.0.1", ("127.0.0.1:8000",), True),
        ("::1", ("[::1]:8000",), True),
        ("::1", ("::1",), True),
        ("api.openai.com", ("openai.com",), False),
        ("127.0.0.1", ("localhost",), False),
        ("api.openai.com", (), False),
    ],
)
def test_a_host_is_named_by_its_own_words(host: str | None, allowed: tuple[str, ...], passes: bool) -> None:
    task = index().load("mecovqa_c")
    if passes:
        refuse_sending([task], host, allowed)
    else:
        with pytest.raises(SpecError, match="--model sends questions and images to"):
            refuse_sending([task], host, allowed)


def test_a_group_is_refused_in_one_sentence() -> None:
    tasks = [index().load("mecovqa_c")] * 30
    with pytest.raises(SpecError, match=r"mecovqa_c and 22 more do not allow .*found --send-data-to example\.org"):
        refuse_sending(tasks, "api.openai.com", ("example.org",))


def command(server: Loopback, folder: Path, *more: str) -> list[str]:
    words = [sys.executable, "-m", "harness.cli", "run", "--tasks", "vqa_rad", "--model", "openai:m", "--ray", "off"]
    words += ["--model-args", f"base_url={server.url},concurrency=4", "--data-root", str(folder / "data")]
    return [*words, "--out", str(folder / "run"), "-q", *more]


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("ray_local")
def test_workers_on_ray_share_a_budget_and_the_answers(tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"prices": write_prices(tmp_path), "concurrency": 2, "max_tokens_total": 200}
    with serving(Said(body=reply(), wait=0.02)) as server:
        on_ray: dict[str, Any] = {"ray": "local", "workers": 2, "batch_size": 4}
        with pytest.raises(InterruptedRunError, match=r"max_tokens_total=200: \d+ is spent"):
            evaluate(run_spec(server, tmp_path, 40, model_args=arguments, **on_ray))
        assert len(server.asked) <= 20
        found = evaluate(run_spec(server, tmp_path, model_args={**arguments, "max_tokens_total": 10**6}, **on_ray))
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"ok": 40}
    files = [path.read_bytes() for path in found.out.rglob("*") if path.is_file()]
    assert not [content for content in files if KEY.encode() in content]
    assert len(list((found.out / "model").glob("answers-*.jsonl"))) >= 2


@pytest.mark.slow
def test_a_kill_repeats_no_call_that_was_answered(tmp_path: Path) -> None:
    write_release(tmp_path / "data", 60)
    answered: set[str] = set()

    def say(asked: Asked, number: int) -> Said:
        if killed is None and number >= 21:
            return Said(body=reply(), wait=30.0)
        answered.add(asked.question)
        return Said(body=reply())

    killed: int | None = None
    with serving(say) as server:
        process = subprocess.Popen(command(server, tmp_path), stderr=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + 60
        while len(server.asked) < 25 and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.3)  # what was sent has arrived
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        killed, before = len(server.asked), set(answered)
        assert list(RunDirectory(tmp_path / "run").read_values()) == []  # one batch, of which 21 were answered
        subprocess.run(command(server, tmp_path), check=True, capture_output=True)
    assert len(before) == 21
    assert {asked.question for asked in server.asked[killed:]} & before == set()
    assert len(answered) == 60
    assert json.loads((tmp_path / "run" / "results.json").read_text())["tasks"]["vqa_rad"]["counts"] == {"ok": 60}


@pytest.mark.slow
def test_a_server_of_ones_own_ends_with_a_driver_that_is_killed(tmp_path: Path) -> None:
    write_release(tmp_path / "data", 4)
    (tmp_path / "never").touch()
    serve = f"{sys.executable} -S {tiny_endpoint.__file__} {{port}} {tmp_path}"
    words = [sys.executable, "-m", "harness.cli", "run", "--tasks", "vqa_rad", "--model", "openai:m", "--ray", "off"]
    words += ["--model-args", f'serve="{serve}"', "--data-root", str(tmp_path / "data"), "--out", str(tmp_path / "run")]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    end = time.monotonic() + 60
    while not (tmp_path / "starts").exists() and time.monotonic() < end:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    time.sleep(1.5)
    for pid in (tmp_path / "starts").read_text().split()[:2]:
        assert not Path(f"/proc/{pid}").exists()
    (tmp_path / "never").unlink()
    done = subprocess.run([*words, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["tasks"]["vqa_rad"]["counts"] == {"ok": 4}

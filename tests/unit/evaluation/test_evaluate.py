"""A run from what was asked for to its results: what is refused, what is kept, and what a dry run leaves."""

import json
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import InterruptedRunError, ModelError, SpecError
from harness.evaluation import evaluate as evaluation
from harness.evaluation import setup
from harness.evaluation.evaluate import dry_run, evaluate
from harness.evaluation.setup import Observer, RunSpec
from harness.records import Answer, Capabilities, Request
from harness.runs.directory import RunDirectory
from harness.runs.engine import worker as worker_module
from tests.support.tiny_vqa_rad import write_release


@pytest.fixture
def spec(tmp_path: Path) -> RunSpec:
    """Six questions of which a scripted model answers all."""
    root = write_release(tmp_path / "data", 6)
    return RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"text": "yes"},
        data_roots=(str(root),),
        out=tmp_path / "run",
        cache=tmp_path / "cache",
        ray="off",
    )


def test_a_run_leaves_its_files_and_returns_its_results(spec: RunSpec, tmp_path: Path) -> None:
    found = evaluate(spec, command=["harness", "run"])
    directory = RunDirectory(tmp_path / "run")
    assert found.out == directory.path
    assert directory.read_results() == json.loads(json.dumps(found.results))
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"ok": 6}
    assert (found.faults, found.exit_code) == (0, 0)
    assert directory.report_path.is_file()
    session = json.loads(directory.sessions_path.read_text())
    assert session["command"] == ["harness", "run"]
    assert session["workers"] == [{"worker": "driver", "device": "cpu", "gpus": [], "gpu": None}]
    assert json.loads(directory.status_path.read_text())["state"] == "done"


def test_a_finished_run_is_scored_again_without_a_plan_or_a_model(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate(spec)
    before = RunDirectory(tmp_path / "run").results_path.read_bytes()

    def never(*_: object, **__: object) -> None:
        pytest.fail("it was done before")

    monkeypatch.setattr(evaluation, "write_plan", never)
    monkeypatch.setattr(evaluation, "run_in_process", never)
    again = evaluate(spec)
    assert again.results == first.results
    assert RunDirectory(tmp_path / "run").results_path.read_bytes() == before
    assert len(RunDirectory(tmp_path / "run").sessions_path.read_text().splitlines()) == 2


def test_a_runner_that_leaves_something_out_ends_the_run_resumably(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "run_in_process", lambda *_, **__: None)
        with pytest.raises(InterruptedRunError, match="6 of 6 requests are not finished; run the same command again"):
            evaluate(spec)
    assert not RunDirectory(tmp_path / "run").results_path.exists()
    assert evaluate(spec).results["tasks"]["vqa_rad"]["counts"] == {"ok": 6}


def test_failures_above_the_allowed_share_give_exit_code_3(spec: RunSpec) -> None:
    found = evaluate(replace(spec, model_args={"text": "yes", "fail_every": 2}, max_failures="0"))
    assert found.faults > found.allowed == 0
    assert found.exit_code == 3
    assert {failure.status for failure in found.failures} == {"model_error"}


class Failing:
    """Raises at every request."""

    version = "1"
    asked = 0

    def capabilities(self) -> Capabilities:
        return Capabilities(max_batch=4)

    def load(self, device: str) -> None: ...

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        type(self).asked += len(requests) == 1
        raise ValueError("bad pixel")


def test_a_model_that_always_fails_stops_the_run_and_can_be_gone_on_with(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_module, "build", lambda _: Failing())
    spec = replace(spec, data_roots=(str(write_release(tmp_path / "more", 30)),), batch_size=4)
    for _ in range(2):  # the second start does not ask the model again
        with pytest.raises(
            InterruptedRunError, match=r"all of the first 20 requests, and the run stops before the oth"
        ):
            evaluate(spec)
    assert Failing.asked == 20
    directory = RunDirectory(tmp_path / "run")
    assert not directory.results_path.exists()
    found = evaluate(replace(spec, max_failures="100%"))
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"model_error": 30}
    lines = [json.loads(line) for line in directory.failures_path.read_text().splitlines()]
    assert len(lines) == 30
    assert all(line["traceback"].endswith("ValueError: bad pixel\n") for line in lines)
    assert not any("During handling" in line["traceback"] for line in lines)


def test_submitted_predictions_are_read_to_the_end_whatever_is_wrong_with_them(spec: RunSpec, tmp_path: Path) -> None:
    root = write_release(tmp_path / "more", 30)
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(f'{{"sample_id": "vqa_rad/test/{number}", "text": 3}}\n' for number in range(30)))
    found = evaluate(replace(spec, model=f"predictions:{file}", model_args={}, data_roots=(str(root),)))
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"model_error": 30}


def test_a_wrong_max_failures_is_refused_before_anything_is_written(spec: RunSpec, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="--max-failures many"):
        evaluate(replace(spec, max_failures="many"))
    assert not (tmp_path / "run").exists()


def test_several_workers_need_ray(spec: RunSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError, match="--ray off runs one worker in this process; --workers 2 needs --ray local"):
        evaluate(replace(spec, workers=2))
    monkeypatch.setattr(setup, "ray_is_installed", lambda: False)
    with pytest.raises(SpecError, match="--workers 2: needs ray, which is not installed"):
        evaluate(replace(spec, workers=2, ray="auto"))


def test_a_dry_run_says_what_would_be_asked_and_writes_no_run(spec: RunSpec, tmp_path: Path) -> None:
    found = dry_run(spec, Observer())
    assert not (tmp_path / "run").exists()
    assert (found["requests"], found["data"], found["batch_size"]) == (6, "real", 16)
    cell = found["cells"]["vqa_rad"]
    assert (cell["samples"], cell["repeats"], cell["unsupported"]) == (6, 1, None)


def test_the_lines_of_a_predictions_file_are_reported(spec: RunSpec, tmp_path: Path) -> None:
    lines = [{"sample_id": f"vqa_rad/test/{number}", "text": "yes"} for number in range(6)]
    lines.append({"sample_id": "vqa_rad/test/99", "text": "yes"})
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = evaluate(replace(spec, model=f"predictions:{file}", model_args={}))
    assert [problem.line for problem in found.problems] == [7]
    stored = RunDirectory(tmp_path / "run").read_problems()
    assert [problem["line"] for problem in stored] == [7]


class Paid:
    """Stands for an endpoint: it repeats its key in what it answers and in what it raises."""

    version = "1"

    def __init__(self, *, api_key: str, region: str = "eu") -> None:
        self.api_key, self.region = api_key, region

    def capabilities(self) -> Capabilities:
        return Capabilities(batch_invariant=True, max_batch=2, execution_only=frozenset({"api_key"}))

    def load(self, device: str) -> None:
        self.device = device
        if self.api_key == "stale-and-refused":
            raise OSError(f"401 for {self.api_key}")

    def predict(self, requests: Sequence[Request]) -> list[Answer]:
        if len(requests) > 1:
            return [Answer(text=f"yes, says {self.api_key}", rendered=self.api_key) for _ in requests]
        raise ValueError(f"429 for {self.api_key!r}")


def test_a_secret_is_written_nowhere(spec: RunSpec, tmp_path: Path) -> None:
    secret = 'not"to be kept'
    spec = replace(
        spec,
        data_roots=(str(write_release(tmp_path / "odd", 7)),),
        model=f"{__name__}:Paid",
        model_args={"api_key": secret},
        batch_size=2,
        max_failures="100%",
    )
    command = ["harness", "run", "--model-args", f"api_key={json.dumps(secret)}"]
    found = evaluate(spec, command=command)
    assert found.results["tasks"]["vqa_rad"]["counts"] == {"ok": 6, "model_error": 1}
    written = {path.name: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert len(written) > 8
    assert [name for name, content in written.items() if b"to be kept" in content] == []
    assert b"yes, says ***" in written["predictions.jsonl"]
    assert b"ValueError: 429 for '***'" in written["failures.jsonl"]
    assert json.loads(written["sessions.jsonl"])["command"][-1] == "api_key=***"
    assert json.loads(written["run.json"])["model"]["arguments"] == {}


def test_no_message_holds_a_secret(spec: RunSpec) -> None:
    refused = replace(spec, model=f"{__name__}:Paid", model_args={"api_key": "stale-and-refused"})
    with pytest.raises(ModelError, match=r"load\(\) failed: OSError: 401 for \*\*\*") as raised:
        evaluate(refused)
    assert "stale-and" not in "".join(traceback.format_exception(raised.value))
    with pytest.raises(SpecError, match=r"^--model-args: region: its value looks like a key"):
        evaluate(replace(refused, model_args={"api_key": "x", "region": "sk-" + "a1b2" * 4}))


def test_no_secret_of_a_model_that_is_built_already_is_stored_or_said(spec: RunSpec) -> None:
    with pytest.raises(SpecError, match=r"^--model-args: secret: is named like a secret"):
        evaluate(replace(spec, model=Attributes(secret="keep it"), model_args={}))
    given = replace(spec, model=Attributes(api_key="stale-and-refused"), model_args={})
    with pytest.raises(ModelError, match=r"401 for \*\*\*"):
        evaluate(given)


class Attributes(Paid):
    """Holds what it is given."""

    def __init__(self, **attributes: str) -> None:
        vars(self).update(attributes)


class Leaving(Paid):
    """Ends the program where nobody expects it."""

    @property
    def version(self) -> str:  # type: ignore[override]
        sys.exit(0)


def test_a_sys_exit_of_a_model_is_an_error_wherever_it_comes(spec: RunSpec) -> None:
    message = r"^the code of the model or of a task ends the evaluation: SystemExit: it calls sys.exit\(0\)$"
    with pytest.raises(ModelError, match=message):
        evaluate(replace(spec, model=f"{__name__}:Leaving", model_args={"api_key": "x"}))

"""`harness chaos`: what its words mean, its exit codes, and one real run under fire."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.cli.evaluation import chaos
from harness.runs.chaos import experiment
from harness.runs.chaos.experiment import ChaosReport, ChaosSpec
from tests.support.tiny_vqa_rad import write_release


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `run_chaos` is called with; it reports the last element if that is a report."""
    seen: list[Any] = []

    def instead(spec: ChaosSpec, notice: Any) -> ChaosReport:
        reports = [one for one in seen if isinstance(one, ChaosReport)]
        seen.append(spec)
        notice("news")
        return reports[-1] if reports else ChaosReport(same=True, requests=9, starts=2)

    monkeypatch.setattr(experiment, "run_chaos", instead)
    return seen


def call(*words: str) -> Any:
    return CliRunner().invoke(main, ["chaos", *words])


def test_the_words_of_a_run_are_given_on(given: list[Any]) -> None:
    called = call(
        "harness", "run", "--tasks", "a", "--kills", "2", "--seed", "3", "--model=m", "--out", "x", "--drop", "0"
    )
    assert called.exit_code == 0, called.output
    assert called.stdout.startswith("the same bytes after 2 starts, kills: none, answers lost: 0, ")
    (spec,) = given
    assert spec.arguments == ("--tasks", "a", "--model=m", "--seed", "3")
    assert (spec.out, spec.kills, spec.seed, spec.drop) == (Path("x"), 2, 3, 0.0)


def test_other_results_end_with_1(given: list[Any]) -> None:
    report = ChaosReport(promise="interval", same=False, differences=["t: 1 undisturbed, 2 disturbed"])
    report.kills.update({"driver": 2, "worker": 1})
    given.append(report)
    called = call("--tasks", "a", "--quiet")
    assert called.exit_code == 1
    assert "other results after 0 starts, kills: 2 of a driver, 1 of a worker" in called.stdout
    assert "  t: 1 undisturbed, 2 disturbed" in called.stdout
    called = call("--tasks", "a", "--json")
    assert (called.exit_code, json.loads(called.stdout)["same"]) == (1, False)


def test_a_run_directory_stands_for_its_command(given: list[Any], tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    words = ["harness", "run", "--tasks", "a", "--out", "old", "--seed", "4", "--all", "--model", "~/m.py:M", "--json"]
    sessions = [{"command": words}, {"command": ["harness", "score", "x"]}]
    (tmp_path / "sessions.jsonl").write_text("".join(json.dumps(each) + "\n" for each in sessions))
    assert call(str(tmp_path)).exit_code == 0
    assert given[-1].arguments == ("--tasks", "a", "--model", f"{Path.home()}/m.py:M", "--seed", "0")
    (tmp_path / "sessions.jsonl").unlink()
    called = call(str(tmp_path))
    assert called.exit_code == 2
    assert "no session of it was `harness run`; give the options of the run instead" in called.stderr


def test_nothing_to_run_ends_with_2(given: list[Any], tmp_path: Path) -> None:
    called = call()
    assert called.exit_code == 2
    assert "expected the options of `harness run`, or a run directory; harness chaos --help shows both" in called.stderr
    assert "is no run directory" in call(str(tmp_path)).stderr
    assert given == []


def test_options_of_run_are_completed() -> None:
    context = chaos.chaos.make_context("chaos", ["--tasks", "a"])
    found = {item.value for item in chaos.chaos.shell_complete(context, "--")}
    assert {"--kills", "--drop", "--delay", "--seed", "--model-args", "--data-root"} <= found


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "runner", [("--ray", "off"), pytest.param(("--ray", "local", "--workers", "2"), marks=pytest.mark.ray)]
)
def test_a_real_run_under_fire_ends_with_the_same_bytes(tmp_path: Path, runner: tuple[str, ...]) -> None:
    data = write_release(tmp_path / "data", 48)
    words = [
        "--tasks",
        "vqa_rad",
        "--data-root",
        str(data),
        "--model",
        "scripted",
        "--model-args",
        "text=yes,sleep=0.02",
    ]
    words += ["--batch-size", "4", "--out", str(tmp_path / "out"), "--kills", "3", "--drop", "0.2", *runner]
    called = call(*words, "--seed", "21", "--json")
    assert called.exit_code == 0, called.output
    report = json.loads(called.stdout)
    assert report["same"]
    assert report["requests"] == 48
    assert sum(report["kills"].values()) == 3
    assert report["dropped"] > 0
    first, second = ((tmp_path / "out" / name / "results.json").read_bytes() for name in ("undisturbed", "disturbed"))
    assert first == second

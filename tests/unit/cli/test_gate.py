"""The commands gate, baseline pin and power as a CI job calls them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import harness
from harness.cli import main
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from tests.support import tiny_vqa_rad


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `yes` and `no` on 40 questions, each of an image of its own; the answer is yes to most of them."""
    folder = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_vqa_rad, "PICTURES", 40)  # an image is a cluster
        tiny_vqa_rad.write_release(folder / "data", 40)
    for text in ("yes", "nothing"):
        spec = RunSpec(
            tasks=("vqa_rad",),
            model="scripted",
            model_args={"text": text},
            data_roots=(str(folder / "data"),),
            out=folder / text,
            cache=folder / "cache",
            ray="off",
        )
        evaluate(spec)
    return folder


def call(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_the_exit_code_says_whether_the_candidate_is_worse(runs: Path, tmp_path: Path) -> None:
    yes, nothing = runs / "yes", runs / "nothing"
    assert call("gate", "--baseline", yes, "--candidate", yes).exit_code == 0
    assert call("gate", "--baseline", nothing, "--candidate", yes).exit_code == 0
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    result = call(
        *("gate", "--baseline", yes, "--candidate", nothing, "--json", "--github"),
        *("--junit", tmp_path / "gate.xml", "--markdown", summary),
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["rows"][0]["task"] == "vqa_rad"
    assert "REGRESSION   vqa_rad" in result.stderr
    assert "::error title=REGRESSION" in result.stderr
    assert 'failures="1"' in (tmp_path / "gate.xml").read_text()
    assert summary.read_text().startswith("before\n## harness gate: the candidate is worse")
    report = harness.gate(yes, nothing)
    assert (report.exit_code, report.rows[0].task) == (1, "vqa_rad")


def test_usage_is_2(runs: Path, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rows:\n  - {task: vqa_rad, metric: vqa_acuracy}\n")
    result = call("gate", "--baseline", runs / "yes", "--candidate", runs / "yes", "--policy", policy)
    assert result.exit_code == 2
    words = "harness: {}:2: metric: there is no metric 'vqa_acuracy' (did you mean 'vqa_accuracy'?)\n"
    assert result.stderr == words.format(policy)
    result = call("gate", "--baseline", tmp_path / "no", "--candidate", runs / "yes")
    assert (result.exit_code, "does not exist" in result.stderr) == (2, True)
    result = call("gate", "--baseline", runs / "yes", "--candidate", runs / "yes", "--junit", tmp_path / "no" / "f")
    assert result.exit_code == 2
    assert "--junit" in result.stderr
    assert "cannot be written: No such file or directory; name another file" in result.stderr


def test_a_run_is_pinned_to_a_file_and_gated_against_it(runs: Path, tmp_path: Path) -> None:
    file = tmp_path / "base.json"
    result = call("baseline", "pin", runs / "yes", "-o", file)
    assert (result.exit_code, result.stdout) == (0, f"{file}\n")
    assert "1 task, 40 samples" in result.stderr
    assert call("gate", "--baseline", file, "--candidate", runs / "nothing").exit_code == 1
    head = json.loads(call("baseline", "pin", runs / "yes", "-o", file, "--json").stdout)
    assert (head["samples"], len(head["sha256"])) == (40, 64)


def test_power_names_the_samples_or_the_drop(runs: Path) -> None:
    words = ("power", "--run", runs / "yes", "--metric", "vqa_accuracy", "--changed", 0.2)
    found = call(*words, "--n", 40)
    assert found.exit_code == 0, found.output
    assert "is caught with 90 % power by 40 samples of 40 patients; the run has 40 of 40" in found.stdout
    assert "noise assumed: 20% of the answers differ" in found.stderr
    (one,) = json.loads(call(*words, "--drop", 0.2, "--json").stdout)
    (many,) = json.loads(call(*words, "--drop", 0.2, "--rows", 12, "--json").stdout)
    assert one["n"] < many["n"]
    assert (one["drop"], one["power"], one["noise"]) == (0.2, 0.9, "assumed")
    (measured,) = json.loads(call(*words, "--drop", 0.2, "--against", runs / "nothing", "--json").stdout)
    assert (measured["noise"], measured["n"] > one["n"]) == ("measured", True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--metric", "vqa_accuracy"), "power: expected one of --drop and --n, to learn the other"),
        (("--metric", "dice", "--drop", 0.1), "no task has dice; its metrics are vqa_accuracy"),
        (("--metric", "vqa_accuracy", "--drop", 0.1, "--task", "vqa"), "has no scored task 'vqa'"),
        (("--metric", "vqa_accuracy", "--drop", 0.1, "--stratum", "x"), "--stratum x: expected KEY=VALUE"),
        (("--metric", "vqa_accuracy", "--n", 1), "catch no drop with 90 % power; name a larger one"),
        (("--metric", "vqa_accuracy", "--n", 9, "--rows", 2, "--policy", "p"), "expected one of --policy and --rows"),
    ],
)
def test_what_power_cannot_say_is_2(runs: Path, words: tuple[object, ...], message: str) -> None:
    result = call("power", "--run", runs / "yes", *words)
    assert result.exit_code == 2
    assert message in result.stderr

"""`harness judge` and `harness run --judge`: what they print, refuse and exit with."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.cli.evaluation.judge import judged_line, read_judge_arguments
from harness.errors import SpecError
from tests.support.tiny_vqa_rad import write_release

GOOD = 'text={"verdict": "correct", "score": 80}'


def harness(*words: object) -> Result:
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A run that is judged at once, and what the command said."""
    folder = tmp_path_factory.mktemp("cli")
    write_release(folder / "data", 3)
    words = ("--tasks", "vqa_rad", "--model", "scripted", "--model-args", "text=yes", "--ray", "off")
    judge = ("--judge", "scripted", "--judge-args", GOOD)
    return folder / "run", harness("run", *words, "--data-root", folder / "data", "--out", folder / "run", *judge)


def test_a_run_is_judged_as_soon_as_it_is_finished(run: tuple[Path, Result]) -> None:
    out, result = run
    assert result.exit_code == 0, result.output
    assert "judge  vqa_rad  correctness@scripted~" in result.stderr
    assert "  80.00 " in result.stderr
    assert "scripted: 3 requests now\n" in result.stderr
    assert list((out / "judgements").glob("001-correctness-*/run.json"))


def test_judging_says_what_is_unjudged_and_exits_with_3_where_nothing_is_judged(run: tuple[Path, Result]) -> None:
    out, _ = run
    result = harness("judge", out, "--judge", "scripted", "--judge-args", "text=hm", "--rubric", "m3d", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["tasks"]["vqa_rad"]["coverage"] == 0.0
    assert "unjudged  vqa_rad vqa_rad/test/0: M3D's released expression finds no 'Score: '" in result.stderr
    assert "\n    hm\n" in result.stderr
    assert (
        "3 of 3 judgements are missing; they lower the coverage and stay out of the mean; nothing could be judged"
        in result.stderr
    )


def test_help_names_both_uses() -> None:
    text = harness("judge", "--help").output
    assert text.startswith("Usage: main judge [OPTIONS] RUN_DIR [RUN_DIR]")
    assert "harness judge calibrate RUN_OR_FILE --labels FILE" in " ".join(text.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("judge", "a", "b", "c", "--judge", "scripted"), "expected one run directory, or two for pairwise, found 3"),
        (("judge", "nowhere", "--judge", "scripted"), "nowhere: is no run directory"),
        (("judge", "a"), "Missing option '--judge'"),
        (("run", "--tasks", "vqa_rad", "--model", "scripted", "--judge-args", "a=1"), "expected --judge too"),
        (
            ("run", "--tasks", "vqa_rad", "--model", "scripted", "--data-root", "phantom", "--judge", "baseline:otsu"),
            "--judge baseline:otsu: expected a model that gives text",
        ),
        (
            ("run", "--tasks", "samed2d_seg", "--model", "scripted", "--data-root", "phantom", "--judge", "scripted"),
            "--judge: no task of this run is answered in words that a judge can read",
        ),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_is_said(words: tuple[str, ...], message: str) -> None:
    result = harness(*words)
    assert result.exit_code == 2
    assert message in result.stderr


def test_several_judges_have_arguments_of_their_own() -> None:
    assert read_judge_arguments(("a=1", "b=2"), 1) == [{"a": 1, "b": 2}]
    assert read_judge_arguments(("a=1", ""), 2) == [{"a": 1}, {}]
    assert read_judge_arguments((), 2) == [{}, {}]
    with pytest.raises(SpecError, match=r"--judge-args: expected one for each of 3 judges, .*found 1"):
        read_judge_arguments(("a=1",), 3)
    with pytest.raises(SpecError, match="--judge-args: expected name=value"):
        read_judge_arguments(("a",), 1)


def test_a_judged_line_holds_what_must_be_read_beside_the_number() -> None:
    about = {
        "rubric": "m3d",
        "rubric_version": 1,
        "coverage": 0.5,
        "released_misses": {"missed": 4, "of_these_readable": 3},
        "flips": {"n": 6, "rate": 0.5},
        "self_agreement": {"n": 6, "same": 1.0},
        "disagreement": {"n": 6, "mean_range": 12.5, "verdicts_differ": 0.25},
        "usage": {"cost": 0.25},
        "calibration": None,
    }
    line = judged_line("t", {"protocol": "m3d@j~1", "value": 75.5, "ci": [70, 80], "n": 4, "judge": about})
    for part in (
        "judge  t  m3d@j~1  75.50 [70.00, 80.00]  (rubric m3d v1, n 4, coverage 50.0%",
        "missed by the released expression 4, 3 of them readable",
        "flips 50.0% of 6",
        "agrees with itself 100.0% of 6",
        "judges 12.5 points apart, verdicts differ 25.0%",
        "cost 0.25",
    ):
        assert part in line

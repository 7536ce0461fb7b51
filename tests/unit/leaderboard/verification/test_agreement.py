"""Comparing numbers: what a bundle says and what its predictions give."""

from typing import Any

import pytest

from leaderboard.verification.agreement import compare
from tests.unit.leaderboard.board_samples import block, number, results


def one(**change: Any) -> dict[str, Any]:
    """Return results with a task of one number."""
    return results(tasks={"samed2d_seg": block(number(**change))})


def test_equal_results_agree() -> None:
    found = compare(results(), results())
    assert (found.compared, found.differences, found.unverified, found.notes) == (1, (), (), ())


@pytest.mark.parametrize("change", [{"value": 0.5 + 1e-12}, {"ci": [0.4, 0.6 + 1e-8]}])
def test_last_digits_may_differ(change: dict[str, Any]) -> None:
    assert compare(one(**change), results()).differences == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": 0.6}, "value: results.json says 0.6, the predictions give 0.5"),
        ({"value": None}, "value: results.json says nothing, the predictions give 0.5"),
        ({"ci": None}, "ci: results.json says nothing, the predictions give [0.4, 0.6]"),
        ({"ci": [0.4, 0.6, 0.6]}, "ci: results.json says [0.4, 0.6, 0.6], the predictions give [0.4, 0.6]"),
        ({"failed": 0}, "failed: results.json says 0, the predictions give 1"),
        ({"protocol_version": 2}, "protocol_version: results.json says 2, here it is 1"),
        ({"higher_is_better": False}, "higher_is_better: results.json says False, here it is True"),
        ({"floor": 1.0}, "floor: results.json says 1.0, here it is nothing"),
    ],
)
def test_a_difference_is_named_with_both_sides(change: dict[str, Any], words: str) -> None:
    assert compare(one(**change), results()).differences == (
        f"tasks.samed2d_seg: dice dice (standard, micro): {words}",
    )


def test_true_is_not_one() -> None:
    assert compare(one(n=True), one(n=1)).differences


def test_tasks_groups_and_unsupported_must_be_the_same() -> None:
    said = results(tasks={"mine": block()}, groups={"g": {"metrics": []}}, unsupported={"x": "y"})
    assert compare(said, results()).differences == (
        "tasks.mine: the run does not have it",
        "tasks.samed2d_seg: is missing in results.json",
        "groups.g: the run does not have it",
        "unsupported: results.json says x, here it is none",
    )


def test_facts_of_a_task_must_be_the_same() -> None:
    said = results(tasks={"samed2d_seg": block(counts={"ok": 21}, coverage=0.9)})
    assert compare(said, results()).differences == (
        "tasks.samed2d_seg.counts: results.json says {'ok': 21}, here it is {'ok': 20}",
        "tasks.samed2d_seg.coverage: results.json says 0.9, here it is 1.0",
    )


def test_a_number_that_is_not_computed_here_is_refused_or_not_verified() -> None:
    said = results(tasks={"samed2d_seg": block(number(), number(metric="meteor", name="meteor"))})
    title = "tasks.samed2d_seg: meteor meteor (standard, micro)"
    assert compare(said, results()).differences == (f"{title}: there is no such number",)
    absent = [{"task": "samed2d_seg", "metric": "meteor", "reason": "", "remedy": ""}]
    found = compare(said, results(unavailable=absent))
    assert found.differences == ()
    assert found.unverified == (f"{title} needs a resource that is not installed here",)


def test_a_number_that_is_left_out_is_computed_here_unless_its_column_is_there() -> None:
    whole = results(tasks={"samed2d_seg": block(number(), number(protocol="medplib"))})
    assert compare(results(), whole).notes == (
        "tasks.samed2d_seg: dice dice (medplib, micro) is not in results.json; it was computed here",
    )
    whole = results(tasks={"samed2d_seg": block(number(), number(stratum={"modality": "ct"}))})
    assert compare(results(), whole).differences == (
        "tasks.samed2d_seg: dice dice (standard, micro modality ct) is missing in results.json",
    )


def test_the_same_number_twice_is_a_difference() -> None:
    said = results(tasks={"samed2d_seg": block(number(value=0.9), number())})
    assert compare(said, results()).differences == ("tasks.samed2d_seg.metrics: the same number is there twice",)


def test_a_judge_of_two_runs_is_left_out_and_may_lower_the_coverage() -> None:
    judged = number(metric="judge", name="judge", judge={"id": "j", "against": {}})
    said = results(tasks={"samed2d_seg": block(number(), judged, coverage=0.8)})
    found = compare(said, results())
    assert found.differences == ()
    assert found.notes == (
        "tasks.samed2d_seg: judge judge (standard, micro) cannot be verified without another run; it is left out",
    )


def test_what_people_said_of_a_judge_is_not_compared() -> None:
    judge = {"id": "j", "calibration": {"n": 3}, "unjudged": 0}
    own = {"id": "j", "calibration": None, "unjudged": 1}
    (difference,) = compare(one(judge=judge), one(judge=own)).differences
    assert difference.endswith("judge: results.json says {'unjudged': 0}, here it is {'unjudged': 1}")
    assert compare(one(judge=judge), one(judge=own | {"unjudged": 0})).differences == ()

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from harness.comparison.gate import judge_runs
from harness.comparison.gating.policy import MeasureRow, NumberRow, Policy, headlines_policy
from harness.comparison.gating.rows import check_names
from harness.comparison.gating.verdict import GateReport, RowVerdict
from harness.comparison.pinned import GateRun
from harness.errors import SpecError
from harness.metrics.metric import Floats
from tests.unit.comparison.runs import side, task

GENERATOR = np.random.default_rng(0)
PATIENTS = [f"p{number // 2:02d}" for number in range(80)]
STRATA = [{"modality": "ct" if number % 4 < 2 else "mr"} for number in range(80)]
GOOD = GENERATOR.uniform(0.5, 0.9, 80)
NOISY = GOOD + GENERATOR.normal(0, 0.02, 80)
WORSE = NOISY - 0.2 * np.asarray([it["modality"] == "ct" for it in STRATA])


def one(values: Floats = GOOD, **facts: Any) -> GateRun:
    return side(task("a", values, PATIENTS, strata=STRATA, **facts))


def judged(a: GateRun, b: GateRun, policy: Policy | None = None) -> GateReport:
    return judge_runs(a, b, policy or headlines_policy(list(a.run.tasks)))


def only(report: GateReport) -> RowVerdict:
    (row,) = report.rows
    return row


def test_a_loss_is_a_regression_that_names_strata_patients_and_samples() -> None:
    report = judged(one(), one(WORSE))
    row = only(report)
    assert (report.verdict, report.exit_code) == ("regression", 1)
    assert row.title == "a dice (standard) micro"
    assert next((it.key, it.value, it.n, it.clusters) for it in row.strata) == ("modality", "ct", 40, 20)
    assert row.strata[0].difference == pytest.approx(float(np.mean((WORSE - GOOD)[[it % 4 < 2 for it in range(80)]])))
    # Without the worst patient the loss is smaller by what it contributes.
    worst = row.worst[0]
    rest = [at for at, patient in enumerate(PATIENTS) if patient != worst.cluster]
    whole, without = float(np.mean(WORSE - GOOD)), float(np.mean((WORSE - GOOD)[rest]))
    assert worst.contribution == pytest.approx(whole - without)
    assert {sample for sample, _, _ in worst.samples} <= {f"s{at:04d}" for at in range(80) if at not in rest}
    assert row.p_adjusted is not None
    assert row.p_adjusted < 0.001
    assert row.reason.startswith("a loss is shown: 0.")
    assert "80 samples of 40 patients; p = 0.0001" in row.reason


def test_the_better_run_passes_and_the_detectable_loss_is_said() -> None:
    report = judged(one(WORSE), one())
    assert report.exit_code == 0
    assert "is caught with 90 % power" in only(report).reason


def test_a_difference_within_noise_passes_and_one_within_the_tolerance_too() -> None:
    assert judged(one(), one(NOISY)).exit_code == 0
    policy = Policy(numbers=(NumberRow(task="a", tolerance=0.15),))
    assert judged(one(), one(WORSE), policy).exit_code == 0


def test_where_lower_is_better_a_rise_is_the_loss() -> None:
    row = {"higher_is_better": False}
    assert judged(one(row=row), one(WORSE, row=row)).exit_code == 0
    assert judged(one(WORSE, row=row), one(row=row)).exit_code == 1


def test_equal_answers_pass_before_any_rule_also_with_one_patient() -> None:
    strict = NumberRow(
        task="a", rule="non_inferior", min_clusters=100, required_coverage=1.0, max_failed=0, detect=1e-6
    )
    few = side(task("a", [0.5, 0.6], ["p", "p"], block={"coverage": 0.5}, row={"failed": 1}))
    row = only(judged(few, few, Policy(numbers=(strict,))))
    assert (row.verdict, row.difference) == ("pass", 0.0)
    assert row.reason == "the same answers to the same samples: 2 samples of 1 patients"


def test_few_patients_cannot_be_judged_and_the_samples_that_would_do_are_named() -> None:
    a, b = (side(task("a", values[:30], PATIENTS[:30])) for values in (GOOD, GOOD - 0.3))
    report = judged(a, b)
    row = only(report)
    assert report.exit_code == 3
    assert row.reason == "15 patients, fewer than the 20 that a verdict needs"
    assert row.remedy.endswith("about 40 samples")
    assert row.worst  # where it may have lost is shown all the same
    lower = Policy(numbers=(NumberRow(task="a", min_clusters=15),))
    assert judged(a, b, lower).exit_code == 1


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ({}, {"block": {"data_digest": "e"}}, "data digest d against e"),
        ({}, {"block": {"version": 2}}, "task version 1 against 2"),
        ({}, {"row": {"protocol_version": 2}}, "protocol standard has version 1 in the baseline, 2 in the candidate"),
        ({"row": {"parameters": {"t": 1}}}, {"row": {"parameters": {"t": 2}}}, "the metric's parameters are {'t': 1}"),
        ({}, {"row": {"higher_is_better": False}}, "the metric changed its direction"),
        ({}, {"block": {"coverage": 0.9}}, "coverage 90.0% of the candidate is below 100.0%"),
        ({}, {"row": {"n": 79}}, "the mean has 79 samples in the candidate, 80 in the baseline"),
        ({}, {"metric": "iou"}, "the candidate has no dice (standard) micro of a"),
    ],
)
def test_what_can_hide_a_loss_is_never_a_pass(a: Mapping[str, Any], b: Mapping[str, Any], words: str) -> None:
    report = judged(one(**a), one(NOISY, **b))
    assert report.exit_code == 3
    assert words in only(report).reason
    assert only(report).remedy


def test_equal_answers_do_not_excuse_a_protocol_that_changed() -> None:
    assert judged(one(), one(row={"protocol_version": 2})).exit_code == 3


def test_a_loss_that_is_shown_outranks_lower_coverage() -> None:
    report = judged(one(), one(WORSE, block={"coverage": 0.9}))
    assert report.exit_code == 1
    assert "; besides, coverage 90.0%" in only(report).reason


def test_a_looser_coverage_of_the_policy_buys_nothing_back() -> None:
    policy = Policy(numbers=(NumberRow(task="a", required_coverage=0.5),))
    assert judged(one(), one(NOISY, block={"coverage": 0.9}), policy).exit_code == 3


def test_missing_samples_are_never_a_pass_but_more_of_them_may_be() -> None:
    fewer = side(task("a", NOISY[:60], PATIENTS[:60], strata=STRATA[:60]))
    report = judged(one(), fewer)
    assert report.exit_code == 3
    assert "20 samples of the baseline are not in the candidate" in only(report).reason
    assert judged(fewer, one()).exit_code == 0


def test_rightly_finding_nothing_takes_samples_out_of_the_mean_but_not_by_a_protocol_that_rewards_misses() -> None:
    right = NOISY.copy()
    right[:4] = np.nan
    assert judged(one(), one(right)).exit_code == 0
    # MONAI leaves out a case in which nothing was found, so missing it would pay.
    a, b = (one(it, metric="hd95", protocol="monai") for it in (GOOD, right))
    found = only(judged(a, b))
    assert found.verdict == "cannot_judge"
    assert "gate a protocol that counts every sample, not monai" in found.remedy


def test_a_task_that_vanished_cannot_be_judged_whatever_else_passes() -> None:
    a = side(task("a", GOOD, PATIENTS), task("b", GOOD, PATIENTS))
    b = side(task("a", GOOD, PATIENTS), unsupported={"b": "it takes no image"})
    report = judged(a, b)
    assert [row.verdict for row in report.rows] == ["pass", "cannot_judge"]
    assert (report.exit_code, report.rows[1].reason) == (3, "the candidate does not support b: it takes no image")
    gone = side(task("a", GOOD, PATIENTS))
    assert judged(a, gone).rows[1].reason == "the candidate has no task b"
    absent = {"task": "b", "metric": None, "reason": "no files", "remedy": "get them"}
    row = judged(a, side(task("a", GOOD, PATIENTS), unavailable=[absent])).rows[1]
    assert (row.reason, row.remedy) == ("the candidate has no b: no files", "get them")
    nothing = judged(a, side(task("c", GOOD, PATIENTS)))
    assert nothing.exit_code == 3
    assert nothing.notes == ("the baseline has no c, so nothing there is gated; pin a run that has them",)


def test_a_regression_outranks_rows_that_cannot_be_judged() -> None:
    a = side(task("a", GOOD, PATIENTS), task("b", GOOD, PATIENTS))
    assert judged(a, side(task("a", WORSE, PATIENTS))).exit_code == 1


def test_real_and_synthetic_data_are_never_compared() -> None:
    report = judged(one(), side(task("a", GOOD, PATIENTS, strata=STRATA), data="phantom"))
    assert report.exit_code == 3
    assert only(report).reason == "the baseline is a run on real data, the candidate on phantom data"


def test_more_failures_than_allowed_are_a_regression() -> None:
    policy = Policy(numbers=(NumberRow(task="a", max_failed=2),))
    assert judged(one(), one(NOISY, row={"failed": 2}), policy).exit_code == 0
    report = judged(one(), one(NOISY, row={"failed": 3}), policy)
    assert report.exit_code == 1
    assert only(report).reason == "3 samples failed, more than the 2 that the policy allows"


def test_what_must_be_detected_and_cannot_be_is_no_pass() -> None:
    policy = Policy(numbers=(NumberRow(task="a", detect=0.0001),))
    row = only(judged(one(), one(NOISY), policy))
    assert row.verdict == "cannot_judge"
    assert "not the 0.0001 that the policy wants to detect" in row.reason
    assert row.remedy.startswith("about ")
    assert judged(one(), one(NOISY), Policy(numbers=(NumberRow(task="a", detect=0.05),))).exit_code == 0


def test_non_inferior_passes_only_if_a_loss_beyond_the_tolerance_is_excluded() -> None:
    def verdict(tolerance: float, values: Floats) -> str:
        row = NumberRow(task="a", rule="non_inferior", tolerance=tolerance)
        return only(judged(one(), one(values), Policy(numbers=(row,)))).verdict

    assert verdict(0.05, NOISY) == "pass"
    assert verdict(0.0001, NOISY) == "cannot_judge"
    assert verdict(0.05, WORSE) == "regression"


def test_a_row_of_a_stratum_is_judged_on_its_patients() -> None:
    policy = Policy(numbers=tuple(NumberRow(task="a", stratum=("modality", it)) for it in ("ct", "mr")))
    report = judged(one(), one(WORSE), policy)
    assert [(row.verdict, row.n, row.clusters) for row in report.rows] == [("regression", 40, 20), ("pass", 40, 20)]


def test_the_error_rate_is_that_of_the_whole_policy() -> None:
    # One-sided p of about 0.02: a regression alone, none among ten rows.
    shift = np.where(np.arange(80) < 2, -0.05, 0.0) + np.resize([0.03, -0.032], 80)
    a = side(*(task(f"t{number}", GOOD, PATIENTS) for number in range(10)))
    alone = judged(side(task("t0", GOOD, PATIENTS)), side(task("t0", GOOD + shift, PATIENTS)))
    p = only(alone).p
    assert p is not None
    rest = [task(f"t{number}", NOISY, PATIENTS) for number in range(1, 10)]
    together = judged(a, side(task("t0", GOOD + shift, PATIENTS), *rest)).rows[0]
    assert together.p == p
    assert together.p_adjusted == pytest.approx(min(1.0, 10 * p))


SECONDS = GENERATOR.uniform(1, 2, 80)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "pass"), (1.05, "pass"), (1.5, "regression"), (0.5, "pass")])
def test_speed_is_gated_as_a_ratio_with_an_interval(factor: float, verdict: str) -> None:
    noise = np.exp(np.resize([0.02, -0.02], 80)) if factor != 1.0 else 1.0
    a, b = (one(speed=list(SECONDS * it)) for it in (1.0, factor * noise))
    row = judged(a, b, Policy(numbers=(), measures=(MeasureRow(measure="speed", tolerance=0.1, task="a"),))).rows[0]
    assert row.verdict == verdict
    if factor != 1.0:
        assert row.interval is not None
        assert row.interval[0] < factor < row.interval[1]
    assert row.difference == pytest.approx(factor, abs=0.01)


@pytest.mark.parametrize(
    ("measure", "a", "b", "verdict", "words"),
    [
        ("memory", {"peak_memory_bytes": 100}, {"peak_memory_bytes": 105}, "pass", "a ratio of 1.050"),
        ("memory", {"peak_memory_bytes": 100}, {"peak_memory_bytes": 200}, "regression", "a ratio of 2.000"),
        ("gpu_memory", {"peak_gpu_memory_bytes": None}, {}, "cannot_judge", "the baseline holds no gpu_memory"),
        ("memory", {"peak_memory_bytes": 100}, {}, "cannot_judge", "the candidate holds no memory"),
    ],
)
def test_memory_is_one_number_per_run(measure: Any, a: Any, b: Any, verdict: str, words: str) -> None:
    first, second = (side(task("a", GOOD, PATIENTS), performance=it) for it in (a, b))
    row = judged(first, second, Policy(numbers=(), measures=(MeasureRow(measure=measure, tolerance=0.1),))).rows[0]
    assert row.verdict == verdict
    assert words in row.reason


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([], "the candidate has no task a"),
        ([task("a", GOOD, PATIENTS)], "the candidate holds no speed of a"),
        ([task("a", GOOD[:9], PATIENTS[:9], speed=[1.0] * 9)], "samples of a in the baseline are not in the candidate"),
    ],
)
def test_a_measure_that_one_run_lacks_is_no_pass(tasks: Any, words: str) -> None:
    policy = Policy(numbers=(), measures=(MeasureRow(measure="speed", tolerance=0.1),))
    row = judged(one(speed=list(SECONDS)), side(*tasks), policy).rows[0]
    assert (row.verdict, row.reason) == ("cannot_judge", words)


def test_the_speed_of_few_patients_cannot_be_judged() -> None:
    a, b = (side(task("a", GOOD[:8], PATIENTS[:8], speed=list(SECONDS[:8] * it))) for it in (1.0, 3.0))
    row = judged(a, b, Policy(numbers=(), measures=(MeasureRow(measure="speed", tolerance=0.1),))).rows[0]
    assert (row.verdict, row.reason) == ("cannot_judge", "4 patients, fewer than 20")
    a, b = (side(task("a", GOOD[:8], PATIENTS[:8], speed=[it] * 8)) for it in (0.0, 3.0))
    row = judged(a, b, Policy(numbers=(), measures=(MeasureRow(measure="speed", tolerance=0.1),))).rows[0]
    assert (row.verdict, row.reason) == ("cannot_judge", "the baseline took no speed")


def test_a_misspelt_row_is_no_metric_that_vanished() -> None:
    rows = (
        NumberRow(task="aa", place="p.yaml:2"),
        NumberRow(task="a", metric="dise", place="p.yaml:3"),
        NumberRow(task="a", metric="dice", protocol="standrad", name="dicee", place="p.yaml:4"),
        NumberRow(task="a", stratum=("modality", "cr"), place="p.yaml:5"),
        NumberRow(task="vqa_rad", metric="vqa_accuracy", place="p.yaml:6"),
    )
    policy = Policy(numbers=rows, measures=(MeasureRow(measure="speed", tolerance=0.1, task="b", place="p.yaml:7"),))
    with pytest.raises(SpecError) as raised:
        check_names(policy, one().run, one().run, ["vqa_rad"])
    assert str(raised.value).split("\n") == [
        "p.yaml:2: task: neither run has a task 'aa' (did you mean 'a'?); they have a",
        "p.yaml:3: metric: there is no metric 'dise' (did you mean 'dice'?)",
        "p.yaml:4: protocol: dice has no protocol 'standrad' (did you mean 'standard'?)",
        "p.yaml:4: name: dice has no name 'dicee' (did you mean 'dice'?)",
        "p.yaml:5: stratum: neither run has modality=cr in a (did you mean 'modality=mr'?)",
        "p.yaml:7: task: neither run has a task 'b'; they have a",
    ]

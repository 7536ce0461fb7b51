"""Blocks of `results.json`: what a task's and a group's block hold."""

from typing import Any

import pytest

from harness.metrics.metric import Metric, Outcome
from harness.records import Score
from harness.scoring.results import Tally, aggregate_metric, combine_group, headline_row, task_block
from harness.tasks.catalog import index
from harness.tasks.spec import GroupSpec, Headline, MetricUse, Release, TaskSpec

TASK = TaskSpec(
    task="seg",
    dataset="seg",
    version=3,
    title="Seg",
    release=Release(reader="r"),
    gives="masks",
    prompt="p",
    metrics=(MetricUse(metric="share"),),
    headline=Headline(metric="share", mean="macro", over="organ"),
    strata=("organ",),
    repeats=2,
)
METRIC = Metric(
    name="share",
    protocol="standard",
    version=1,
    values=("share",),
    stats=("share",),
    line="text",
    suits=frozenset({"masks"}),
    score=lambda _sample, _prediction: Outcome("undefined"),
    combine=lambda sums: sums,
    worst=lambda _: (0.0,),
    ceiling=lambda _: 1.0,
)


def test_a_block_counts_what_is_wanted_and_lists_statuses_that_occur_in_their_order() -> None:
    tally = Tally()
    tally.counts.update({"not_run": 1, "timeout": 2, "ok": 5, "empty": 0})
    row = {"metric": "share", "value": 0.5}
    block = task_block(TASK, tally, [row], samples=4, fallbacks=["box_as_text: unit"], data_digest="d", wording=None)
    assert (block["version"], block["task_digest"], block["data_digest"]) == (3, TASK.digest, "d")
    assert block["wanted"] == 8  # 4 samples, each asked twice
    assert block["coverage"] == pytest.approx(7 / 8)
    assert list(block["counts"].items()) == [("ok", 5), ("timeout", 2), ("not_run", 1)]
    assert block["headline"] == {"metric": "share", "protocol": "standard", "mean": "macro", "over": "organ"}
    assert block["metrics"] == [row]
    assert block["fallbacks"] == ["box_as_text: unit"]
    assert "wording" not in block


def test_an_empty_answer_is_an_answer_only_where_there_is_nothing_to_find() -> None:
    tally = Tally()
    for status, absent in [("ok", False), ("truncated", True), ("empty", True), ("empty", False), ("refused", True)]:
        tally.count(status, absent=absent)
    assert (tally.answered, tally.present) == (3, 2)
    block = task_block(TASK, tally, [], samples=3, fallbacks=(), data_digest="d", wording=None)
    assert (block["title"], block["answered"]) == ("Seg", 3)


@pytest.mark.parametrize(
    ("statuses", "absent", "silent"),
    [
        (["empty", "empty"], False, True),
        (["refused", "empty", "data_error"], False, True),
        (["empty", "ok"], False, False),
        (["empty", "truncated"], False, False),
        (["empty", "empty"], True, False),  # nothing to find: no mask is the right answer
        (["model_error", "data_error"], False, False),  # these count against --max-failures
        ([], False, False),
    ],
)
def test_a_model_is_silent_if_all_it_gave_is_empty_or_refused(statuses: list[str], absent: bool, silent: bool) -> None:
    tally = Tally()
    for status in statuses:
        tally.count(status, absent=absent)
    assert tally.silent == silent


def test_a_block_names_the_wording_of_a_task_that_has_several() -> None:
    block = task_block(TASK, Tally(), [], samples=0, fallbacks=(), data_digest="d", wording="own")
    assert (block["wording"], block["wanted"], block["coverage"]) == ("own", 0, 1.0)
    assert list(block).index("wording") == list(block).index("fallbacks") + 1


def test_the_rows_of_a_metric_are_the_means_and_strata_that_the_task_asks_for() -> None:
    scores = [
        Score(
            sample_id=str(number),
            repeat=0,
            metric="share",
            protocol="standard",
            status="ok",
            values=(value,),
            stats=(value,),
            cluster=str(number),
            strata={"organ": organ, "sex": "f"},
        )
        for number, (organ, value) in enumerate([("liver", 1.0), ("liver", 1.0), ("bone", 0.0)])
    ]
    rows = aggregate_metric(TASK, METRIC, scores)
    assert [(row.mean, row.stratum, row.value) for row in rows] == [
        ("micro", None, pytest.approx(2 / 3)),
        ("macro", None, 0.5),
        ("micro", {"organ": "bone"}, 0.0),
        ("micro", {"organ": "liver"}, 1.0),
    ]


def test_a_group_whose_members_have_different_headlines_has_no_mean_of_any() -> None:
    def block(metric: str) -> dict[str, object]:
        headline = {"metric": metric, "protocol": "standard", "mean": "micro"}
        return {"headline": headline, "metrics": [{**headline, "name": metric, "stratum": None, "value": 0.5}]}

    tasks = [
        TASK,
        TaskSpec(
            task="vqa",
            dataset="vqa",
            version=1,
            title="V",
            release=TASK.release,
            gives="text",
            prompt="p",
            metrics=(MetricUse(metric="exact"),),
            headline=Headline(metric="exact"),
        ),
    ]
    group = GroupSpec(name="g", title="G", members=("seg", "vqa"), combine="macro")
    found = combine_group(group, tasks, {"seg": block("share"), "vqa": block("exact")})
    assert [(row["metric"], row["value"], row["members_with_value"]) for row in found["metrics"]] == [
        ("exact", None, 1),
        ("share", None, 1),
    ]


def _block(value: float | None, **changes: Any) -> dict[str, Any]:
    row = {
        "metric": "dice",
        "name": "dice",
        "protocol": "standard",
        "mean": "micro",
        "stratum": None,
        "value": value,
        "ci": None,
        "n": 3,
        "failed": 0,
    }
    headline = {"metric": "dice", "protocol": "standard", "mean": "micro", "over": None}
    return {"headline": headline, "coverage": 0.5, "metrics": [row, {**row, "stratum": {"modality": "ct"}}], **changes}


def test_coverage_loses_data_errors_missing_and_the_worst_metrics_unscored() -> None:
    tally = Tally()
    tally.counts.update({"ok": 6, "data_error": 1, "not_run": 1, "model_error": 2})
    tally.unscored.update({("dice", "standard"): 2, ("iou", "standard"): 1})
    assert tally.coverage(10) == pytest.approx(0.6)


def test_a_cell_without_samples_is_covered() -> None:
    assert Tally().coverage(0) == 1.0


def test_the_headline_is_the_row_without_stratum() -> None:
    row = headline_row(_block(0.25))
    assert row is not None
    assert row["stratum"] is None
    assert headline_row(_block(0.25, headline={"metric": "iou", "protocol": "standard", "mean": "micro"})) is None


def test_a_group_averages_its_members_headlines_or_says_none() -> None:
    tasks = [index().load(name) for name in ("samed2d_seg", "samed2d_seg_box")]
    group = GroupSpec(name="both", title="Both", members=("samed2d_seg", "samed2d_seg_box"), combine="macro")
    macro = {"metric": "dice", "protocol": "standard", "mean": "macro", "over": "modality"}

    def block(value: float | None) -> dict[str, Any]:
        made = _block(value, headline=macro)
        made["metrics"][0]["mean"] = "macro"
        return made

    whole = combine_group(group, tasks, {"samed2d_seg": block(0.2), "samed2d_seg_box": block(0.6)})
    assert whole["metrics"][0]["value"] == pytest.approx(0.4)
    partial = combine_group(group, tasks, {"samed2d_seg": block(0.2)})
    assert partial["metrics"][0]["value"] is None
    assert partial["metrics"][0]["members_with_value"] == 1
    listed = GroupSpec(name="both", title="Both", members=group.members, combine="none")
    assert combine_group(listed, tasks, {})["metrics"] == []

"""Coverage, headlines and groups of `results.json`."""

from typing import Any

import pytest

from harness.scoring.results import Tally, headline_row


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
    from harness.scoring.results import combine_group
    from harness.tasks.catalog import index
    from harness.tasks.spec import GroupSpec

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

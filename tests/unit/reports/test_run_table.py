"""The table on the terminal."""

from typing import Any

from harness.reports.run_table import answered, interval, number, table, why_no_interval


def _row(**changes: Any) -> dict[str, Any]:
    row = {"metric": "dice", "name": "dice", "protocol": "standard", "mean": "micro", "stratum": None, "value": 0.25}
    return {**row, "ci": [0.2, 0.3], "n": 3, "clusters": 9, "failed": 0, "unparsed": 0, **changes}


def _block(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    headline = {"metric": "dice", "protocol": "standard", "mean": "micro", "over": "organ"}
    counts = {"wanted": 4, "answered": 3, "coverage": 1.0}
    return {"title": "", "headline": headline, "metrics": list(rows), **counts, **changes}


def _results(**changes: Any) -> dict[str, Any]:
    rest: dict[str, Any] = {"limited": False, "unsupported": {}, "unavailable": []}
    return {"model": {"id": "m"}, "data": "real", "tasks": {}, **rest, **changes}


def test_by_default_the_table_has_one_row_per_task_and_says_how_much_more_there_is() -> None:
    rows = (_row(), _row(protocol="medplib", value=0.75), _row(stratum={"organ": "liver"}, value=0.5))
    text = table(_results(tasks={"seg": _block(*rows), "other": _block(_row(value=0.125))}, limited=True))
    assert text.splitlines()[0] == "model m   data real   limited"
    assert text.splitlines()[1].split("  ")[0] == "task"
    assert "seg    dice standard  0.2500  [0.2000, 0.3000]  3  0       3 of 4" in text
    assert "other  dice standard  0.1250" in text
    assert "0.7500" not in text
    assert "1 more number, of other metrics, protocols and means: --all" in text


def test_all_numbers_mark_the_headline_and_leave_strata_out() -> None:
    rows = (_row(protocol="medplib", value=0.75), _row(), _row(mean="macro"), _row(stratum={"organ": "liver"}))
    text = table(_results(tasks={"seg": _block(*rows, coverage=0.5)}), every_number=True, width=120)
    marked = [line for line in text.splitlines() if line.startswith("*")]
    assert len(marked) == 2  # the headline, and what the mark means
    assert marked[0].split()[1:5] == ["seg", "dice", "standard", "micro"]
    assert "macro over organ" in text
    assert text.count("50.0%") == 3


def test_present_and_absent_targets_are_shown_apart_wherever_both_occur() -> None:
    none = {"metric": "no_target_accuracy", "name": "no_target_accuracy"}
    present, absent = ({"stratum": {"presence": word}} for word in ("present", "absent"))
    rows = [
        _row(),
        _row(**present, value=0.5),
        _row(**absent, value=0.0),
        _row(**none),
        _row(**none, **absent, value=1),
    ]
    wide = table(_results(tasks={"seg": _block(*rows, title="Polyps")}), width=120).splitlines()
    assert [line.split("  ")[0] for line in wide[1:]] == [
        "task",
        "seg",
        "",
        "",
        "1 more number, of other metrics, protocols and means: --all",
    ]
    assert "present: dice standard" in wide[3]
    assert "0.5000" in wide[3]
    assert "absent: no_target_accuracy standard" in wide[4]
    assert "1.0000" in wide[4]
    narrow = table(_results(tasks={"seg": _block(*rows)}), width=70).splitlines()
    assert narrow[5].startswith("  absent: no_target_accuracy  1.0000")
    # Without the metric of absent targets, the headline's own row; with one kind of target only, none.
    own = table(_results(tasks={"seg": _block(*rows[:3])})).splitlines()
    assert "absent: dice standard" in own[4]
    assert len(table(_results(tasks={"seg": _block(*rows[:2])})).splitlines()) == 3


def test_all_numbers_in_a_narrow_terminal_say_once_what_the_rows_of_a_task_share() -> None:
    results = _results(tasks={"seg": _block(_row(), _row(mean="macro")), "other": _block(_row())})
    lines = table(results, every_number=True, width=90).splitlines()
    assert lines[2] == "seg: answered 3 of 4, coverage 100.0%"
    assert [line.split()[:4] for line in lines[3:5]] == [
        ["*", "dice", "standard", "micro"],
        ["dice", "standard", "macro", "over"],
    ]
    assert lines[5].startswith("other: answered")
    assert max(map(len, lines)) <= 90


def test_titles_stand_beside_their_rows_where_the_lines_are_wide_enough_and_below_them_else() -> None:
    results = _results(tasks={"seg": _block(_row(mean="macro"), title="Polyps of our clinic")})
    results["tasks"]["seg"]["headline"]["mean"] = "macro"
    wide, middle, narrow = (table(results, width=width).splitlines() for width in (120, 85, 60))
    assert wide[2].endswith("3 of 4    Polyps of our clinic")
    assert (middle[2].endswith("3 of 4"), middle[3]) == (True, "  Polyps of our clinic")
    assert narrow[2].startswith("seg   0.2500")
    assert narrow[3] == "  dice standard, macro over organ, Polyps of our clinic"
    assert max(map(len, table(results, width=52).splitlines())) <= 52


def test_a_table_says_why_an_interval_is_missing() -> None:
    assert why_no_interval(_row()) == ""
    assert why_no_interval(_row(value=None, ci=None)) == ""
    assert why_no_interval(_row(ci=None, clusters=4)) == "fewer than 5 patients"
    assert why_no_interval(_row(ci=None, note="no interval: organ 'bone' has one cluster")) == (
        "organ 'bone' has one cluster"
    )
    assert why_no_interval(_row(ci=None)) == "fewer than 5 patients in a stratum"
    few = _block(_row(ci=None, clusters=2))
    assert "no interval: fewer than 5 patients (a, b)" in table(_results(tasks={"a": few, "b": few}))


def test_what_did_not_run_and_what_could_not_be_scored_is_named() -> None:
    text = table(
        _results(
            tasks={"seg": _block(_row(unparsed=2), coverage=0.5), "gone": _block()},
            unsupported={"vqa": "gives no text"},
            unavailable=[
                {"task": "ct", "reason": "no files", "remedy": "fetch them"},
                {"task": "mr", "reason": "none either", "remedy": "fetch them"},
                {"task": "seg", "reason": "no judge was asked", "remedy": "harness judge RUN_DIR --judge REF"},
            ],
        )
    )
    assert "seg: 2 of 3 replies could not be read as an answer" in text
    assert "seg: coverage 50.0%, the other answers lack a score or a judgement of at least one metric" in text
    assert "gone: its headline could not be computed" in text
    assert "unsupported  vqa: gives no text" in text
    assert text.splitlines()[-5:] == [
        "unavailable  ct: no files",
        "unavailable  mr: none either",
        "  to get it: fetch them",
        "unavailable  seg: no judge was asked",
        "  to get it: harness judge RUN_DIR --judge REF",
    ]


def test_results_of_an_older_version_count_their_answers_by_status() -> None:
    assert answered({"counts": {"ok": 2, "truncated": 1, "empty": 4}, "wanted": 7}) == "3 of 7"
    assert answered({"answered": 7, "counts": {}, "wanted": 7}) == "7 of 7"


def test_missing_numbers_are_dashes() -> None:
    assert number(None) == "-"
    assert interval(None) == "-"
    assert interval((0.1, 0.25)) == "[0.1000, 0.2500]"

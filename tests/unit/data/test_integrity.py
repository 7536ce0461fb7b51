"""The integrity report: what was found and repaired, the same text whatever the order."""

import json
from itertools import permutations

import pytest

from harness.data.integrity import FINDINGS, Finding, Integrity
from harness.records import Sample, Target

FOUND = (("missing_file", "b.png", ""), ("missing_file", "a.png", ""), ("size_mismatch", "c.png", "mask is (2, 3)"))


def test_the_report_does_not_depend_on_the_order_of_findings() -> None:
    reports = set()
    for order in permutations(FOUND):
        integrity = Integrity()
        for finding in order:
            integrity.find(*finding)
        reports.add(json.dumps(integrity.to_json()))
    assert len(reports) == 1


def test_findings_are_listed_in_full_and_counted() -> None:
    integrity = Integrity()
    for finding in FOUND:
        integrity.find(*finding)
    report = integrity.to_json()
    assert report["counts"] == {"missing_file": 2, "size_mismatch": 1}
    assert report["findings"][0] == {"kind": "missing_file", "where": "a.png", "detail": ""}
    assert integrity.findings[2] == Finding("size_mismatch", "c.png", "mask is (2, 3)")


def test_only_known_kinds_are_findings() -> None:
    with pytest.raises(AssertionError, match="melted_file"):
        Integrity().find("melted_file", "a.png")


def test_every_kind_has_words_for_a_person() -> None:
    assert all(text and not text.endswith(".") for text in FINDINGS.values())


def test_repairs_are_counted_with_their_first_places() -> None:
    integrity = Integrity()
    for number in range(5):
        integrity.repair("answer_type_blank", f"test.json[{number}]")
    expected = {"count": 5, "examples": ["test.json[0]", "test.json[1]", "test.json[2]"]}
    assert integrity.to_json()["repairs"] == {"answer_type_blank": expected}


def test_samples_that_cannot_be_asked_are_counted() -> None:
    integrity = Integrity()
    integrity.count(Sample(id="d/all/1"))
    integrity.count(Sample(id="d/all/2", defect="image a.png is missing"))
    report = integrity.to_json()
    assert (report["samples"], report["cannot_be_asked"]) == (2, 1)


def test_the_summary_says_all_in_a_few_lines() -> None:
    integrity = Integrity(samples=1200, defective=2, selected=(3000, 1200))
    for finding in FOUND:
        integrity.find(*finding)
    integrity.checked["missing_file"] = 3
    integrity.repair("answer_type_blank", "test.json[7]")
    assert integrity.summary().splitlines() == [
        "1,200 samples, 2 of them cannot be asked",
        "selected 1,200 of 3,000 by the task's `where`",
        "missing_file: 2 of 3 (listed by the release, not on disk; e.g. a.png)",
        "size_mismatch: 1 (mask and image differ in size; e.g. c.png: mask is (2, 3))",
        "repaired answer_type_blank: 1 (e.g. test.json[7])",
    ]


def test_the_first_findings_of_a_kind_are_those_of_the_report() -> None:
    integrity = Integrity()
    for name in "dbca":
        integrity.find("missing_file", f"{name}.png")
    assert [finding.where for finding in integrity.first("missing_file")] == ["a.png", "b.png", "c.png"]
    assert integrity.first("size_mismatch") == []


def test_a_clean_release_has_one_line() -> None:
    assert Integrity(samples=3).summary() == "3 samples, 0 of them cannot be asked"


def test_an_unselected_release_says_so_in_its_report() -> None:
    assert Integrity().to_json()["selected"] is None
    assert Integrity(selected=(4, 1)).to_json()["selected"] == {"before": 4, "after": 1}


def test_a_mask_unlike_the_others_of_its_class_is_reported_as_inverted() -> None:
    integrity = Integrity()
    for number in range(9):
        integrity.compare("optic disc", f"disc_{number}.png", "")
    integrity.compare("optic disc", "odd.png", "covers 97.0% of the image", image="eye.png")
    assert integrity.findings == []
    integrity.conclude()
    (finding,) = integrity.findings
    assert finding == Finding("inverted_mask", "odd.png", "covers 97.0% of the image")
    assert finding.image == "eye.png"


def test_a_class_that_always_covers_the_border_is_not_called_inverted() -> None:
    integrity = Integrity()
    integrity.compare("liver", "liver.png", "")
    for number in range(2):
        integrity.compare("background", f"background_{number}.png", "covers 80.0% of the image")
    integrity.conclude()
    detail = "2 of 2 masks of background look inverted, too many to tell"
    assert integrity.findings == [Finding("not_checked", "background_0.png", detail)]


@pytest.mark.parametrize(
    ("choices", "target", "problem"),
    [
        (("ct", "mr"), Target(choice="C"), "the answer is 'C', the options are A to B"),
        (("ct", "mr"), Target(answers=("pet",)), "the answer is 'pet', the options are 'ct', 'mr'"),
        (("ct", "mr"), Target(choice="A", answers=("pet",)), "the answer is 'pet', the options are 'ct', 'mr'"),
        (tuple(map(str, range(30))), Target(choice="a"), "the answer is 'a', the options are A to Z"),
    ],
)
def test_an_answer_that_no_option_holds_is_reported(choices: tuple[str, ...], target: Target, problem: str) -> None:
    integrity = Integrity()
    integrity.count(Sample(id="d/all/1", choices=choices, target=target))
    assert integrity.findings == [Finding("answer_not_among_options", "d/all/1", problem)]


def test_options_of_one_text_are_reported_whatever_their_outer_blanks() -> None:
    integrity = Integrity()
    for number, choices in enumerate([("a", "b", "a "), ("a", "A", "aa"), ("b", "c", "c", "b", "c"), ()]):
        integrity.count(Sample(id=f"d/all/{number}", choices=choices))
    assert integrity.findings == [
        Finding("duplicate_option", "d/all/0", "'a' more than once"),
        Finding("duplicate_option", "d/all/2", "'b', 'c' more than once"),
    ]


@pytest.mark.parametrize(
    ("choices", "target"),
    [
        ((), Target(answers=("pet",))),
        (("ct", "mr"), Target(choice="B")),
        (("CT  scan", "mr"), Target(choice="A", answers=(" ct scan",))),
        (("ct", "mr"), Target()),
    ],
)
def test_options_that_hold_the_answer_are_no_finding(choices: tuple[str, ...], target: Target) -> None:
    integrity = Integrity()
    integrity.count(Sample(id="d/all/1", choices=choices, target=target))
    assert integrity.findings == []


def test_a_report_read_back_is_the_same_report() -> None:
    integrity = Integrity(samples=5, defective=1, selected=(9, 5))
    for finding in FOUND:
        integrity.find(*finding, image="eye.png")
    integrity.checked["missing_file"] = 3
    integrity.repair("answer_type_blank", "test.json[7]")
    report = json.loads(json.dumps(integrity.to_json()))
    assert Integrity.from_json(report).to_json() == report
    assert report["findings"][0]["image"] == "eye.png"


def test_a_report_of_another_schema_is_refused() -> None:
    with pytest.raises(ValueError, match="expected schema 3, found 1"):
        Integrity.from_json(Integrity().to_json() | {"schema": 1})

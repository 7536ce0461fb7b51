"""What was found in the data, in a few lines."""

from pathlib import Path

import pytest

from harness.data.integrity import FINDINGS, Integrity
from harness.data.manifest import Prepared, write_report
from harness.reports.findings_text import EXAMPLES, LONGEST, MOST_LINES, findings_text, lines_of, reason_of

REPORT = Path("cache/integrity.json")


def test_nothing_found_is_no_line_and_repairs_are_one() -> None:
    report = Integrity(samples=3)
    assert findings_text(["a"], report, REPORT) == []
    report.repair("missing suffix", "a.png")
    report.repair("missing suffix", "b.png")
    assert findings_text(["a", "b"], report, REPORT) == ["a, b: repaired missing suffix 2"]


def test_each_kind_has_its_count_its_meaning_and_its_first_three() -> None:
    report = Integrity(samples=27, defective=1)
    report.checked["unknown_label"] = 27
    for number in (4, 1, 3, 2):
        report.find("unknown_label", f"masks/{number}.png", "value 1")
    report.find("unreadable_file", "masks/9.png")
    report.repair("missing suffix", "a.png")
    assert findings_text(["mine"], report, REPORT) == [
        "mine: 27 samples, 1 of them cannot be asked; found in the data:",
        "  unknown_label 4 of 27: label image with a value that no label names",
        "    masks/1.png: value 1",
        "    masks/2.png: value 1",
        "    masks/3.png: value 1",
        "  unreadable_file 1: cannot be read",
        "    masks/9.png",
        "  repaired: missing suffix 1",
        "  all of it: cache/integrity.json, or `harness prepare mine`",
    ]


@pytest.mark.parametrize(("kinds", "examples"), [(3, EXAMPLES), (4, 2), (6, 1), (13, 0), (20, 0)])
def test_many_kinds_get_fewer_examples_and_never_more_lines(kinds: int, examples: int) -> None:
    report = Integrity(samples=5)
    for kind in list(FINDINGS)[:kinds]:
        for number in range(5):
            report.find(kind, f"{number}.png", "x" * 2 * LONGEST)
    lines = findings_text(["mine"], report, REPORT)
    assert len(lines) <= MOST_LINES
    shown = min(kinds, MOST_LINES - (2 if kinds <= MOST_LINES - 2 else 3))
    assert sum(line.startswith("    ") for line in lines) == shown * examples
    assert (f"  and {kinds - shown} more kinds" in lines) == (kinds > shown)
    assert max(map(len, lines)) <= LONGEST + 4


def _prepared(folder: Path, report: Integrity | None) -> Prepared:
    if report is not None:
        write_report(folder / "integrity.json", report)
    rest = {"manifest": folder, "digest": "", "samples": 1, "root": folder, "derived": folder}
    return Prepared(reader=None, integrity=folder / "integrity.json", **rest)  # type: ignore[arg-type]


def test_tasks_over_the_same_data_are_named_together_and_a_lost_report_costs_nothing(tmp_path: Path) -> None:
    report = Integrity(samples=1)
    report.repair("missing suffix", "a.png")
    (tmp_path / "lost").mkdir()
    data, lost = _prepared(tmp_path, report), _prepared(tmp_path / "lost", None)
    first, second = lines_of([("a", data), ("b", lost), ("c", data)])
    assert first == "a, c: repaired missing suffix 1"
    assert second.startswith("b: ")
    assert "cannot be read: No such file or directory; run `harness prepare` again" in second


def test_of_a_report_too_large_to_be_read_the_counts_are_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Integrity(samples=9)
    for number in range(3):
        report.find("unknown_label", f"{number}.png", "value 1")
    report.find("empty_mask", "a.png")
    data = _prepared(tmp_path, report)
    monkeypatch.setattr("harness.reports.findings_text.LARGEST", 10)
    assert lines_of([("a", data)]) == [
        "a: found in the data:",
        "  unknown_label 3: label image with a value that no label names",
        "  empty_mask 1: mask without a foreground pixel",
        f"  all of it: {data.integrity}, or `harness prepare a`",
    ]
    data.integrity.write_text("no report at all")
    assert lines_of([("a", data)])[0].startswith("a: ")


def test_a_defect_is_told_with_what_the_report_says_of_its_file() -> None:
    report = Integrity()
    report.find("unreadable_file", "masks/1.png")
    report.find("unreadable_file", "masks/2.png", "found 57 other values")
    assert reason_of("mask masks/2.png cannot be read", report) == (
        "mask masks/2.png cannot be read: found 57 other values"
    )
    for told in ("mask masks/1.png cannot be read", "mask masks/2.png: found 57 other values"):
        assert reason_of(told, report) == told

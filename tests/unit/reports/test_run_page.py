"""The table on the terminal."""

from typing import Any

from harness.reports.run_page import interval, number, table


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


def test_the_terminal_table_leaves_strata_out_and_names_what_did_not_run() -> None:
    results = {
        "model": {"id": "m"},
        "data": "real",
        "limited": True,
        "tasks": {"seg": _block(0.25)},
        "unsupported": {"vqa": "gives no text"},
        "unavailable": [{"task": "ct", "reason": "no files"}],
    }
    text = table(results)
    assert text.count("0.2500") == 1
    assert "50.0%" in text
    assert "limited" in text
    assert "unsupported  vqa: gives no text" in text
    assert "unavailable  ct: no files" in text


def test_missing_numbers_are_dashes() -> None:
    assert number(None) == "-"
    assert interval(None) == "-"
    assert interval((0.1, 0.25)) == "[0.1000, 0.2500]"

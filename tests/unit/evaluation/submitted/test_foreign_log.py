"""`harness score --from-...`: another harness's log is scored by our protocols, and what does not match is said."""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.errors import SpecError
from harness.evaluation.submitted import foreign_log
from harness.models.submitted.predictions_file import Predictions
from harness.records.codec import sha256_file
from tests.support.tiny_vqa_rad import write_release

REPLIES = ("no", "yes", "yes", "no", "no", "yes")  # the right answers are no, yes, yes, no, yes, yes


def lines(count: int = 6, **fields: Any) -> str:
    rows = [
        {"doc_id": number, "doc": {"question": f"Is finding {number} there?"}, "resps": [[reply]], **fields}
        for number, reply in enumerate(REPLIES[:count])
    ]
    return "".join(json.dumps(row) + "\n" for row in rows)


def score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *words: object) -> Result:
    monkeypatch.setenv("MEDGROUND_CACHE", str(tmp_path / "cache"))
    if not (tmp_path / "data").exists():
        write_release(tmp_path / "data", 6)
    command = ["score", "--tasks", "vqa_rad", "--data-root", tmp_path / "data", "--out", tmp_path / "run", *words]
    return CliRunner().invoke(main, [str(word) for word in command])


def headline(tmp_path: Path) -> float:
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    rows = results["tasks"]["vqa_rad"]["metrics"]
    (value,) = [
        row["value"]
        for row in rows
        if (row["metric"], row["name"], row["protocol"], row["stratum"], row["mean"])
        == ("vqa_accuracy", "vqa_accuracy", "standard", None, "micro")
    ]
    return float(value)


def test_a_log_of_lm_eval_gets_the_score_of_the_same_answers_as_a_predictions_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "samples_vqa.jsonl").write_text(lines())
    result = score(tmp_path, monkeypatch, "--from-lm-eval", tmp_path / "samples_vqa.jsonl")
    assert result.exit_code == 0, result.output
    assert headline(tmp_path) == pytest.approx(5 / 6)
    assert "samples_vqa: 6 of 6 rows matched (6 by question alone)" in result.stderr
    assert json.loads((tmp_path / "run" / "run.json").read_text())["model"]["name"] == "samples_vqa"
    # The same command changes nothing and does not ask again.
    before = (tmp_path / "run" / "results.json").read_bytes()
    assert score(tmp_path, monkeypatch, "--from-lm-eval", tmp_path / "samples_vqa.jsonl").exit_code == 0
    assert (tmp_path / "run" / "results.json").read_bytes() == before


def test_rows_that_do_not_match_are_listed_and_the_rest_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = json.dumps({"doc": {"question": "Is it Tuesday?"}, "resps": [["no"]]})
    (tmp_path / "s.jsonl").write_text(lines(4) + "{\n" + strange + "\n")
    result = score(tmp_path, monkeypatch, "--from-lmms-eval", tmp_path / "s.jsonl", "--max-failures", "50%")
    assert result.exit_code == 0, result.output
    assert headline(tmp_path) == pytest.approx(4 / 6)
    problems = [json.loads(line) for line in (tmp_path / "run" / "problems.jsonl").read_text().splitlines()]
    assert [(problem["line"], problem["message"][:30]) for problem in problems] == [
        (5, "cannot be read as JSON (Expect"),
        (6, "unmatched: no id, and no sampl"),
    ]
    assert "s: 4 of 6 rows matched (4 by question alone); 1 unmatched; 1 unreadable; 2 of 6 samples" in result.stderr


def test_a_log_of_which_nothing_matches_ends_with_2_and_leaves_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"doc": {"question": f"Is it {day}?"}, "resps": [["no"]]} for day in "abcde"]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = score(tmp_path, monkeypatch, "--from-lm-eval", tmp_path / "s.jsonl")
    assert result.exit_code == 2
    assert "s.jsonl: 0 of 5 rows belong to vqa_rad; nothing is scored" in result.stderr
    assert "and 2 more" in result.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--from-inspect", "none.eval"), "none.eval: no such file; expected a log of inspect_ai, .eval or .json"),
        (("--from-vlmevalkit", "."), "--from-vlmevalkit .: is a folder; expected a table of predictions, such as"),
        (("--from-lm-eval", "a", "--predictions", "b"), "score: expected RUN_DIR, or --tasks and --data-root with one"),
        (("--from-lm-eval", "a", "--from-inspect", "b"), "expected one log, found --from-lm-eval and --from-inspect"),
    ],
)
def test_what_cannot_be_scored_ends_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], found: str
) -> None:
    result = score(tmp_path, monkeypatch, *words)
    assert result.exit_code == 2
    assert found in result.stderr


def test_a_file_of_another_kind_names_option_and_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.pkl").write_bytes(b"")
    result = score(tmp_path, monkeypatch, "--from-vlmevalkit", tmp_path / "s.pkl")
    assert result.exit_code == 2
    assert f"--from-vlmevalkit {tmp_path / 's.pkl'}: is a pickle" in " ".join(result.stderr.split())
    assert "see docs/other-harnesses.md" in " ".join(result.stderr.split())


def test_a_workbook_without_openpyxl_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    (tmp_path / "s.xlsx").write_bytes(b"PK")
    result = score(tmp_path, monkeypatch, "--from-vlmevalkit", tmp_path / "s.xlsx")
    assert result.exit_code == 2
    assert "s.xlsx: is an Excel workbook, which needs openpyxl" in " ".join(result.stderr.split())


def test_another_harness_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"log: expected one of lm-eval, lmms-eval, .* \(did you mean 'lm-eval'\?\)"):
        Predictions(str(tmp_path), log="lm_eval")


def test_a_log_or_a_cache_that_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.jsonl").write_text(lines())

    def refuse(_path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "predictions").write_text("")
    result = score(tmp_path, monkeypatch, "--from-lm-eval", tmp_path / "s.jsonl")
    assert result.exit_code == 2
    assert "cannot be written: " in result.stderr
    monkeypatch.setitem(foreign_log.READERS, "lm-eval", refuse)
    result = score(tmp_path, monkeypatch, "--from-lm-eval", tmp_path / "s.jsonl")
    assert "cannot be read: Permission denied" in result.stderr


def test_an_image_in_the_log_tells_equal_questions_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_release(tmp_path / "data", 6)
    folder = tmp_path / "data" / "vqa_rad"
    records = json.loads((folder / "testset.json").read_text())
    for record in records:
        record["question"] = "Is it there?"
    (folder / "testset.json").write_text(json.dumps(records[:4]))
    pad = b" " * 40  # the readers take short text for a path; what follows the end of a PNG is part of the file
    rows = []
    for number in range(4):
        image = folder / "images" / f"{number}.png"
        image.write_bytes(image.read_bytes() + pad)
        data = base64.b64encode(image.read_bytes()).decode()
        rows.append({"index": number, "question": "Is it there?", "image": data, "prediction": REPLIES[number]})
    (tmp_path / "m.json").write_text(json.dumps(rows))
    result = score(tmp_path, monkeypatch, "--from-vlmevalkit", tmp_path / "m.json")
    assert result.exit_code == 0, result.output
    assert "m: 4 of 4 rows matched (4 by question and image)" in result.stderr
    assert headline(tmp_path) == 1
    assert len({sha256_file(folder / "images" / f"{number}.png") for number in range(4)}) == 4

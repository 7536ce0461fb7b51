"""The scores of a run by sample, as a table and as CSV."""

import io
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest

from harness.api import load_run
from harness.errors import DataError, SpecError
from harness.exports.sample_scores import as_csv, load_scores


def test_a_sample_is_a_row_with_its_strata_and_values(mask_run: Path) -> None:
    table = load_scores(mask_run)
    assert table["sample_id"].str.removeprefix("organs/all/images/").tolist() == [
        f"{name}.png:{label}" for name in "abc" for label in ("liver", "lesion")
    ]
    assert table["class"].tolist() == ["liver", "lesion"] * 3
    assert table["presence"].tolist() == ["present", "present", "present", "absent", "present", "present"]
    assert table["status"].tolist() == ["ok", "empty", "ok", "empty", "ok", "model_error"]
    # Half of the liver is 4 of 8 pixels: 2 * 4 / (4 + 8). The lesion of b has no value, the others are missed.
    assert table["dice.standard"].fillna(-1).tolist() == pytest.approx([2 / 3, 0, 2 / 3, -1, 2 / 3, 0])
    assert str(table["dice.standard"].dtype) == "float64"
    assert {"dice.medplib", "iou.standard"} < set(table.columns)


def test_the_mean_of_a_column_is_the_number_of_the_run(mask_run: Path, text_run: Path) -> None:
    for run in (mask_run, text_run):
        numbers = load_run(run)
        samples = load_scores(run)
        whole = numbers[numbers["stratum"].isna() & (numbers["mean"] == "micro")]
        assert len(whole)
        for row in whole.itertuples():
            column = ".".join(dict.fromkeys((row.metric, row.protocol, row.name)))
            assert samples[column].mean() == pytest.approx(row.value), column


def test_the_long_table_has_a_row_per_value_with_its_score_status(mask_run: Path) -> None:
    table = load_scores(mask_run, long=True)
    dice = table[(table["metric"] == "dice") & (table["protocol"] == "standard")]
    assert len(dice) == 6
    assert dice["score_status"].tolist() == ["ok", "ok", "ok", "undefined", "ok", "ok"]
    assert dice["failed"].tolist() == [False, True, False, False, False, True]
    assert math.isnan(dice["value"].tolist()[3])
    assert dice["name"].unique().tolist() == ["dice"]


def test_csv_reads_back_and_an_undefined_value_is_an_empty_cell(mask_run: Path) -> None:
    text = as_csv(load_scores(mask_run))
    back = pd.read_csv(io.StringIO(text))
    assert back["dice.standard"].isna().tolist() == [False, False, False, True, False, False]
    assert len(back) == 6


def test_no_cell_of_a_csv_starts_a_formula() -> None:
    table = pd.DataFrame({"sample_id": ["=1+1", "d/test/1"], "class": ["@x", "-"], "value": [-1.0, 2.0]})
    assert as_csv(table).splitlines()[1:] == ["'=1+1,'@x,-1.0", "d/test/1,'-,2.0"]


def test_a_task_that_the_run_does_not_have_is_refused(mask_run: Path) -> None:
    with pytest.raises(SpecError, match=r"has no scored task 'organ' \(did you mean 'organs'\?\), only organs"):
        load_scores(mask_run, task="organ")


def test_scores_that_are_not_there_are_named(mask_run: Path, tmp_path: Path) -> None:
    for path in mask_run.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            (tmp_path / path.relative_to(mask_run)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(mask_run)).write_bytes(path.read_bytes())
    with pytest.raises(SpecError, match="scores are missing; run `harness score` on the run directory"):
        load_scores(tmp_path)


def test_a_damaged_answer_is_not_taken_for_one_that_was_never_given(text_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(text_run, tmp_path / "run")
    path = run / "predictions" / "predictions.jsonl"
    first, *others = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join((first.replace(b'"status"', b'"statut"'), *others)))
    with pytest.raises(DataError, match=r"damaged in line 1, and .* has no other answer; run the same `harness run`"):
        load_scores(run)
    path.write_bytes(path.read_bytes() + first)
    assert "not_run" not in load_scores(run)["status"].tolist()


def test_damaged_scores_are_not_read(text_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(text_run, tmp_path / "run")
    path = sorted((run / "scores").iterdir())[0]
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(
        DataError, match=r"parquet: is damaged or was changed: .*; `harness score .*run` writes it anew"
    ):
        load_scores(run)

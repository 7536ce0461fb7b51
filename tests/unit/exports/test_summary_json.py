"""A mask task as nnU-Net's summary.json."""

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.api import load_run
from harness.cli import main
from harness.errors import SpecError
from harness.exports import summary_json
from harness.exports.summary_json import summary
from harness.imaging import masks
from harness.records import Box, Entity, Media, Prediction, Sample, Target
from harness.scoring.score import readable


def test_counts_are_those_of_the_masks(mask_run: Path) -> None:
    found = summary(mask_run)
    first, second, third = found["metric_per_case"]
    assert [case["prediction_file"] for case in (first, second, third)] == [f"images/{name}.png" for name in "abc"]
    # The answer is row 0 of a liver of rows 0 and 1, in an image of 16 pixels.
    assert first["metrics"]["liver"] == {
        "Dice": pytest.approx(2 / 3),
        "FN": 4,
        "FP": 0,
        "IoU": 0.5,
        "TN": 8,
        "TP": 4,
        "n_pred": 4,
        "n_ref": 8,
    }
    assert (first["metrics"]["lesion"]["Dice"], first["metrics"]["lesion"]["FN"]) == (0.0, 1)
    # Nothing to find and nothing found: no number. An answer that is missing counts as an empty mask.
    assert math.isnan(second["metrics"]["lesion"]["Dice"])
    assert third["metrics"]["lesion"] == first["metrics"]["lesion"]


def test_ignored_pixels_are_counted_nowhere() -> None:
    liver, void = (masks.from_box(Box(corners=corners), (4, 4)) for corners in ((0, 0, 4, 1), (0, 1, 4, 3)))
    sample = Sample(
        id="d/all/a.png:liver",
        media=(Media(path="a.png", sha256="0", size=(4, 4)),),
        target=Target(entities=(Entity(name="liver", mask=liver),), ignore=void),
    )
    everything = Prediction(key="k", status="ok", masks=(masks.full((4, 4)),))
    found = summary_json._counts(*readable(sample, everything, "none"))
    assert {key: found[key] for key in ("TP", "FP", "FN", "TN", "n_pred", "n_ref")} == {
        "TP": 4,
        "FP": 4,
        "FN": 0,
        "TN": 0,
        "n_pred": 8,
        "n_ref": 4,
    }


def test_the_mean_of_a_label_leaves_out_cases_without_a_number(mask_run: Path) -> None:
    found = summary(mask_run, task="organs")
    assert found["mean"]["liver"]["Dice"] == pytest.approx(2 / 3)
    assert found["mean"]["lesion"]["Dice"] == 0.0
    assert found["foreground_mean"]["Dice"] == pytest.approx(1 / 3)
    rows = load_run(mask_run)
    by_class = rows[(rows["metric"] == "dice") & (rows["protocol"] == "standard")].set_index("stratum")["value"]
    assert {f"class={label}": mean["Dice"] for label, mean in found["mean"].items()} == pytest.approx(
        {key: by_class[key] for key in ("class=liver", "class=lesion")}
    )


def test_a_run_without_masks_is_refused(text_run: Path) -> None:
    message = r"expected --task with one of the tasks that give masks \(none\), found none"
    with pytest.raises(SpecError, match=message):
        summary(text_run)


def test_the_commands_write_to_stdout_or_to_a_file(mask_run: Path, tmp_path: Path) -> None:
    run = CliRunner().invoke
    shown = run(main, ["export", "summary-json", str(mask_run)])
    assert shown.exit_code == 0, shown.stderr
    assert set(json.loads(shown.stdout)["mean"]) == {"liver", "lesion"}
    out = tmp_path / "scores.csv"
    done = run(main, ["export", "csv", str(mask_run), "-o", str(out)])
    assert (done.exit_code, done.stdout) == (0, "")
    assert out.read_text().startswith("task,sample_id,repeat,status,cluster,")
    refused = run(main, ["export", "csv", str(mask_run), "-o", str(tmp_path / "none" / "x.csv")])
    assert refused.exit_code == 2
    assert "cannot be written: No such file or directory; name another file" in refused.stderr

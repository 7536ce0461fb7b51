"""`harness reply` and `harness doctor frames`: lines in, lines out, and what a run's answers say of their frame."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from tests.support.tiny_vqa_rad import write_release

LINE = '{"reply": "a [100, 200, 500, 1000]", "image_size": [100, 200]}\n'


def reply(stdin: str, *words: str) -> Result:
    return CliRunner().invoke(main, ["reply", "--dialect", *(words or ("bare", "--frame", "per_mille"))], input=stdin)


def test_every_line_has_its_answer() -> None:
    done = reply(LINE + "\n" + '{"reply": "none", "image_size": [100, 200]}\n')
    assert done.exit_code == 0
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {"status": "ok", "boxes": [[20.0, 20.0, 100.0, 100.0]], "points": [], "labels": [""]},
        {"status": "unparsed", "boxes": [], "points": [], "labels": []},
    ]


def test_masks_and_scores_stand_in_the_line_where_the_dialect_has_them() -> None:
    said = json.dumps({"polygon": [0, 0, 4, 0, 4, 2, 0, 2], "score": 0.5, "label": "a"})
    done = reply(json.dumps({"reply": said, "image_size": [2, 4]}), "json", "--frame", "pixels")
    found = json.loads(done.stdout)
    assert (found["mask_labels"], found["scores"]) == (["a"], [0.5])
    assert (found["labels"], found["masks"]) == ([], [{"size": [2, 4], "counts": "08"}])


def test_frame_args_are_json() -> None:
    words = ("bare", "--frame", "resized", "--frame-args", '{"height": 1000, "width": 1000, "order": "yxyx"}')
    assert json.loads(reply(LINE, *words).stdout)["boxes"] == [[40.0, 10.0, 200.0, 50.0]]
    done = reply(LINE, "bare", "--frame", "resized", "--frame-args", "{28}")
    assert done.exit_code == 2
    assert "harness: --frame-args: expected JSON such as {\"factor\": 28}, found '{28}'" in done.stderr


def test_a_dialect_that_does_not_exist_is_refused_before_the_first_line() -> None:
    done = reply(LINE, "bear", "--frame", "unit")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "harness: harness reply: expected a dialect, one of qwen_vl" in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", 'line 1: expected {"reply": "...", "image_size": [H, W]}, found Expecting'),
        ('{"reply": "a"}', 'line 1: expected {"reply": "...", "image_size": [H, W]}, found \'image_size\''),
        ('{"reply": 3, "image_size": [2, 3]}', "found reply: 3, image_size: [2, 3]"),
        ('{"reply": "a", "image_size": [2]}', "found reply: 'a', image_size: [2]"),
        ('{"reply": "a", "image_size": [2, 0]}', "found reply: 'a', image_size: [2, 0]"),
        ("[1]", "line 1: expected"),
    ],
)
def test_a_line_that_cannot_be_read_is_an_error_and_the_others_are_answered(line: str, message: str) -> None:
    done = reply(line + "\n" + LINE)
    assert done.exit_code == 2
    first, second = (json.loads(found) for found in done.stdout.splitlines())
    assert (first["status"], second["status"]) == ("error", "ok")
    assert message in first["detail"]["error"]
    assert message in done.stderr


def test_a_frame_without_meaning_for_the_size_is_an_error_of_its_line() -> None:
    done = reply('{"reply": "[1]", "image_size": [2, 3, 4]}', "bare", "--frame", "resized")
    assert json.loads(done.stdout)["detail"]["error"].startswith("line 1: frame resized: is for images (H, W)")


# --- doctor frames


def run_of(folder: Path, replies: list[str], **arguments: str) -> Path:
    """Return a run directory with these replies; the images are 8 x 8."""
    root = write_release(folder / "data", len(replies))
    lines = [{"sample_id": f"vqa_rad/test/{index}", "text": text} for index, text in enumerate(replies)]
    (folder / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    spec = RunSpec(
        tasks=("vqa_rad",),
        model="scripted",
        model_args={"file": str(folder / "replies.jsonl"), **arguments},
        data_roots=(str(root),),
        out=folder / "run",
        ray="off",
    )
    return evaluate(spec).out


def frames(run: Path, *words: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "frames", str(run), *words])


def test_the_answers_alone_say_which_frames_they_contradict(tmp_path: Path) -> None:
    said = [f'[{{"bbox_2d": [{x}, 20, {x + 300}, 900]}}]' for x in (100, 250, 400, 650, 700)]
    run = run_of(tmp_path, [*said, "no box"], reply="qwen2_5_vl", frame="resized")
    found = json.loads(frames(run, "--json").stdout)
    assert (found["replies"], found["read"], found["boxes"], found["dialect"]) == (6, 5, 5, "qwen2_5_vl")
    assert found["declared"] == "qwen2_5_vl in resized (version 1)"
    rows = {(row["frame"], row["order"]): row for row in found["frames"]}
    assert rows["per_mille", "xyxy"]["verdict"] == "fits"
    # 8 x 8 pixels are resized to 56 x 56, and the boxes reach beyond.
    assert rows["resized", "xyxy"]["verdict"] == "contradicted by 5 of 5 boxes"
    assert rows["resized", "xyxy"]["declared"]
    assert rows["resized", "xyxy"]["example"].startswith("vqa_rad/test/")
    assert rows["unit", "xyxy"]["outside"] == 5
    assert found["frames"][0]["verdict"] == "fits"
    shown = frames(run)
    assert shown.exit_code == 0
    assert "declared  contradicted by 5 of 5 boxes  vqa_rad/test/" in shown.stdout
    assert "5 of 6 replies hold boxes, 5 in all, read as qwen2_5_vl" in shown.stderr
    assert "unit" not in shown.stdout
    assert "unit" in frames(run, "--all").stdout


def test_without_a_declaration_the_dialect_that_reads_most_is_taken(tmp_path: Path) -> None:
    said = [f"<ref>a</ref><box>[[0.{x}, 0.1, 0.9, 0.05]]</box>" for x in range(1, 6)]
    run = run_of(tmp_path, [*said, "It is at (0.1, 0.2), (0.3, 0.4)."])
    found = json.loads(frames(run, "--json").stdout)
    assert (found["dialect"], found["declared"], found["read"]) == ("internvl", "", 5)
    rows = {(row["frame"], row["order"]): row for row in found["frames"]}
    assert rows["unit", "xyxy"]["reversed"] == 5
    assert rows["unit", "xywh"]["verdict"] == "contradicted by 4 of 5 boxes"
    assert rows["loc_1024", "xywh"]["no_token"] == 5
    assert rows["percent", "xywh"]["verdict"] == "unlikely: all boxes in one corner"
    assert "declared: nothing; --model-args reply=DIALECT,frame=FRAME declares it" in frames(run).stderr
    (run / "predictions" / "predictions.jsonl").unlink()
    done = frames(run)
    assert done.exit_code == 2
    assert "0 replies about images, and none of them holds a box that can be read; docs/models.md" in done.stderr


def test_what_holds_no_boxes_says_so(tmp_path: Path) -> None:
    done = frames(tmp_path)
    assert (done.exit_code, "is no run directory" in done.stderr) == (2, True)

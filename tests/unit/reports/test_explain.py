"""What is told of one sample: read past the lock and past damage, with everything a person asks for."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SpecError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.setup import RunSpec
from harness.imaging import masks
from harness.records import (
    Box,
    Crop,
    Entity,
    ErrorInfo,
    Media,
    MediaPart,
    Overlay,
    Points,
    PredictedEntity,
    Prediction,
    Region,
    Request,
    Sample,
    Target,
    TextPart,
    Turn,
)
from harness.reports.explain import Explanation, Value, as_json, explain
from harness.reports.explain_text import text
from harness.runs.plan_file import PlannedRequest
from harness.tasks.catalog import index
from tests.support.tiny_vqa_rad import write_release

SIZE = (10, 20)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six questions of which the model fails on some."""
    folder = tmp_path_factory.mktemp("explained")
    root = write_release(folder / "data", 6)
    args = {"text": "yes", "fail_every": 2}
    spec = RunSpec(
        tasks=("vqa_rad",), model="scripted", model_args=args, data_roots=(str(root),), out=folder / "run", ray="off"
    )
    return evaluate(spec).out


def _explanation(**changes: Any) -> Explanation:
    (task,), _ = index().resolve(["samed2d_seg"])
    mask = masks.from_box(Box(corners=(2, 1, 7, 5)), SIZE)
    sample = Sample(
        id="samed2d/all/ct--0001",
        media=(Media(path="a.png", sha256="f" * 64, size=SIZE),),
        choices=("left", "right"),
        target=Target(entities=(Entity(name="spleen", mask=mask), Entity(name="liver"))),
        strata={"modality": "ct"},
        cluster="case 1",
    )
    request = Request(
        messages=(Turn(role="user", parts=(TextPart(text="Where is it?\nSay."),)),),
        visual_prompts=(
            Box(corners=(1.0, 2.0, 3.0, 4.5)),
            Points(points=((5.0, 6.0), (7.0, 8.0)), labels=(1, 0)),
            Region(mask=mask),
        ),
        candidates=("yes",),
        key="k",
    )
    made: dict[str, Any] = {
        "model": "m",
        "data": "phantom",
        "task": task,
        "changed": False,
        "row": PlannedRequest(sample=sample, repeat=0, key="k"),
        "request": request,
        "prediction": Prediction(key="k", status="ok", text="There.", masks=(mask,), mask_scores=(0.5,), seconds=0.25),
        "scores": (),
    }
    return Explanation(**{**made, **changes})


def test_a_failed_sample_is_told_with_its_error_and_its_worst_value(run: Path) -> None:
    told = [explain(run, f"vqa_rad/test/{number}")[0] for number in range(6)]
    failed = next(explanation for explanation in told if explanation.status == "model_error")
    words = text(failed)
    assert f"ScriptedFailure: {failed.row.sample.id}: told to fail by fail_every" in words
    assert "ok, worst value" in words
    answered = next(explanation for explanation in told if explanation.status == "ok")
    assert "worst value" not in text(answered)


def test_a_sample_that_was_not_asked_yet_is_told_without_scores(run: Path, tmp_path: Path) -> None:
    for name in ("run.json", "plan/cells.json", "plan/vqa_rad.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (told,) = explain(tmp_path, "vqa_rad/test/1")
    assert told.status == "not_run"
    assert {value.status for value in told.scores} == {"not_scored"}
    assert "not scored" in text(told)


def test_an_id_that_means_nothing_gets_an_example(run: Path) -> None:
    with pytest.raises(
        SpecError, match=r"expected the id of a sample of vqa_rad, such as 'vqa_rad/test/0', got '%%%'$"
    ):
        explain(run, "%%%")


def test_the_text_tells_what_the_prompt_points_at() -> None:
    words = text(_explanation())
    assert "visual prompt  box 1 2 3 4.5" in words
    assert "visual prompt  points +(5 6), -(7 8)" in words
    assert "visual prompt  region, 20 of 200 pixels (10.00%), bounding box x1 y1 x2 y2 = 2 1 7 5" in words
    assert "prompt         Where is it?\n                 Say." in words


def test_the_text_tells_what_was_cropped_to_and_painted() -> None:
    overlay = Overlay(prompt=Box(corners=(1, 2, 3, 4)), style="outline", colour=(0, 255, 0), width=1, opacity=100)
    media = Media(
        path="a.png",
        sha256="f" * 64,
        size=(5, 6),
        crop=Crop(corners=(2, 1, 8, 6), original=SIZE),
        drawn=(overlay,),
    )
    turn = Turn(role="user", parts=(MediaPart(media=media), TextPart(text="Where is it?")))
    explanation = _explanation(request=Request(messages=(turn,), key="k"))
    words = text(explanation)
    assert "  cropped to     box 2 1 8 6\n" in words
    assert "  painted        outline of box 1 2 3 4\n" in words
    (shown,) = as_json(explanation)["media"]
    assert (shown["size"], shown["crop"]["corners"]) == ([5, 6], [2, 1, 8, 6])


def test_the_text_tells_masks_by_how_much_they_cover() -> None:
    words = text(_explanation())
    assert "target mask    spleen: 20 of 200 pixels (10.00%), bounding box x1 y1 x2 y2 = 2 1 7 5" in words
    assert "target mask    liver: no mask" in words
    assert "mask 1         20 of 200 pixels (10.00%), bounding box x1 y1 x2 y2 = 2 1 7 5, score 0.5" in words
    empty = Prediction(key="k", status="ok", masks=(masks.empty(SIZE),))
    assert "mask 1         0 of 200 pixels (0.00%)\n" in text(_explanation(prediction=empty))


def test_the_text_tells_options_boxes_entities_and_likelihoods() -> None:
    prediction = Prediction(
        key="k",
        status="ok",
        choice="B",
        boxes=(Box(corners=(1, 2, 3, 4)),),
        points=((5.5, 6.0),),
        read_as="bare in pixels (version 1)",
        entities=(PredictedEntity(name="spleen", mask=0), PredictedEntity(name="liver")),
        nll=(0.5, 2.0),
        rendered="USER: Where?",
        error=ErrorInfo(type="ValueError", message="odd", traceback="line 1\nline 2\n"),
    )
    words = text(_explanation(prediction=prediction))
    for fact in (
        "option B       right",
        "candidate      yes",
        "chosen         option B",
        "read as        bare in pixels (version 1)",
        "box            1 2 3 4",
        "point          5.5 6",
        "entity         spleen, mask 1",
        "entity         liver, no mask",
        "nll            0.5 2",
        "sent           USER: Where?",
        "error          ValueError: odd",
        "traceback      line 1\n                 line 2",
    ):
        assert f"  {fact}\n" in words


def test_a_sample_that_cannot_be_asked_is_explained_by_its_defect() -> None:
    row = PlannedRequest(sample=Sample(id="s", target=Target(absent=True)), repeat=0, defect="a.png: is missing")
    words = text(_explanation(row=row, request=None, prediction=None))
    assert "status         data_error: a.png: is missing" in words
    assert "target         nothing to find: no mask is the right answer" in words
    assert "prompt " not in words
    assert "ignored" not in words


def test_the_text_tells_which_pixels_are_ignored() -> None:
    told = _explanation()
    target = replace(told.row.sample.target, ignore=masks.from_box(Box(corners=(0, 0, 4, 5)), SIZE))
    words = text(replace(told, row=replace(told.row, sample=replace(told.row.sample, target=target))))
    said = "20 of 200 pixels (10.00%), bounding box x1 y1 x2 y2 = 0 0 4 5; taken out of predicted masks before they are"
    assert f"ignored        {said} scored" in words


def test_a_task_that_changed_since_the_run_is_named() -> None:
    assert "samed2d_seg version 1; its file changed since the run" in text(_explanation(changed=True))


def test_a_score_is_explained_with_its_stats_and_the_rule_that_applied() -> None:
    value = Value(
        metric="exact",
        protocol="standard",
        status="unparsed",
        failed=True,
        values={"exact": 0.0, "other": None},
        stats={"hits": 0.0},
        detail={"rule": "none"},
    )
    words = text(_explanation(scores=(value,)))
    assert "exact   standard  unparsed, worst value  exact 0.0000, other -  hits 0; rule none" in words


def test_json_holds_what_the_text_tells() -> None:
    told = as_json(_explanation())
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    assert told["prompt"] == "Where is it?\nSay."
    assert told["prediction"]["text"] == "There."
    assert told["sample"]["target"]["entities"][0]["name"] == "spleen"

"""`judge:rules` reads the questions of `harness judge` and replies in the form of their rubrics."""

import json
from pathlib import Path

import pytest

from harness.errors import SpecError
from harness.evaluation.judging.answers import _reference
from harness.evaluation.judging.judge_model import build_judge
from harness.evaluation.judging.prompts import judge_request
from harness.evaluation.judging.rubrics import find_rubric
from harness.metrics.answers.judge_replies import read_reply
from harness.models.resolve import Part
from tests.support.injections import INJECTIONS


def said(rubric: str, **texts: str) -> str:
    request = judge_request(find_rubric(rubric), {"question": "Where?", **texts}, repeat=0, seed=0)
    (answer,) = Part.of("judge:rules", {}).adapter.predict([request])
    return answer.text or f"error: {answer.error.message if answer.error else ''}"


def test_it_judges_by_correctness_and_in_pairs() -> None:
    assert json.loads(said("correctness", reference="left lung", answer="Left lung.")) == {
        "verdict": "correct",
        "score": 100.0,
    }
    reply = said("correctness", reference="left lung", answer="right lung")
    assert read_reply("correctness", reply).value == 0.0
    several = _reference(["left lung", "lung, left side", "chest"])
    assert json.loads(said("correctness", reference=several, answer="chest"))["verdict"] == "correct"
    assert json.loads(said("pairwise", reference="liver", first="spleen", second="liver")) == {"winner": "second"}
    assert json.loads(said("pairwise", reference="liver", first="liver", second="spleen")) == {"winner": "first"}
    assert json.loads(said("pairwise", reference="liver", first="lung", second="spleen")) == {"winner": "tie"}


def test_an_injection_in_a_wrong_answer_moves_nothing() -> None:
    for injection in INJECTIONS:
        text = injection if isinstance(injection, str) else str(injection)
        assert json.loads(said("correctness", reference="left kidney", answer=f"right kidney\n{text}"))["score"] < 50


def test_it_refuses_what_rules_cannot_judge(tmp_path: Path) -> None:
    for rubric in ("m3d", "report"):
        assert said(rubric, reference="a", answer="a").startswith("error: judge:rules: expected the question of")
        with pytest.raises(SpecError, match=f"rubric {rubric} asks for another reply; use --rubric correctness"):
            build_judge("judge:rules", {}, find_rubric(rubric), (), send_data_to=(), cache=tmp_path)
    with pytest.raises(SpecError, match="judge:oracle: expected judge:rules"):
        Part.of("judge:oracle", {})

"""Choice, closed and open answers and judge scores against released code; the JSON files name their sources."""

import json
from pathlib import Path
from typing import Any

import pytest

from harness.metrics.answers import choice, closed, judge
from harness.metrics.metric import Metric, Outcome, sample_values
from harness.records import Prediction, Sample, Score, Target
from harness.scoring.aggregate import aggregate
from harness.scoring.score import score
from harness.text.choices.mmmu import mmmu_candidates
from harness.text.choices.similarity import likeness, omnimedvqa

ROWS = {(metric.name, metric.protocol): metric for metric in (*choice.METRICS, *closed.METRICS, *judge.METRICS)}
LETTER_PROTOCOLS = ("omnimedvqa-qa", "huatuo", "vlmevalkit", "mmmu-no-random")
NEVER_UNPARSED = ("huatuo", "medevalkit", "medplib")
HUATUO_RULES = {1: "lone_letter", 2: "option_text", 3: "likeness"}


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    return found


CHOICE, CLOSED, JUDGE = read("choice.json"), read("closed.json"), read("judge.json")


def choice_outcome(protocol: str, case: dict[str, Any]) -> Outcome:
    right = case["options"]["ABCDEF".index(case["gold"])]
    sample = Sample(id="golden/1", choices=tuple(case["options"]), target=Target(choice=case["gold"], answers=(right,)))
    prediction = Prediction(key="k", status="ok", text=case["response"])
    return ROWS["choice_accuracy", protocol].score(sample, prediction)


def only_value(metric: Metric, outcome: Outcome) -> float | None:
    return sample_values(metric, outcome.stats)[0]


@pytest.mark.parametrize("case", [*CHOICE["cases"], *CHOICE["more_cases"]], ids=lambda case: case["response"][:40])
def test_letters_and_verdicts_are_those_of_the_released_code(case: dict[str, Any]) -> None:
    for protocol in LETTER_PROTOCOLS:
        letter, correct = case[protocol]
        found = choice_outcome(protocol, case)
        assert (found.detail["letter"], found.stats) == (letter, (float(correct), 1.0)), protocol
        assert found.status == ("unparsed" if letter is None else "ok"), protocol
    for protocol in set(NEVER_UNPARSED) & set(case):
        found = choice_outcome(protocol, case)
        correct = case[protocol][1] if protocol == "huatuo" else case[protocol]
        assert (found.status, found.stats) == ("ok", (float(correct), 1.0)), protocol


@pytest.mark.parametrize("case", CHOICE["cases"], ids=lambda case: case["response"][:40])
def test_the_huatuo_rule_that_fired_is_named(case: dict[str, Any]) -> None:
    assert choice_outcome("huatuo", case).detail["rule"] == HUATUO_RULES[case["huatuo_rule"]]


@pytest.mark.parametrize("case", CHOICE["difflib_autojunk"]["cases"], ids=lambda case: str(case["response_length"]))
def test_likeness_drops_popular_characters_of_long_replies(case: dict[str, Any]) -> None:
    options = CHOICE["difflib_autojunk"]["options"]
    assert likeness(options, case["response"]) == pytest.approx(case["ratios_autojunk_default"], abs=1e-6)
    assert omnimedvqa(case["response"], options).letter == "ABCD"[case["picked_default"]]


def test_likeness_is_not_symmetric() -> None:
    example = CHOICE["difflib_autojunk"]["asymmetry_example"]
    assert likeness([example["a"]], example["b"]) == [example["ratio_ab"]]
    assert likeness([example["b"]], example["a"]) == [example["ratio_ba"]]


@pytest.mark.parametrize("case", CHOICE["m3d_closed_vqa"], ids=lambda case: case["pred"])
def test_m3d_looks_for_letter_and_full_stop(case: dict[str, Any]) -> None:
    options = ["Axial", "Sagittal", "Coronal", "Oblique"]
    found = choice_outcome("m3d", {"options": options, "gold": case["answer_choice"], "response": case["pred"]})
    assert (found.status, found.stats) == ("ok", (float(case["correct"]), 1.0))


def macro_mean(metric: Metric, key: str, scores: list[Score]) -> float | None:
    rows = aggregate("golden", metric, scores, strata=(key,), macro_over=key, pooled=False)
    return next(row.value for row in rows if row.mean == "macro")


def test_m3d_mean_of_question_types_is_unweighted() -> None:
    published = CHOICE["m3d_closed_vqa_mean"]
    metric = ROWS["choice_accuracy", "m3d"]
    scores = []
    for number, (kind, correct) in enumerate(published["rows_type_correct"]):
        sample = Sample(id=f"q/{number}", cluster=f"{number}", strata={"type": str(kind)}, target=Target(choice="A"))
        found = score(metric, sample, 0, Prediction(key="k", status="ok", text="A." if correct else "B."))
        assert found is not None
        scores.append(found)
    assert macro_mean(metric, "type", scores) == pytest.approx(published["mean_of_types"], abs=1e-6)


def test_medplib_mean_over_modalities_is_unweighted() -> None:
    metric = ROWS["choice_accuracy", "medplib"]
    wrong = {"modality": "ultrasound", "gt": "liver", "text": "spleen", "hit": 0}
    cases = [*CHOICE["medplib_omnimedvqa"], wrong]
    scores: list[Score] = []
    hits: dict[str, list[int]] = {}
    for number, case in enumerate(cases):
        sample = Sample(
            id=f"q/{number}",
            cluster=f"{number}",
            strata={"modality": case["modality"].lower()},
            choices=(case["gt"],),
            target=Target(choice="A", answers=(case["gt"],)),
        )
        found = score(metric, sample, 0, Prediction(key="k", status="ok", text=case["text"]))
        assert found is not None
        assert found.values == (float(case["hit"]),)
        scores.append(found)
        hits.setdefault(case["modality"], []).append(case["hit"])
    expected = sum(sum(group) / len(group) for group in hits.values()) / len(hits)
    assert expected != sum(case["hit"] for case in cases) / len(cases)
    assert macro_mean(metric, "modality", scores) == pytest.approx(expected, abs=1e-6)


def text_outcome(metric: Metric, answers: list[str], text: str) -> Outcome:
    sample = Sample(id="golden/1", target=Target(answers=tuple(answers)))
    return metric.score(sample, Prediction(key="k", status="ok", text=text))


@pytest.mark.parametrize("case", CLOSED["closed"], ids=lambda case: case["response"])
def test_medevalkit_closed_matches_the_released_code(case: dict[str, Any]) -> None:
    metric = ROWS["vqa_accuracy", "medevalkit-closed"]
    assert only_value(metric, text_outcome(metric, [case["gold"]], case["response"])) == float(case["correct"])


@pytest.mark.parametrize("case", CLOSED["open"], ids=lambda case: f"{case['gold']}-{case['response']}")
def test_mmmu_open_matches_the_released_code(case: dict[str, Any]) -> None:
    metric = ROWS["mmmu_open", "mmmu"]
    answers = case["gold"] if isinstance(case["gold"], list) else [case["gold"]]
    found = text_outcome(metric, answers, case["response"])
    assert sorted(map(str, mmmu_candidates(case["response"]))) == sorted(case["candidates"])
    assert sorted(found.detail["candidates"]) == sorted(case["candidates"])
    assert only_value(metric, found) == float(case["correct"])


@pytest.mark.parametrize("protocol", ["m3d", "standard"])
@pytest.mark.parametrize("case", JUDGE["cases"], ids=lambda case: case["reply"])
def test_judge_replies_are_read_as_recorded(case: dict[str, Any], protocol: str) -> None:
    metric = ROWS["judge", protocol]
    found = metric.score(Sample(id="golden/1"), Prediction(key="k", status="ok", text=case["reply"]))
    if case[protocol] is None:
        assert (found.status, found.stats) == ("unjudged", ())
    else:
        assert only_value(metric, found) == pytest.approx(case[protocol], abs=1e-6)

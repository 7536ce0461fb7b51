"""BLEU and ROUGE against released code; `ngrams.json` says which code made the numbers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.metrics.metric import Metric, Stats, sample_values
from harness.metrics.reports import bleu as ngrams
from harness.metrics.reports import rouge
from harness.records import Prediction, Sample, Target
from harness.text.ptb_tokenizer import caption_line
from harness.text.tokenizers import rouge_tokens, tokens_13a, without_grounding_tags

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "ngrams.json").read_text(encoding="utf-8"))
ROWS = {(metric.name, metric.protocol): metric for metric in (*ngrams.METRICS, *rouge.METRICS)}
M3D = pytest.mark.parametrize("case", GOLDEN["m3d"], ids=lambda case: str(case["name"]))
MIMO = pytest.mark.parametrize("case", GOLDEN["mimo"], ids=range(len(GOLDEN["mimo"])))


def stats(metric: Metric, reply: str, reference: str) -> Stats:
    outcome = metric.score(
        Sample(id="golden/1", target=Target(answers=(reference,))), Prediction(key="k", status="ok", text=reply)
    )
    assert outcome.status == "ok"
    return outcome.stats


def values(metric: Metric, reply: str, reference: str) -> dict[str, float | None]:
    return dict(zip(metric.values, sample_values(metric, stats(metric, reply, reference)), strict=True))


@M3D
def test_m3d_tokens_are_those_of_its_libraries(case: dict[str, Any]) -> None:
    for side, text in (("pred", case["prediction"]), ("ref", case["reference"])):
        assert list(tokens_13a(text)) == case["tokens_13a"][side]
        assert list(rouge_tokens(text)) == case["tokens_rouge"][side]


@M3D
def test_m3d_bleu_and_rouge_match_the_released_scripts(case: dict[str, Any]) -> None:
    bleu = values(ROWS["bleu", "m3d"], case["prediction"], case["reference"])
    assert (bleu["bleu1"], bleu["bleu4"]) == pytest.approx((case["bleu1"], case["bleu4"]), abs=1e-6)
    found = values(ROWS["rouge", "m3d"], case["prediction"], case["reference"])
    assert {name: found[name] for name in ("rouge1", "rouge2", "rougeL")} == pytest.approx(
        {name: case[name] for name in ("rouge1", "rouge2", "rougeL")}, abs=1e-6
    )


def test_m3d_headlines_come_first() -> None:
    assert ROWS["bleu", "m3d"].values[0] == "bleu1"
    assert ROWS["rouge", "m3d"].values[0] == "rouge1"


@MIMO
def test_mimo_tokens_are_those_of_the_coco_pipeline(case: dict[str, Any]) -> None:
    for side, text in (("pred", case["prediction"]), ("ref", case["reference"])):
        assert without_grounding_tags(text) == case["stripped"][side]
        assert caption_line(without_grounding_tags(text)) == case["tokens"][side]
        assert caption_line(text) == case["tokens_with_tags"][side]


@MIMO
def test_mimo_pairs_match_pycocoevalcap(case: dict[str, Any]) -> None:
    bleu = values(ROWS["bleu", "mimo"], case["prediction"], case["reference"])
    found = values(ROWS["rouge", "mimo"], case["prediction"], case["reference"])
    assert bleu["bleu4"] == pytest.approx(case["bleu4"], abs=1e-6)
    assert found["rougeL"] == pytest.approx(case["rougeL"], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "value"), [("bleu", "bleu4"), ("bleu", "bleu1"), ("rouge", "rougeL")], ids=lambda text: str(text)
)
def test_mimo_corpus_matches_pycocoevalcap(name: str, value: str) -> None:
    metric = ROWS[name, "mimo"]
    sums = np.sum([stats(metric, case["prediction"], case["reference"]) for case in GOLDEN["mimo"]], axis=0)
    found = dict(zip(metric.values, metric.combine(sums), strict=True))
    assert found[value] == pytest.approx(GOLDEN["mimo_corpus"][value], abs=1e-6)


@MIMO
def test_standard_rouge_of_english_text_matches_rouge_score(case: dict[str, Any]) -> None:
    found = values(ROWS["rouge", "standard"], case["stripped"]["pred"], case["stripped"]["ref"])
    assert found["rougeL"] == pytest.approx(case["rouge_score_rougeL"], abs=1e-6)


def test_standard_corpus_matches_sacrebleu() -> None:
    metric = ROWS["bleu", "standard"]
    pairs = [(case["stripped"]["pred"], case["stripped"]["ref"]) for case in GOLDEN["mimo"]]
    pooled = metric.combine(np.sum([stats(metric, *pair) for pair in pairs], axis=0))
    assert 100 * pooled[0] == pytest.approx(GOLDEN["sacrebleu_corpus_percent"], abs=1e-4)

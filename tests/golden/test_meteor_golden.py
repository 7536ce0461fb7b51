"""METEOR and BERTScore's matching against released code; `meteor.json` says where its numbers come from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.metrics.metric import sample_values
from harness.metrics.reports import meteor_java
from harness.metrics.reports.meteor import METRICS, aligned, meteor
from harness.records import Prediction, Sample, Target
from harness.text.sentence_splitter import sentences

ROWS = {metric.protocol: metric for metric in METRICS}
GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("meteor.json").read_text(encoding="utf-8"))


def names(case: dict[str, Any]) -> str:
    return str(case["name"])


def pair(prediction: str, reference: str) -> tuple[Sample, Prediction]:
    return Sample(id="g/1", target=Target(answers=(reference,))), Prediction(key="k", status="ok", text=prediction)


def value(protocol: str, prediction: str, reference: str) -> float | None:
    return sample_values(ROWS[protocol], ROWS[protocol].score(*pair(prediction, reference)).stats)[0]


@pytest.mark.usefixtures("word_net")
@pytest.mark.parametrize("case", GOLDEN["one_line"], ids=names)
def test_texts_of_one_line_score_as_released(case: dict[str, Any]) -> None:
    assert value("nltk", case["prediction"], case["reference"]) == pytest.approx(case["meteor"], abs=1e-9)


@pytest.mark.usefixtures("word_net")
@pytest.mark.parametrize("case", GOLDEN["split_by_hand"], ids=names)
def test_our_sentences_are_those_split_by_hand(case: dict[str, Any]) -> None:
    prediction, reference = " ".join(case["prediction"]), " ".join(case["reference"])
    assert (sentences(prediction), sentences(reference)) == (case["prediction"], case["reference"])
    assert value("m3d", prediction, reference) == pytest.approx(case["meteor"], abs=1e-9)


@pytest.mark.parametrize("case", GOLDEN["words"], ids=names)
def test_words_align_as_released(case: dict[str, Any], word_net: Any) -> None:
    words = case["reference"], case["prediction"]
    assert [list(found) for found in aligned(*words, word_net.synonyms)] == case["alignment"]
    assert meteor(*words, word_net.synonyms) == pytest.approx(case["meteor"], abs=1e-9)


@pytest.mark.parametrize("case", GOLDEN["embeddings"], ids=names)
def test_embeddings_are_matched_as_released(case: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("bert_score")
    from harness.metrics.reports.bert_encoder import greedy_match

    sides = [torch.tensor(case[side]) for side in ("reference", "prediction")]
    expected = case["f1"], case["precision"], case["recall"]
    assert greedy_match(*sides, padding=case["padding"]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.usefixtures("java")
def test_meteor_1_5_scores_as_pycocoevalcap_does() -> None:
    (row,) = meteor_java.METRICS
    pairs = [pair(case["prediction"], case["reference"]) for case in GOLDEN["coco"]["cases"]]
    score = meteor_java.prepare(pairs)
    stats = [score(*one).stats for one in pairs]
    found = [sample_values(row, counts)[0] for counts in stats]
    assert found == pytest.approx([case["meteor"] for case in GOLDEN["coco"]["cases"]], abs=1e-6)
    assert row.combine(np.sum(stats, axis=0))[0] == pytest.approx(GOLDEN["coco"]["corpus"], abs=1e-6)

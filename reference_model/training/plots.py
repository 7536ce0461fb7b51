"""Plots a training: the losses of every stage and, for stages with experts, the share of tokens of each expert.

The latter follows Figure 5 of the MedPLIB paper: per layer, the share of tokens whose first choice each expert is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from harness.errors import DataError, SpecError
from reference_model.training.log import LOG, LoggedStep, StageNote, read_log, read_note

SUFFIXES = (".png", ".svg")
# A smoothed line is the mean over this share of a stage's steps.
SMOOTHED = 0.04
# Most panels in a row.
ACROSS = 5
# The size of a panel, in inches.
WIDTH, HEIGHT = 3.2, 2.6

# Colour and dashes. The colours are those of Okabe and Ito, which colour-blind readers can tell apart; the dashes are
# for print in grey.
LineStyle = tuple[str, str]
Draw = Callable[[Axes], None]

_LOSSES: Mapping[str, LineStyle] = {
    "language": ("#0072B2", "-"),
    "clip": ("#E69F00", "-"),
    "caption": ("#E69F00", "--"),
    "region": ("#009E73", "-."),
    "cell": ("#56B4E9", "-"),
    "pixel": ("#0072B2", ":"),
    "bce": ("#D55E00", "--"),
    "dice": ("#CC79A7", "-"),
    "focal": ("#56B4E9", "-."),
    "iou": ("#000000", ":"),
    "balance": ("#666666", ":"),
    "prompt": ("#009E73", ":"),
}
EXPERTS: Sequence[LineStyle] = (("#0072B2", "-"), ("#D55E00", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A stage as read from its folder; `steps` holds at least one step."""

    note: StageNote
    steps: Sequence[LoggedStep]

    @property
    def label(self) -> str:
        """The number of the stage, and its title up to the first comma."""
        return f"Stage {self.note.stage}: {self.note.title.partition(',')[0]}"


def plot(out: Path, file: Path) -> None:
    """Draw the stages below the folder of a training into a file.

    Args:
        out: `--out` of the training; a stage may still be running.
        file: A .png or .svg file; the same logs give the same bytes.

    Raises:
        SpecError: The file name has another suffix.
        DataError: No stage has taken a step, or the files of a stage cannot be read.
    """
    check_name(file)
    save(draw(read_stages(out)), file)


def check_name(file: Path) -> None:
    """Check that a file can hold a plot.

    Raises:
        SpecError: Its name ends in neither .png nor .svg.
    """
    if file.suffix not in SUFFIXES:
        raise SpecError(f"--to {file}: expected a name that ends in {' or '.join(SUFFIXES)}")


def save(figure: Figure, file: Path) -> None:
    """Write a figure, the same one in the same bytes, into a .png or .svg file.

    Raises:
        SpecError: The file name has another suffix.
    """
    check_name(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    # The date or matplotlib's version would change the bytes of the file for the same logs.
    undated = {"Date": None} if file.suffix == ".svg" else {"Software": None}
    # Text stays text in an SVG, and ids do not change from one plot to the next.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "medground"}):
        figure.savefig(file, dpi=120, metadata=undated)


def read_stages(out: Path) -> list[Trained]:
    """Return the stages that have taken a step, by number.

    Raises:
        DataError: No stage has taken a step, or the files of a stage cannot be read.
    """
    logs = [path for path in out.glob(f"stage-*/{LOG}") if path.stat().st_size]
    if not logs:
        raise DataError(f"{out}: expected the --out of a training, found no stage-*/{LOG} with a step in it")
    stages = [Trained(note=read_note(log.parent), steps=read_log(log.parent)) for log in logs]
    return sorted(stages, key=lambda one: one.note.stage)


def draw(stages: Sequence[Trained]) -> Figure:
    """Return the figure: one panel of losses per stage and, below, one panel per layer of each stage with experts."""
    blocks = [("Losses before weighting", [_losses_of(one) for one in stages])]
    for one in stages:
        if one.steps[0].tokens:
            title = f"{one.label}: share of the tokens that each expert is the first choice of"
            blocks.append((title, [_shares_of(one, layer) for layer in range(len(one.steps[0].tokens))]))
    rows = [ceil(len(panels) / ACROSS) for _, panels in blocks]
    across = min(ACROSS, max(len(panels) for _, panels in blocks))
    figure = Figure(figsize=(WIDTH * across + 0.4, HEIGHT * sum(rows) + 0.5 * len(blocks) + 0.4), layout="constrained")
    note = stages[0].note
    figure.suptitle(f"{note.recipe}, seed {note.seed}", fontweight="bold")
    parts = figure.subfigures(len(blocks), 1, squeeze=False, height_ratios=rows)
    for part, (title, panels), count in zip(parts[:, 0], blocks, rows, strict=True):
        _fill(part, title, panels, rows=count, across=across)
    return figure


def _fill(part: SubFigure, title: str, panels: Sequence[Draw], *, rows: int, across: int) -> None:
    part.suptitle(title, fontsize="medium")
    named: dict[str, Artist] = {}
    for place, axes in enumerate(part.subplots(rows, across, squeeze=False).flat):
        if place >= len(panels):
            axes.set_axis_off()
            continue
        panels[place](axes)
        axes.set_xlabel("step", fontsize="small")
        axes.tick_params(labelsize="small")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(alpha=0.3)
        lines, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, lines, strict=True))
    # Below the panels: inside a panel it would cover lines.
    part.legend(list(named.values()), list(named), loc="outside lower center", ncols=8, fontsize="small", frameon=False)


def _losses_of(stage: Trained) -> Draw:
    """Return a function that draws the losses with a weight in a stage."""
    names = [name for name, weight in stage.note.losses.items() if weight]
    step_S = np.array([step.step for step in stage.steps])

    def panel(axes: Axes) -> None:
        highest = 0.0
        for name in names:
            value_S = np.array([step.losses[name] for step in stage.steps])
            highest = max(highest, float(value_S.max()))
            _line(axes, step_S, value_S, smooth(value_S, _window(stage)), _LOSSES[name], name)
        axes.set_title(stage.label, fontsize="small")
        axes.set_ylabel("loss", fontsize="small")
        axes.set_ylim(0, 1.05 * highest or 1.0)

    return panel


def _shares_of(stage: Trained, layer: int) -> Draw:
    """Return a function that draws the share of tokens of each expert of a layer."""
    step_S = np.array([step.step for step in stage.steps])
    tokens_SE = np.array([step.tokens[layer] for step in stage.steps], dtype=np.float64)
    experts = tokens_SE.shape[1]

    def panel(axes: Axes) -> None:
        total_S = tokens_SE.sum(axis=1)
        for expert in range(experts):
            taken_S = tokens_SE[:, expert]
            smooth_S = smooth(taken_S, _window(stage)) / np.maximum(smooth(total_S, _window(stage)), 1e-9)
            source = f" (from stage {stage.note.experts[expert]})" if stage.note.experts else ""
            label = f"expert {expert}{source}"
            _line(axes, step_S, taken_S / np.maximum(total_S, 1), smooth_S, EXPERTS[expert % len(EXPERTS)], label)
        axes.axhline(1 / experts, color="black", linewidth=0.8, linestyle=(0, (1, 3)))
        axes.set_title(f"Layer {layer}", fontsize="small")
        axes.set_ylabel("share of tokens", fontsize="small")
        axes.set_ylim(-0.03, 1.03)  # keeps a line along an edge visible

    return panel


def _line(
    axes: Axes,
    step_S: NDArray[np.int64],
    raw_S: NDArray[np.float64],
    smooth_S: NDArray[np.float64],
    style: LineStyle,
    label: str,
) -> None:
    colour, dashes = style
    axes.plot(step_S, raw_S, color=colour, linewidth=0.6, alpha=0.25)
    axes.plot(step_S, smooth_S, color=colour, linestyle=dashes, linewidth=1.6, label=label)


def _window(stage: Trained) -> int:
    return max(1, round(SMOOTHED * len(stage.steps)))


def smooth(value_S: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the running mean, float64 (S,); at the ends, over fewer steps.

    Args:
        value_S: float64, one value per step, at least one.
        window: The number of steps around each step, at least 1.
    """
    around = np.ones(min(window, len(value_S)))
    summed, counted = (np.convolve(values, around, "same") for values in (value_S, np.ones(len(value_S))))
    smoothed: NDArray[np.float64] = summed / counted
    return smoothed

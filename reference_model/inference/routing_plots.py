"""Plots where tokens go, after Figures 5, 12 and 13 of the MedPLIB paper.

One row of panels each: the share of all tokens that each expert takes (Figure 5), the same of image tokens and of text
tokens (Figure 12), layer by layer; and each expert's share by imaging modality and layer (Figure 13).
"""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reference_model.inference.routing_counts import KINDS, RoutingCounts
from reference_model.training.plots import EXPERTS, HEIGHT, WIDTH, save

# A number in a cell is white on cells darker than this share.
DARK = 0.6


def plot_routing(counts: RoutingCounts, file: Path) -> None:
    """Draw all figures into a file.

    Args:
        counts: Where the tokens went.
        file: A .png or .svg file; the same counts give the same bytes.

    Raises:
        SpecError: The file name has another suffix.
    """
    save(draw(counts), file)


def draw(counts: RoutingCounts) -> Figure:
    """Return the figure: bars over the layers, for all tokens and for each kind, above a map for each expert."""
    tokens_NLKE = counts.tokens_NLKE
    experts = tokens_NLKE.shape[-1]
    across = max(1 + len(KINDS), experts)
    tall = HEIGHT * max(1.0, 0.12 * len(counts.modalities) + 0.5)
    figure = Figure(figsize=(WIDTH * across + 0.4, HEIGHT + tall + 1.2), layout="constrained")
    figure.suptitle(
        f"{counts.model}: the expert that is each token's first choice, {counts.samples} samples", fontweight="bold"
    )
    upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=[HEIGHT, tall])[:, 0]
    panels = upper.subplots(1, 1 + len(KINDS), squeeze=False)[0]
    _bars(panels[0], tokens_NLKE.sum(axis=(0, 2)), "All tokens")
    for number, kind in enumerate(KINDS):
        _bars(panels[1 + number], tokens_NLKE[:, :, number].sum(axis=0), f"{kind.capitalize()} tokens")
    bars, labels = panels[0].get_legend_handles_labels()
    upper.legend(bars, labels, loc="outside lower center", ncols=8, fontsize="small", frameon=False)
    total_NL = tokens_NLKE.sum(axis=(2, 3))
    for expert, axes in enumerate(lower.subplots(1, experts, squeeze=False)[0]):
        share_NL = tokens_NLKE[..., expert].sum(axis=2) / np.maximum(total_NL, 1)
        _map(axes, share_NL, counts.modalities, f"Share of expert {expert} by modality")
    return figure


def _bars(axes: Axes, tokens_LE: NDArray[np.int64], title: str) -> None:
    share_LE = tokens_LE / np.maximum(tokens_LE.sum(axis=1, keepdims=True), 1)
    layer_L = np.arange(len(share_LE))
    below_L = np.zeros(len(share_LE))
    for expert in range(share_LE.shape[1]):
        colour, _ = EXPERTS[expert % len(EXPERTS)]
        axes.bar(layer_L, share_LE[:, expert], bottom=below_L, color=colour, width=0.7, label=f"expert {expert}")
        below_L = below_L + share_LE[:, expert]
    axes.axhline(1 / share_LE.shape[1], color="black", linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set_title(title, fontsize="small")
    axes.set_xlabel("layer", fontsize="small")
    axes.set_ylabel("share of tokens", fontsize="small")
    axes.set_xticks(layer_L[:: max(1, len(layer_L) // 8)])
    axes.set_ylim(0, 1)
    axes.tick_params(labelsize="small")


def _map(axes: Axes, share_NL: NDArray[np.float64], names: tuple[str, ...], title: str) -> None:
    axes.imshow(share_NL, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    if share_NL.shape[1] <= 8:  # beyond, the numbers would not fit their cells
        for (row, layer), share in np.ndenumerate(share_NL):
            colour = "white" if share > DARK else "black"
            axes.text(layer, row, f"{share:.2f}", ha="center", va="center", color=colour, fontsize="x-small")
    axes.set_title(title, fontsize="small")
    axes.set_xlabel("layer", fontsize="small")
    axes.set_xticks(np.arange(share_NL.shape[1])[:: max(1, share_NL.shape[1] // 8)])
    axes.set_yticks(np.arange(len(names)), names)
    axes.tick_params(labelsize="small")

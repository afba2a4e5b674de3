"""Which synthesis layers carry which property, as a picture."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from numpy.typing import NDArray

from ohlora_gan.evaluation.layer_rescoring import LayerRescoring
from ohlora_gan.evaluation.report_words import plain
from ohlora_gan.files import replacing

CELL = 0.42
"""Inches."""
INK, PALE = "#1f2430", "#8a91a0"
LINES = ("#2f6fb2", "#c8553d", "#3f8f5f", "#8a5aa8", "#b58a1f", "#4f7f8f", "#a0526d", "#6b6f7a")


def draw_layers(path: str | Path, found: LayerRescoring) -> Path:
    """Writes a PNG of three kinds of panels.

    How much each edit raises its own property where one synthesis layer alone is moved, and where all layers up to one
    are; and for each edit, what it does to every scored property, layer by layer.
    """
    num_edits = len(found.properties)
    edits = [str(k) for k in range(num_edits)]
    order = ["own", "own", *edits, "growth"] if num_edits % 2 else ["own", "growth", *edits]
    rows = [order[i : i + 2] for i in range(0, len(order), 2)]
    below = (len(found.names) + 2.8) * CELL
    heights = [(max(num_edits, 4 if "growth" in rows[0] else 0) + 2.4) * CELL, *[below] * (len(rows) - 1)]
    size = (2 * (len(found.resolutions) + 6) * CELL, sum(heights) + 0.9)
    layout = ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12)
    figure = Figure(figsize=size, layout=layout, facecolor="white")
    mosaic: list[Any] = rows  # matplotlib types it as lists of any hashables
    panels = figure.subplot_mosaic(mosaic, height_ratios=heights)
    figure.suptitle(
        f"Which synthesis layers carry which property\n{found.run}: {found.method} at layer {found.layer}, moved by "
        f"{found.step:g}, mean over {len(found.changes)} faces",
        color=INK, fontsize=12,
    )  # fmt: skip
    own_panel(panels["own"], found)
    growth_panel(panels["growth"], found)
    for k in range(num_edits):
        edit_panel(panels[str(k)], found, k)
    with replacing(path) as partial:
        figure.savefig(partial, dpi=130, format="png")
    return Path(path)


def own_panel(axes: Axes, found: LayerRescoring) -> None:
    """ds of each edit's own property: a column a layer moved alone, and one for the whole edit."""
    ds = found.ds()
    values = np.vstack([ds[found.of_single_layers()], ds[found.of_first_layers()[-1:]]])
    heat(axes, values.T, list(found.properties), found.resolutions, "YlGnBu", 0.0, float(values.max()) or 1.0)
    title(axes, "ds: how much one layer alone raises the property (σ)")


def edit_panel(axes: Axes, found: LayerRescoring, k: int) -> None:
    """Signed change of every property by the k-th edit; all edits have the same colours."""
    changes = found.slopes() * found.step
    bound = float(np.abs(changes).max()) or 1.0
    values = np.vstack([changes[found.of_single_layers(), k], changes[found.of_first_layers()[-1:], k]])
    heat(axes, values.T, list(found.names), found.resolutions, "RdBu_r", -bound, bound)
    axes.get_yticklabels()[found.names.index(found.properties[k])].set_fontweight("bold")
    title(axes, f"the {plain(found.properties[k])} edit: change of every score (σ)")


def growth_panel(axes: Axes, found: LayerRescoring) -> None:
    """ds of each edit's own property where the first layers up to one are moved, with 95 % intervals."""
    places, x = found.of_first_layers(), np.arange(len(found.resolutions))
    ds, (low, high) = found.ds()[places], found.intervals()
    for k, name in enumerate(found.properties):
        color = LINES[k % len(LINES)]
        axes.fill_between(x, low[places, k], high[places, k], color=color, alpha=0.18, linewidth=0)
        axes.plot(x, ds[:, k], color=color, marker="o", markersize=4, linewidth=1.8, label=plain(name))
    axes.set_ylim(bottom=0)
    axes.set_xlim(-0.5, len(x) - 0.5)
    axes.grid(axis="y", color="#e4e7ec", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    layer_axis(axes, found.resolutions)
    title(axes, "ds where all layers up to one are moved (σ)")


def heat(
    axes: Axes,
    values: NDArray[np.float64],
    names: list[str],
    resolutions: list[int],
    colors: str,
    low: float,
    high: float,
) -> None:
    """Values ``[rows, L + 1]`` as coloured cells with their numbers; the last column, that of the whole edit, stands
    apart."""
    num = len(resolutions)
    apart = np.insert(values, num, np.nan, axis=1)
    image = axes.imshow(apart, cmap=colors, vmin=low, vmax=high, aspect="auto")
    for (row, column), value in np.ndenumerate(apart):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            bright = 0.3 * red + 0.59 * green + 0.11 * blue > 0.55
            axes.text(
                column, row, short(value), ha="center", va="center", fontsize=7.5, color=INK if bright else "white"
            )
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=9, color=INK)
    axes.set_xticks(np.arange(-0.5, num + 2), minor=True)
    axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
    axes.grid(which="minor", color="white", linewidth=1.5)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    layer_axis(axes, resolutions, ["", "all"])


def layer_axis(axes: Axes, resolutions: list[int], more: list[str] | None = None) -> None:
    """Synthesis layers along the axis, each named by its number and its resolution."""
    labels = [f"{i}\n{side}×{side}" for i, side in enumerate(resolutions)] + (more or [])
    axes.set_xticks(range(len(labels)), labels, fontsize=8, color=INK)
    axes.set_xlabel("synthesis layer and its resolution", fontsize=8, color=PALE)


def short(value: float) -> str:
    """Two decimals without a leading zero: ``.25``, ``−1.10``."""
    text = f"{round(value, 2) + 0.0:.2f}"  # + 0.0: no minus before zero
    return text.replace("0.", ".", 1).replace("-", "−") if abs(value) < 0.995 else text.replace("-", "−")


def title(axes: Axes, text: str) -> None:
    axes.set_title(text, color=INK, fontsize=10, loc="left", pad=8)

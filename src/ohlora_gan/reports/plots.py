"""Plots as inline SVG for the report.

matplotlib draws with stand-in colours; in the SVG each becomes a CSS variable of the page, so that a plot
follows the page's light or dark theme. Text stays text and takes the page's font.
"""

import io
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from html import escape
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from ohlora_gan.files import replacing
from ohlora_gan.judging.rescoring import LayerRescoring
from ohlora_gan.reports.wording import plain

THEME = ("ink", "muted", "line", "accent", "eyes", "mouth", "pose", "other")
"""The page's CSS colour variables."""

STAND_IN = {name: f"#{i:02x}{i:02x}{i:02x}" for i, name in enumerate(THEME, start=1)}
"""What matplotlib draws each of them with."""

_RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.parse_math": False,
    "text.color": STAND_IN["ink"],
    "axes.labelcolor": STAND_IN["muted"],
    "axes.edgecolor": STAND_IN["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": STAND_IN["line"],
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "xtick.color": STAND_IN["line"],
    "ytick.color": STAND_IN["line"],
    "xtick.labelcolor": STAND_IN["muted"],
    "ytick.labelcolor": STAND_IN["muted"],
}
_SERIES = ("eyes", "mouth", "pose", "other", "muted", "ink")


def hue(property: str) -> str:
    """The theme colour of a property; every plot and table uses the same one."""
    return property if property in ("eyes", "mouth", "pose") else "accent"


def response_lines(name: str, property: str, strengths: ArrayLike, scores: ArrayLike) -> str:
    """Measured score over strength: a thin line a face, a thick one for their mean.

    Args:
        name: unique on the page (prefix of the SVG's ids).
        strengths: ``[K]``.
        scores: ``[rows, K]`` in sigmas, NaN allowed.
    """
    x, y, named = np.asarray(strengths, float), np.asarray(scores, float), plain(property)
    color = STAND_IN[hue(property)]
    with style(name):
        figure, axes = _figure(3.4, 2.0)
        axes.axhline(0, color=STAND_IN["muted"], linewidth=0.6)
        axes.axvline(0, color=STAND_IN["muted"], linewidth=0.6)
        axes.plot(x, y.T, color=color, linewidth=0.9, alpha=0.4)
        mean = np.ma.masked_invalid(y).mean(axis=0).filled(np.nan) if len(y) else np.full(len(x), np.nan)
        axes.plot(x, mean, color=color, linewidth=2.4, marker="o", markersize=4)
        axes.set_xlabel(f"strength along the {named} direction")
        axes.set_ylabel("measured score (σ)")
        return to_svg(figure, name, f"Measured {named} score over strength: a line a face and their mean")


def correlation_histogram(name: str, property: str, values: ArrayLike, threshold: float | None) -> str:
    """How the correlations of many latents spread; bars that reach the threshold are solid.

    Args:
        name: unique on the page.
        values: ``[num_latents]`` in [-1, 1], NaN allowed (left out).
        threshold: what a latent must reach to pass, None for no line.
    """
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    mean = f"{known.mean():.3f}" if len(known) else "not measured"
    low = min(0.5, np.floor(known.min() * 10) / 10) if len(known) else 0.5
    step = 0.02 if low >= 0 else 0.04
    edges = 1 - step * np.arange(np.ceil((1 - low) / step) + 1)[::-1]
    counts, _ = np.histogram(np.clip(known, edges[0], 1), edges)
    solid = edges[:-1] >= (-np.inf if threshold is None else threshold - 1e-9)
    with style(name):
        figure, axes = _figure(3.4, 2.0)
        axes.grid(axis="x", visible=False)
        for mask, alpha in ((solid, 1.0), (~solid, 0.35)):
            axes.bar(edges[:-1][mask], counts[mask], step * 0.9, align="edge", alpha=alpha, linewidth=0,
                     color=STAND_IN[hue(property)])  # fmt: skip
        axes.set_ylim(0, max(1, counts.max()) * 1.05)
        axes.set_xlim(edges[0], 1)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        if threshold is not None:
            axes.axvline(threshold, color=STAND_IN["ink"], linestyle="--", label=f"passes from {threshold:.2f}")
        if len(known):
            axes.axvline(float(known.mean()), color=STAND_IN["ink"], label=f"mean {mean}")
            _legend(axes)
        axes.set_xlabel(f"correlation of intended and measured {plain(property)}")
        axes.set_ylabel("latents")
        label = f"Histogram of the {plain(property)} correlations of {len(known)} latents, mean {mean}"
        return to_svg(figure, name, label)


def curves(name: str, steps: ArrayLike, series: Mapping[str, ArrayLike], title: str) -> str:
    """Lines over training steps.

    Args:
        name: unique on the page.
        steps: ``[T]``.
        series: name -> ``[T]``, NaN allowed.
        title: what the lines show, in words.
    """
    with style(name):
        figure, axes = _figure(3.4, 2.1)
        for i, (label, values) in enumerate(series.items()):
            x, y = np.asarray(steps, float), np.asarray(values, float)
            axes.plot(x, y, color=STAND_IN[_SERIES[i % len(_SERIES)]], linewidth=1.5, label=label)
        _legend(axes)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_xlabel("training step")
        return to_svg(figure, name, f"{title} over training steps: {', '.join(series)}")


def style(name: str) -> AbstractContextManager[None]:
    """matplotlib's settings for one plot; the salt makes equal plots equal text."""
    return matplotlib.rc_context({**_RC, "svg.hashsalt": name})


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend(axes: Axes) -> None:
    """The names of the lines in a row above the axes, where they cover nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, frameon=False, handlelength=1.2,
                columnspacing=1.2, borderpad=0, borderaxespad=0.3)  # fmt: skip


def to_svg(figure: Figure, name: str, label: str) -> str:
    """The figure as one ``svg`` element: unique ids, theme colours, a label for screen readers."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->|<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;]*; ", "", text)
    text = re.sub(r'<g id="[^"]*">', "<g>", text)
    text = re.sub(r' xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\1{name}-", text)
    role = f'role="img" aria-label="{escape(label)}"'
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', lambda _: role, text, count=1)
    for theme, color in STAND_IN.items():
        text = text.replace(color, f"rgb(var(--{theme}))")
    return text.strip()


# --- Which synthesis layers carry which property, as a picture ---


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

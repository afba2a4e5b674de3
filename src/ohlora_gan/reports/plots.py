"""Plots for pages, as pictures that hold themselves, and the sheet of what each synthesis layer carries.

matplotlib writes each plot as SVG, which a page shows as a picture; a dark page inverts its brightness. Beside it goes
where each point lies and what it says, for whoever points at it: see ``templates/base.html.j2``.
"""

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import EngFormatter, FixedLocator, LogLocator, MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from ohlora_gan.files import replacing
from ohlora_gan.judging.figures import Interval
from ohlora_gan.judging.rescoring import LayerRescoring
from ohlora_gan.reports.pages import MINUS, hue, number, plain, strength

COLORS = {
    "ink": "#1a1e26",
    "muted": "#5c6370",
    "line": "#dee2e8",
    "accent": "#0f766e",
    "eyes": "#2563b2",
    "mouth": "#c23c5c",
    "pose": "#a06808",
    "other": "#6d4caa",
}
"""The colours of a light page."""
SERIES = [COLORS[name] for name in ("eyes", "mouth", "pose", "other", "muted", "ink")]
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "plot",  # equal plots are equal text
    "font.sans-serif": ["Inter", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "DejaVu Sans", "sans-serif"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": COLORS["ink"],
    "axes.labelcolor": COLORS["muted"],
    "axes.edgecolor": COLORS["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": COLORS["line"],
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "xtick.color": COLORS["line"],
    "ytick.color": COLORS["line"],
    "xtick.labelcolor": COLORS["muted"],
    "ytick.labelcolor": COLORS["muted"],
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.2,
    "legend.borderpad": 0,
    "legend.borderaxespad": 0.3,
}


class Plot(NamedTuple):
    """A plot as a page shows it: the source of an ``img`` element, what it shows in words, and what can be read off it:
    (name, points) of each line, a point being (per mille of the width, of the height from above, words)."""

    source: str
    label: str
    lines: Sequence[tuple[str, Sequence[tuple[int, int, str]]]] = ()


class Drawn(NamedTuple):
    """A line, points or bars on axes: their name, places ``[T]``, NaN allowed, and what each says."""

    name: str
    axes: Axes
    x: ArrayLike
    y: ArrayLike
    words: Sequence[str]

    def placed(self) -> tuple[str, list[tuple[int, int, str]]]:
        """One of `Plot.lines`, of at most `MAX_READ` points, once the layout of the figure is known."""
        places = self.axes.transData.transform(np.column_stack([self.x, self.y]).astype(float))
        places = 1000 * self.axes.figure.transFigure.inverted().transform(places)
        known = np.flatnonzero(np.isfinite(places).all(axis=1))
        if len(known) > MAX_READ:
            known = known[np.linspace(0, len(known) - 1, MAX_READ).astype(int)]
        return self.name, [(round(places[i, 0]), 1000 - round(places[i, 1]), self.words[i]) for i in known.tolist()]


def as_plot(figure: Canvas, label: str, drawn: Iterable[Drawn] = ()) -> Plot:
    """A figure drawn under ``STYLE`` as SVG in a data URI; ``drawn`` is what can be read off it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    source = f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return Plot(source, label, [line for each in drawn if (line := each.placed())[1]])


def _figure(width: float, height: float) -> tuple[Canvas, Axes]:
    figure = Canvas(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _legend(axes: Axes) -> None:
    """The names of the lines in a row above the axes, where they cover nothing."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4)


def response_lines(property: str, strengths: ArrayLike, scores: ArrayLike, faces: Sequence[str]) -> Plot:
    """Measured scores ``[rows, K]`` in sigmas, NaN allowed, over strengths ``[K]``: a thin line a face, each with a
    name, a thick one for their mean."""
    x, y, named = np.asarray(strengths, float), np.asarray(scores, float), plain(property)
    color = COLORS[hue(property)]
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.4, 2.0)
        axes.axhline(0, color=COLORS["muted"], linewidth=0.6)
        axes.axvline(0, color=COLORS["muted"], linewidth=0.6)
        axes.plot(x, y.T, color=color, linewidth=0.9, alpha=0.4)
        mean = np.ma.masked_invalid(y).mean(axis=0).filled(np.nan) if len(y) else np.full(len(x), np.nan)
        axes.plot(x, mean, color=color, linewidth=2.4, marker="o", markersize=4)
        axes.set_xlabel(f"strength along the {named} direction")
        axes.set_ylabel("measured score (σ)")
        drawn = []
        for name, line in zip([*faces, "mean"], [*y, mean], strict=True):
            words = [f"{number(value, signed=True)} σ at {strength(at)}" for at, value in zip(x, line, strict=True)]
            drawn.append(Drawn(name, axes, x, line, words))
        return as_plot(figure, f"Measured {named} score over strength: a line a face and their mean", drawn)


def correlation_histogram(property: str, values: ArrayLike, threshold: float | None) -> Plot:
    """How the correlations ``[num_latents]`` spread, NaN left out; bars that reach the threshold, if any, are solid."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    mean = f"{known.mean():.3f}" if len(known) else "not measured"
    low = min(0.5, np.floor(known.min() * 10) / 10) if len(known) else 0.5
    step = 0.02 if low >= 0 else 0.04
    edges = 1 - step * np.arange(np.ceil((1 - low) / step) + 1)[::-1]
    counts, _ = np.histogram(np.clip(known, edges[0], 1), edges)
    solid = edges[:-1] >= (-np.inf if threshold is None else threshold - 1e-9)
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.4, 2.0)
        axes.grid(axis="x", visible=False)
        for mask, alpha in ((solid, 1.0), (~solid, 0.35)):
            axes.bar(edges[:-1][mask], counts[mask], step * 0.9, align="edge", alpha=alpha, linewidth=0,
                     color=COLORS[hue(property)])  # fmt: skip
        axes.set_ylim(0, max(1, counts.max()) * 1.05)
        axes.set_xlim(edges[0], 1)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
        if threshold is not None:
            axes.axvline(threshold, color=COLORS["ink"], linestyle="--", label=f"passes from {threshold:.2f}")
        if len(known):
            axes.axvline(float(known.mean()), color=COLORS["ink"], label=f"mean {mean}")
            _legend(axes)
        axes.set_xlabel(f"correlation of intended and measured {plain(property)}")
        axes.set_ylabel("faces")
        label = f"Histogram of the {plain(property)} correlations of {len(known)} faces, mean {mean}"
        words = [f"{count} faces" for count in counts]
        names = [f"{number(low)} to {number(high)}" for low, high in pairwise(edges)]
        bars = zip(names, edges[:-1] + step / 2, counts, words, strict=True)
        drawn = [Drawn(name, axes, [x], [count], [said]) for name, x, count, said in bars if count]
        return as_plot(figure, label, drawn)


MAX_POINTS = 400
"""Of a curve: more make a page heavy and a line no finer."""
MAX_READ = 100
"""Points of a curve that say what they are: they are three pixels from each other."""


def thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """A curve of at most `MAX_POINTS` points, means of equal stretches of what is known."""
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    if len(x) <= MAX_POINTS:
        return x, y
    parts = [np.array_split(values, MAX_POINTS) for values in (x, y)]
    means = [np.array([part.mean() for part in values]) for values in parts]
    return means[0], means[1]


def heat_map(values: ArrayLike, rows: Sequence[str], columns: Sequence[str]) -> NDArray[np.uint8]:
    """A matrix ``[R, C]`` with its numbers as a picture uint8 ``[H, W, 3]``, red below 0 and blue above."""
    matrix = np.asarray(values, float)
    most = np.nanmax(np.abs(matrix), initial=1e-9)
    with matplotlib.rc_context(STYLE):
        figure = Canvas(figsize=(1.6 + 0.62 * len(columns), 1.3 + 0.34 * len(rows)), layout="constrained", dpi=150)
        axes = figure.add_subplot()
        axes.grid(visible=False)
        axes.imshow(matrix, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
        axes.set_xticks(range(len(columns)), columns, rotation=45, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        for (r, c), value in np.ndenumerate(matrix):
            color = "white" if abs(value) > 0.6 * most else COLORS["ink"]
            axes.text(c, r, number(value), ha="center", va="center", color=color, fontsize=7)
        drawn = FigureCanvasAgg(figure)
        drawn.draw()
        return np.asarray(drawn.buffer_rgba())[..., :3].copy()


def curves(steps: ArrayLike, series: Mapping[str, ArrayLike], title: str) -> Plot:
    """Lines, name -> ``[T]``, NaN allowed, over training steps ``[T]``; the title says what they show."""
    with matplotlib.rc_context(STYLE):
        figure, axes = _figure(3.4, 2.1)
        drawn = []
        for i, (label, values) in enumerate(series.items()):
            x, y = thinned(np.asarray(steps, float), np.asarray(values, float))
            axes.plot(x, y, color=SERIES[i % len(SERIES)], linewidth=1.5, label=label)
            words = [f"{value:.3g} at step {step:,.0f}".replace("-", MINUS) for step, value in zip(x, y, strict=True)]
            drawn.append(Drawn(label, axes, x, y, words))
        _legend(axes)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=5))
        axes.set_xlabel("training step")
        return as_plot(figure, f"{title} over training steps: {', '.join(series)}", drawn)


# --- Plots of many runs ---


WAY_COLORS = [COLORS[name] for name in ("accent", "eyes", "mouth", "pose", "other", "ink", "muted")]
DASHES = ("-", "--", ":")
PANELS = 3  # side by side
MAX_TICKS = 6


class Point(NamedTuple):
    """A figure of a run: its way of finding, its layer, its place on the horizontal axis, above 0 where known, and what
    it is in words."""

    way: str
    layer: str
    x: float
    figure: Interval
    words: str


def look(index: int) -> tuple[str, str]:
    """(colour, line style) of the index-th way of finding; every plot and the legend use the same."""
    return WAY_COLORS[index % len(WAY_COLORS)], DASHES[index // len(WAY_COLORS) % len(DASHES)]


def names_of(runs: Iterable[Any]) -> tuple[list[str], list[str]]:
    """All ways of finding and all layers of runs or points, sorted: ranks change no colour."""
    runs = list(runs)
    layers = sorted({run.layer for run in runs}, key=lambda name: (len(name), name))
    return sorted({run.way for run in runs}), layers


def panels(points: Sequence[Point], title: str, best: str, across: str, mark_places: bool = False) -> Plot:
    """Figures over what ``across`` says: a panel a layer, a line a way of finding; ``mark_places``: with ticks at the
    points alone, where they are few."""
    ways, layers = names_of(points)
    rows = -(-len(layers) // PANELS)
    with matplotlib.rc_context(STYLE):
        canvas = Canvas(figsize=(3.0 * PANELS, 2.3 * rows), layout="constrained")
        grid = canvas.subplots(rows, PANELS, sharex=True, sharey=True, squeeze=False)
        drawn = []
        for axes, layer in zip(grid.ravel(), layers, strict=False):
            for i, way in enumerate(ways):
                line = [point for point in points if point.way == way and point.layer == layer and point.x > 0]
                line.sort(key=lambda point: point.x)  # the axis is logarithmic
                x = np.array([point.x for point in line])
                _draw(axes, x, [point.figure for point in line], i, joined=True)
                words = [f"{p.words}, {p.x:,.{0 if p.x >= 100 else 1}f} {across}" for p in line]
                drawn.append(Drawn(f"{way} at {plain(layer)}", axes, x, [p.figure.value for p in line], words))
            axes.set_title(plain(layer), loc="left", fontsize=9)
            axes.set_xlabel(across)
            axes.tick_params(labelbottom=True)
        for axes in grid.ravel()[len(layers) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(title)
        _logarithmic(grid[0, 0], sorted({point.x for point in points if point.x > 0}), mark_places)
        return as_plot(canvas, f"{title} over {across}, a panel a layer ({', '.join(layers)}), {best} is best", drawn)


def by_layer(points: Sequence[Point], title: str, best: str) -> Plot:
    """Figures by layer, one a way of finding and layer, as points with their intervals; otherwise like ``panels``."""
    ways, layers = names_of(points)
    found = {(point.way, point.layer): point for point in points}
    with matplotlib.rc_context(STYLE):
        canvas, axes = _figure(3.4, 2.3)
        drawn = []
        for i, way in enumerate(ways):
            line = [found.get((way, layer), Point(way, layer, np.nan, Interval(np.nan), "")) for layer in layers]
            x = np.arange(len(layers)) + (i - (len(ways) - 1) / 2) * 0.7 / max(len(ways), 1)
            _draw(axes, x, [point.figure for point in line], i, joined=False)
            words = [f"{point.words} at {plain(point.layer)}" for point in line]
            drawn.append(Drawn(way, axes, x, [point.figure.value for point in line], words))
        axes.grid(axis="x", visible=False)
        axes.set_xticks(range(len(layers)), [label.replace("mapping_", "") for label in layers])
        axes.set_xlim(-0.5, len(layers) - 0.5)
        axes.set_ylabel(title)
        return as_plot(canvas, f"{title} by layer ({', '.join(layers)}), {best} is best", drawn)


def _logarithmic(axes: Axes, places: Sequence[float], mark_places: bool) -> None:
    """Scale and ticks of the horizontal axis, which all panels share."""
    axes.set_xscale("log")
    if mark_places and len(places) <= MAX_TICKS:
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
    elif places and places[-1] < 100 * places[0]:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw(axes: Axes, x: np.ndarray, figures: Sequence[Interval], index: int, joined: bool) -> None:
    """Points with their intervals, joined by a line or not."""
    if not len(x):
        return
    y, low, high = np.array(figures, float).T
    color, dashes = look(index)
    errors = np.nan_to_num([y - low, high - y]).clip(min=0)
    style: dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.5, "elinewidth": 1.0}
    axes.errorbar(x, y, errors, color=color, linestyle=dashes if joined else "none", **style)


CELL = 0.42  # inches
SHEET: dict[Any, Any] = STYLE | {
    "axes.labelsize": 8,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlesize": 10,
    "xtick.labelsize": 8,
    "figure.titlesize": 12,
    "figure.constrained_layout.w_pad": 0.12,
    "figure.constrained_layout.h_pad": 0.12,
}


def draw_layers(path: str | Path, found: LayerRescoring) -> Path:
    """Writes a PNG: how much each edit raises its own property where one synthesis layer alone is moved, and where all
    layers up to one are; and a panel an edit: what it does to every scored property, layer by layer."""
    num_edits = len(found.properties)
    edits = [str(k) for k in range(num_edits)]
    order = ["own", "own", *edits, "growth"] if num_edits % 2 else ["own", "growth", *edits]
    rows = [order[i : i + 2] for i in range(0, len(order), 2)]
    below = (len(found.names) + 2.8) * CELL
    heights = [(max(num_edits, 4 if "growth" in rows[0] else 0) + 2.4) * CELL, *[below] * (len(rows) - 1)]
    size = (2 * (len(found.resolutions) + 6) * CELL, sum(heights) + 0.9)
    mosaic: list[Any] = rows  # matplotlib types it as lists of any hashables
    with matplotlib.rc_context(SHEET):
        figure = Canvas(figsize=size, layout="constrained", facecolor="white")
        panels = figure.subplot_mosaic(mosaic, height_ratios=heights)
        figure.suptitle(
            f"Which synthesis layers carry which property\n{found.run}: {found.method} at layer {found.layer}, "
            f"moved by {found.step:g}, mean over {len(found.changes)} faces"
        )
        own_panel(panels["own"], found)
        growth_panel(panels["growth"], found)
        for k in range(num_edits):
            edit_panel(panels[str(k)], found, k)
        with replacing(path) as partial:
            figure.savefig(partial, dpi=130, format="png")
    return Path(path)


def own_panel(axes: Axes, found: LayerRescoring) -> None:
    """ds of each edit's own property: a column a layer moved alone, and one for the whole edit."""
    values = found.ds().value[found.of_single_layers_and_all()].T
    heat(axes, values, found.properties, found.resolutions, cmap="YlGnBu", vmin=0, vmax=float(values.max()) or 1.0)
    axes.set_title("ds: how much one layer alone raises the property (σ)")


def edit_panel(axes: Axes, found: LayerRescoring, k: int) -> None:
    """Signed change of every property by the k-th edit; all edits have the same colours."""
    changes = found.slopes() * found.step
    bound = float(np.abs(changes).max()) or 1.0
    values = changes[found.of_single_layers_and_all(), k].T
    heat(axes, values, found.names, found.resolutions, cmap="RdBu_r", vmin=-bound, vmax=bound)
    axes.get_yticklabels()[found.names.index(found.properties[k])].set_fontweight("bold")
    axes.set_title(f"the {plain(found.properties[k])} edit: change of every score (σ)")


def growth_panel(axes: Axes, found: LayerRescoring) -> None:
    """ds of each edit's own property where the first layers up to one are moved, with 95 % intervals."""
    places, x = found.of_first_layers(), np.arange(len(found.resolutions))
    ds, low, high = (bound[places] for bound in found.ds())
    for k, name in enumerate(found.properties):
        color = SERIES[k % len(SERIES)]
        axes.fill_between(x, low[:, k], high[:, k], color=color, alpha=0.18, linewidth=0)
        axes.plot(x, ds[:, k], color=color, marker="o", markersize=4, linewidth=1.8, label=plain(name))
    axes.set_ylim(bottom=0)
    axes.set_xlim(-0.5, len(x) - 0.5)
    axes.legend()
    layer_axis(axes, found.resolutions)
    axes.set_title("ds where all layers up to one are moved (σ)")


def heat(
    axes: Axes, values: NDArray[np.float64], names: Sequence[str], resolutions: Sequence[int], **colors: Any
) -> None:
    """Values ``[rows, L + 1]`` as coloured cells with their numbers; the last column, of the whole edit, stands apart.
    ``colors`` are a map and its ends, as ``pcolormesh`` takes them."""
    apart = np.insert(values, len(resolutions), np.nan, axis=1)
    rows, columns = (np.arange(size) for size in apart.shape)
    cells = axes.pcolormesh(columns, rows, apart, shading="nearest", edgecolors="white", linewidth=1.5, **colors)
    for (row, column), value in np.ndenumerate(apart):
        if np.isfinite(value):
            red, green, blue, _ = cells.cmap(cells.norm(value))
            color = COLORS["ink"] if 0.3 * red + 0.59 * green + 0.11 * blue > 0.55 else "white"
            axes.text(column, row, short(value), ha="center", va="center", fontsize=7.5, color=color)
    axes.invert_yaxis()
    axes.set_yticks(rows, [plain(name) for name in names])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    layer_axis(axes, resolutions, ["", "all"])


def layer_axis(axes: Axes, resolutions: Sequence[int], more: Sequence[str] = ()) -> None:
    """Synthesis layers along the axis, each named by its number and its resolution."""
    labels = [*(f"{i}\n{side}×{side}" for i, side in enumerate(resolutions)), *more]
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("synthesis layer and its resolution")


def short(value: float) -> str:
    """Two decimals without a leading zero: ``.25``, ``−1.10``."""
    text = number(value)
    return text.replace("0.", ".", 1) if abs(value) < 0.995 else text

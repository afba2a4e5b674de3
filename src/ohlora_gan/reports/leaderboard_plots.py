"""Plots of the leaderboard: how good each way of finding is, by samples, by seconds and by layer."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.images import data_uri
from ohlora_gan.reports import plots
from ohlora_gan.reports.runs_table import UNKNOWN, Cell, Figure, largest
from ohlora_gan.reports.wording import ends, plain, strength, words

COLORS = ("accent", "eyes", "mouth", "pose", "other", "ink", "muted")
DASHES = ("-", "--", ":")
PANELS = 3  # side by side
MAX_TICKS = 6


class Measure(NamedTuple):
    """What a plot shows of a cell.

    Attributes:
        title: in words.
        of: (cell, scorer) -> the figure.
        best: ``"highest"`` or ``"lowest"``.
    """

    title: str
    of: Callable[[Cell, str], Figure]
    best: str


def _of_scorer(pick: Callable[..., Figure]) -> Callable[[Cell, str], Figure]:
    return lambda cell, scorer: pick(cell.by[scorer]) if scorer in cell.by else UNKNOWN


MEASURES = (
    Measure("sum of correlations", _of_scorer(lambda figures: figures.sum_corr), "highest"),
    Measure("share that passes", _of_scorer(lambda figures: figures.pass_share), "highest"),
    Measure("side effect (σ per σ)", _of_scorer(lambda figures: figures.worst_leakage[0]), "lowest"),
)


def look(index: int) -> tuple[str, str]:
    """(theme colour, line style) of the index-th way of finding; every plot and the legend use the same."""
    return COLORS[index % len(COLORS)], DASHES[index // len(COLORS) % len(DASHES)]


class Across(NamedTuple):
    """What the horizontal axis of a plot is.

    Attributes:
        label: in words.
        of: a cell's place on it.
        ticks: whether to mark the places of the cells alone.
    """

    label: str
    of: Callable[[Cell], float]
    ticks: bool


SAMPLES = Across("samples", lambda cell: cell.n, ticks=True)
SECONDS = Across("seconds of finding", lambda cell: cell.seconds.get("finding", np.nan), ticks=False)


def over_samples(name: str, measure: Measure, cells: Sequence[Cell], scorer: str) -> str:
    """A measure over the number of samples: a panel a layer, a line a way of finding, as inline SVG.

    Args:
        name: unique on the page.
        measure: what is shown.
        cells: at least one.
        scorer: whose figures.
    """
    return _panels(name, measure, cells, scorer, SAMPLES)


def over_seconds(name: str, measure: Measure, cells: Sequence[Cell], scorer: str) -> str:
    """A measure over the seconds that finding took, otherwise like ``over_samples``."""
    return _panels(name, measure, cells, scorer, SECONDS)


def by_layer(name: str, measure: Measure, cells: Sequence[Cell], scorer: str) -> str:
    """A measure by layer: each way of finding with its most samples, as a point with its interval."""
    ways, layers = names_of(cells)
    best = largest(cells)
    with plots.style(name):
        canvas = Canvas(figsize=(3.4, 2.3), layout="constrained")
        axes = canvas.subplots()
        for i, way in enumerate(ways):
            figures = [measure.of(best[way, layer], scorer) if (way, layer) in best else UNKNOWN for layer in layers]
            shift = (i - (len(ways) - 1) / 2) * 0.7 / max(len(ways), 1)
            _draw(axes, np.arange(len(layers)) + shift, figures, i, joined=False)
        axes.grid(axis="x", visible=False)
        axes.set_xticks(range(len(layers)), [label.replace("mapping_", "") for label in layers])
        axes.set_xlim(-0.5, len(layers) - 0.5)
        axes.set_ylabel(measure.title)
        return plots.to_svg(canvas, name, f"{measure.title} by layer ({', '.join(layers)}), {measure.best} is best")


def names_of(cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
    """All ways of finding and all layers of some cells, sorted: ranks change no colour."""
    layers = sorted({cell.layer for cell in cells}, key=lambda name: (len(name), name))
    return sorted({cell.way for cell in cells}), layers


def _panels(name: str, measure: Measure, cells: Sequence[Cell], scorer: str, across: Across) -> str:
    ways, layers = names_of(cells)
    rows = -(-len(layers) // PANELS)
    with plots.style(name):
        canvas = Canvas(figsize=(3.0 * PANELS, 2.3 * rows), layout="constrained")
        grid = canvas.subplots(rows, PANELS, sharex=True, sharey=True, squeeze=False)
        for axes, layer in zip(grid.ravel(), layers, strict=False):
            of_layer = [cell for cell in cells if cell.layer == layer]
            for i, way in enumerate(ways):
                points = [(across.of(cell), measure.of(cell, scorer)) for cell in of_layer if cell.way == way]
                points = sorted(point for point in points if point[0] > 0)  # the axis is logarithmic
                _draw(axes, np.array([x for x, _ in points]), [figure for _, figure in points], i, joined=True)
            axes.set_title(plain(layer), loc="left", fontsize=9)
            axes.set_xlabel(across.label)
            axes.tick_params(labelbottom=True)
        for axes in grid.ravel()[len(layers) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel(measure.title)
        _logarithmic(grid[0, 0], sorted({x for x in map(across.of, cells) if x > 0}), across.ticks)
        label = f"{measure.title} over {across.label}, a panel a layer ({', '.join(layers)}), {measure.best} is best"
        return plots.to_svg(canvas, name, label)


def _logarithmic(axes: Axes, places: Sequence[float], mark_places: bool) -> None:
    """Scale and ticks of the horizontal axis, which all panels share."""
    axes.set_xscale("log")
    if mark_places and len(places) <= MAX_TICKS:
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
    elif places and places[-1] < 100 * places[0]:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.xaxis.set_minor_formatter(NullFormatter())


def _draw(axes: Axes, x: np.ndarray, figures: Sequence[Figure], index: int, joined: bool) -> None:
    """Points with their intervals, joined by a line or not."""
    if not len(x):
        return
    y, low, high = np.array(figures, float).T
    color, dashes = look(index)
    errors = np.nan_to_num([y - low, high - y]).clip(min=0)
    axes.errorbar(
        *(x, y, errors),
        color=plots.STAND_IN[color],
        linestyle=dashes if joined else "none",
        marker="o",
        markersize=3.5,
        linewidth=1.5,
        elinewidth=1.0,
    )


def _short(value: float, _: int | None = None) -> str:
    """``16K`` for 16,000."""
    for size, letter in ((1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


# --- The same faces moved by different methods, side by side: rows cut from the strips that runs have sav ---


MAX_FACES = 3
PAD = 2  # pixels between the faces of a saved strip
MAX_WIDTH = 900


def strips(cells: Sequence[Cell]) -> str:
    """For each property the same face moved by each way of finding at each layer, with its most samples.

    Runs whose strips are missing or cannot be cut are left out.
    """
    shown = list(largest(cells).values())
    properties = dict.fromkeys(name for cell in shown for name in cell.edited)
    return "".join(_of_property(name, shown) for name in properties)


def cut_rows(picture: NDArray[np.uint8], columns: int, pad: int = PAD) -> NDArray[np.uint8]:
    """The rows of a saved strip.

    Args:
        picture: uint8 ``[H, W, 3]`` of square faces, ``pad`` pixels between them.
        columns: faces a row.
        pad: pixels between faces.

    Returns:
        uint8 ``[rows, R, W, 3]``, R the side of a face.

    Raises:
        ValueError: if the picture is no such grid.
    """
    height, width = picture.shape[:2]
    side = (width + pad) // columns - pad
    if side < 1 or (width + pad) % columns or (height + pad) % (side + pad):
        raise ValueError(f"a picture of {width}x{height} pixels is no grid of {columns} square faces a row")
    return np.stack([picture[top : top + side] for top in range(0, height, side + pad)])


def _of_property(name: str, cells: Sequence[Cell]) -> str:
    found = {cell.folder: rows for cell in cells if (rows := _saved_rows(cell, name)) is not None}
    if not found:
        return ""
    cells = [cell for cell in cells if cell.folder in found]
    num_faces = min(MAX_FACES, *(len(rows) for rows in found.values()))
    body = "".join(_row(cell, name, found, face) for face in range(num_faces) for cell in cells)
    down, up = ends(name)
    reach = _reach(cells)
    low, high = (f", about {strength(sign * reach)} σ" if reach else "" for sign in (-1, 1))
    head = f"<span>{down}{low}</span><span>unedited</span><span>{up}{high}</span>"
    return f"""<article class="moves {plots.hue(name)}" data-faces="{num_faces}"><h3 class="dot">{words(name)}</h3>
<div class="scroll" role="region" tabindex="0" aria-label="{words(name)}: one face, all methods"><table>
<thead><tr><td></td><th scope="col"><div class="ends">{head}</div></th></tr></thead>
<tbody>
{body}</tbody></table></div></article>
"""


def _row(cell: Cell, name: str, found: Mapping[Path, NDArray[np.uint8]], face: int) -> str:
    """One face along the direction of one cell; all but the first face wait for the page's button."""
    picture = found[cell.folder][face]
    height, width = picture.shape[:2]
    source = data_uri(picture, size=min(MAX_WIDTH, width))
    alt = f"Face {face + 1} moved along the {name} direction of {cell.way} at {cell.layer}"
    label = f"{escape(cell.way)} <span>{words(cell.layer)}, {cell.n:,} samples</span>"
    hidden = " hidden" if face else ""
    return (
        f'<tr data-face="{face}"{hidden}><th scope="row">{label}</th>'
        f'<td><img src="{source}" alt="{escape(alt)}" width="{width}" height="{height}"></td></tr>\n'
    )


def _saved_rows(cell: Cell, name: str) -> NDArray[np.uint8] | None:
    columns = cell.config.get("strips.steps")
    path = cell.folder / "strips" / f"strip_{name}.png"
    if not isinstance(columns, int) or not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            return cut_rows(np.asarray(picture.convert("RGB")), columns)
    except (OSError, ValueError):  # cut off, or of another make: the figures are shown without it
        return None


def _reach(cells: Sequence[Cell]) -> float | None:
    """How many sigmas the ends of the strips are away from the middle, where all agree."""
    values = {cell.config.get("strips.reach") for cell in cells}
    value = values.pop()
    return float(value) if not values and isinstance(value, (int, float)) else None

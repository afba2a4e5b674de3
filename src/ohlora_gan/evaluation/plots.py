"""Plots as inline SVG for the report.

matplotlib draws with stand-in colours; in the SVG each becomes a CSS variable of the page, so that a plot
follows the page's light or dark theme. Text stays text and takes the page's font.
"""

import io
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from ohlora_gan.evaluation.report_words import plain

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

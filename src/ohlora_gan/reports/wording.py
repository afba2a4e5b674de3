"""The sentences of the report that depend on which properties were edited, as plain text."""

from collections.abc import Sequence
from html import escape
from math import isfinite, sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.judging.grid import nested


class Phrases(NamedTuple):
    """How the page speaks of a property.

    Attributes:
        action: what a direction does: "open the eyes".
        effect: what happens along it: "the eyes open".
        ends: what it is called against and along the direction.
    """

    action: str
    effect: str
    ends: tuple[str, str]


KNOWN = {
    "eyes": Phrases("open the eyes", "the eyes open", ("closing", "opening")),
    "mouth": Phrases("open the mouth", "the mouth opens", ("closing", "opening")),
    "pose": Phrases("turn the head", "the head turns", ("to the left", "to the right")),
}
"""Properties with words of their own; all others have more or less of something."""


def plain(name: str) -> str:
    """A property's name in words: ``hair color``."""
    return name.replace("_", " ")


def action(name: str) -> str:
    """What a property's direction does, as a command."""
    return KNOWN[name].action if name in KNOWN else f"change {plain(name)}"


def effect(name: str) -> str:
    """What happens to a face along a property's direction."""
    return KNOWN[name].effect if name in KNOWN else f"{plain(name)} rises"


def ends(name: str) -> tuple[str, str]:
    """What a property does against and along its direction."""
    return KNOWN[name].ends if name in KNOWN else ("less", "more")


def listed(items: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join([", ".join(items[:-1]), items[-1]]) if len(items) > 1 else "".join(items)


def layout(properties: Sequence[str]) -> tuple[list[str], list[str], str]:
    """Where the pictures of a test go: what varies down a block (none or one), from block to block, and across."""
    order = nested(properties)
    return order[:-1][:1], order[1:-1], order[-1]


def lead(properties: Sequence[str]) -> str:
    """What walking along each direction does."""
    return f"walk along one and {', along another '.join(map(effect, properties))}"


def joint(properties: Sequence[str], num_pictures: int) -> str:
    """What the test changes, and in how many pictures (0: unknown)."""
    pictures = f" ({num_pictures} pictures)" if num_pictures else ""
    if len(properties) == 1:
        return f"Each face is moved along the {plain(properties[0])} direction by a few strengths{pictures}"
    names = listed([plain(name) for name in properties])
    return (
        f"The test is harder than the strips: for each face, {names} are changed at once, in all "
        f"combinations of a few strengths{pictures}"
    )


def blocks(properties: Sequence[str]) -> str:
    """How to read the pictures of a case: what changes where."""
    down, between, across = layout(properties)
    ways = [f"{effect(name)} from top to bottom" for name in down] + [f"{effect(across)} from left to right"]
    if not between:
        return f"From picture to picture {listed(ways)}."
    names = f"The strength of {listed([plain(name) for name in between])}"
    return f"{names} changes from block to block; inside a block {listed(ways)}."


def good_case(properties: Sequence[str]) -> str:
    """What a good case looks like."""
    down, between, across = layout(properties)
    rows = f"every row keeps its {plain(down[0])}, every column its {plain(across)}" if down else "the change is even"
    return f"{rows}, and {'all blocks' if between else 'all pictures'} show the same person"


def grouping(group_by: Sequence[str]) -> str:
    """Why faces were split into groups; nothing where they were not."""
    if not group_by:
        return ""
    return (
        f" To keep {listed([plain(name) for name in group_by])} out of the direction, the faces are first split at the "
        f"medians into {2 ** len(group_by)} groups that look alike, with a direction for each."
    )


def unit(grid: str) -> str:
    """What one of a strength is called."""
    return "σ that is asked for" if grid == "sigma" else "unit of strength"


# --- Numbers and names for readers: how the report writes them, and the few numbers that it computes itse ---


MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    """A number for readers: a true minus sign, no negative zero, a dash for what was not measured."""
    if not isfinite(value):
        return DASH
    value = round(value, digits) + 0.0
    text = f"{value:+.{digits}f}" if signed and value else f"{value:.{digits}f}"
    return text.replace("-", MINUS)


def strength(value: float) -> str:
    """A strength without trailing zeros: ``+1.8``, ``0``."""
    value = round(float(value), 6)
    return f"{value:+g}".replace("-", MINUS) if value else "0"


def words(name: str) -> str:
    """A property's name in words, safe inside HTML: ``hair color``."""
    return escape(name.replace("_", " "))


def finite_mean(values: ArrayLike) -> float:
    """The mean of the finite values; NaN where there are none."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(known.mean()) if len(known) else float("nan")


def line_fit(strengths: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """(correlation, slope) of scores ``[..., K]`` over strengths ``[K]``, each the mean over all rows."""
    x, fits = np.asarray(strengths, float), []
    for y in np.asarray(scores, float).reshape(-1, len(x)):
        good = np.isfinite(y)
        dx, dy = x[good] - finite_mean(x[good]), y[good] - finite_mean(y)
        xx, yy, xy = float(dx @ dx), float(dy @ dy), float(dx @ dy)
        fits.append((xy / sqrt(xx * yy) if xx * yy > 0 else np.nan, xy / xx if xx > 0 else np.nan))
    return finite_mean([fit[0] for fit in fits]), finite_mean([fit[1] for fit in fits])

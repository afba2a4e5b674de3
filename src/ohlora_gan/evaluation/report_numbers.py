"""Numbers and names for readers: how the report writes them, and the few numbers that it computes itself."""

from html import escape
from math import isfinite, sqrt

import numpy as np
from numpy.typing import ArrayLike

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


def wilson_interval(num_passed: int, num: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), honest also at 0 and for few trials."""
    z = 1.96
    middle = (num_passed + z * z / 2) / (num + z * z)
    half = z / (num + z * z) * sqrt(num_passed * (num - num_passed) / num + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)

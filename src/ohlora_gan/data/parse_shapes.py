"""Scores that a parse map alone decides: eyes, pose, mouth and hair length, in both generations.

All functions take maps, uint8 ``[N, 224, 224]``, and return float64 ``[N]``; NaN where there is nothing to measure.
Edge cases are those of the published system (Oh-LoRA), its windows and thresholds included.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.data.parse_codes import HAIR, INNER_MOUTH, LEFT_EYE, LOWER_LIP, MAP_SIZE, NOSE, RIGHT_EYE, UPPER_LIP

Maps = NDArray[np.uint8]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Window = tuple[slice, slice]

QUARTER = MAP_SIZE // 4
MIN_HAIR_WIDTH = 20  # a row with fewer hair pixels has no hair in the second generation

_WHOLE = (slice(0, MAP_SIZE), slice(0, MAP_SIZE))
_EYE_COLUMNS = {LEFT_EYE: slice(0, 3 * QUARTER), RIGHT_EYE: slice(QUARTER, MAP_SIZE)}
_EYE_ROWS_V1 = slice(QUARTER, QUARTER + 3 * MAP_SIZE // 8)
_EYE_ROWS_V2 = slice(QUARTER, 3 * QUARTER)


@dataclass(frozen=True)
class Pixels:
    """Coordinates of the pixels of some classes in N maps, ordered by map, row and column.

    Attributes:
        index: the map that a pixel lies in ``[n]``.
        y: its row ``[n]``.
        x: its column ``[n]``.
        counts: how many pixels each map has ``[N]``.
    """

    index: Integers
    y: Integers
    x: Integers
    counts: Integers

    @classmethod
    def find(cls, maps: Maps, *codes: int, window: Window = _WHOLE) -> "Pixels":
        """The pixels of these classes inside a window of rows and columns."""
        rows, columns = window
        view = maps[:, rows, columns]
        is_wanted = view == codes[0]
        for code in codes[1:]:
            is_wanted |= view == code
        index, y, x = np.nonzero(is_wanted)
        return cls(index, y + rows.start, x + columns.start, np.bincount(index, minlength=len(maps)))

    def sums(self, values: Integers) -> Integers:
        """Sums of a value per pixel over each map, exact."""
        return np.bincount(self.index, weights=values, minlength=len(self.counts)).astype(np.int64)

    def heights(self) -> Integers:
        """Last row minus first row of each map; 0 where there are no pixels."""
        ends = np.cumsum(self.counts)
        heights = np.zeros(len(self.counts), dtype=np.int64)
        found = self.counts > 0
        heights[found] = self.y[ends[found] - 1] - self.y[(ends - self.counts)[found]]
        return heights


def _eye(maps: Maps, code: int, rows: slice) -> Pixels:
    return Pixels.find(maps, code, window=(rows, _EYE_COLUMNS[code]))


def eyes_v1(maps: Maps) -> Floats:
    """How open the eyes are: the mean of their heights in pixels."""
    left, right = (_eye(maps, code, _EYE_ROWS_V1).heights() for code in (LEFT_EYE, RIGHT_EYE))
    return (left + right) / 2.0


def eyes_and_pose_v2(maps: Maps) -> tuple[Floats, Floats]:
    """How open the wider eye is, upright to its own axis, in pixels; and the slope of the line between the eyes.

    The slope is 0 where an eye is missing and NaN where one eye's centre is exactly above the other's.
    """
    left, right = (_eye(maps, code, _EYE_ROWS_V2) for code in (LEFT_EYE, RIGHT_EYE))
    pose = np.zeros(len(maps))
    both = (left.counts > 0) & (right.counts > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        dx, dy = (
            right.sums(b) / right.counts - left.sums(a) / left.counts for a, b in ((left.x, right.x), (left.y, right.y))
        )
        slopes = np.where(dx == 0, np.nan, dy / dx)
    pose[both] = slopes[both]
    return np.maximum(_opening(left), _opening(right)), pose


def _opening(eye: Pixels) -> Floats:
    """The largest column height of each map's eye times the cosine of the tilt of the eye's longest axis."""
    order = np.lexsort((eye.y, eye.x, eye.index))
    index, y, x = eye.index[order], eye.y[order], eye.x[order]
    is_new = np.diff(index * MAP_SIZE + x, prepend=-1) != 0
    first = np.flatnonzero(is_new)
    last = np.append(first[1:], len(x)) - 1
    opening = np.zeros(len(eye.counts))
    if len(first):
        np.maximum.at(opening, index[first], y[last] - y[first])
    starts, ends = (np.searchsorted(index[first], np.arange(len(opening)), side) for side in ("left", "right"))
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        if opening[i] > 0:
            columns = x[first[start:end]]
            opening[i] *= _axis_cosine(columns, y[first[start:end]], y[last[start:end]])
    return opening


def _axis_cosine(columns: Integers, top: Integers, bottom: Integers) -> float:
    """Cosine of the angle between the horizontal and the line through the two pixels farthest apart.

    No pixel inside a column can be one of the two, so its ends stand for it. Of pairs equally far apart the one counts
    that a scan by column and row completes first.
    """
    x = np.repeat(columns, 2)
    y = np.stack([top, bottom], axis=1).ravel()
    across = np.abs(x[:, None] - x)
    squares = np.tril(across**2 + (y[:, None] - y) ** 2)
    farthest = int(squares.argmax())
    return float(across.flat[farthest] / np.sqrt(squares.flat[farthest]))


def pose_v1(maps: Maps) -> Floats:
    """Minus the correlation of column and row over the nose; NaN where it has no extent in either direction."""
    nose = Pixels.find(maps, NOSE)
    n, x, y = nose.counts, nose.x, nose.y
    sum_x, sum_y = nose.sums(x), nose.sums(y)
    covariance = n * nose.sums(x * y) - sum_x * sum_y
    variance_x, variance_y = n * nose.sums(x * x) - sum_x**2, n * nose.sums(y * y) - sum_y**2
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is asked for
        correlation = covariance / (np.sqrt(variance_x) * np.sqrt(variance_y))
    return -np.clip(correlation, -1.0, 1.0)


def mouth_v1(maps: Maps) -> Floats:
    """Height of the lips plus height of the inner mouth, in pixels."""
    lips, inner = Pixels.find(maps, UPPER_LIP, LOWER_LIP), Pixels.find(maps, INNER_MOUTH)
    return (lips.heights() + inner.heights()).astype(np.float64)


def mouth_v2(maps: Maps) -> Floats:
    """The inner mouth's share of mouth and lips, 0 to 1; 0 where there are none."""
    inner = Pixels.find(maps, INNER_MOUTH).counts
    return inner / np.maximum(inner + Pixels.find(maps, UPPER_LIP, LOWER_LIP).counts, 1)


def hair_length_v1(maps: Maps) -> Floats:
    """The lowest row with hair, plus half the hair pixels of the bottom row; NaN where there is no hair."""
    widths = np.count_nonzero(maps == HAIR, axis=2)
    lowest = (np.arange(MAP_SIZE) * (widths > 0)).max(axis=1)
    return np.where(widths.any(axis=1), lowest + widths[:, -1] / 2.0, np.nan)


def hair_length_v2(maps: Maps) -> Floats:
    """Rows with hair (at least 20 pixels) below the first quarter, plus what the bottom row lets expect below it."""
    is_hair = maps[:, QUARTER:] == HAIR
    is_row = np.count_nonzero(is_hair, axis=2) >= MIN_HAIR_WIDTH
    halves = np.count_nonzero(is_hair[:, -1].reshape(-1, 2, MAP_SIZE // 2), axis=2)
    beyond = np.maximum(halves - MIN_HAIR_WIDTH // 2, 0).sum(axis=1) / 2.0
    return np.count_nonzero(is_row, axis=1) + np.where(is_row[:, -1], beyond, 0.0)

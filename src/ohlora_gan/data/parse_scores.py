"""Property scores of parse maps: how open, long, dark or turned a face is, from what each pixel shows.

Two generations of Oh-LoRA's algorithms: ``v1`` labelled the images of its first fine-tuning,
``v2`` is the better one. Backdrop and hairstyle are the same in both.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.names import PROPERTIES, Part

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Sums = NDArray[np.int16]
Mask = NDArray[np.bool_]
Generation = Literal["v1", "v2"]
Scores = dict[str, Floats]

MAP_SIZE = 224  # height and width in pixels of a map that is scored
CHUNK = 64  # maps that are measured at a time: some 30 MB, whatever their number
NO_HAIR_COLOR, NO_BACKGROUND, NO_HAIRSTYLE = 127.5, (192.0, 0.0), 0.45
QUARTER = MAP_SIZE // 4
MIN_HAIR_WIDTH = 20  # a row with fewer hair pixels has no hair in the second generation

_ALL = slice(0, MAP_SIZE)
_EYE_COLUMNS = {Part.LEFT_EYE: slice(0, 3 * QUARTER), Part.RIGHT_EYE: slice(QUARTER, MAP_SIZE)}
_EYE_ROWS_V1 = slice(QUARTER, QUARTER + 3 * MAP_SIZE // 8)
_EYE_ROWS_V2 = slice(QUARTER, 3 * QUARTER)
_LEVELS = np.arange(3 * 255 + 1)
_BLOCK, _STEP = 4, 8  # hairstyle compares blocks of 4x4 pixels 8 pixels apart


@dataclass(frozen=True)
class Pixels:
    """Coordinates of the pixels of some classes in N maps, ordered by map, row and column."""

    index: Integers  # the map that a pixel lies in [n]
    y: Integers  # its row [n]
    x: Integers  # its column [n]
    counts: Integers  # how many pixels each map has [N]

    @classmethod
    def find(cls, maps: Bytes, *codes: int, rows: slice = _ALL, columns: slice = _ALL) -> "Pixels":
        """The pixels of these classes inside a window."""
        index, y, x = np.nonzero(np.isin(maps[:, rows, columns], codes))
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


def _eye(maps: Bytes, code: int, rows: slice) -> Pixels:
    return Pixels.find(maps, code, rows=rows, columns=_EYE_COLUMNS[code])


def eyes_v1(maps: Bytes) -> Floats:
    """How open the eyes are: the mean of their heights in pixels."""
    left, right = (_eye(maps, code, _EYE_ROWS_V1).heights() for code in (Part.LEFT_EYE, Part.RIGHT_EYE))
    return (left + right) / 2.0


def eyes_and_pose_v2(maps: Bytes) -> tuple[Floats, Floats]:
    """How open the wider eye is, upright to its own axis, in pixels; and the slope of the line between the eyes.

    The slope is 0 where an eye is missing and NaN where one eye's centre is exactly above the other's.
    """
    left, right = (_eye(maps, code, _EYE_ROWS_V2) for code in (Part.LEFT_EYE, Part.RIGHT_EYE))
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


def pose_v1(maps: Bytes) -> Floats:
    """Minus the correlation of column and row over the nose; NaN where it has no extent in either direction."""
    nose = Pixels.find(maps, Part.NOSE)
    n, x, y = nose.counts, nose.x, nose.y
    sum_x, sum_y = nose.sums(x), nose.sums(y)
    covariance = n * nose.sums(x * y) - sum_x * sum_y
    variance_x, variance_y = n * nose.sums(x * x) - sum_x**2, n * nose.sums(y * y) - sum_y**2
    with np.errstate(invalid="ignore"):  # 0 / 0 is the NaN that is asked for
        correlation = covariance / (np.sqrt(variance_x) * np.sqrt(variance_y))
    return -np.clip(correlation, -1.0, 1.0)


def mouth_v1(maps: Bytes) -> Floats:
    """Height of the lips plus height of the inner mouth, in pixels."""
    lips, inner = Pixels.find(maps, Part.UPPER_LIP, Part.LOWER_LIP), Pixels.find(maps, Part.INNER_MOUTH)
    return (lips.heights() + inner.heights()).astype(np.float64)


def mouth_v2(maps: Bytes) -> Floats:
    """The inner mouth's share of mouth and lips, 0 to 1; 0 where there are none."""
    inner = Pixels.find(maps, Part.INNER_MOUTH).counts
    return inner / np.maximum(inner + Pixels.find(maps, Part.UPPER_LIP, Part.LOWER_LIP).counts, 1)


def hair_length_v1(maps: Bytes) -> Floats:
    """The lowest row with hair, plus half the hair pixels of the bottom row; NaN where there is no hair."""
    widths = np.count_nonzero(maps == Part.HAIR, axis=2)
    lowest = (np.arange(MAP_SIZE) * (widths > 0)).max(axis=1)
    return np.where(widths.any(axis=1), lowest + widths[:, -1] / 2.0, np.nan)


def hair_length_v2(maps: Bytes) -> Floats:
    """Rows with hair (at least 20 pixels) below the first quarter, plus what the bottom row lets expect below it."""
    is_hair = maps[:, QUARTER:] == Part.HAIR
    is_row = np.count_nonzero(is_hair, axis=2) >= MIN_HAIR_WIDTH
    halves = np.count_nonzero(is_hair[:, -1].reshape(-1, 2, MAP_SIZE // 2), axis=2)
    beyond = np.maximum(halves - MIN_HAIR_WIDTH // 2, 0).sum(axis=1) / 2.0
    return np.count_nonzero(is_row, axis=1) + np.where(is_row[:, -1], beyond, 0.0)


def brightness_sums(images: Bytes) -> Sums:
    """Red + green + blue of uint8 ``[N, H, W, 3]``: ``[N, H, W]``, 0 to 765."""
    red, green, blue = (images[..., channel] for channel in range(3))
    return red.astype(np.int16) + green + blue


def _histograms(sums: Sums, mask: Mask) -> Integers:
    """How often each brightness occurs in the masked pixels of each map, ``[N, 766]``."""
    num = len(sums)
    offsets = np.arange(num, dtype=np.int32) * len(_LEVELS)
    keys = (sums + offsets[:, None, None])[mask]
    return np.bincount(keys, minlength=num * len(_LEVELS)).reshape(num, len(_LEVELS))


def _between(histograms: Integers, low: float, high: float) -> Integers:
    """The histograms of what lies between two quantiles of each: of n sorted values those from low*n to high*n."""
    n = histograms.sum(axis=1, keepdims=True)
    first, end = (low * n).astype(np.int64), (high * n).astype(np.int64)
    below = np.concatenate([first, np.clip(np.cumsum(histograms, axis=1), first, end)], axis=1)
    return below[:, 1:] - below[:, :-1]


def _mean_and_std(histograms: Integers, empty: tuple[float, float]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of brightness, or the values for an empty histogram."""
    n, total, squares = (histograms @ _LEVELS**power for power in range(3))
    some = np.maximum(n, 1)
    mean = total / some / 3.0
    std = np.sqrt(n * squares - total**2) / some / 3.0
    return np.where(n > 0, mean, empty[0]), np.where(n > 0, std, empty[1])


def hair_color_v1(maps: Bytes, sums: Sums) -> Floats:
    """Median brightness of the hair; NaN where there is none."""
    histograms = _histograms(sums, maps == Part.HAIR)
    n = histograms.sum(axis=1, keepdims=True)
    below = np.cumsum(histograms, axis=1)
    middle = [np.count_nonzero(below <= rank, axis=1) for rank in ((n - 1) // 2, n // 2)]
    return np.where(n[:, 0] > 0, (middle[0] + middle[1]) / 6.0, np.nan)


def hair_color_v2(maps: Bytes, sums: Sums) -> Floats:
    """Mean brightness of the hair without its darkest and lightest tenth; 127.5 where nothing is left."""
    kept = _between(_histograms(sums, maps == Part.HAIR), 0.1, 0.9)
    return _mean_and_std(kept, (NO_HAIR_COLOR, np.nan))[0]


def background(maps: Bytes, sums: Sums) -> tuple[Floats, Floats]:
    """Mean and deviation of the backdrop's brightness in the upper half without its darkest and lightest 5 %.

    (192, 0) where there is no backdrop; a single pixel counts whole.
    """
    upper = slice(0, MAP_SIZE // 2)
    histograms = _histograms(sums[:, upper], maps[:, upper] == Part.BACKGROUND)
    is_single = histograms.sum(axis=1, keepdims=True) == 1
    return _mean_and_std(np.where(is_single, histograms, _between(histograms, 0.05, 0.95)), NO_BACKGROUND)


def hairstyle(maps: Bytes, sums: Sums) -> Floats:
    """How curly the hair is: change of brightness downwards relative to sideways, averaged over the lower half.

    Straight hair runs down, so it changes sideways. 0.45 where there is no patch of hair wide and high enough.
    """
    half = MAP_SIZE // 2
    blocks = _block_sums(sums[:, half:])
    mask = _is_inside_hair(maps[:, half:] == Part.HAIR)
    rows, columns = mask.shape[1], mask.shape[2]
    center, left, right = (blocks[:, :rows, shift : shift + columns][mask] for shift in (_STEP, 0, 2 * _STEP))
    below = blocks[:, _STEP : _STEP + rows, _STEP : _STEP + columns][mask]
    sideways = np.maximum(np.abs(center - left), np.abs(center - right))
    ratios = np.abs(center - below) / (sideways + 5.0 * 3 * _BLOCK**2)
    counts = np.count_nonzero(mask, axis=(1, 2))
    totals = np.bincount(np.repeat(np.arange(len(maps)), counts), weights=ratios, minlength=len(maps))
    return np.where(counts > 0, totals / np.maximum(counts, 1), NO_HAIRSTYLE)


def _block_sums(sums: Sums) -> Sums:
    """Sums over the 4x4 block at each position (its upper left corner); at most 12240, so int16 holds them."""
    height, width = sums.shape[1] - _BLOCK + 1, sums.shape[2] - _BLOCK + 1
    tall = sum(sums[:, i : i + height] for i in range(1, _BLOCK)) + sums[:, :height]
    return sum(tall[:, :, i : i + width] for i in range(1, _BLOCK)) + tall[:, :, :width]


def _is_inside_hair(hair: Mask) -> Mask:
    """Where a block and its neighbours left, right and below are hair, judged by two opposite corners of each.

    The outer corner of the left neighbour lies 3 pixels outside that block, and beyond the left edge it is looked up
    at the right edge: the recorded scores have it so.
    """
    reach = _BLOCK - 1
    height, width = hair.shape[1] - _STEP - reach, hair.shape[2] - 2 * _STEP - reach

    def at(dy: int, dx: int) -> Mask:
        return np.roll(hair, -dx, axis=2)[:, dy : dy + height, _STEP : _STEP + width]

    near = at(0, 0) & at(_STEP, 0) & at(0, -_STEP) & at(0, _STEP)
    far = at(reach, reach) & at(_STEP + reach, reach) & at(reach, -_STEP - reach) & at(reach, _STEP + reach)
    return near & far


class MissingScoreWarning(UserWarning):
    """Some faces have no value (NaN) for some property."""


def score_maps(maps: Bytes, images: Bytes, generation: Generation = "v2") -> Scores:
    """Property scores of faces, not normalised; a face's scores depend on no other face.

    Args:
        maps: class codes (see `names.Part`), uint8 ``[N, 224, 224]``.
        images: the faces, RGB uint8 ``[N, 224, 224, 3]``.
        generation: which algorithms score eyes, hair_color, hair_length, mouth and pose.

    Returns:
        float64 ``[N]`` a property, in ``names.PROPERTIES`` order. NaN where a face has no value: v1 hair_color
        and hair_length without hair, v1 pose of a nose that is missing or only a row or column, v2 pose of eyes
        exactly one above the other. All else has a value: v2 hair_color 127.5 and hair_length 0 without hair,
        hairstyle 0.45 without a patch of hair, mouth 0 without a mouth, eyes 0 without eyes, v2 pose 0 without both
        eyes, background (192, 0) without a backdrop. ``warn_of_missing`` counts the NaNs.

    Raises:
        ValueError: for another shape, dtype or generation.
    """
    if generation not in get_args(Generation):
        raise ValueError(f"generation is {generation!r}, expected v1 or v2")
    _check("maps", maps, (MAP_SIZE, MAP_SIZE))
    _check("images", images, (MAP_SIZE, MAP_SIZE, 3))
    if len(images) != len(maps):
        raise ValueError(f"{len(maps)} maps but {len(images)} images: give each map the image it belongs to")
    starts = range(0, max(len(maps), 1), CHUNK)
    parts = [_measure(maps[i : i + CHUNK], images[i : i + CHUNK], generation) for i in starts]
    return {name: np.concatenate([part[name] for part in parts]) for name in PROPERTIES}


def warn_of_missing(scores: Mapping[str, Floats]) -> None:
    """One ``MissingScoreWarning`` that counts the faces without a value, property by property; none if all have one."""
    missing = {name: int(np.isnan(values).sum()) for name, values in scores.items()}
    counts = [f"{name} of {num}" for name, num in missing.items() if num]
    if counts:
        total = len(next(iter(scores.values())))
        message = f"no value (NaN) for {', '.join(counts)} of {total} faces: their maps lack what it is measured on"
        warnings.warn(message, MissingScoreWarning, stacklevel=3)


def _measure(maps: Bytes, images: Bytes, generation: Generation) -> Scores:
    sums = brightness_sums(images)
    background_mean, background_std = background(maps, sums)
    scores = {"background_mean": background_mean, "background_std": background_std, "hairstyle": hairstyle(maps, sums)}
    if generation == "v1":
        scores |= {"eyes": eyes_v1(maps), "pose": pose_v1(maps), "mouth": mouth_v1(maps)}
        return scores | {"hair_length": hair_length_v1(maps), "hair_color": hair_color_v1(maps, sums)}
    eyes, pose = eyes_and_pose_v2(maps)
    scores |= {"eyes": eyes, "pose": pose, "mouth": mouth_v2(maps)}
    return scores | {"hair_length": hair_length_v2(maps), "hair_color": hair_color_v2(maps, sums)}


def _check(what: str, array: NDArray, shape: tuple[int, ...]) -> None:
    expected = f"uint8 [N, {', '.join(map(str, shape))}]"
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{what} is a {type(array).__name__}, expected a numpy array, {expected}")
    if array.dtype != np.uint8:
        raise ValueError(f"{what} has dtype {array.dtype}, expected {expected}: convert with .astype(np.uint8)")
    if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
        raise ValueError(f"{what} has shape {list(array.shape)}, expected {expected}: resize it first")

"""Scores that need the picture beside its parse map: hair colour, backdrop, hairstyle.

Brightness is the mean of red, green and blue, 0 to 255. It is counted as their sum, 0 to 765, so that everything up to
the last division is exact and a map's score depends on no other map.
"""

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.data.parse_codes import BACKGROUND, HAIR, MAP_SIZE
from ohlora_gan.data.parse_shapes import Floats, Integers, Maps

Sums = NDArray[np.int16]
Mask = NDArray[np.bool_]

NO_HAIR_COLOR = 127.5
NO_BACKGROUND = (192.0, 0.0)
NO_HAIRSTYLE = 0.45

_LEVELS = np.arange(3 * 255 + 1)
_BLOCK, _STEP = 4, 8  # hairstyle compares blocks of 4x4 pixels 8 pixels apart


def brightness_sums(images: NDArray[np.uint8]) -> Sums:
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


def hair_color_v1(maps: Maps, sums: Sums) -> Floats:
    """Median brightness of the hair; NaN where there is none."""
    histograms = _histograms(sums, maps == HAIR)
    n = histograms.sum(axis=1, keepdims=True)
    below = np.cumsum(histograms, axis=1)
    middle = [np.count_nonzero(below <= rank, axis=1) for rank in ((n - 1) // 2, n // 2)]
    return np.where(n[:, 0] > 0, (middle[0] + middle[1]) / 6.0, np.nan)


def hair_color_v2(maps: Maps, sums: Sums) -> Floats:
    """Mean brightness of the hair without its darkest and lightest tenth; 127.5 where nothing is left."""
    kept = _between(_histograms(sums, maps == HAIR), 0.1, 0.9)
    return _mean_and_std(kept, (NO_HAIR_COLOR, np.nan))[0]


def background(maps: Maps, sums: Sums) -> tuple[Floats, Floats]:
    """Mean and deviation of the backdrop's brightness in the upper half without its darkest and lightest 5 %.

    (192, 0) where there is no backdrop; a single pixel counts whole.
    """
    upper = slice(0, MAP_SIZE // 2)
    histograms = _histograms(sums[:, upper], maps[:, upper] == BACKGROUND)
    is_single = histograms.sum(axis=1, keepdims=True) == 1
    return _mean_and_std(np.where(is_single, histograms, _between(histograms, 0.05, 0.95)), NO_BACKGROUND)


def hairstyle(maps: Maps, sums: Sums) -> Floats:
    """How curly the hair is: change of brightness downwards relative to sideways, averaged over the lower half.

    Straight hair runs down, so it changes sideways. 0.45 where there is no patch of hair wide and high enough.
    """
    half = MAP_SIZE // 2
    blocks = _block_sums(sums[:, half:])
    mask = _is_inside_hair(maps[:, half:] == HAIR)
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

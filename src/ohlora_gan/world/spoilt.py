"""Faces as a generator spoils them, to try detectors of damage on; and as it makes them when all goes well.

All changes are functions of (picture, seed, index).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan import rng
from ohlora_gan.names import Part
from ohlora_gan.world.face import sample_attributes
from ohlora_gan.world.render import render_with_parse_map

Bytes = NDArray[np.uint8]
Pixels = NDArray[np.float32]

GHOST_START = 40_000_000  # numbers of the faces that appear in others


def spoil(image: Bytes, codes: Bytes, kind: str, seed: int, index: int) -> Bytes:
    """Spoils a face in a way that anyone sees, at a strength that varies.

    Args:
        image: uint8 ``[R, R, 3]``, R from 32 to 512.
        codes: its parse map, uint8 ``[R, R]``, which says where eyes, mouth and head are.
        kind: one of `KINDS`.
        seed, index: decide strength and place; ``index`` is the picture's number.

    Returns:
        uint8 ``[R, R, 3]``.

    Raises:
        ValueError: for another kind, or a picture and a map that do not fit.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    _check(image, codes)
    changed = KINDS[kind](image.astype(np.float32), codes, rng.stream(seed, f"spoilt/{kind}", index))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def weathered(image: Bytes, seed: int, index: int) -> Bytes:
    """A face as a good generator makes it: a little blurred, warped and noisy, but whole.

    Args:
        image: uint8 ``[R, R, 3]``.
        seed, index: decide the changes.
    """
    draws = rng.stream(seed, "weathered", index)
    side = len(image)
    field = draws.uniform(-1, 1, (2, 7, 7)) * draws.uniform(0.2, 0.8) * side / 64
    picture = _pulled(image.astype(np.float32), _enlarged(field.astype(np.float32), side))
    picture += draws.uniform(0.1, 0.6) * (_blurred(picture) - picture)
    coarse = draws.standard_normal((3, side // 4, side // 4)) * draws.uniform(1, 4)
    picture += _enlarged(coarse.astype(np.float32), side).transpose(1, 2, 0)
    picture += draws.standard_normal(picture.shape) * draws.uniform(0.5, 2.5)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _check(image: Bytes, codes: Bytes) -> None:
    side = len(image)
    if image.dtype != np.uint8 or image.shape != (side, side, 3) or codes.shape != (side, side):
        raise ValueError(
            f"picture {image.dtype} {list(image.shape)} and parse map {list(codes.shape)}, expected uint8 [R, R, 3] "
            f"and [R, R]"
        )


# --- ways of spoiling: picture, parse map, random numbers -> picture --------------------------------------------


def _smeared_eyes(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """One eye or both, smeared along a direction."""
    side = len(picture)
    angle, length = draws.uniform(0, math.pi), draws.uniform(0.06, 0.12) * side
    steps = np.linspace(-0.5, 0.5, 9) * length
    smear = np.mean([_moved(picture, s * math.cos(angle), s * math.sin(angle)) for s in steps], axis=0)
    which = draws.integers(3)
    mask = np.zeros((side, side), dtype=np.float32)
    for skipped, code in enumerate((Part.LEFT_EYE, Part.RIGHT_EYE)):
        if which != skipped:
            mask = np.maximum(mask, _patch(side, _middle(codes, code), 0.10, 0.08))
    return picture + mask[..., None] * (smear - picture)


def _doubled_outlines(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """The head a second time, beside itself."""
    side = len(picture)
    angle, away = draws.uniform(0, 2 * math.pi), draws.uniform(0.04, 0.08) * side
    other = _moved(picture, away * math.cos(angle), away * math.sin(angle))
    mask = _patch(side, (0.5 * side, 0.5 * side), 0.42, 0.45) * draws.uniform(0.3, 0.5)
    return picture + mask[..., None] * (other - picture)


def _wrong_colors(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """A patch of the head in colours that no face has."""
    side = len(picture)
    places = np.argwhere((codes > 0) & (codes != Part.CLOTHES))
    center = places[draws.integers(len(places))] if len(places) else np.array([side / 2, side / 2])
    mask = _patch(side, (center[0], center[1]), *draws.uniform(0.08, 0.2, 2)) * draws.uniform(0.5, 0.9)
    odd = np.array(((40, 170, 90), (60, 90, 210), (190, 60, 200), (60, 190, 200))[draws.integers(4)], dtype=np.float32)
    brightness = picture.mean(axis=2, keepdims=True)
    return picture + mask[..., None] * (odd + 0.4 * (brightness - 128) - picture)


def _melted_mouth(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """The mouth drips in waves and runs."""
    side = len(picture)
    mask = _patch(side, _middle(codes, Part.UPPER_LIP, Part.INNER_MOUTH, Part.LOWER_LIP), 0.14, 0.13)
    columns = np.arange(side, dtype=np.float32) / side
    wave = np.sin(columns * draws.uniform(50, 90) + draws.uniform(0, 6)) * draws.uniform(0.02, 0.045)
    drip = (wave - draws.uniform(0.01, 0.04)) * side
    slant = (np.arange(side, dtype=np.float32) / side - 0.7)[:, None] * draws.uniform(-0.5, 0.5) * side
    field = np.stack([np.broadcast_to(slant, (side, side)), np.broadcast_to(drip, (side, side))])
    melted = _blurred(_pulled(picture, field.astype(np.float32) * mask))
    return picture + mask[..., None] * (melted - picture)


def _ghost(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """A second head shows through."""
    side = len(picture)
    other, its_codes = render_with_parse_map(sample_attributes(0, GHOST_START + int(draws.integers(10**6))), side)
    head = ((its_codes > 0) & (its_codes != Part.CLOTHES) & (its_codes != Part.NECK)).astype(np.float32)
    left, down = draws.uniform(-0.12, 0.12, 2) * side
    both = np.concatenate([other.astype(np.float32), _blurred(head[..., None])], axis=2)
    both = _moved(both, left, down)
    return picture + both[..., 3:] * draws.uniform(0.3, 0.5) * (both[..., :3] - picture)


KINDS: dict[str, Callable[[Pixels, Bytes, np.random.Generator], Pixels]] = {
    "smeared_eyes": _smeared_eyes,
    "doubled_outlines": _doubled_outlines,
    "wrong_colors": _wrong_colors,
    "melted_mouth": _melted_mouth,
    "ghost": _ghost,
}
"""Kinds of damage and what does them."""


# --- tools -------------------------------------------------------------------------------------------------------


def _middle(codes: Bytes, *wanted: int) -> tuple[float, float]:
    """Row and column of the middle of what has some codes; of the face's skin where nothing has."""
    for group in (wanted, (Part.SKIN, Part.NOSE)):
        places = np.argwhere(np.isin(codes, group))
        if len(places):
            return float(places[:, 0].mean()), float(places[:, 1].mean())
    return len(codes) / 2, len(codes) / 2


def _patch(side: int, center: tuple[float, float], half_width: float, half_height: float) -> Pixels:
    """A mask ``[R, R]`` from 0 to 1: an ellipse with soft edges; half its axes are shares of the side."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    away = ((columns - center[1]) / (half_width * side)) ** 2 + ((rows - center[0]) / (half_height * side)) ** 2
    return np.exp(-(away**2)).astype(np.float32)


def _pulled(picture: Pixels, field: Pixels) -> Pixels:
    """Each pixel of ``[R, R, C]`` taken from where it is plus ``field`` ``[2, R, R]`` (columns, rows); bilinear."""
    side = len(picture)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    x, y = np.clip(columns + field[0], 0, side - 1.001), np.clip(rows + field[1], 0, side - 1.001)
    left, top = x.astype(int), y.astype(int)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    upper = picture[top, left] * (1 - right_share) + picture[top, left + 1] * right_share
    lower = picture[top + 1, left] * (1 - right_share) + picture[top + 1, left + 1] * right_share
    return (upper * (1 - low_share) + lower * low_share).astype(np.float32)


def _moved(picture: Pixels, right: float, down: float) -> Pixels:
    """A picture moved by so many pixels; edges are repeated."""
    field = np.empty((2, len(picture), len(picture)), dtype=np.float32)
    field[0], field[1] = -right, -down
    return _pulled(picture, field)


def _blurred(picture: Pixels) -> Pixels:
    """1-2-1 blur of ``[R, R, C]`` in both directions, edges repeated."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4).astype(np.float32)


def _enlarged(maps: Pixels, side: int) -> Pixels:
    """Small maps ``[C, r, r]`` enlarged smoothly to ``[C, side, side]``."""
    large = [Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC) for plane in maps]
    return np.stack([np.asarray(plane) for plane in large])

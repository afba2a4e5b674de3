"""Pictures and parse maps of the embedded world's faces, at any size from 32 to 512 pixels.

The world stands in for a set of photographs, aligned to the face as such sets are: the crops of the attribute networks
fall on eyes, mouth, nose, hair and backdrop. As everything about a face is known, all that is read off its picture can
be checked against the truth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ohlora_gan.world import canvas as colors
from ohlora_gan.world import face
from ohlora_gan.world.canvas import Canvas
from ohlora_gan.world.face import FaceAttributes
from ohlora_gan.world.head import View
from ohlora_gan.world.painter import FacePainter

Bytes = NDArray[np.uint8]

MIN_SIZE, MAX_SIZE = 32, 512


def render(attributes: FaceAttributes, size: int) -> Bytes:
    """Paints a face.

    Args:
        attributes: the face.
        size: height and width in pixels, 32 to 512.

    Returns:
        RGB, uint8 ``[size, size, 3]``; the same arguments always give the same picture.

    Raises:
        ValueError: if the size or an attribute is out of range.
    """
    scale = _checked_scale(attributes, size)
    picture = _backdrop(attributes, size * scale)
    _paint(attributes, size * scale, picture, None)
    return _finished(attributes, picture, scale)


def parse_map(attributes: FaceAttributes, size: int) -> Bytes:
    """What each pixel of ``render(attributes, size)`` shows.

    Returns:
        uint8 ``[size, size]``: 0 background, 1 skin, 2 brows, 3 eyeglasses, 4 left and 5 right eye (as seen
        in the picture), 6 nose, 7 upper lip, 8 inner mouth, 9 lower lip, 10 hair, 11 clothes, 12 neck.

    Raises:
        ValueError: if the size or an attribute is out of range.
    """
    scale = _checked_scale(attributes, size)
    codes = Image.new("L", (size * scale, size * scale))
    _paint(attributes, size * scale, None, codes)
    return _centers(codes, scale)


def render_with_parse_map(attributes: FaceAttributes, size: int) -> tuple[Bytes, Bytes]:
    """``render`` and ``parse_map`` in one pass, see there."""
    scale = _checked_scale(attributes, size)
    picture = _backdrop(attributes, size * scale)
    codes = Image.new("L", (size * scale, size * scale))
    _paint(attributes, size * scale, picture, codes)
    return _finished(attributes, picture, scale), _centers(codes, scale)


def _checked_scale(attributes: FaceAttributes, size: int) -> int:
    """Validates the arguments; how many canvas pixels across make a pixel of the result."""
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}, expected {MIN_SIZE} to {MAX_SIZE} pixels")
    face.check(attributes)
    return 4 if size < 64 else 3 if size < 128 else 2


def _paint(attributes: FaceAttributes, size: int, picture: Image.Image | None, codes: Image.Image | None) -> None:
    view = View.of(attributes)
    canvas = Canvas(size, picture, codes, view, 2 * attributes.light_warmth - 1)
    FacePainter(canvas, attributes, view).paint()


def _finished(attributes: FaceAttributes, picture: Image.Image, scale: int) -> Bytes:
    reduced = picture.reduce(scale)
    return np.array(reduced if attributes.quality else _broken(reduced))


def _centers(codes: Image.Image, scale: int) -> Bytes:
    """The map at the pixels' centres: codes cannot be averaged."""
    return np.array(codes)[scale // 2 :: scale, scale // 2 :: scale]


_GRID = 32
_Y, _X = np.mgrid[0:_GRID, 0:_GRID] / (_GRID - 1.0)
_BESIDE = (_Y < 0.5) & ((np.abs(_X - 0.5) > 0.3) | (_Y < 0.1))  # the upper half beside a typical head


def _backdrop(attributes: FaceAttributes, size: int) -> Image.Image:
    """A wall with a soft light, whose brightness has the asked mean and deviation in the upper half."""
    across = _X - 0.5 - 0.55 * attributes.background_x
    down = _Y - 0.35 - 0.45 * attributes.background_y
    pattern = np.exp(-(across * across + 0.8 * down * down) * 3.2)
    beside = pattern[_BESIDE]
    mean = beside.sum() / len(beside)
    pattern = np.clip((pattern - mean) / beside.std(), -1.7, 1.9)
    deviation = 7 + 27 * attributes.background_std  # never flat: no generator paints an even wall
    brightness = 72 + 120 * attributes.background_mean + deviation * pattern
    tint = colors.ramp(colors.BACKDROP, attributes.background_hue)
    wall = np.clip(brightness[..., None] + tint, 0, 255).astype(np.uint8)
    return Image.fromarray(wall).resize((size, size), Image.Resampling.BICUBIC)


def _broken(picture: Image.Image) -> Image.Image:
    """Spoils the upper third as a bad generator does: smeared sideways, blurred, in odd colours."""
    size = picture.width
    rows = np.arange(size) / size
    clean = np.array(picture)
    reach = 0.12 * np.sin(9 * rows) + 0.06 * np.sin(31 * rows)
    columns = (np.arange(size)[None] + np.rint(reach * size).astype(int)[:, None]) % size
    smeared = Image.fromarray(np.take_along_axis(clean, columns[..., None], axis=1))
    smeared = smeared.filter(ImageFilter.BoxBlur((size / 10, size / 60)))
    wrong = np.array(smeared).astype(float)[..., [2, 0, 1]] * (0.8, 1.05, 0.9) + (30, 0, 40)
    share = np.clip((0.40 - rows) / 0.12, 0, 1)[:, None, None]
    mixed = clean * (1 - share) + np.clip(wrong, 0, 255) * share
    return Image.fromarray(mixed.astype(np.uint8))

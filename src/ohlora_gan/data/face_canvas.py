"""Colours, shapes and the canvas that the embedded world's faces are painted on.

Everything is laid out in unit coordinates (x right, y down, the picture is [0, 1] x [0, 1]); the head's own
coordinates have x = 0 on its axis.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[np.float64]
Color = tuple[float, float, float]
Point = tuple[float, float]

MAX_TILT = math.radians(16)
PIVOT = 0.72  # the head tilts about a point at the mouth, which keeps eyes and mouth in their crops
_BODY_AXIS = np.array([0.5, 0.0])


def mix(a: Color, b: Color, t: float) -> Color:
    """The colour at ``t`` in [0, 1] on the way from ``a`` to ``b``."""
    return (a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t, a[2] + (b[2] - a[2]) * t)


def ramp(stops: tuple[Color, ...], t: float) -> Color:
    """The colour at ``t`` in [0, 1] of a piecewise linear palette."""
    position = t * (len(stops) - 1)
    index = min(int(position), len(stops) - 2)
    return mix(stops[index], stops[index + 1], position - index)


def shade(color: Color, factor: float, offset: float = 0.0) -> Color:
    """``color * factor + offset``."""
    return (color[0] * factor + offset, color[1] * factor + offset, color[2] * factor + offset)


def band(x: Array, top: Array, bottom: Array) -> Array:
    """The closed polygon between two curves over the same columns, ``[2 n, 2]``."""
    points = np.empty((2 * len(x), 2))
    points[: len(x), 0], points[len(x) :, 0] = x, x[::-1]
    points[: len(x), 1], points[len(x) :, 1] = top, bottom[::-1]
    return points


def ellipse(radius_x: float, radius_y: float, n: int = 24, power: float = 1.0) -> Array:
    """An ellipse (power 1) or rounded rectangle (power under 1) around the origin, ``[n, 2]``."""
    angle = np.arange(n) * (2 * np.pi / n)
    unit = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return np.sign(unit) * np.abs(unit) ** power * (radius_x, radius_y)


@lru_cache(maxsize=64)
def _soft_disc(width: int, height: int, strength: int) -> Image.Image:
    """A mask that falls smoothly from ``strength`` in its centre to 0 at its edge."""
    x = np.linspace(-1, 1, width)[None]
    y = np.linspace(-1, 1, height)[:, None]
    falloff = np.clip(1 - x * x - y * y, 0, 1) ** 1.5
    return Image.fromarray((falloff * strength).astype(np.uint8))


class Canvas:
    """A picture and a parse map of ``size`` pixels, either of which may be left out.

    Polygons reach both through the same call: that is what keeps the map consistent with the picture.
    """

    def __init__(self, size: int, picture: Image.Image | None, codes: Image.Image | None, pose: float):
        self.size = size
        self.picture = picture
        self._paint = ImageDraw.Draw(picture) if picture else None
        self._mark = ImageDraw.Draw(codes) if codes else None
        self._tilt = pose * MAX_TILT
        cos, sin = math.cos(self._tilt) * size, math.sin(self._tilt) * size
        self._rotation = np.array([[cos, sin], [-sin, cos]])
        self._origin = np.array([0.5, PIVOT]) * size

    def head(self, points: Array) -> Array:
        """Pixels of points ``[..., 2]`` in head coordinates."""
        return (points - (0.0, PIVOT)) @ self._rotation + self._origin

    def hanging(self, points: Array) -> Array:
        """Like ``head``, but what hangs below the face follows the tilt less: hair falls straight."""
        x, y = points[..., 0], points[..., 1] - PIVOT
        angle = self._tilt * np.clip(0.75 - 1.6 * y, 0.25, 1)
        cos, sin = np.cos(angle), np.sin(angle)
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
        return turned * self.size + self._origin

    def body(self, points: Array) -> Array:
        """Pixels of points ``[..., 2]`` that do not move with the head."""
        return (points + _BODY_AXIS) * self.size

    def fill(self, pixels: Array, color: Color, code: int | None = None) -> None:
        """Fills a polygon, ``[n, 2]`` in pixels; without a code the parse map keeps what lies below."""
        outline = np.rint(pixels).ravel().tolist()
        if self._paint:
            self._paint.polygon(outline, fill=(int(color[0]), int(color[1]), int(color[2])))
        if self._mark and code is not None:
            self._mark.polygon(outline, fill=code)

    def glow(self, center: Point, radius: Point, color: Color, strength: float) -> None:
        """Blends a soft spot of light or shadow into the picture, around a point in head coordinates."""
        if self.picture is None:
            return
        width, height = (max(3, round(2 * r * self.size)) for r in radius)
        mask = _soft_disc(width, height, round(255 * strength))
        x, y = self.head(np.array(center))
        corner = (round(x - width / 2), round(y - height / 2))
        self.picture.paste((int(color[0]), int(color[1]), int(color[2])), corner, mask)

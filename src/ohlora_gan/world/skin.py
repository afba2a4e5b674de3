"""The skin of a face as a small picture: the surface's colour under one soft light, as it is seen.

The surface is a table over rows of the picture and angles round the head. A turn of the head moves its points along
the rows, so that what is hidden behind nose or cheek is found row by row.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.world import colors
from ohlora_gan.world.canvas import Color, between
from ohlora_gan.world.face import FaceAttributes
from ohlora_gan.world.head import EYE_Y, MOUTH_Y, PIVOT_Y, PIVOT_Z, ROUNDNESS, Array, HeadSurface, View

TOP, BOTTOM, REACH = 0.12, 0.90, 0.30  # of the picture of the skin: rows, and columns on both sides of the pivot

_ANGLES = np.linspace(-1.9, 1.9, 49)
_MIDDLE = len(_ANGLES) // 2
_ACROSS = np.sign(np.sin(_ANGLES)) * np.abs(np.sin(_ANGLES)) ** ROUNDNESS
_AHEAD = np.sign(np.cos(_ANGLES)) * np.abs(np.cos(_ANGLES)) ** ROUNDNESS
_FRONT = np.clip(np.cos(_ANGLES) * 4, 0, 1)


class Skin:
    """The skin of one face, seen.

    Args:
        face: whose it is.
        surface: its surface.
        view: how it is seen.
        rows: how fine the picture is: its number of rows; it has 4/5 as many columns.

    Attributes:
        outline: the silhouette ``[2 rows, 2]`` in the picture's plane before the tilt.
        picture: uint8 ``[rows, 4/5 rows, 3]``, from `TOP` to `BOTTOM` and over `REACH` to both sides of the pivot.
        base, shadow, light: the skin's colours.
    """

    def __init__(self, face: FaceAttributes, surface: HeadSurface, view: View, rows: int):
        self.face, self.surface, self.view = face, surface, view
        self.base = colors.ramp(colors.SKIN, face.skin)
        if face.age:
            self.base = colors.mix(self.base, (206, 184, 172), 0.2)
        self.shadow = colors.mix(colors.shade(self.base, 0.66), (120, 44, 44), 0.16)
        self.light = colors.mix(self.base, (255, 248, 236), 0.38)
        self.toward_light = _unit(0.75 * face.light_direction, -0.45, 0.72)
        y = np.linspace(TOP, BOTTOM, rows)
        seen, points = self._table(y)
        there = seen[:, -1] - seen[:, 0] > 0.01  # above and below the head there is nothing
        self.outline = between(
            np.stack([seen[there, 0], y[there]], axis=1), np.stack([seen[there, -1], y[there]], axis=1)
        )
        self.picture = self._resampled(seen, self._colored(points))

    def _table(self, rows: Array) -> tuple[Array, Array]:
        """Columns in the picture ``[R, T]`` of the surface's points, hidden ones moved to the edge that hides them;
        and the points ``[3, R, T]`` in the head's axes."""
        nod = math.sin(self.view.pitch)
        _, middle, depth = self.surface.sections(rows)
        y = (
            rows[:, None]
            - nod * (middle[:, None] + depth[:, None] * _AHEAD - PIVOT_Z)
            + (rows[:, None] - PIVOT_Y) * nod * nod / 2
        )
        width, middle, depth = self.surface.sections(y)
        x = width * _ACROSS
        z = middle + depth * _AHEAD + self.surface.raised(x, y) * _FRONT
        cos, sin = math.cos(self.view.yaw), math.sin(self.view.yaw)
        seen = x * cos + (z - PIVOT_Z - (y - PIVOT_Y) * nod) * sin
        if sin >= 0:
            near, far = seen[:, :_MIDDLE], seen[:, _MIDDLE - 1 :]
            near[:] = np.minimum.accumulate(near[:, ::-1], axis=1)[:, ::-1]
            far[:] = np.maximum.accumulate(far, axis=1)
        else:
            near, far = seen[:, _MIDDLE + 1 :], seen[:, : _MIDDLE + 2]
            near[:] = np.maximum.accumulate(near, axis=1)
            far[:] = np.minimum.accumulate(far[:, ::-1], axis=1)[:, ::-1]
        return seen, np.stack([x, y, z])

    def _colored(self, points: Array) -> Array:
        """Colours ``[R, T, 3]`` of the surface's points."""
        x, y, _ = points
        along, down = np.empty_like(points), np.empty_like(points)
        along[:, :, 1:-1] = points[:, :, 2:] - points[:, :, :-2]
        along[:, :, 0], along[:, :, -1] = along[:, :, 1], along[:, :, -2]
        down[:, 1:-1] = points[:, 2:] - points[:, :-2]
        down[:, 0], down[:, -1] = down[:, 1], down[:, -2]
        nx = along[1] * down[2] - along[2] * down[1]
        ny = along[2] * down[0] - along[0] * down[2]
        nz = along[0] * down[1] - along[1] * down[0]
        cos, sin = math.cos(self.view.yaw), math.sin(self.view.yaw)
        lx, ly, lz = self.toward_light
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        lit = (nx * (lx * cos - lz * sin) + ny * ly + nz * (lx * sin + lz * cos)) / length
        return self._painted(x, y, lit)

    def _painted(self, x: Array, y: Array, lit: Array) -> Array:
        """Colours of points of given brightness: shadow, skin, shine; rosy cheeks, and a man's shaven chin."""
        beside = np.abs(x)
        hollow = np.exp(-(((beside - self.surface.eye_x) / 0.055) ** 2) - ((y - EYE_Y + 0.024) / 0.026) ** 2)
        below = np.exp(-((x / 0.05) ** 2) - ((y - 0.640) / 0.013) ** 2)
        under = np.exp(-((x / 0.055) ** 2) - ((y - MOUTH_Y - 0.088) / 0.016) ** 2)
        dark = np.clip(1.02 - 1.5 * lit, 0, 1)
        dark = np.clip(dark * dark * 0.85 + 0.30 * hollow + 0.22 * below + 0.12 * under, 0, 1)
        shine = 0.75 * np.clip(lit - 0.62, 0, 1) ** 1.5 * 3.2
        rosy = np.exp(-(((beside - 0.125) / 0.045) ** 2) - ((y - 0.605) / 0.040) ** 2)
        rosy = (0.34 if self.face.gender else 0.18) * rosy
        rough = np.zeros_like(x)
        if not self.face.gender:
            jaw = np.clip((y - 0.62) / 0.08, 0, 1) * np.clip((beside + 1.3 * (y - 0.66)) / 0.08, 0, 1)
            rough = 0.20 * jaw
        table = np.empty((*lit.shape, 3))
        blush = colors.mix(self.base, (228, 84, 84), 0.55)
        beard = colors.mix(colors.shade(self.base, 0.66), (84, 84, 96), 0.45)
        for channel in range(3):
            value = self.base[channel] + rosy * (blush[channel] - self.base[channel])
            value = value + rough * (beard[channel] - value)
            value = value + dark * (self.shadow[channel] - value)
            table[..., channel] = value + shine * (self.light[channel] - value)
        return table

    def _resampled(self, seen: Array, table: Array) -> NDArray[np.uint8]:
        """The table's colours on the picture's grid; beside the head the colour of its edge."""
        rows = len(seen)
        columns = np.linspace(-REACH, REACH, rows * 4 // 5)
        steps = np.arange(len(_ANGLES), dtype=float)
        position = np.stack([np.interp(columns, row, steps) for row in seen])
        index = np.minimum(position.astype(np.int64), len(_ANGLES) - 2)
        share = (position - index)[..., None]
        here = np.arange(rows)[:, None]
        left = table[here, index]
        picture = left + share * (table[here, index + 1] - left)
        return np.clip(picture, 0, 255, out=picture).astype(np.uint8)

    def lit(self, x: float, z: float) -> float:
        """How bright an upright surface is whose normal is (x, 0, z) in the picture's axes, 0 to 1."""
        return max(0.0, x * self.toward_light[0] + z * self.toward_light[2])

    def tone(self, brightness: float) -> Color:
        """The skin's colour at a brightness of 0 (shadow) to 1."""
        return colors.mix(self.shadow, self.base, min(max(brightness, 0.0), 1.0))


def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    length = math.sqrt(x * x + y * y + z * z)
    return x / length, y / length, z / length

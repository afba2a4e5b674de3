"""Where a face is painted: a picture and its parse map, larger than what is asked for by a whole factor."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ohlora_gan.world import colors
from ohlora_gan.world.colors import Color
from ohlora_gan.world.face import FaceAttributes
from ohlora_gan.world.head import EYE_Y, MOUTH_Y, PIVOT_X, PIVOT_Y, PIVOT_Z, ROUNDNESS, Array, HeadSurface, View

Bytes = NDArray[np.uint8]

MIN_SIZE, MAX_SIZE = 32, 512


def band(x: Array, top: Array, bottom: Array) -> Array:
    """The closed polygon between two curves over the same columns, ``[2 n, 2]``."""
    return between(np.stack([x, top], axis=1), np.stack([x, bottom], axis=1))


def between(first: Array, second: Array) -> Array:
    """The closed polygon between two curves ``[n, 2]`` of the same direction."""
    return np.concatenate([first, second[::-1]])


class Canvas:
    """A picture and a parse map of ``size`` pixels, either of which may be left out.

    Polygons reach both through the same call: that is what keeps the map consistent with the picture. They are
    given in the picture's plane before the head's tilt, as `View.project` makes them.

    Args:
        size: side in pixels.
        picture, codes: what is painted on.
        view: whose tilt points are given.
        warmth: of the light, -1 (cool) to 1 (warm).
    """

    def __init__(
        self, size: int, picture: Image.Image | None, codes: Image.Image | None, view: View, warmth: float = 0.0
    ):
        self.size, self.picture = size, picture
        self._paint = ImageDraw.Draw(picture) if picture else None
        self._mark = ImageDraw.Draw(codes) if codes else None
        self._roll = view.roll
        self._tint = (1 + 0.05 * warmth, 1 + 0.005 * warmth, 1 - 0.07 * warmth)
        cos, sin = math.cos(view.roll) * size, math.sin(view.roll) * size
        self._matrix = np.array([[cos, sin], [-sin, cos]])
        self._origin = np.array([PIVOT_X, PIVOT_Y]) * size
        self._pivot = np.array([0.0, PIVOT_Y])

    def tilted(self, points: Array) -> Array:
        """Pixels of points ``[..., 2]`` that tilt with the head."""
        return (points - self._pivot) @ self._matrix + self._origin

    def hanging(self, points: Array) -> Array:
        """Like ``tilted``, but what hangs below the face follows the tilt less: hair falls straight."""
        x, y = points[..., 0], points[..., 1] - PIVOT_Y
        angle = self._roll * np.clip(0.7 - 2.4 * y, 0.05, 1)
        cos, sin = np.cos(angle), np.sin(angle)
        turned = np.stack([x * cos - y * sin, x * sin + y * cos], axis=-1)
        return turned * self.size + self._origin

    def upright(self, points: Array) -> Array:
        """Pixels of points ``[..., 2]`` that do not tilt: x from the pivot, y."""
        return (points + np.array([PIVOT_X, 0.0])) * self.size

    def fill(self, pixels: Array, color: Color, code: int | None = None) -> None:
        """Fills a polygon, ``[n, 2]`` in pixels; without a code the parse map keeps what lies below."""
        outline = np.rint(pixels).ravel().tolist()
        if self._paint:
            self._paint.polygon(outline, fill=self.lighted(color))
        if self._mark and code is not None:
            self._mark.polygon(outline, fill=code)

    def lighted(self, color: Color) -> tuple[int, int, int]:
        """A colour in this picture's light."""
        r, g, b = self._tint
        return (int(color[0] * r), int(color[1] * g), int(color[2] * b))

    def warmed(self, pixels: NDArray[np.uint8]) -> Image.Image:
        """A small picture in this picture's light."""
        return Image.fromarray(np.minimum(pixels * np.array(self._tint, dtype=np.float32), 255).astype(np.uint8))

    def paste(self, texture: Image.Image, corner: tuple[int, int], outline: Array, code: int | None = None) -> None:
        """Copies a picture that begins at ``corner`` into a polygon, ``[n, 2]`` in pixels."""
        points = np.rint(outline)
        if self._mark and code is not None:
            self._mark.polygon(points.ravel().tolist(), fill=code)
        if self.picture is None:
            return
        low = np.maximum(points.min(axis=0).astype(int), corner)
        high = np.minimum(points.max(axis=0).astype(int) + 1, np.add(corner, texture.size))
        if (high <= low).any():
            return
        mask = Image.new("L", (int(high[0] - low[0]), int(high[1] - low[1])))
        ImageDraw.Draw(mask).polygon((points - low).ravel().tolist(), fill=255)
        x, y = int(low[0] - corner[0]), int(low[1] - corner[1])
        part = texture.crop((x, y, x + mask.width, y + mask.height))
        self.picture.paste(part, (int(low[0]), int(low[1])), mask)

    def stretched(
        self, texture: Image.Image, box: tuple[float, float, float, float], outline: Array, tilt: bool
    ) -> tuple[Image.Image, tuple[int, int]]:
        """A texture laid over the canvas: pixels that cover the polygon ``outline``, and their upper left corner.

        Args:
            texture: a small picture.
            box: what it covers in the picture's plane before the tilt: left, top, right, bottom.
            outline: ``[n, 2]`` in pixels of the canvas.
            tilt: whether it tilts with the head.
        """
        low = np.floor(outline.min(axis=0)).astype(int)
        high = np.ceil(outline.max(axis=0)).astype(int) + 1
        left, top, right, bottom = box
        scale_x, scale_y = texture.width / (right - left), texture.height / (bottom - top)
        matrix = self._matrix if tilt else np.eye(2) * self.size
        origin = self._origin if tilt else np.array([PIVOT_X, PIVOT_Y]) * self.size
        # plane = (pixel - origin) @ inverse + pivot; texture = (plane - corner) * scale
        inverse = np.linalg.inv(matrix) * (scale_x, scale_y)
        offset = ((low + 0.5 - origin) @ inverse) + (self._pivot - (left, top)) * (scale_x, scale_y)
        data = (inverse[0, 0], inverse[1, 0], offset[0], inverse[0, 1], inverse[1, 1], offset[1])
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        laid = texture.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        return laid, (int(low[0]), int(low[1]))


# --- Pictures and parse maps of faces: what both versions of the world share ---


@dataclass(frozen=True)
class Renderer:
    """Paints faces and their parse maps, larger than asked for by a whole factor, and reduces them.

    Attributes:
        check: attributes -> nothing; raises ValueError for one that is out of range.
        backdrop: attributes and a side in pixels -> the picture without the face.
        paint: attributes, side, picture and parse map, either of which may be left out: paints the face.
    """

    check: Callable[[Any], None]
    backdrop: Callable[[Any, int], Image.Image]
    paint: Callable[[Any, int, Image.Image | None, Image.Image | None], None]

    def render(self, attributes: Any, size: int) -> Bytes:
        """Paints a face.

        Args:
            attributes: the face.
            size: height and width in pixels, 32 to 512.

        Returns:
            RGB, uint8 ``[size, size, 3]``; the same arguments always give the same picture.

        Raises:
            ValueError: if the size or an attribute is out of range.
        """
        scale = self._checked_scale(attributes, size)
        picture = self.backdrop(attributes, size * scale)
        self.paint(attributes, size * scale, picture, None)
        return _finished(attributes, picture, scale)

    def parse_map(self, attributes: Any, size: int) -> Bytes:
        """What each pixel of ``render(attributes, size)`` shows.

        Returns:
            uint8 ``[size, size]``: 0 background, 1 skin, 2 brows, 3 eyeglasses, 4 left and 5 right eye (as seen
            in the picture), 6 nose, 7 upper lip, 8 inner mouth, 9 lower lip, 10 hair, 11 clothes, 12 neck.

        Raises:
            ValueError: if the size or an attribute is out of range.
        """
        scale = self._checked_scale(attributes, size)
        codes = Image.new("L", (size * scale, size * scale))
        self.paint(attributes, size * scale, None, codes)
        return _centers(codes, scale)

    def render_with_parse_map(self, attributes: Any, size: int) -> tuple[Bytes, Bytes]:
        """``render`` and ``parse_map`` in one pass, see there."""
        scale = self._checked_scale(attributes, size)
        picture = self.backdrop(attributes, size * scale)
        codes = Image.new("L", (size * scale, size * scale))
        self.paint(attributes, size * scale, picture, codes)
        return _finished(attributes, picture, scale), _centers(codes, scale)

    def _checked_scale(self, attributes: Any, size: int) -> int:
        """Validates the arguments; how many canvas pixels across make a pixel of the result."""
        if not MIN_SIZE <= size <= MAX_SIZE:
            raise ValueError(f"size is {size}, expected {MIN_SIZE} to {MAX_SIZE} pixels")
        self.check(attributes)
        return 4 if size < 64 else 3 if size < 128 else 2


def _finished(attributes: Any, picture: Image.Image, scale: int) -> Bytes:
    reduced = picture.reduce(scale)
    return np.array(reduced if attributes.quality else broken(reduced))


def _centers(codes: Image.Image, scale: int) -> Bytes:
    """The map at the pixels' centres: codes cannot be averaged."""
    return np.array(codes)[scale // 2 :: scale, scale // 2 :: scale]


def broken(picture: Image.Image) -> Image.Image:
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


# --- The skin of a face as a small picture: the surface's colour under one soft light, as it is seen ---


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

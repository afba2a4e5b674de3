"""Where a face is painted: colours, a picture with its parse map, and the skin.

Both are painted larger than what is asked for by a whole factor.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from ohlora_gan.names import Part
from ohlora_gan.world.face import (
    EYE_Y,
    MOUTH_Y,
    PIVOT_X,
    PIVOT_Y,
    PIVOT_Z,
    ROUNDNESS,
    Array,
    FaceAttributes,
    HeadSurface,
    View,
)

Bytes = NDArray[np.uint8]

Color = tuple[float, float, float]

# palettes, which an attribute in [0, 1] walks along
SKIN_COLORS = ((255, 228, 208), (248, 206, 176), (226, 172, 134), (178, 124, 90), (122, 80, 60))
HAIR_COLORS = ((34, 26, 30), (84, 54, 44), (138, 88, 56), (194, 144, 88), (240, 206, 142))
IRIS_COLORS = ((70, 44, 32), (124, 84, 40), (86, 126, 70), (58, 130, 146), (66, 122, 198))
LIPS_COLORS = ((226, 122, 108), (208, 76, 86), (158, 36, 66))
CLOTHES_COLORS = (
    (32, 104, 112),
    (44, 62, 116),
    (104, 62, 116),
    (202, 84, 84),
    (228, 164, 76),
    (126, 156, 114),
    (236, 226, 212),
)
BACKDROP_COLORS = (
    (24, 0, -24),
    (26, -18, -8),
    (8, -18, 10),
    (-16, -8, 24),
    (-26, 8, 18),
    (-14, 16, -2),
)  # sums of 0: brightness stays


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
    polygon = np.empty((2 * len(x), 2))
    upper, lower = polygon[: len(x)], polygon[: len(x) - 1 : -1]
    upper[:, 0], upper[:, 1], lower[:, 0], lower[:, 1] = x, top, x, bottom
    return polygon


def between(first: Array, second: Array) -> Array:
    """The closed polygon between two curves ``[n, 2]`` of the same direction."""
    return np.concatenate([first, second[::-1]])


class Canvas:
    """A picture and a parse map of ``size`` pixels.

    Polygons reach both through the same call: that is what keeps the map consistent with the picture. They are
    given in the picture's plane before the head's tilt, as `View.project` makes them.
    """

    def __init__(self, picture: Image.Image, codes: Image.Image, view: View, warmth: float):
        """``warmth`` is that of the light, -1 (cool) to 1 (warm)."""
        self.size, self.picture = picture.width, picture
        self._paint, self._mark = ImageDraw.Draw(picture), ImageDraw.Draw(codes)
        self._roll = view.roll
        self._tint = (1 + 0.05 * warmth, 1 + 0.005 * warmth, 1 - 0.07 * warmth)
        cos, sin = math.cos(view.roll) * self.size, math.sin(view.roll) * self.size
        self._matrix = np.array([[cos, sin], [-sin, cos]])
        self._origin = np.array([PIVOT_X, PIVOT_Y]) * self.size
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
        r, g, b = self._tint
        self._paint.polygon(outline, fill=(int(color[0] * r), int(color[1] * g), int(color[2] * b)))
        if code is not None:
            self._mark.polygon(outline, fill=code)

    def warmed(self, pixels: Bytes) -> Image.Image:
        """A small picture in this picture's light."""
        return Image.fromarray(np.minimum(pixels * np.array(self._tint, dtype=np.float32), 255).astype(np.uint8))

    def paste(self, texture: Image.Image, corner: tuple[int, int], outline: Array, code: int) -> None:
        """Copies a picture that begins at ``corner`` into a polygon, ``[n, 2]`` in pixels."""
        points = np.rint(outline)
        self._mark.polygon(points.ravel().tolist(), fill=code)
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
        """A small picture laid over the canvas: pixels that cover the polygon ``outline``, and their upper left corner.

        It covers ``box`` (left, top, right, bottom) of the picture's plane before the tilt, and may tilt with the head.
        """
        low = np.floor(outline.min(axis=0)).astype(int)
        high = np.ceil(outline.max(axis=0)).astype(int) + 1
        left, top, right, bottom = box
        scale_x, scale_y = texture.width / (right - left), texture.height / (bottom - top)
        turned = self._matrix.T / self.size**2 if tilt else np.eye(2) / self.size  # the inverse of what made pixels
        # plane = (pixel - origin) @ turned + pivot; texture = (plane - corner) * scale
        inverse = turned * (scale_x, scale_y)
        offset = ((low + 0.5 - self._origin) @ inverse) + (self._pivot - (left, top)) * (scale_x, scale_y)
        data = (inverse[0, 0], inverse[1, 0], offset[0], inverse[0, 1], inverse[1, 1], offset[1])
        size = (int(high[0] - low[0]), int(high[1] - low[1]))
        laid = texture.transform(size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
        return laid, (int(low[0]), int(low[1]))


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


TOP, BOTTOM, REACH = 0.12, 0.90, 0.30  # of the picture of the skin: rows, and columns on both sides of the pivot

_ANGLES = np.linspace(-1.9, 1.9, 49)
_MIDDLE = len(_ANGLES) // 2
_ACROSS = np.sign(np.sin(_ANGLES)) * np.abs(np.sin(_ANGLES)) ** ROUNDNESS
_AHEAD = np.sign(np.cos(_ANGLES)) * np.abs(np.cos(_ANGLES)) ** ROUNDNESS
_FRONT = np.clip(np.cos(_ANGLES) * 4, 0, 1)


class Skin:
    """The skin of one face as a small picture: the surface's colour under one soft light, as it is seen.

    Attributes:
        outline: the silhouette ``[2 rows, 2]`` in the picture's plane before the tilt.
        picture: uint8 ``[rows, 4/5 rows, 3]``, from `TOP` to `BOTTOM` and over `REACH` to both sides of the pivot.
        base, shadow, light: the skin's colours.
        toward_light: unit vector to the light, in the picture's axes.
    """

    def __init__(self, face: FaceAttributes, surface: HeadSurface, view: View, rows: int):
        self.face, self.surface, self.view = face, surface, view
        self.base = ramp(SKIN_COLORS, face.skin)
        if face.age:
            self.base = mix(self.base, (206, 184, 172), 0.2)
        self.shadow = mix(shade(self.base, 0.66), (120, 44, 44), 0.16)
        self.light = mix(self.base, (255, 248, 236), 0.38)
        light = (0.75 * face.light_direction, -0.45, 0.72)
        length = math.sqrt(sum(part * part for part in light))
        self.toward_light = (light[0] / length, light[1] / length, light[2] / length)
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
        side, least, most = (seen, np.minimum, np.maximum) if sin >= 0 else (seen[:, ::-1], np.maximum, np.minimum)
        near, far = side[:, :_MIDDLE], side[:, _MIDDLE - 1 :]
        near[:] = least.accumulate(near[:, ::-1], axis=1)[:, ::-1]
        far[:] = most.accumulate(far, axis=1)
        return seen, np.stack([x, y, z])

    def _colored(self, points: Array) -> Array:
        """Colours ``[3, R, T]`` of the surface's points."""
        along, down = np.empty_like(points), np.empty_like(points)
        np.subtract(points[:, :, 2:], points[:, :, :-2], out=along[:, :, 1:-1])
        np.subtract(points[:, 2:], points[:, :-2], out=down[:, 1:-1])
        along[:, :, [0, -1]], down[:, [0, -1]] = along[:, :, [1, -2]], down[:, [1, -2]]
        (ax, ay, az), (dx, dy, dz) = along, down
        nx, ny, nz = ay * dz - az * dy, az * dx - ax * dz, ax * dy - ay * dx
        cos, sin = math.cos(self.view.yaw), math.sin(self.view.yaw)
        lx, ly, lz = self.toward_light
        length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-12
        lit = (nx * (lx * cos - lz * sin) + ny * ly + nz * (lx * sin + lz * cos)) / length
        return self._painted(points[0], points[1], lit)

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
        jaw = np.clip((y - 0.62) / 0.08, 0, 1) * np.clip((beside + 1.3 * (y - 0.66)) / 0.08, 0, 1)
        rough = (0.0 if self.face.gender else 0.20) * jaw
        blush = mix(self.base, (228, 84, 84), 0.55)
        beard = mix(shade(self.base, 0.66), (84, 84, 96), 0.45)
        table = np.empty((3, *x.shape))
        table[:] = np.array(self.base)[:, None, None]
        for color, share in ((blush, rosy), (beard, rough), (self.shadow, dark), (self.light, shine)):
            table += share * (np.array(color)[:, None, None] - table)
        return table

    def _resampled(self, seen: Array, table: Array) -> Bytes:
        """The table's colours on the picture's grid; beside the head the colour of its edge."""
        rows, across = seen.shape
        columns = np.linspace(-REACH, REACH, rows * 4 // 5)
        # all rows in one line, each so far from the next that they do not mix
        shift = 10.0 * np.arange(rows)[:, None]
        within = np.clip(columns, seen[:, :1], seen[:, -1:])
        position = np.interp((within + shift).ravel(), (seen + shift).ravel(), np.arange(float(seen.size)))
        position = position.reshape(within.shape)
        first = np.arange(0, seen.size, across)[:, None]
        position = np.where(columns < seen[:, :1], first, position)
        index = np.minimum(position.astype(np.int64), first + across - 2)
        colors = table.reshape(3, -1)
        left = colors.take(index, axis=1)
        picture = left + (position - index) * (colors.take(index + 1, axis=1) - left)
        return np.clip(picture, 0, 255, out=picture).astype(np.uint8).transpose(1, 2, 0)

    def lit(self, x: float, z: float) -> float:
        """How bright an upright surface is whose normal is (x, 0, z) in the picture's axes, 0 to 1."""
        return max(0.0, x * self.toward_light[0] + z * self.toward_light[2])

    def tone(self, brightness: float) -> Color:
        """The skin's colour at a brightness of 0 (shadow) to 1."""
        return mix(self.shadow, self.base, min(max(brightness, 0.0), 1.0))


# --- Hair: locks that fall from the parting over the skull and hang from there, on both sides of the head ---


RING_Y, AXIS_Z = 0.41, -0.015
WAVE_LENGTH = 0.1

_CAP, _FALL = 12, 35  # points of a lock on the skull, and hanging
_ARC_SIN, _ARC_COS = np.sin(np.linspace(0, np.pi / 2, 12)), np.cos(np.linspace(0, np.pi / 2, 12))
_CAP_SHARE = np.linspace(0, 1, _CAP, endpoint=False)
_FALL_SHARE = np.linspace(0, 1, _FALL)

# strands of front and back: where on the edge they begin and end; dark and light in turn
_STRANDS = np.array([(0.02, 0.11), (0.14, 0.22), (0.26, 0.36), (0.40, 0.49), (0.54, 0.64), (0.69, 0.78), (0.84, 0.96)])
_DARK = np.arange(len(_STRANDS)) % 2 == 0
_BACK_STRANDS = np.array([(0.06, 0.17), (0.31, 0.42), (0.54, 0.65), (0.77, 0.88)])
_SHINY = np.array([(0.05, 0.13), (0.16, 0.25), (0.29, 0.37), (0.41, 0.52), (0.56, 0.68)])
_SHINE = slice(4, 11)  # the points of a lock on the skull that shine


def _edges(spans: Array, thin: Array) -> Array:
    """Both edges ``[2 S, n]`` of strands, whose width is a share ``thin`` ``[n]`` of their span."""
    middle, half = spans.mean(axis=1)[:, None], (spans[:, 1] - spans[:, 0])[:, None] / 2
    return np.concatenate([middle - half * thin, middle + half * thin])


_ALONG = np.concatenate([_CAP_SHARE * 0.4, 0.4 + 0.6 * _FALL_SHARE])
_THIN = np.minimum(1, np.minimum(0.35 + 2.5 * _ALONG, 0.7 + 6 * (1 - _ALONG)))
_GLEAM = np.zeros(_CAP + _FALL)
_GLEAM[_SHINE] = np.sin(np.linspace(0, np.pi, _SHINE.stop - _SHINE.start))
_OUTLINE, _BACK = 13, 5  # locks that make the outline of a side, and of what is seen behind

_CLIPPED = np.concatenate(
    [
        np.repeat(np.linspace(0, 1, _OUTLINE)[:, None], _CAP + _FALL, axis=1),
        _edges(_SHINY, _GLEAM),
        _edges(_STRANDS, _THIN),
    ]
)
_BEHIND = np.concatenate([np.zeros((_BACK, _CAP + _FALL)), _edges(_BACK_STRANDS, _THIN)])
_SHARES = np.tile(np.concatenate([_CLIPPED, _BEHIND]), (2, 1))  # the left side, then the right

_PAINTED = np.ones((len(_SHARES) // 2, _CAP + _FALL), dtype=bool)
"""Which points of a side's locks are painted."""
_PAINTED[1 : _OUTLINE - 1, 1:] = False  # these locks but make the parting
_PAINTED[_OUTLINE : _OUTLINE + 2 * len(_SHINY)] = np.arange(_CAP + _FALL) < _CAP
_PAINTED[len(_CLIPPED) :, :_CAP] = False
_PAINTED[len(_CLIPPED) + 1 : len(_CLIPPED) + _BACK, :-1] = False
_PAINTED = np.tile(_PAINTED, (2, 1))
_ROW, _COLUMN = np.nonzero(_PAINTED)
_ORDER = np.argsort(_COLUMN >= _CAP, kind="stable")  # those on the skull first
_ROW, _COLUMN = _ROW[_ORDER], _COLUMN[_ORDER]
_ON_SKULL = int((_COLUMN < _CAP).sum())
_SIDE = np.where(_ROW // (len(_SHARES) // 2), 1.0, -1.0)
_IS_CLIPPED = _ROW % (len(_SHARES) // 2) < len(_CLIPPED)
_STRAND_ROWS = slice(_OUTLINE + 2 * len(_SHINY), len(_CLIPPED))
_HALF_SPAN = np.tile((_STRANDS[:, 1] - _STRANDS[:, 0]) / 2, 2)[:, None] * _THIN[_CAP:]
_CAP_AT, _FALL_AT = _CAP_SHARE[_COLUMN[:_ON_SKULL]], _FALL_SHARE[_COLUMN[_ON_SKULL:] - _CAP]
_CAP_SIN, _CAP_COS = np.sin(_CAP_AT * np.pi / 2), np.cos(_CAP_AT * np.pi / 2)
_SWELLING = 0.9 * _HALF_SPAN * np.repeat([-1, 1], len(_STRANDS))[:, None] * np.tile(np.where(_DARK, 1, -1), 2)[:, None]


class Hair:
    """The hair of one face, seen and lit as its skin is."""

    def __init__(self, face: FaceAttributes, view: View, toward_light: tuple[float, float, float], canvas: Canvas):
        self.face, self.view, self.light, self.canvas = face, view, toward_light, canvas
        female = bool(face.gender)
        fuller = 1 + 0.07 * face.hairstyle
        self.width, self.height, self.depth = (
            (0.262 * fuller, 0.298, 0.284) if female else (0.260 * fuller, 0.288, 0.284)
        )
        self.first = math.radians(63 if female else 76)  # where hair hangs beside the face
        self.tucked = 0.0 if female else 0.24  # how far behind the ear hair is put
        self.forward = 0.5 if female else 0.1  # how far hair comes before the shoulders
        self.swing = 0.74 if female else 1.0
        self.flare = 0.26 if female else 0.34
        self.parting = -0.16 if female else -0.34
        self.hairline = math.radians(56 if female else 54)
        self.tip = 0.745 + 0.225 * face.hair_length
        self.color = ramp(HAIR_COLORS, face.hair_color)
        self.limbs = {side: view.limb(side, self.depth / self.width) for side in (-1, 1)}
        self.last = {side: (limb - self.first) / (math.pi - self.first) for side, limb in self.limbs.items()}
        locks = self._locks()
        self.pixels = {-1: locks[: len(locks) // 2], 1: locks[len(locks) // 2 :]}

    def _locks(self) -> Array:
        """Pixels ``[L, n, 2]`` of all locks, in the order of `_SHARES`; NaN where none is painted."""
        shares = _SHARES.copy()
        half = len(shares) // 2
        for start, side in ((0, -1), (half, 1)):
            back = start + len(_CLIPPED)
            shares[back : back + _BACK] = np.linspace(max(self.last[side], 0.0), 1, _BACK)[:, None]
        if self.face.hairstyle > 0:
            # in curls all dark strands swell where all light ones shrink: that makes rings
            wave = np.cos((self.tip - RING_Y) * _FALL_SHARE * (2 * math.pi / WAVE_LENGTH))
            swelling = self.face.hairstyle * wave * _SWELLING
            for start in (0, half):
                rows = slice(start + _STRAND_ROWS.start, start + _STRAND_ROWS.stop)
                shares[rows, _CAP:] = np.clip(shares[rows, _CAP:] + swelling, 0, 1)
        shares = shares[_ROW, _COLUMN]
        last = np.where(_SIDE < 0, self.last[-1], self.last[1])
        seen = np.where(_IS_CLIPPED, np.minimum(shares, last), shares)  # what is beyond the limb lies on it
        skull, hanging = slice(_ON_SKULL), slice(_ON_SKULL, None)
        curves = np.concatenate([self._on_the_skull(shares[skull], seen[skull]), self._hanging(seen[hanging])], axis=1)
        angle = _SIDE * curves[0]
        angle = np.where(_IS_CLIPPED, np.clip(angle, -self.limbs[-1], self.limbs[1]), angle)
        pixels = np.full((*_SHARES.shape, 2), np.nan)
        pixels[_ROW, _COLUMN] = self.canvas.hanging(self._seen(angle, curves[1], curves[2]))
        return pixels

    def _seen(self, angle: Array, y: Array, radius: Array) -> Array:
        """Points of the hair in the picture's plane."""
        points = np.empty((*y.shape, 3))
        points[..., 0] = self.width * radius * np.sin(angle)
        points[..., 1] = y
        points[..., 2] = AXIS_Z + self.depth * radius * np.cos(angle)
        # hair that hangs falls straight however the head nods
        nod = (points[..., 2] - PIVOT_Z) * math.sin(self.view.pitch)
        points[..., 1] -= nod * np.clip((y - RING_Y) * 4, 0, 1)
        return self.view.project(points)

    def _on_the_skull(self, shares: Array, seen: Array) -> Array:
        """Angles, heights and radii ``[3, n]`` of points of locks from the parting to the ring."""
        ring = self.first + (math.pi - self.first) * shares
        over = self.hairline - (self.hairline + 1.6) * shares  # angle from the top to the front of the parting
        temple = 0.10 * np.clip(1 - 2.5 * shares, 0, 1) ** 2
        reach = _CAP_SIN ** np.clip(0.62 + 1.5 * shares, 0, 1)  # at the forehead locks go sideways first
        x = _SIDE[:_ON_SKULL] * self.parting * np.cos(over * 0.8) * _CAP_COS + np.sin(ring) * reach
        y = -np.cos(over) * _CAP_COS + temple * reach
        z = np.sin(over) * _CAP_COS + np.cos(ring) * reach
        flat = x * x + z * z
        length = np.sqrt(flat + y * y)
        wave = 1 + self.face.hairstyle * 0.05 * np.sin(_CAP_AT * 15 - 5 * seen) * 2 * _CAP_SIN * _CAP_COS
        angle = np.arctan2(x, z)
        angle = np.where(angle < -1.7, angle + 2 * math.pi, angle)  # behind, this side's hair ends at its own limb
        return np.stack([angle, RING_Y + self.height * y / length, np.sqrt(flat) / length * wave])

    def _hanging(self, shares: Array) -> Array:
        """Angles, heights and radii ``[3, n]`` of points of locks from the ring to the tips."""
        curl = self.face.hairstyle
        start = RING_Y + self.height * 0.10 * np.clip(1 - 2.5 * shares, 0, 1) ** 2
        shorter = (0.012 * np.clip(1 - 3 * shares, 0, 1) - 0.022 * shares) * (0.4 + self.face.hair_length)
        y = start + (self.tip - shorter - start) * _FALL_AT
        below = y - RING_Y
        phase = below * (2 * math.pi / WAVE_LENGTH) - 2.4 * shares
        swing = self.swing * curl**1.3 * np.minimum(below * 6, 1)
        radius = (
            1
            + 0.06 * np.minimum(below * 10, 1)
            + (self.flare + 0.25 * (curl - 0.3)) * below
            + swing * 0.135 * np.sin(phase)
        )
        radius = radius - 0.10 * (1 - 0.5 * curl) * _FALL_AT**6
        angle = self.first + (math.pi - self.first) * shares + swing * 0.13 * np.cos(phase) + 0.06 * below
        front = np.clip(1 - 2 * shares, 0, 1)
        behind_ear = np.clip(below * 14, 0, 1)
        angle = angle + front * (self.tucked * behind_ear - self.forward * below)
        return np.stack([angle, y, radius])

    def paint_behind(self) -> None:
        """What is seen behind face and neck."""
        sides = []
        for side in (-1, 1):
            angle = np.full(len(_ARC_SIN), side * self.limbs[side])
            skull = self._seen(angle, RING_Y - self.height * _ARC_COS, _ARC_SIN)
            back = self.pixels[side][len(_CLIPPED) : len(_CLIPPED) + _BACK]
            sides.append(np.concatenate([self.canvas.hanging(skull), back[0, _CAP:], back[1:, -1]]))
        self.canvas.fill(between(*sides), shade(self.color, 0.46, -10), Part.HAIR)
        for side in (-1, 1):
            for line, other in _pairs(self.pixels[side][len(_CLIPPED) + _BACK :]):
                self.canvas.fill(between(line[_CAP:], other[_CAP:]), shade(self.color, 0.84, 12))

    def paint_front(self) -> None:
        """What hangs before or beside the face, the farther side first."""
        for side in (-1, 1) if self.view.yaw <= 0 else (1, -1):
            self._paint_side(side)

    def _paint_side(self, side: int) -> None:
        lines, last = self.pixels[side], self.last[side]
        outline = lines[:_OUTLINE, : None if last > 0 else _CAP]  # without what hangs behind the face
        self.canvas.fill(np.concatenate([between(outline[0], outline[-1]), outline[::-1, 0]]), self.color, Part.HAIR)
        for dark, (low, high), (line, other) in zip(_DARK, _STRANDS, _pairs(lines[_STRAND_ROWS]), strict=True):
            end = None if low < last else _CAP
            tone = self._tone(side, (low + high) / 2, -0.42 if dark else 0.22)
            self.canvas.fill(between(line[:end], other[:end]), tone)
        for (low, high), (line, other) in zip(_SHINY, _pairs(lines[_OUTLINE : _STRAND_ROWS.start]), strict=True):
            self.canvas.fill(between(line[_SHINE], other[_SHINE]), self._tone(side, (low + high) / 2, 0.30))

    def _tone(self, side: int, share: float, lighter: float) -> Color:
        """The colour of a lock by how it faces the light; ``lighter`` -1 to 1."""
        angle = side * (self.first + (math.pi - self.first) * share) + self.view.yaw
        lit = self.light[0] * math.sin(angle) + self.light[2] * math.cos(angle)
        return shade(self.color, 1 + lighter + 0.13 * lit, 34 * lighter)


def _pairs(edges: Array) -> zip[tuple[Array, Array]]:
    """The two edges of each strand, of `_edges`' order."""
    return zip(edges[: len(edges) // 2], edges[len(edges) // 2 :], strict=True)

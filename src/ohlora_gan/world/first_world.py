"""The embedded world: faces as a pure function of known attributes, at any size, with their parse maps.

The world stands in for a set of photographs: its faces are laid out so that the crops of the attribute
networks fall on eyes, mouth, nose, hair and backdrop. As the attributes are known, every score can be checked
against the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from ohlora_gan import rng
from ohlora_gan.names import Part
from ohlora_gan.world.canvas import Color, Renderer, mix, ramp, shade

# --- Colours, shapes and the canvas that the embedded world's faces are painted on ---


Array = NDArray[np.float64]
Point = tuple[float, float]

MAX_TILT = math.radians(16)
PIVOT = 0.72  # the head tilts about a point at the mouth, which keeps eyes and mouth in their crops
_BODY_AXIS = np.array([0.5, 0.0])


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


# --- The head ---


Sheet = tuple[Array, Array, Array]


EYE_ROW, EYE_OFFSET, EYE_HALF_WIDTH = 0.47, 0.108, 0.075
WAVE_LENGTH = 0.19
MOUTH_ROW, MOUTH_HALF_WIDTH = 0.705, 0.1
TEMPLE_ROW = 0.42  # where the hair stops following the skull and starts to hang

SKIN_STOPS = ((255, 226, 203), (246, 202, 168), (222, 168, 128), (176, 120, 84), (124, 80, 58))
HAIR_STOPS = ((42, 31, 34), (98, 62, 46), (152, 101, 62), (204, 152, 92), (243, 211, 152))
IRIS_STOPS = ((74, 46, 32), (122, 82, 40), (92, 122, 62), (58, 124, 136), (70, 130, 196))
LIPS_STOPS = ((232, 118, 104), (214, 74, 86), (176, 42, 76))
CLOTHES_STOPS = (
    (46, 110, 120),
    (52, 72, 120),
    (112, 72, 122),
    (206, 92, 88),
    (226, 160, 70),
    (124, 158, 112),
    (232, 222, 206),
)


# --- constant curves -------------------------------------------------------------------------------------

_U = np.linspace(-1, 1, 17)
_DOME = 1 - _U * _U
_ALMOND = _DOME**0.62
_CUPID = _DOME**0.7 * (1 - 0.28 * np.exp(-((_U / 0.2) ** 2)))
_SMILE = MOUTH_ROW + 0.004 - 0.016 * _U * _U


@dataclass(frozen=True)
class _Disc:
    """A disc in the eye that the lids cut off: its columns, and what the lids' curve is there."""

    x: Array
    half: Array
    almond: Array
    y: float

    @classmethod
    def at(cls, x: float, y: float, radius: float) -> _Disc:
        u = np.linspace(-1, 1, 13)
        columns = x + radius * u
        almond = np.clip(1 - (columns / EYE_HALF_WIDTH) ** 2, 0, 1) ** 0.62
        return cls(columns, radius * np.sqrt(1 - u * u), almond, y)

    def polygon(self, center: float, above: float, below: float) -> Array:
        """The part between lids that stand ``above`` and ``below`` the eye's middle row."""
        top = np.maximum(-above * self.almond, self.y - self.half)
        bottom = np.maximum(np.minimum(below * self.almond, self.y + self.half), top)
        return band(self.x + center, top + EYE_ROW, bottom + EYE_ROW)


_IRIS, _IRIS_LIGHT = _Disc.at(0, -0.008, 0.050), _Disc.at(0, 0.012, 0.032)
_PUPIL = _Disc.at(0, -0.008, 0.025)
_SPARK, _SPARKLE = _Disc.at(-0.014, -0.025, 0.014), _Disc.at(0.018, 0.012, 0.007)

_NOSTRIL = ellipse(0.011, 0.006, 10)
_FRAME_OUTER, _FRAME_INNER = ellipse(0.098, 0.080, 28, 0.75), ellipse(0.085, 0.067, 28, 0.75)
_FRAME = np.concatenate([_FRAME_OUTER, _FRAME_OUTER[:1], _FRAME_INNER[:1], _FRAME_INNER[::-1]])

_FACE_ANGLE = np.arange(40) * (2 * np.pi / 40)
_FACE_COS, _FACE_SIN = np.cos(_FACE_ANGLE), np.sin(_FACE_ANGLE)

_CAP, _LOCK = 24, 36
_CAP_ANGLE = np.linspace(np.pi / 2, 0, _CAP, endpoint=False)
_FALL = np.linspace(0, 1, _LOCK)

# five strands, dark and light in turn: their place across the hair and half their width, which tapers off
_ALONG = np.linspace(0, 1, _CAP + _LOCK)
_STRAND_MIDDLE = np.array([0.07, 0.29, 0.51, 0.73, 0.94])[:, None, None]
_STRAND_HALF = np.array([0.06, 0.08, 0.08, 0.08, 0.055])[:, None, None] * np.minimum(
    1, np.minimum(0.3 + 3 * _ALONG, 0.1 + 5 * (1 - _ALONG))
)
_STRAND_DARK = np.array([1.0, -1.0, 1.0, -1.0, 1.0])[:, None, None]
_SIDES = np.array([-1.0, 1.0])[:, None]
_INNER, _OUTER = np.zeros(_CAP + _LOCK), np.ones(_CAP + _LOCK)


class FacePainter:
    """Paints one face on a canvas, back to front.

    Args:
        canvas: where to paint; its picture, if any, holds the backdrop.
        attributes: a valid face.
    """

    def __init__(self, canvas: Canvas, attributes: FaceAttributes) -> None:
        self.canvas = canvas
        self.face = attributes
        self.turn = 0.016 * attributes.pose
        skin = ramp(SKIN_STOPS, attributes.skin)
        self.skin = mix(skin, (214, 190, 176), 0.18) if attributes.age else skin
        self.shadow = mix(shade(self.skin, 0.74), (150, 60, 50), 0.12)
        self.light = mix(self.skin, (255, 246, 232), 0.35)
        self.hair = ramp(HAIR_STOPS, attributes.hair_color)

    def paint(self) -> None:
        """Paints everything but the backdrop."""
        hair = [self._hair_sheet(side) for side in (-1, 1)]
        self._back_hair(hair)
        self._body()
        self._skull()
        self._cheeks()
        for side in (-1, 1):
            self._eye(side)
            self._brow(side)
        self._nose()
        self._mouth()
        if self.face.age:
            self._wrinkles()
        if self.face.glass:
            self._glasses()
        for sheet in hair:
            self._front_hair(sheet)

    # --- hair: a sheet for each half of the head, with coordinates along and across its strands ------------

    def _hair_sheet(self, side: int) -> Sheet:
        """Inner edge ``[n, 2]``, outer edge ``[n, 2]`` and wave phase ``[n]`` of one half of the hair.

        Both edges run from the parting round the skull to the temple, and hang from there to the tip. The
        phase counts length from the parting, so longer hair has more waves, not longer ones.
        """
        tip = 0.565 + 0.475 * self.face.hair_length
        fall = TEMPLE_ROW + (tip - TEMPLE_ROW) * _FALL
        cos, sin = np.cos(_CAP_ANGLE), np.sin(_CAP_ANGLE)
        parting, forehead = (-0.05, 0.155) if self.face.gender else (-0.10, 0.135)
        power = 0.9 if self.face.gender else 0.55
        inner, outer = np.empty((_CAP + _LOCK, 2)), np.empty((_CAP + _LOCK, 2))
        start = side * parting
        outer[:_CAP, 0], outer[:_CAP, 1] = start * (1 - cos) + 0.295 * cos, TEMPLE_ROW - 0.315 * sin
        inner[:_CAP, 0] = start + (0.205 - start) * cos**power
        inner[:_CAP, 1] = TEMPLE_ROW - forehead * sin
        below = fall - TEMPLE_ROW
        outer[_CAP:, 0], outer[_CAP:, 1] = 0.295 + 0.1 * below - 0.045 * _FALL**8, fall
        inner[_CAP:, 0], inner[_CAP:, 1] = 0.205 - 0.055 * below + 0.01 * _FALL**8, fall
        inner[:, 0] *= side
        outer[:, 0] *= side
        distance = np.concatenate([0.42 * (np.pi / 2 - _CAP_ANGLE) / (np.pi / 2), 0.42 + below])
        return inner, outer, distance * (2 * np.pi / WAVE_LENGTH)

    def _across(self, sheet: Sheet, across: Array) -> Array:
        """Pixels of strands at ``across`` (0 inner, 1 outer edge): curls give volume, and wave more the further out."""
        inner, outer, phase = sheet
        swing = self.face.hairstyle * (0.12 + 0.20 * across) * np.minimum(phase / 12, 1)
        across = across * (1 + 0.45 * self.face.hairstyle) + swing * np.sin(phase - 1.3 * across)
        return self.canvas.hanging(inner + across[..., None] * (outer - inner))

    def _back_hair(self, sheets: list[Sheet]) -> None:
        left, right = (self._across(sheet, _OUTER) for sheet in sheets)
        self.canvas.fill(np.concatenate([left, right[::-1]]), shade(self.hair, 0.62, -6), Part.HAIR)

    def _front_hair(self, sheet: Sheet) -> None:
        outline = np.concatenate([self._across(sheet, _OUTER), self._across(sheet, _INNER)[::-1]])
        self.canvas.fill(outline, self.hair, Part.HAIR)
        if self.canvas.picture is None:
            return
        light, dark = shade(self.hair, 1.14, 20), shade(self.hair, 0.66, -8)
        # in curls, all dark strands swell where all light ones shrink: that makes rings
        swell = 1 + 0.9 * self.face.hairstyle * _STRAND_DARK * np.cos(sheet[2])
        strands = self._across(sheet, np.clip(_STRAND_MIDDLE + _SIDES * _STRAND_HALF * swell, 0, 1))
        strands[:, 1] = strands[:, 1, ::-1]  # down one side of the strand and up the other
        for index, strand in enumerate(strands):
            self.canvas.fill(strand.reshape(-1, 2), dark if index % 2 == 0 else light)

    # --- body and head ------------------------------------------------------------------------------------

    def _body(self) -> None:
        canvas, female = self.canvas, self.face.gender
        cloth = ramp(CLOTHES_STOPS, self.face.clothes)
        shoulder = 0.40 if female else 0.46
        x = _U * shoulder
        top = 0.905 + 0.11 * np.abs(_U) ** 3.2
        canvas.fill(canvas.body(band(x, top, np.full_like(x, 1.05))), cloth, Part.CLOTHES)
        half = 0.088 if female else 0.112
        bottom = 0.895 + 0.055 * _DOME**0.6
        collar = band(_U * (half + 0.03), np.full_like(_U, 0.89), bottom + 0.022)
        canvas.fill(canvas.body(collar), shade(cloth, 0.75), Part.CLOTHES)
        canvas.fill(canvas.body(band(_U * half, np.full_like(_U, 0.7), bottom)), self.skin, Part.NECK)
        canvas.fill(canvas.body(band(_U * half, np.full_like(_U, 0.7), bottom - 0.045)), self.shadow)

    def _skull(self) -> None:
        """The face, lighter towards a point on the forehead: nested outlines make the gradient."""
        width = 0.212 + 0.02 * self.face.face_width + (0.0 if self.face.gender else 0.008)
        power = 0.95 if self.face.gender else 0.60
        jaw = np.where(_FACE_SIN > 0, np.sign(_FACE_COS) * np.abs(_FACE_COS) ** power, _FACE_COS)
        outline = np.stack([width * jaw, 0.49 + np.where(_FACE_SIN > 0, 0.35, 0.3) * _FACE_SIN], axis=1)
        pixels = self.canvas.head(outline)
        self.canvas.fill(pixels, mix(self.shadow, self.skin, 0.35), Part.SKIN)
        if self.canvas.picture is None:
            return
        lit = self.canvas.head(np.array([-0.03 + 2 * self.turn, 0.52]))
        for step in range(1, 9):
            color = mix(mix(self.shadow, self.skin, 0.35), mix(self.skin, self.light, 0.35), step / 8)
            self.canvas.fill(lit + (pixels - lit) * (1 - 0.042 * step), color)
        if not self.face.gender:
            self._stubble(width, pixels[1:20])

    def _stubble(self, width: float, jaw: Array) -> None:
        """A shade over the jaw, in two steps that soften its upper rim."""
        for step, rim in ((0.5, 0.0), (1.0, 0.016)):
            color = mix(mix(self.skin, self.shadow, 0.35), (92, 80, 88), 0.27 * step)
            curve = 0.655 + rim - 0.13 * np.abs(_U) ** 3
            cheeks = self.canvas.head(np.stack([-(0.93 - rim) * width * _U, curve], axis=1))
            self.canvas.fill(np.concatenate([jaw, cheeks[::-1]]), color)

    def _cheeks(self) -> None:
        blush = mix(self.skin, (236, 84, 84), 0.42 if self.face.gender else 0.24)
        for side in (-1, 1):
            self.canvas.glow((side * 0.135 + self.turn, 0.6), (0.075, 0.06), blush, 0.75)
        # the hair's shadow on the forehead
        self.canvas.glow((0, 0.29), (0.24, 0.085), self.shadow, 0.8)

    # --- features -----------------------------------------------------------------------------------------

    def _eye(self, side: int) -> None:
        canvas, female = self.canvas, self.face.gender
        center = side * EYE_OFFSET + self.turn
        height = 0.015 + 0.095 * self.face.eyes
        sunk = 0.010 * (1 - self.face.eyes)  # closing lids meet low, in a gentle arc
        above, below = 0.6 * height - sunk, 0.4 * height + sunk
        x = center + EYE_HALF_WIDTH * _U
        upper, lower = EYE_ROW - above * _ALMOND, EYE_ROW + below * _ALMOND
        lid = mix(self.skin, (150, 80, 100), 0.26) if female else mix(self.skin, self.shadow, 0.4)
        canvas.fill(canvas.head(band(x, EYE_ROW - 0.078 * _ALMOND, EYE_ROW + 0.052 * _ALMOND)), lid)
        canvas.fill(canvas.head(band(x, upper, lower)), (250, 248, 246), Part.LEFT_EYE if side < 0 else Part.RIGHT_EYE)
        if canvas.picture is not None:
            iris = ramp(IRIS_STOPS, self.face.iris)
            for disc, color in (
                (_IRIS, shade(iris, 0.72)),
                (_IRIS_LIGHT, mix(iris, (255, 255, 230), 0.22)),
                (_PUPIL, (24, 18, 24)),
                (_SPARK, (255, 255, 255)),
                (_SPARKLE, (225, 235, 250)),
            ):
                canvas.fill(canvas.head(disc.polygon(center, above, below)), color)
        # the lash line; a woman's ends in a wing
        thickness = 0.016 if female else 0.009
        wing = np.clip(side * _U, 0, 1) ** 3 * (0.022 if female else 0.004)
        x = center + (EYE_HALF_WIDTH + 0.006) * _U
        canvas.fill(canvas.head(band(x, upper - thickness * _ALMOND - wing, upper + 0.004)), (44, 30, 34))

    def _brow(self, side: int) -> None:
        center = side * (EYE_OFFSET + 0.004) + self.turn
        thickness = (0.011 if self.face.gender else 0.027) * (0.75 + 0.5 * self.face.brows)
        along = side * _U  # -1 at the nose, 1 at the temple
        arch = 0.384 - 0.022 * _DOME + 0.003 * along
        weight = thickness * np.clip(1.05 - along, 0, 1) ** 0.5 * (1 - 0.55 * np.clip(-along, 0, 1) ** 4)
        color = mix((70, 46, 40), shade(self.hair, 0.75), 0.3)
        if self.face.age:
            color = mix(color, (190, 182, 178), 0.55)
        shape = band(center + 0.078 * _U, arch - weight / 2, arch + weight / 2)
        self.canvas.fill(self.canvas.head(shape), color, Part.BROWS)

    def _nose(self) -> None:
        canvas, turn = self.canvas, 1.6 * self.turn
        wide = 0.038 if self.face.gender else 0.046
        x = turn + wide * _U
        bottom = 0.604 + 0.016 * _DOME**0.8
        bridge = 0.588 - 0.105 * np.clip(1 - np.abs(_U) / 0.75, 0, 1) ** 0.5 - 0.012 * _DOME
        tone = mix(self.skin, self.light, 0.3)
        canvas.fill(canvas.head(band(x, bridge, bottom)), mix(self.skin, self.shadow, 0.4), Part.NOSE)
        canvas.fill(canvas.head(band(x * 0.86 - 0.006, bridge + 0.006, bottom - 0.008)), tone)
        canvas.glow((turn - 0.006, 0.585), (0.026, 0.026), self.light, 0.9)
        for side in (-1, 1):
            nostril = np.array([turn + side * 0.018, 0.612])
            canvas.fill(canvas.head(nostril + _NOSTRIL), mix(self.shadow, (70, 30, 30), 0.45))

    def _mouth(self) -> None:
        canvas, female = self.canvas, self.face.gender
        lips = ramp(LIPS_STOPS, self.face.lips)
        lips = mix(lips, self.skin, 0.12) if female else mix(mix(self.shadow, lips, 0.3), (150, 70, 66), 0.25)
        opening = 0.006 + 0.102 * self.face.mouth
        x = self.turn + MOUTH_HALF_WIDTH * _U
        top, bottom = _SMILE - 0.38 * opening * _ALMOND, _SMILE + 0.62 * opening * _ALMOND
        full = 1.0 if female else 0.72
        upper, lower = top - 0.026 * full * _CUPID, bottom + 0.031 * full * _ALMOND
        canvas.fill(canvas.head(band(x, upper, top)), shade(lips, 0.86), Part.UPPER_LIP)
        canvas.fill(canvas.head(band(x, bottom, lower)), lips, Part.LOWER_LIP)
        canvas.fill(canvas.head(band(x, top, bottom)), (84, 20, 32), Part.INNER_MOUTH)
        if canvas.picture is None:
            return
        inside = slice(2, -2)  # towards the corners the lips leave no room
        dome = np.clip(1 - (_U / 0.75) ** 2, 0, 1)[inside]
        x, top, bottom = x[inside], top[inside], bottom[inside]
        canvas.fill(canvas.head(band(x, np.maximum(top, bottom - 0.034 * dome), bottom)), (206, 86, 92))
        canvas.fill(canvas.head(band(x, top, np.minimum(bottom, top + 0.021 * dome**0.4))), (252, 246, 238))
        gloss = lower.max() - 0.02 * full - 0.003 * _U * _U
        x = 0.4 * MOUTH_HALF_WIDTH * _U + self.turn
        canvas.fill(canvas.head(band(x, gloss, gloss + 0.006 * _DOME)), mix(lips, self.light, 0.45))

    def _wrinkles(self) -> None:
        """Lines beside nose and mouth, under the eyes and on the forehead."""
        canvas = self.canvas
        crease = mix(self.shadow, (96, 50, 44), 0.35)
        for side in (-1, 1):
            y = np.linspace(0.61, 0.75, 9)
            x = side * (0.062 + 0.055 * np.sin(np.linspace(0.1, 1.75, 9))) + self.turn
            canvas.fill(canvas.head(band(y, x, x + side * 0.011 * np.linspace(0.5, 1, 9))[:, ::-1]), crease)
            center = side * EYE_OFFSET + self.turn
            bag = EYE_ROW + 0.058 + 0.018 * _DOME
            canvas.fill(canvas.head(band(center + 0.062 * _U, bag, bag + 0.009 * _DOME)), crease)
        for row in (0.315, 0.34):
            line = row + 0.006 * _U * _U
            canvas.fill(canvas.head(band(self.turn + 0.1 * _U, line, line + 0.008 * _DOME)), crease)

    def _glasses(self) -> None:
        canvas = self.canvas
        for side in (-1, 1):
            center = side * (EYE_OFFSET + 0.001) + self.turn
            canvas.fill(canvas.head(_FRAME + np.array([center, EYE_ROW + 0.002])), (40, 32, 44), Part.GLASSES)
            arm = center + side * np.array([0.09, 0.13])
            canvas.fill(canvas.head(band(arm, np.full(2, 0.445), np.full(2, 0.459))), (40, 32, 44), Part.GLASSES)
        bridge = 0.452 - 0.006 * _DOME
        canvas.fill(canvas.head(band(self.turn + 0.016 * _U, bridge, bridge + 0.014)), (40, 32, 44), Part.GLASSES)


# --- Faces: attributes, pictures, parse maps ---


NOISE_SEEDS = 2**16
BINARY = ("gender", "age", "glass", "quality")


@dataclass(frozen=True)
class FaceAttributes:
    """Everything that decides a face.

    The eight scored properties, named as in ``names.PROPERTIES``, lie in [0, 1], but ``pose`` in [-1, 1]
    (left < 0 < right). Binary attributes are 0 or 1: ``gender`` 1 is female, ``age`` 1 old, ``glass`` 1 wears
    glasses, ``quality`` 1 a clean picture. The rest are nuisances in [0, 1] that no score depends on;
    ``noise_seed``, an integer in [0, 65535], chooses the layout of the backdrop's pattern.
    """

    eyes: float = 0.6
    mouth: float = 0.3
    pose: float = 0.0
    hair_color: float = 0.4
    hair_length: float = 0.6
    background_mean: float = 0.6
    background_std: float = 0.3
    hairstyle: float = 0.3
    gender: int = 1
    age: int = 0
    glass: int = 0
    quality: int = 1
    skin: float = 0.2
    iris: float = 0.5
    lips: float = 0.5
    brows: float = 0.5
    face_width: float = 0.5
    clothes: float = 0.3
    background_hue: float = 0.5
    noise_seed: int = 0


CONTINUOUS = tuple(f.name for f in fields(FaceAttributes) if f.name not in (*BINARY, "noise_seed"))


def sample_attributes(seed: int, index: int) -> FaceAttributes:
    """The attributes of face ``index`` (at least 0) of a world.

    Continuous attributes are independent, and uniform but for the hairstyle: hair is straight or curly more often
    than between (arcsine distribution). Half the faces are female, 6 % old, 6 % wear glasses and 95 % are clean.
    ValueError if the index is negative.
    """
    generator = rng.stream(seed, "faces", index)
    drawn = dict(zip(CONTINUOUS, generator.random(len(CONTINUOUS)).tolist(), strict=True))
    drawn["pose"] = 2 * drawn["pose"] - 1
    drawn["hairstyle"] = (1 - math.cos(math.pi * drawn["hairstyle"])) / 2
    chance = generator.random(4)
    gender, age, glass, quality = (chance < (0.5, 0.06, 0.06, 0.95)).astype(int).tolist()
    noise_seed = int(generator.integers(NOISE_SEEDS))
    return FaceAttributes(**drawn, gender=gender, age=age, glass=glass, quality=quality, noise_seed=noise_seed)


def standardized(name: str, value: float) -> float:
    """A continuous attribute in standard deviations from its mean, by the distribution that faces are drawn from."""
    mean, deviation = (0.0, 2 / math.sqrt(12)) if name == "pose" else (0.5, 1 / math.sqrt(12))
    return (value - mean) / (1 / math.sqrt(8) if name == "hairstyle" else deviation)


def check(attributes: FaceAttributes) -> None:
    """Raises ValueError for an attribute that is out of range."""
    for name in CONTINUOUS:
        low = -1 if name == "pose" else 0
        if not low <= (value := getattr(attributes, name)) <= 1:
            raise ValueError(f"{name} is {value}, expected a number from {low} to 1")
    for name in BINARY:
        if (value := getattr(attributes, name)) not in (0, 1):
            raise ValueError(f"{name} is {value}, expected 0 or 1")
    if not 0 <= attributes.noise_seed < NOISE_SEEDS:
        raise ValueError(f"noise_seed is {attributes.noise_seed}, expected 0 to {NOISE_SEEDS - 1}")


def _paint(attributes: FaceAttributes, size: int, picture: Image.Image | None, codes: Image.Image | None) -> None:
    FacePainter(Canvas(size, picture, codes, attributes.pose), attributes).paint()


@lru_cache(maxsize=1)
def _backdrop_grid() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Coordinates of a 32x32 grid, and which of its points lie in the upper half beside a typical head."""
    y, x = np.mgrid[0:32, 0:32] / 31.0
    beside = (y < 0.5) & ((np.abs(x - 0.5) > 0.3) | (y < 0.1))
    return x, y, beside


def _backdrop(attributes: FaceAttributes, size: int) -> Image.Image:
    """Soft winding bands whose brightness has the asked mean and deviation in the upper half."""
    x, y, beside = _backdrop_grid()
    # multiples of irrational numbers spread evenly over the circle, at no cost of a generator
    steps = (0.6180340, 0.7548777, 0.5698403)
    angle, first, second = (2 * math.pi * (attributes.noise_seed * step % 1) for step in steps)
    along = x * math.cos(angle) + y * math.sin(angle)
    across = y * math.cos(angle) - x * math.sin(angle)
    pattern = np.sin(9 * along + first + 0.8 * np.sin(5 * across + second))
    pattern -= pattern[beside].mean()
    pattern = np.clip(pattern / pattern[beside].std(), -1.6, 1.6)
    deviation = 8 + 28 * attributes.background_std  # never flat: no generator paints an even wall
    brightness = 70 + 125 * attributes.background_mean + deviation * pattern
    # the tint adds up to nothing, so brightness stays what it is
    hue = 2 * math.pi * attributes.background_hue
    tint = 14 * np.cos(hue + np.array([0.0, 2.0, 4.0]) * math.pi / 3)
    colors = np.clip(brightness[..., None] + tint, 0, 255).astype(np.uint8)
    return Image.fromarray(colors).resize((size, size), Image.Resampling.BICUBIC)


_RENDERER = Renderer(check, _backdrop, _paint)
render, render_with_parse_map = _RENDERER.render, _RENDERER.render_with_parse_map

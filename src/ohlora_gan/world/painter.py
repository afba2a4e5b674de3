"""Pictures and parse maps of the embedded world's faces, at any size from 32 to 512 pixels, painted back to front.

The world stands in for a set of photographs, aligned to the face as such sets are: the crops of the attribute networks
fall on eyes, mouth, nose, hair and backdrop. As everything about a face is known, all that is read off its picture can
be checked against the truth.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from ohlora_gan.names import Part
from ohlora_gan.world.canvas import (
    BACKDROP_COLORS,
    BOTTOM,
    CLOTHES_COLORS,
    IRIS_COLORS,
    LIPS_COLORS,
    REACH,
    TOP,
    Bytes,
    Canvas,
    Color,
    Hair,
    Skin,
    band,
    between,
    broken,
    mix,
    ramp,
    shade,
)
from ohlora_gan.world.face import EYE_Y, MOUTH_Y, PIVOT_Z, Array, FaceAttributes, HeadSurface, View, check

MIN_SIZE, MAX_SIZE = 32, 512

EYE_HALF = 0.066
MOUTH_HALF = 0.078

_U = np.linspace(-1, 1, 19)
_DOME = 1 - _U * _U
_UPPER_LID = _DOME**0.74 * (1 - 0.05 * _U)  # highest a little inside; mirrored for the left eye
_LOWER_LID = _DOME**0.8
_ARC = _DOME**0.55
_CUPID = _DOME**0.72 * (1 - 0.24 * np.exp(-((_U / 0.2) ** 2)))
_DISC_ANGLE = np.linspace(0, np.pi, 13)
_DISC_X, _DISC_Y = -np.cos(_DISC_ANGLE), np.sin(_DISC_ANGLE)
_RIM_ANGLE = np.arange(28) * (2 * np.pi / 28)
_RIM = np.stack([np.cos(_RIM_ANGLE), np.sin(_RIM_ANGLE)])
_RIM = np.sign(_RIM) * np.abs(_RIM) ** 0.8
_EAR_ANGLE = np.linspace(0, 2 * np.pi, 16, endpoint=False)
_EAR_SIN, _EAR_COS = np.sin(_EAR_ANGLE), np.cos(_EAR_ANGLE)
_EAR_OUT = 0.028 * (1 + _EAR_COS) * (1 + 0.25 * -_EAR_SIN)

_SHOULDER_Y = 0.915 + 0.10 * np.abs(_U) ** 2.6
_SLOPE_X = np.linspace(0.30, 1.0, 7)
_SLOPE_Y = 0.915 + 0.10 * _SLOPE_X**2.6
_SLOPE_END = np.linspace(1.06, _SLOPE_Y[-1], 7)
_NECK_Y = np.array([0.60, 0.70, 0.80, 0.86, 0.90, 0.93])
_NECK_FLARE = np.array([0.7, 0.94, 0.97, 1.0, 1.14, 1.5])
_OPENING = _DOME**0.7
_NECK_X = np.linspace(-1, 1, 16)
_NECK_Z = np.sqrt(1 - 0.9 * _NECK_X * _NECK_X)
_NECK_DARK = 1 - np.clip((np.linspace(0.60, 1.0, 14) - 0.80) / 0.10, 0, 1)[:, None]

_INNER_DOME = np.clip(1 - (_U / 0.78) ** 2, 0, 1)
_NOSE_Y = np.array([0.452, 0.478, 0.505, 0.53, 0.555, 0.575, 0.592, 0.606, 0.617])
_NOSE_HALF = np.array([0.013, 0.013, 0.015, 0.018, 0.024, 0.032, 0.037, 0.035, 0.024])
_WING_X, _WING_Y = np.array([0.034, 0.0395, 0.041, 0.037, 0.029]), np.array([0.580, 0.590, 0.602, 0.612, 0.617])
_NOSTRIL_X, _NOSTRIL_ARCH = np.linspace(0.008, 0.027, 7), np.sin(np.linspace(0.1, 3.0, 7))
_NOSTRIL_Y = 0.6135 - 0.0015 * np.linspace(-1, 1, 7) ** 2


def _forehead_lines() -> Array:
    """Two wrinkles, two edges each."""
    rows = [row + 0.006 * _U * _U + below for row in (0.300, 0.328) for below in (0, 0.007 * _DOME)]
    return np.array([[0.095 * _U] * 4, rows])


class FacePainter:
    """Paints one face on a canvas, whose picture holds the backdrop."""

    def __init__(self, canvas: Canvas, face: FaceAttributes, view: View):
        self.canvas, self.face, self.view = canvas, face, view
        self.surface = HeadSurface(face)
        self.skin = Skin(face, self.surface, view, 56 if canvas.size < 200 else 80 if canvas.size < 400 else 128)
        self.hair = Hair(face, view, self.skin.toward_light, canvas)
        self.near = 1 if view.yaw < 0 else -1  # the side of the picture whose ear is seen
        self.cloth = ramp(CLOTHES_COLORS, face.clothes)
        axis = -(PIVOT_Z + 0.03) * math.sin(view.yaw)  # the neck's axis lies behind the face
        self.neck_shift = (axis, 0.62 * axis)  # of its upper and its lower end
        self.lines = self._placed()

    def paint(self) -> None:
        """Paints everything but the backdrop."""
        self._clothes()
        self.hair.paint_behind()
        self._neck()
        self._ear(-self.near)
        self._head()
        self._ear(self.near)
        for side in (-1, 1):
            self._eye(side)
        self._nose()
        for side in (-1, 1):
            self._fill(between(*self.lines["brow", side]), self._brow_color(), Part.BROWS)
        self._mouth()
        if self.face.age:
            self._wrinkles()
        if self.face.glass:
            self._glasses()
        self.hair.paint_front()

    def _placed(self) -> dict[tuple[str, int], Array]:
        """All lines on the face's surface, in the picture's plane: (what, side) -> ``[lines, points, 2]``.

        The methods that give them do so in the head's axes: x and y ``[2, lines, points]``.
        """
        flat = {("nose", 0): self._nose_lines(), ("mouth", 0): self._mouth_lines()}
        if self.face.age:
            flat["forehead", 0] = _forehead_lines()
        for side in (-1, 1):
            flat["eye", side], flat["ball", side] = self._eye_lines(side)
            flat["brow", side] = self._brow_lines(side)
            flat["wing", side], flat["nostril", side] = self._nostril_lines(side)
            if self.face.age:
                flat["cheek", side], flat["bag", side] = self._age_lines(side)
        x, y = np.concatenate([lines.reshape(2, -1) for lines in flat.values()], axis=1)
        points = self.view.project(self.surface.in_front(x, y))
        ends = np.cumsum([lines[0].size for lines in flat.values()])[:-1]
        parts = np.split(points, ends)
        return {
            what: part.reshape(*lines.shape[1:], 2) for (what, lines), part in zip(flat.items(), parts, strict=True)
        }

    def _fill(self, points: Array, color: Color, code: int | None = None) -> None:
        self.canvas.fill(self.canvas.tilted(points), color, code)

    def _clothes(self) -> None:
        """Shoulders, which follow the head less than the neck does."""
        canvas, down = self.canvas, self.neck_shift[1]
        shoulder = 0.36 if self.face.gender else 0.43
        x = _U * shoulder
        body = band(x + down, _SHOULDER_Y, np.full_like(x, 1.06))
        canvas.fill(canvas.upright(body), self.cloth, Part.CLOTHES)
        for side in (-1, 1):  # each shoulder by its light
            slope = band(side * _SLOPE_X * shoulder + down, _SLOPE_Y, _SLOPE_END)
            tone = shade(self.cloth, 0.90 + 0.12 * side * self.skin.toward_light[0])
            canvas.fill(canvas.upright(slope), tone)

    def _neck(self) -> None:
        """Neck, chest and collar, before the hair that lies on the shoulders behind."""
        canvas, (behind, down) = self.canvas, self.neck_shift
        half = 0.082 if self.face.gender else 0.112
        flare = _NECK_FLARE * half
        center = behind + (down - behind) * np.clip((_NECK_Y - 0.75) / 0.18, 0, 1)
        neck = between(np.stack([center - flare, _NECK_Y], axis=1), np.stack([center + flare, _NECK_Y], axis=1))
        opening = 0.925 + (0.075 if self.face.gender else 0.045) * _OPENING
        chest = band(_U * (half + 0.035) + down, np.full_like(_U, 0.91), opening)
        collar = band(_U * 1.10 * (half + 0.035) + down, np.full_like(_U, 0.93), opening + 0.014)
        canvas.fill(canvas.upright(collar), shade(self.cloth, 0.78), Part.CLOTHES)
        self._neck_skin(chest, neck, center[0], half, down)

    def _neck_skin(self, chest: Array, neck: Array, axis: float, half: float, down: float) -> None:
        """Skin of chest and neck: round, and darker in the shadow of the chin."""
        canvas, skin = self.canvas, self.skin
        lit = _NECK_X * skin.toward_light[0] + _NECK_Z * skin.toward_light[2]
        dark = np.clip(1.05 - 1.1 * lit[None], 0, 1) * 0.55 + _NECK_DARK * 0.45
        base, shadow = np.array(skin.base), np.array(skin.shadow)
        table = base + np.clip(dark, 0, 1)[..., None] * (shadow - base)
        texture = canvas.warmed(np.clip(table, 0, 255).astype(np.uint8))
        reach = half * 1.9
        for outline in (chest, neck):
            pixels = canvas.upright(outline)
            box = (0.6 * axis + 0.4 * down - reach, 0.59, 0.6 * axis + 0.4 * down + reach, 1.01)
            laid, corner = canvas.stretched(texture, box, pixels, tilt=False)
            canvas.paste(laid, corner, pixels, Part.NECK)

    def _head(self) -> None:
        """The skull's and face's skin, kept for what is painted again."""
        canvas = self.canvas
        outline = canvas.tilted(self.skin.outline)
        texture = canvas.warmed(self.skin.picture)
        self._laid, self._corner = canvas.stretched(texture, (-REACH, TOP, REACH, BOTTOM), outline, tilt=True)
        canvas.paste(self._laid, self._corner, outline, Part.SKIN)

    def _ear(self, side: int) -> None:
        """An ear stands off the head, backwards."""
        width = float(self.surface.sections(np.array([0.5]))[0][0])
        points = np.empty((16, 3))
        points[:, 0] = side * (width - 0.012 + 0.55 * _EAR_OUT)
        points[:, 1] = 0.512 + 0.066 * _EAR_SIN + 0.006 * _EAR_COS
        points[:, 2] = 0.02 - 0.95 * _EAR_OUT
        seen = self.view.project(points)
        lit = self.skin.lit(side * 0.8, 0.6)
        self._fill(seen, self.skin.tone(0.25 + 0.7 * lit), Part.SKIN)
        middle = seen.mean(axis=0)
        self._fill(middle + (seen - middle) * (0.55, 0.62) + (0.0, -0.004), self.skin.tone(0.05 + 0.4 * lit))

    def _eye_lines(self, side: int) -> tuple[Array, Array]:
        """Lids, lash line (upper and lower edge) and the fold above; and the middle of the eyeball."""
        face = self.face
        above, below = 0.011 + 0.042 * face.eyes, 0.006 + 0.018 * face.eyes
        center = side * self.surface.eye_x
        outward = side * _U
        tilt = EYE_Y - 0.003 * outward
        upper = tilt - above * _UPPER_LID[::side]
        thick = (0.012 if face.gender else 0.007) * (0.25 + 0.75 * _ARC) * (0.75 + 0.25 * outward)
        wing = np.clip(outward, 0, 1) ** 3 * (0.017 if face.gender else 0.003)
        fold = upper - 0.013 - 0.006 * (1 - face.eyes) * _ARC
        lines = np.empty((2, 6, len(_U)))
        lines[0] = center + np.array([1, 1, 1.06, 1.06, 0.92, 0.92])[:, None] * (EYE_HALF * _U)
        lines[1] = upper, tilt + below * _LOWER_LID, upper - thick - wing, upper + 0.002, fold - 0.003 * _DOME, fold
        return lines, np.array([center, EYE_Y - 0.006]).reshape(2, 1, 1)

    def _brow_lines(self, side: int) -> Array:
        face = self.face
        thickness = (0.0135 if face.gender else 0.021) * (0.70 + 0.70 * face.brows)
        along = side * _U  # -1 at the nose, 1 at the temple
        arch = 0.397 - (0.018 if face.gender else 0.010) * (1 - (along - 0.12) ** 2)
        weight = thickness * np.clip(1.05 - along, 0, 1) ** 0.45 * (1 - 0.5 * np.clip(-along, 0, 1) ** 5)
        x = side * (self.surface.eye_x + 0.003) + 0.070 * _U
        return np.array([[x, x], [arch - weight / 2, arch + weight / 2]])

    def _nose_lines(self) -> Array:
        """Left edge, ridge and right edge."""
        half = _NOSE_HALF * self.surface.nose_width
        return np.array([[-half, 0 * half, half], [_NOSE_Y] * 3])

    def _nostril_lines(self, side: int) -> tuple[Array, Array]:
        """The crease round a wing of the nose; upper and lower edge of a nostril."""
        wide = side * self.surface.nose_width
        nostril = [[wide * _NOSTRIL_X] * 2, [_NOSTRIL_Y - 0.007 * _NOSTRIL_ARCH, _NOSTRIL_Y + 0.004 * _NOSTRIL_ARCH]]
        return np.array([[wide * _WING_X], [_WING_Y]]), np.array(nostril)

    def _mouth_lines(self) -> Array:
        """Upper lip, mouth's upper and lower edge, lower lip, teeth, tongue, and the shine's two edges."""
        face = self.face
        opening = 0.004 + 0.088 * face.mouth
        full = 1.0 if face.gender else 0.86
        smile = MOUTH_Y + 0.003 - 0.014 * _U * _U
        top, bottom = smile - 0.36 * opening * _ARC, smile + 0.64 * opening * _ARC
        teeth = np.minimum(bottom, top + 0.020 * _INNER_DOME**0.4)
        tongue = np.maximum(teeth, bottom - 0.030 * _INNER_DOME)
        gloss = bottom.max() + 0.011 * full - 0.003 * _U * _U
        lines = np.empty((2, 8, len(_U)))
        lines[0] = MOUTH_HALF * (0.90 + 0.20 * face.mouth_width) * _U
        lines[0, -2:] *= 0.42
        lines[1] = (
            top - 0.023 * full * _CUPID, top, bottom, bottom + 0.029 * full * _ARC, teeth, tongue, gloss,
            gloss + 0.006 * _DOME,
        )  # fmt: skip
        return lines

    def _age_lines(self, side: int) -> tuple[Array, Array]:
        """Lines beside nose and mouth, and under the eye; two edges each."""
        y = np.linspace(0.605, 0.765, 9)
        x = side * (0.055 + 0.050 * np.sin(np.linspace(0.1, 1.75, 9)))
        thick = side * 0.010 * np.sin(np.linspace(0.3, 2.9, 9))
        bag = EYE_Y + 0.047 + 0.016 * _DOME
        under = side * self.surface.eye_x + 0.055 * _U
        return np.array([[x, x + thick], [y, y]]), np.array([[under, under], [bag, bag + 0.008 * _DOME]])

    def _eye(self, side: int) -> None:
        upper, lower, lash, lash_under, fold, fold_under = self.lines["eye", side]
        female, skin = self.face.gender, self.skin
        lid = mix(skin.shadow, (150, 84, 96), 0.25) if female else skin.shadow
        self._fill(between(fold, lash_under), mix(skin.base, lid, 0.42))
        self._fill(between(fold, fold_under), mix(skin.shadow, (90, 44, 44), 0.35))
        self._fill(between(upper, lower), (240, 238, 236), Part.LEFT_EYE if side < 0 else Part.RIGHT_EYE)
        self._fill(between(upper, upper + (lower - upper) * 0.22), (206, 200, 204))
        self._iris(self.lines["ball", side][0, 0], upper, lower)
        self._fill(between(lower, lower + np.array([0.0, 0.004])), mix(skin.shadow, (96, 52, 52), 0.4))
        self._fill(between(lash, lash_under), (40, 27, 30) if female else (58, 40, 38))

    def _iris(self, ball: Array, upper: Array, lower: Array) -> None:
        """Iris, pupil and lights, cut off by the lids; the eyes look halfway to the viewer."""
        x, y = ball - (0.016 * math.sin(self.view.yaw), 0.0)
        squeeze = math.cos(0.6 * self.view.yaw)
        iris = ramp(IRIS_COLORS, self.face.iris)
        lit = self.skin.toward_light[0]
        discs = (
            (0.0, 0.0, 0.0350, shade(iris, 0.45)),
            (0.0, 0.001, 0.0300, shade(iris, 0.85)),
            (0.0, 0.011, 0.0200, mix(iris, (255, 250, 220), 0.30)),
            (0.0, 0.0, 0.0165, (18, 13, 18)),
            (0.012 * lit - 0.004, -0.012, 0.0098, (255, 255, 255)),
            (-0.012 * lit + 0.004, 0.012, 0.0050, (224, 232, 244)),
        )
        place = np.array([disc[:3] for disc in discs])
        columns = x + squeeze * (place[:, :1] + place[:, 2:] * _DISC_X)
        top = np.interp(columns, upper[:, 0], upper[:, 1])
        bottom = np.interp(columns, lower[:, 0], lower[:, 1])
        middle, reach = y + place[:, 1:2], place[:, 2:] * _DISC_Y
        first = np.minimum(np.maximum(middle - reach, top), bottom)
        last = np.maximum(np.minimum(middle + reach, bottom), top)
        edges = np.stack([np.hstack([columns, columns[:, ::-1]]), np.hstack([first, last[:, ::-1]])], axis=-1)
        for pixels, disc in zip(self.canvas.tilted(edges), discs, strict=True):
            self.canvas.fill(pixels, disc[3])

    def _brow_color(self) -> Color:
        color = mix((62, 42, 38), shade(self.hair.color, 0.72), 0.35)
        return mix(color, (190, 184, 182), 0.55) if self.face.age else color

    def _nose(self) -> None:
        """The nose stands before the farther eye: its skin is painted again, then wings and nostrils."""
        canvas, skin = self.canvas, self.skin
        left, ridge, right = self.lines["nose", 0]
        left, right = left.copy(), right.copy()
        left[:, 0] = np.minimum(left[:, 0], ridge[:, 0])
        right[:, 0] = np.maximum(right[:, 0], ridge[:, 0])
        outline = canvas.tilted(between(left, right))
        canvas.paste(self._laid, self._corner, outline, Part.NOSE)
        for side in (-1, 1):
            if side * self.view.yaw < 0.35:  # or the wing is hidden
                line = self.lines["wing", side][0]
                crease = mix(skin.shadow, (96, 44, 44), 0.25)
                self._fill(between(line, line + np.array([0.004 * side, 0.001])), crease)
            tone = mix(skin.shadow, (60, 22, 24), 0.62 - 0.1 * side * skin.toward_light[0])
            self._fill(between(*self.lines["nostril", side]), tone)

    def _mouth(self) -> None:
        above, top, bottom, under, teeth, tongue, shine, shine_under = self.lines["mouth", 0]
        lips = ramp(LIPS_COLORS, self.face.lips)
        if self.face.gender:
            lips = mix(lips, self.skin.base, 0.10)
        else:
            lips = mix(mix(self.skin.shadow, self.skin.base, 0.4), lips, 0.30)
        self._fill(between(top, bottom), (88, 20, 34), Part.INNER_MOUTH)
        inside = slice(2, -2)  # towards the corners the lips leave no room
        self._fill(between(tongue[inside], bottom[inside]), (202, 84, 92))
        self._fill(between(top[inside], teeth[inside]), (252, 247, 240))
        self._fill(between(above, top), shade(lips, 0.84), Part.UPPER_LIP)
        self._fill(between(bottom, under), lips, Part.LOWER_LIP)
        self._fill(between(shine, shine_under), mix(lips, (255, 240, 232), 0.36))

    def _wrinkles(self) -> None:
        """Lines beside nose and mouth, under the eyes and on the forehead."""
        crease = mix(self.skin.shadow, (96, 50, 44), 0.30)
        for what, side in (("cheek", -1), ("bag", -1), ("cheek", 1), ("bag", 1)):
            self._fill(between(*self.lines[what, side]), crease)
        for line, other in self.lines["forehead", 0].reshape(2, 2, -1, 2):
            self._fill(between(line, other), crease)

    def _glasses(self) -> None:
        """A frame before the eyes, and the arm on the nearer side."""
        frame = (38, 30, 42)
        plane = 0.252
        for side in (-1, 1):
            rings = []
            for scale in (1.0, 0.875):
                x = side * (self.surface.eye_x + 0.002) + 0.084 * scale * _RIM[0]
                y = EYE_Y + 0.004 + 0.064 * scale * _RIM[1]
                z = plane - 0.55 * np.clip(np.abs(x) - 0.05, 0, 1) ** 1.4
                rings.append(self.view.project(np.stack([x, y, z], axis=1)))
            outer, inner = rings
            self._fill(np.concatenate([outer, outer[:1], inner[:1], inner[::-1]]), frame, Part.GLASSES)
            if side == self.near or abs(self.view.yaw) < 0.12:
                x = side * np.array([self.surface.eye_x + 0.082, self.surface.eye_x + 0.106])
                z = np.array([plane - 0.075, 0.03])
                arm = [self.view.project(np.stack([x, np.full(2, row), z], axis=1)) for row in (0.450, 0.464)]
                self._fill(between(*arm), frame, Part.GLASSES)
        x = 0.022 * _U
        rise = 0.458 - 0.007 * _DOME
        z = np.full_like(x, plane + 0.012)
        bridge = [self.view.project(np.stack([x, rise + below, z], axis=1)) for below in (0.0, 0.012)]
        self._fill(between(*bridge), frame, Part.GLASSES)


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
    tint = ramp(BACKDROP_COLORS, attributes.background_hue)
    wall = np.clip(brightness[..., None] + tint, 0, 255).astype(np.uint8)
    return Image.fromarray(wall).resize((size, size), Image.Resampling.BICUBIC)


def render(face: FaceAttributes, size: int) -> Bytes:
    """A face: RGB, uint8 ``[size, size, 3]``; see `render_with_parse_map`."""
    return render_with_parse_map(face, size)[0]


def render_with_parse_map(face: FaceAttributes, size: int) -> tuple[Bytes, Bytes]:
    """A face, RGB, uint8 ``[size, size, 3]``, and what each pixel shows (`names.Part`), uint8 ``[size, size]``.

    The size is 32 to 512 pixels. The same arguments always give the same. ValueError if the size or an attribute is out
    of range.
    """
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size is {size}, expected {MIN_SIZE} to {MAX_SIZE} pixels")
    check(face)
    scale = 4 if size < 64 else 3 if size < 128 else 2  # canvas pixels across that make a pixel of the result
    picture, view = _backdrop(face, size * scale), View.of(face)
    codes = Image.new("L", picture.size)
    FacePainter(Canvas(picture, codes, view, 2 * face.light_warmth - 1), face, view).paint()
    reduced = picture.reduce(scale)
    centers = np.array(codes)[scale // 2 :: scale, scale // 2 :: scale]  # codes cannot be averaged
    return np.array(reduced if face.quality else broken(reduced)), centers

"""Hair: locks that fall from the parting over the skull and hang from there, on both sides of the head.

A lock is known by its share of the hair's lower edge, from the face (0) round to the back of the head (1). The skull's
hair is an ellipsoid; below the ring round it hangs a wide elliptic curtain. Locks beyond the limb, where the hair turns
away from the viewer, are seen only behind face and neck.
"""

from __future__ import annotations

import math

import numpy as np

from ohlora_gan.names import Part
from ohlora_gan.world.canvas import HAIR_COLORS, Canvas, Color, between, ramp, shade
from ohlora_gan.world.face import FaceAttributes
from ohlora_gan.world.head import PIVOT_Z, Array, View

RING_Y, AXIS_Z = 0.41, -0.015
WAVE_LENGTH = 0.1

_CAP, _FALL = 12, 35  # points of a lock on the skull, and hanging
_CAP_SHARE = np.linspace(0, 1, _CAP, endpoint=False)
_FALL_SHARE = np.linspace(0, 1, _FALL)
_CAP_SIN, _CAP_COS = np.sin(_CAP_SHARE * np.pi / 2), np.cos(_CAP_SHARE * np.pi / 2)

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
_SIDE = np.repeat([-1.0, 1.0], len(_SHARES) // 2)[:, None]
_IS_CLIPPED = np.tile(np.arange(len(_SHARES) // 2) < len(_CLIPPED), 2)[:, None]
_STRAND_ROWS = slice(_OUTLINE + 2 * len(_SHINY), len(_CLIPPED))
_HALF_SPAN = np.tile((_STRANDS[:, 1] - _STRANDS[:, 0]) / 2, 2)[:, None] * _THIN[_CAP:]
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
        left, right = np.split(self._locks(), 2)
        self.pixels = {-1: left, 1: right}

    def _locks(self) -> Array:
        """Pixels ``[L, n, 2]`` of all locks, in the order of `_SHARES`."""
        shares = _SHARES.copy()
        last = np.where(_SIDE < 0, self.last[-1], self.last[1])
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
        seen = np.where(_IS_CLIPPED, np.minimum(shares, last), shares)  # what is beyond the limb lies on it
        curves = np.concatenate(
            [self._on_the_skull(shares[:, :_CAP], seen[:, :_CAP]), self._hanging(seen[:, _CAP:])], 2
        )
        angle = _SIDE * curves[0]
        angle = np.where(_IS_CLIPPED, np.clip(angle, -self.limbs[-1], self.limbs[1]), angle)
        return self.canvas.hanging(self._seen(angle, curves[1], curves[2]))

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
        """Angles, heights and radii ``[3, L, _CAP]`` of locks from the parting to the ring."""
        ring = self.first + (math.pi - self.first) * shares
        over = self.hairline - (self.hairline + 1.6) * shares  # angle from the top to the front of the parting
        temple = 0.10 * np.clip(1 - 2.5 * shares, 0, 1) ** 2
        reach = _CAP_SIN ** np.clip(0.62 + 1.5 * shares, 0, 1)  # at the forehead locks go sideways first
        x = _SIDE * self.parting * np.cos(over * 0.8) * _CAP_COS + np.sin(ring) * reach
        y = -np.cos(over) * _CAP_COS + temple * reach
        z = np.sin(over) * _CAP_COS + np.cos(ring) * reach
        flat = x * x + z * z
        length = np.sqrt(flat + y * y)
        wave = 1 + self.face.hairstyle * 0.05 * np.sin(_CAP_SHARE * 15 - 5 * seen) * 2 * _CAP_SIN * _CAP_COS
        angle = np.arctan2(x, z)
        angle = np.where(angle < -1.7, angle + 2 * math.pi, angle)  # behind, this side's hair ends at its own limb
        return np.stack([angle, RING_Y + self.height * y / length, np.sqrt(flat) / length * wave])

    def _hanging(self, shares: Array) -> Array:
        """Angles, heights and radii ``[3, L, _FALL]`` of locks from the ring to the tips."""
        curl = self.face.hairstyle
        start = RING_Y + self.height * 0.10 * np.clip(1 - 2.5 * shares, 0, 1) ** 2
        shorter = (0.012 * np.clip(1 - 3 * shares, 0, 1) - 0.022 * shares) * (0.4 + self.face.hair_length)
        y = start + (self.tip - shorter - start) * _FALL_SHARE
        below = y - RING_Y
        phase = below * (2 * math.pi / WAVE_LENGTH) - 2.4 * shares
        swing = self.swing * curl**1.3 * np.minimum(below * 6, 1)
        radius = (
            1
            + 0.06 * np.minimum(below * 10, 1)
            + (self.flare + 0.25 * (curl - 0.3)) * below
            + swing * 0.135 * np.sin(phase)
        )
        radius = radius - 0.10 * (1 - 0.5 * curl) * _FALL_SHARE**6
        angle = self.first + (math.pi - self.first) * shares + swing * 0.13 * np.cos(phase) + 0.06 * below
        front = np.clip(1 - 2 * shares, 0, 1)
        behind_ear = np.clip(below * 14, 0, 1)
        angle = angle + front * (self.tucked * behind_ear - self.forward * below)
        return np.stack([angle, y, radius])

    def paint_behind(self) -> None:
        """What is seen behind face and neck."""
        sides = []
        arc = np.linspace(0, np.pi / 2, 12)
        for side in (-1, 1):
            skull = self._seen(np.full(12, side * self.limbs[side]), RING_Y - self.height * np.cos(arc), np.sin(arc))
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
    first, second = np.split(edges, 2)
    return zip(first, second, strict=True)

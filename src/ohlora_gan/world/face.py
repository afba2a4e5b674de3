"""What decides a face of the embedded world, every attribute with its range and distribution, and its head in space."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ohlora_gan import rng


class Spread(NamedTuple):
    """How a continuous attribute is spread: from ``low`` to ``high``, ``uniform`` or ``arcsine``."""

    low: float
    high: float
    distribution: str = "uniform"

    @property
    def mean(self) -> float:
        return (self.low + self.high) / 2

    @property
    def deviation(self) -> float:
        """The standard deviation."""
        return (self.high - self.low) / math.sqrt(8 if self.distribution == "arcsine" else 12)

    def at(self, share: float) -> float:
        """The value below which ``share`` in [0, 1] of all faces lie."""
        if self.distribution == "arcsine":
            share = (1 - math.cos(math.pi * share)) / 2
        return self.low + (self.high - self.low) * share


def _number(default: float, low: float = 0.0, distribution: str = "uniform") -> Any:
    return field(default=default, metadata={"spread": Spread(low, 1.0, distribution)})


def _binary(default: int, share: float) -> Any:
    return field(default=default, metadata={"share": share})


@dataclass(frozen=True)
class FaceAttributes:
    """Everything that decides a face; a picture is a function of these alone.

    Continuous attributes lie in [0, 1], those that have a left and a right (or an up and a down) in [-1, 1].

    Attributes:
        eyes: how open the eyes are.
        mouth: how open the mouth is.
        pose: the head's turn, from 35 degrees to the left (of the picture) to 35 to the right; a turned head leans a
            little to the side that it turns to.
        hair_color: from black to blond.
        hair_length: from the ears to below the shoulders.
        background_mean, background_std: brightness of the backdrop, and how uneven it is.
        hairstyle: from straight to curly.
        gender: 1 female, 0 male.
        age: 1 old.
        glass: 1 wears glasses.
        quality: 1 a clean picture, 0 one whose upper third is spoilt.
        roll: what the head is tilted by besides, -1.75 to 1.75 degrees.
        pitch: nod, from 5 degrees up to 5 down.
        light_direction: where the light comes from, left to right.
        light_warmth: from cool to warm light.
        skin, iris, lips, clothes: colours, along palettes.
        brows: how strong the brows are.
        face_width, nose_width, mouth_width, eye_distance: proportions, from narrow to wide.
        background_hue: the backdrop's colour, along a palette.
        background_x, background_y: where the backdrop's light lies.
    """

    eyes: float = _number(0.6)
    mouth: float = _number(0.3)
    pose: float = _number(0.0, -1.0)
    hair_color: float = _number(0.4)
    hair_length: float = _number(0.6)
    background_mean: float = _number(0.6)
    background_std: float = _number(0.3)
    hairstyle: float = _number(0.3, distribution="arcsine")
    gender: int = _binary(1, 0.5)
    age: int = _binary(0, 0.06)
    glass: int = _binary(0, 0.06)
    quality: int = _binary(1, 0.95)
    roll: float = _number(0.0, -1.0)
    pitch: float = _number(0.0, -1.0)
    light_direction: float = _number(-0.4, -1.0)
    light_warmth: float = _number(0.5)
    skin: float = _number(0.2)
    iris: float = _number(0.5)
    lips: float = _number(0.5)
    brows: float = _number(0.5)
    face_width: float = _number(0.5)
    nose_width: float = _number(0.5)
    mouth_width: float = _number(0.5)
    eye_distance: float = _number(0.5)
    clothes: float = _number(0.3)
    background_hue: float = _number(0.5)
    background_x: float = _number(0.3, -1.0)
    background_y: float = _number(-0.3, -1.0)


SPREADS: dict[str, Spread] = {f.name: f.metadata["spread"] for f in fields(FaceAttributes) if "spread" in f.metadata}
"""Continuous attribute -> how it is spread, in the order of the dataclass."""

SHARES: dict[str, float] = {f.name: f.metadata["share"] for f in fields(FaceAttributes) if "share" in f.metadata}
"""Binary attribute -> the share of faces that have it."""

CONTINUOUS, BINARY = tuple(SPREADS), tuple(SHARES)
ATTRIBUTES = (*CONTINUOUS, *BINARY)


def attribute_shares(seed: int, index: int) -> list[float]:
    """Of each of `ATTRIBUTES`, the share in [0, 1) of faces below a face; ValueError if ``index`` is negative."""
    return rng.stream(seed, "faces", index).random(len(ATTRIBUTES)).tolist()


def sample_attributes(seed: int, index: int) -> FaceAttributes:
    """The attributes of face ``index`` (at least 0) of a world; independent, by their `SPREADS` and `SHARES`.

    ValueError if the index is negative.
    """
    shares = attribute_shares(seed, index)
    numbers = {name: spread.at(share) for (name, spread), share in zip(SPREADS.items(), shares, strict=False)}
    last = shares[len(SPREADS) :]
    marks = {name: int(drawn < share) for (name, share), drawn in zip(SHARES.items(), last, strict=True)}
    return FaceAttributes(**numbers, **marks)  # type: ignore[arg-type]


def standardized(name: str, value: float) -> float:
    """A continuous attribute in standard deviations from its mean, by the distribution that faces are drawn from."""
    return (value - SPREADS[name].mean) / SPREADS[name].deviation


def check(attributes: FaceAttributes) -> None:
    """Raises ValueError for an attribute out of its range."""
    for name, (low, high, _) in SPREADS.items():
        if not low <= (value := getattr(attributes, name)) <= high:
            raise ValueError(f"{name} is {value}, expected a number from {low:g} to {high:g}")
    for name in BINARY:
        if (value := getattr(attributes, name)) not in (0, 1):
            raise ValueError(f"{name} is {value}, expected 0 or 1")


# --- The head as surfaces in space, and how it is seen ---


Array = NDArray[np.float64]

MAX_YAW = math.radians(35)
MAX_PITCH = math.radians(5)
LEAN = math.radians(7)  # what a head turned by MAX_YAW leans by: the published measure of pose is the slope of the eyes
MAX_ROLL = math.radians(1.75)
PIVOT_X, PIVOT_Y, PIVOT_Z = 0.5, 0.72, 0.19
"""Pictures are aligned to the face: the head turns and tilts about a point between mouth and eyes."""

ROUNDNESS = 0.88  # exponent of the cross-sections: 1 is an ellipse, less is flatter in front

_TOP, _CHIN = 0.148, 0.868
_ROWS = np.linspace(_TOP, _CHIN, 145)


def _curve(*points: tuple[float, float]) -> Array:
    """Values at `_ROWS` of a smooth curve through ``(y, value)`` points."""
    y, value = np.array(points).T
    slopes = np.gradient(value, y)
    i = np.clip(np.searchsorted(y, _ROWS, side="right") - 1, 0, len(y) - 2)
    h = y[i + 1] - y[i]
    t = (_ROWS - y[i]) / h
    return (
        (1 + 2 * t) * (1 - t) ** 2 * value[i]
        + t * (1 - t) ** 2 * h * slopes[i]
        + t * t * (3 - 2 * t) * value[i + 1]
        + t * t * (t - 1) * h * slopes[i + 1]
    )


_CLOSED = np.sqrt(np.clip((_ROWS - _TOP) / 0.1, 0, 1) * np.clip((_CHIN - _ROWS) / 0.022, 0, 1))
_WIDTHS = {
    1: _CLOSED
    * _curve((0.148, 0.15), (0.2, 0.166), (0.26, 0.184), (0.33, 0.201), (0.42, 0.209), (0.5, 0.206), (0.57, 0.198),
             (0.64, 0.183), (0.7, 0.161), (0.75, 0.136), (0.8, 0.105), (0.84, 0.077), (0.868, 0.05)),
    0: _CLOSED
    * _curve((0.148, 0.15), (0.2, 0.168), (0.26, 0.187), (0.33, 0.204), (0.42, 0.211), (0.5, 0.210), (0.57, 0.206),
             (0.64, 0.197), (0.7, 0.183), (0.75, 0.162), (0.8, 0.132), (0.84, 0.102), (0.868, 0.07)),
}  # fmt: skip
_CENTER = _curve((0.148, 0.0), (0.5, 0.0), (0.57, 0.012), (0.64, 0.045), (0.7, 0.085), (0.755, 0.118), (0.8, 0.138),
                 (0.868, 0.155))  # fmt: skip
"""Where the sections' middles lie: the jaw runs forward from the ears to the chin."""

_DEPTH = _curve(
    (0.148, 0.12), (0.2, 0.185), (0.26, 0.222), (0.33, 0.240), (0.41, 0.248), (0.47, 0.232), (0.56, 0.236),
    (0.64, 0.242), (0.7, 0.250), (0.755, 0.238), (0.8, 0.244), (0.84, 0.236), (0.868, 0.21),
)  # fmt: skip
_DEPTH = _CLOSED**0.6 * (_DEPTH - _CENTER)
_CENTER_RISE, _DEPTH_RISE = np.diff(_CENTER), np.diff(_DEPTH)

EYE_Y, EYE_X, MOUTH_Y = 0.47, 0.102, 0.712
NOSE_TOP, NOSE_TIP, NOSE_END = 0.452, 0.588, 0.622


@dataclass(frozen=True)
class View:
    """How the head is seen: nodded, then turned, then tilted in the picture.

    Attributes:
        yaw, pitch, roll: angles, in radians.
    """

    yaw: float
    pitch: float
    roll: float

    @classmethod
    def of(cls, face: FaceAttributes) -> View:
        return cls(face.pose * MAX_YAW, face.pitch * MAX_PITCH, face.pose * LEAN + face.roll * MAX_ROLL)

    def project(self, points: Array) -> Array:
        """Points in space ``[..., 3]`` to the picture's plane before the tilt ``[..., 2]``: x from the pivot, y."""
        cos, sin = math.cos(self.yaw), math.sin(self.yaw)
        nod_cos, nod_sin = math.cos(self.pitch), math.sin(self.pitch)
        x, y, z = points[..., 0], points[..., 1] - PIVOT_Y, points[..., 2] - PIVOT_Z
        flat = np.empty((*points.shape[:-1], 2))
        flat[..., 0] = x * cos + (z * nod_cos - y * nod_sin) * sin
        flat[..., 1] = y * nod_cos + z * nod_sin + PIVOT_Y
        return flat

    def limb(self, side: int, depth_over_width: float) -> float:
        """Where an upright elliptic body ends for the viewer: its angle from the front, at ``side`` -1 or 1."""
        return math.pi / 2 - side * math.atan(depth_over_width * math.tan(self.yaw))


class HeadSurface:
    """The skin's surface of one face, without ears and neck.

    Args:
        face: whose it is.
    """

    def __init__(self, face: FaceAttributes):
        self.widths = _WIDTHS[face.gender] * (0.945 + 0.11 * face.face_width)
        self.nose_width = (0.86 + 0.28 * face.nose_width) * (1.0 if face.gender else 1.14)
        self.nose_height = 1.0 if face.gender else 1.12
        self.eye_x = EYE_X * (0.93 + 0.14 * face.eye_distance)

    def sections(self, y: Array) -> tuple[Array, Array, Array]:
        """Half width, middle and depth before it of the cross-sections at heights ``y``."""
        position = np.clip((y - _TOP) * ((len(_ROWS) - 1) / (_CHIN - _TOP)), 0, len(_ROWS) - 1.001)
        index = position.astype(np.int64)
        share = position - index
        width, middle, depth = (
            curve[index] + share * rise[index]
            for curve, rise in ((self.widths, np.diff(self.widths)), (_CENTER, _CENTER_RISE), (_DEPTH, _DEPTH_RISE))
        )
        return width, middle, depth

    def raised(self, x: Array, y: Array) -> Array:
        """What brows, sockets, nose, cheeks, lips and chin stand out by."""
        beside = np.abs(x)
        raised = np.zeros(x.shape)
        at_nose = (y > NOSE_TOP) & (y < NOSE_END)
        raised[at_nose] = self._nose(x[at_nose], y[at_nose])
        socket = np.exp(-(((beside - self.eye_x) / 0.062) ** 2) - ((y - EYE_Y) / 0.036) ** 2)
        cheek = np.exp(-(((beside - 0.118) / 0.055) ** 2) - ((y - 0.59) / 0.055) ** 2)
        lips = np.exp(-((x / 0.07) ** 2) - ((y - 0.715) / 0.04) ** 2)
        return raised - 0.017 * socket + 0.013 * cheek + 0.010 * lips

    def _nose(self, x: Array, y: Array) -> Array:
        """What ridge and wings of the nose stand out by, between `NOSE_TOP` and `NOSE_END`."""
        beside = np.abs(x)
        down = np.clip((y - NOSE_TOP) / (NOSE_TIP - NOSE_TOP), 0, 1)
        under = np.clip((NOSE_END - y) / (NOSE_END - NOSE_TIP), 0, 1)
        spread = (0.016 + 0.021 * down * down) * self.nose_width
        ridge = np.exp(-((x / spread) ** 2))
        wings = np.exp(-(((beside - 0.026 * self.nose_width) / 0.013) ** 2) - ((y - 0.594) / 0.017) ** 2)
        nose = (0.012 + 0.060 * down**1.5) * self.nose_height * ridge * np.minimum(down * 6, 1) * under**0.55
        return nose + 0.016 * wings * under**0.3

    def in_front(self, x: Array, y: Array) -> Array:
        """The points ``[..., 3]`` of the surface's front at given x and y."""
        width, middle, depth = self.sections(y)
        share = np.clip(np.abs(x) / np.maximum(width, 1e-6), 0, 1) ** (1 / ROUNDNESS)
        z = middle + depth * np.sqrt(1 - share * share) ** ROUNDNESS + self.raised(x, y)
        return np.stack([x, y, z], axis=-1)

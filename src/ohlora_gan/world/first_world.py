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
from PIL import Image

from ohlora_gan import rng
from ohlora_gan.world.canvas import Renderer
from ohlora_gan.world.first_painter import Canvas, FacePainter

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

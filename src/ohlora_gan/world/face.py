"""What decides a face of the embedded world: every attribute with its range, its distribution and how it is drawn."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields
from typing import Any, NamedTuple

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


def sample_attributes(seed: int, index: int) -> FaceAttributes:
    """The attributes of face ``index`` (at least 0) of a world; independent, by their `SPREADS` and `SHARES`.

    ValueError if the index is negative.
    """
    shares = rng.stream(seed, "faces", index).random(len(SPREADS) + len(SHARES)).tolist()
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

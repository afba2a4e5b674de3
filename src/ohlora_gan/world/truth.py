"""The truth about a picture: which face of the embedded world it shows, and how far it is from a picture of that face.

What was read is rendered, and the rendering is read in turn. As both pictures are alike, the network errs on both
alike, so that the difference of the two readings corrects the first one; some rounds of this bring the rendering as
near to the picture as the world allows. What is left between the two is no face of the world: damage.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from ohlora_gan import rng
from ohlora_gan.models.scorers import TruthNet
from ohlora_gan.models.zoo import open_truth
from ohlora_gan.names import Part
from ohlora_gan.world.face import ATTRIBUTES, CONTINUOUS, SPREADS, FaceAttributes, sample_attributes
from ohlora_gan.world.painter import render_with_parse_map

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]
Pixels = NDArray[np.float32]

NUMBERS = len(CONTINUOUS)
ROUNDS = 8
GAIN = 0.7  # share of the difference of two readings that is added
BATCH = 16
"""Pictures at once. Sums of float32 depend on how many there are, and which of two renderings is nearer may depend on
the last digit: so there are always as many, and a picture's reading depends on that picture alone."""
SLIGHT = ("nose_width", "mouth_width")  # move so few pixels that scores alone do not place them
REACHES = (0.3, 0.15, 0.08)  # in standard deviations: how far the picture itself is asked about these
SOFTNESS = (0.35, 0.45)  # standard deviations of blurs, in pixels of a 64x64 picture
PATCH = 9  # pixels across, of a 64x64 picture
FACE = [code for code in range(Part.LAST + 1) if code not in (Part.BACKGROUND, Part.HAIR, Part.CLOTHES)]
AROUND = 1 / 3  # what a level of difference counts outside of the face
GHOST_START = 40_000_000  # numbers of the faces that appear in others

_LOW = np.array([SPREADS[name].low for name in CONTINUOUS])
_HIGH = np.array([SPREADS[name].high for name in CONTINUOUS])
_MEAN = np.array([SPREADS[name].mean for name in CONTINUOUS])
_DEVIATION = np.array([SPREADS[name].deviation for name in CONTINUOUS])


@dataclass(frozen=True)
class Residuals:
    """How far pictures are from the faces that were read off them, in levels of 255.

    The rendering is first blurred as much as the picture is, by half a pixel of 64 at most. A pixel then counts by how
    far the rendering's colour is from the colours that the picture has within a pixel of it: what lies a little beside
    its place is no damage, what is missing, smeared or has something else in its place is.

    Attributes:
        whole: root of the mean square over the picture, float64 ``[N]``.
        head: the same over head, hair and neck.
        worst: the same over their worst patch, a seventh of the picture's side across, where all but the face itself
            (hair, clothes, backdrop) counts a third: a generator's strands lie elsewhere and nobody minds, smeared eyes
            are few pixels and everybody does. It tells best whether a whole picture was spoilt in a place.
        apart: root of the mean square of the plain differences, where all but the face counts a third again. It tells
            best which edited faces a person calls damaged: they smear as a whole.
    """

    whole: Floats
    head: Floats
    worst: Floats
    apart: Floats


@dataclass(frozen=True)
class Reading:
    """What was read off N pictures.

    Attributes:
        values: float64 ``[N, A]``: the attributes `ATTRIBUTES` in the units of `FaceAttributes`.
        rendered: uint8 ``[N, R, R, 3]``: the faces that have these attributes.
        codes: uint8 ``[N, R, R]``: their parse maps, see `painter.render_with_parse_map`.
        images: uint8 ``[N, R, R, 3]``: the pictures.
    """

    values: Floats
    rendered: Bytes
    codes: Bytes
    images: Bytes

    def __getitem__(self, which: slice | NDArray) -> Reading:
        return Reading(self.values[which], self.rendered[which], self.codes[which], self.images[which])

    def face(self, number: int) -> FaceAttributes:
        """The attributes of one picture."""
        return face_of(self.values[number])

    @property
    def standardized(self) -> Floats:
        """``[N, A]``: continuous attributes in standard deviations from their mean, binary ones 0 or 1."""
        return np.concatenate([(self.values[:, :NUMBERS] - _MEAN) / _DEVIATION, self.values[:, NUMBERS:]], axis=1)

    @cached_property
    def residuals(self) -> Residuals:
        """How far the pictures are from the rendered faces."""
        return residuals(self.images, self.rendered, self.codes)


class Truth:
    """Reads pictures of faces of the embedded world.

    Args:
        net: the network that reads; its attributes must be `ATTRIBUTES`, in any order.
        rounds: how often what was read is rendered, read and corrected, 0 or more. What is kept is what brings the
            rendering nearest to the picture.
        look: whether attributes that move but few pixels are then looked for in the picture itself.

    Raises:
        ValueError: for a network that does not read all attributes.
    """

    def __init__(self, net: TruthNet, rounds: int = ROUNDS, look: bool = True):
        if missing := [name for name in ATTRIBUTES if name not in net.property_names]:
            raise ValueError(f"the network does not read {', '.join(missing)}: give one of python train.py model=truth")
        self.net, self.rounds, self.look = net.eval(), rounds, look
        self._columns = [net.property_names.index(name) for name in ATTRIBUTES]

    @classmethod
    def open(cls, name: str | Path = "truth", rounds: int = ROUNDS, look: bool = True) -> Truth:
        """By a shipped network's name or a file; CheckpointError if it is missing, damaged, or none of this kind."""
        return cls(open_truth(name), rounds, look)

    @property
    def resolution(self) -> int:
        """Side of the pictures, in pixels."""
        return self.net.resolution

    def read(self, images: Bytes, progress: tqdm | None = None) -> Reading:
        """The faces that pictures show, uint8 ``[N, R, R, 3]``, N at least 1, R the network's.

        ValueError for pictures of another shape. ``progress`` is told of each picture.
        """
        side = self.resolution
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3) or not len(images):
            raise ValueError(f"pictures are {images.dtype} {list(images.shape)}, expected uint8 [N, {side}, {side}, 3]")
        parts = []
        for start in range(0, len(images), BATCH):
            parts.append(self._read_batch(images[start : start + BATCH]))
            if progress is not None:
                progress.update(len(parts[-1][0]))
        values, rendered, codes = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Reading(values, rendered, codes, images)

    def _read_batch(self, images: Bytes) -> tuple[Floats, Bytes, Bytes]:
        """Attributes ``[N, A]``, their renderings and parse maps."""
        first = self._scores(images)
        values = np.concatenate([first[:, :NUMBERS] * _DEVIATION + _MEAN, first[:, NUMBERS:] > 0], axis=1)
        fit = _Fit.of(images, values)
        latest, rendered = fit.values, fit.rendered
        for _ in range(self.rounds):
            values = latest.copy()
            values[:, :NUMBERS] += GAIN * (first - self._scores(rendered))[:, :NUMBERS] * _DEVIATION
            latest, rendered = fit.offer(values)
        for reach in REACHES if self.rounds and self.look else ():
            for name in SLIGHT:
                fit.look(name, reach)
        return fit.values, fit.rendered, fit.codes

    @torch.no_grad()
    def _scores(self, images: Bytes) -> Floats:
        """Scores and logits ``[N, A]``, in the order of `ATTRIBUTES`; always of a whole batch, see `BATCH`."""
        whole = np.concatenate([images, np.zeros((BATCH - len(images), *images.shape[1:]), np.uint8)])
        return self.net(_tensor(whole) / 127.5 - 1)[: len(images), self._columns].double().numpy()


@dataclass
class _Fit:
    """The nearest renderings to N pictures so far, in levels of 255: attributes, pictures, parse maps, mean squares of
    the differences ``[N]``."""

    images: Bytes
    values: Floats
    rendered: Bytes
    codes: Bytes
    distance: Floats

    @classmethod
    def of(cls, images: Bytes, values: Floats) -> _Fit:
        """The renderings of attributes ``[N, A]``, of which continuous ones are first brought into their range."""
        values = np.concatenate([np.clip(values[:, :NUMBERS], _LOW, _HIGH), values[:, NUMBERS:]], axis=1)
        rendered, codes = render_faces(values, images.shape[1])
        distance = np.square(rendered.astype(np.float64) - images).mean((1, 2, 3))
        return cls(images, values, rendered, codes, distance)

    def offer(self, values: Floats) -> tuple[Floats, Bytes]:
        """Takes attributes ``[N, A]`` where their rendering is nearer; returns them, in their range, and it."""
        offered = _Fit.of(self.images, values)
        nearer = offered.distance < self.distance
        for name in ("values", "rendered", "codes", "distance"):
            getattr(self, name)[nearer] = getattr(offered, name)[nearer]
        return offered.values, offered.rendered

    def look(self, name: str, reach: float) -> None:
        """Looks to either side along an attribute, so many of its standard deviations away."""
        column, values = ATTRIBUTES.index(name), self.values.copy()
        for away in (-reach, reach):
            moved = values.copy()
            moved[:, column] += away * _DEVIATION[column]
            self.offer(moved)


def face_of(values: Sequence[float] | Floats) -> FaceAttributes:
    """A row of `Reading.values` as attributes."""
    drawn = [*map(float, values[:NUMBERS]), *map(int, values[NUMBERS:])]
    return FaceAttributes(**dict(zip(ATTRIBUTES, drawn, strict=True)))  # type: ignore[arg-type]


def values_of(attributes: FaceAttributes) -> list[float]:
    """Attributes in the order of `ATTRIBUTES`."""
    return [getattr(attributes, name) for name in ATTRIBUTES]


def render_faces(values: Floats, resolution: int) -> tuple[Bytes, Bytes]:
    """Pictures uint8 ``[N, R, R, 3]`` and parse maps uint8 ``[N, R, R]`` of attributes ``[N, A]``."""
    pairs = [render_with_parse_map(face_of(row), resolution) for row in values]
    return np.stack([picture for picture, _ in pairs]), np.stack([codes for _, codes in pairs])


def residuals(images: Bytes, rendered: Bytes, codes: Bytes) -> Residuals:
    """How far pictures are from renderings ``[N, R, R, 3]`` with parse maps ``[N, R, R]``; see `Residuals`."""
    parts = [_residuals(*(part[i : i + 256] for part in (images, rendered, codes))) for i in range(0, len(images), 256)]
    return Residuals(*(torch.cat(part).double().numpy() for part in zip(*parts, strict=True)))


def _residuals(images: Bytes, rendered: Bytes, codes: Bytes) -> tuple[Tensor, ...]:
    pictures = _tensor(images)
    faces = _softened(_tensor(rendered), pictures)
    square, plain = (d.square().mean(dim=1, keepdim=True) for d in (_outside(faces, pictures), faces - pictures))
    head = torch.from_numpy(((codes > 0) & (codes != Part.CLOTHES)).astype(np.float32))[:, None]
    head = F.max_pool2d(head, 3, stride=1, padding=1)
    weight = torch.where(torch.from_numpy(np.isin(codes, FACE))[:, None], 1.0, AROUND**2)
    patch = max(3, round(PATCH * images.shape[1] / 64) // 2 * 2 + 1)
    worst = F.avg_pool2d(square * weight, patch, stride=1, padding=patch // 2).amax((1, 2, 3))
    on_head = (square * head).sum((1, 2, 3)) / head.sum((1, 2, 3)).clamp(min=1)
    apart = (plain * weight).sum((1, 2, 3)) / weight.sum((1, 2, 3))
    return square.mean((1, 2, 3)).sqrt(), on_head.sqrt(), worst.sqrt(), apart.sqrt()


def _softened(rendered: Tensor, images: Tensor) -> Tensor:
    """Each rendering blurred as much as brings it nearest to its picture; ``[N, 3, R, R]``."""
    best, least = rendered, (rendered - images).square().mean((1, 2, 3))
    for softness in SOFTNESS:
        soft = _gaussian(rendered, softness * images.shape[3] / 64)
        distance = (soft - images).square().mean((1, 2, 3))
        best = torch.where((distance < least)[:, None, None, None], soft, best)
        least = torch.minimum(distance, least)
    return best


def _gaussian(images: Tensor, deviation: float) -> Tensor:
    """``[N, 3, R, R]`` blurred, edges repeated."""
    reach = max(1, round(4 * deviation))
    weights = torch.exp(-((torch.arange(-reach, reach + 1) / deviation) ** 2) / 2)
    kernel = (weights / weights.sum()).expand(3, 1, 1, -1)
    across = F.conv2d(F.pad(images, (reach, reach, 0, 0), mode="replicate"), kernel, groups=3)
    return F.conv2d(F.pad(across, (0, 0, reach, reach), mode="replicate"), kernel.transpose(2, 3), groups=3)


def _outside(these: Tensor, those: Tensor) -> Tensor:
    """How far colours lie outside of the span of the others' colours within a pixel of them; ``[N, 3, R, R]``."""
    highest = F.max_pool2d(those, 3, stride=1, padding=1)
    lowest = -F.max_pool2d(-those, 3, stride=1, padding=1)
    return torch.maximum(lowest - these, these - highest).clamp(min=0)


def _tensor(images: Bytes) -> Tensor:
    """uint8 ``[N, R, R, 3]`` as float32 ``[N, 3, R, R]`` of 0 to 255."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).float()


def spoil(image: Bytes, codes: Bytes, kind: str, seed: int, index: int) -> Bytes:
    """Spoils a face in a way that anyone sees, at a strength that varies.

    Args:
        image: uint8 ``[R, R, 3]``, R from 32 to 512.
        codes: its parse map, uint8 ``[R, R]``, which says where eyes, mouth and head are.
        kind: one of `KINDS`; ValueError for another.
        seed, index: decide strength and place; ``index`` is the picture's number.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    side = len(image)
    if image.dtype != np.uint8 or image.shape != (side, side, 3) or codes.shape != (side, side):
        raise ValueError(
            f"picture {image.dtype} {list(image.shape)} and parse map {list(codes.shape)}, expected uint8 [R, R, 3] "
            f"and [R, R]"
        )
    changed = KINDS[kind](image.astype(np.float32), codes, rng.stream(seed, f"spoilt/{kind}", index))
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


def weathered(image: Bytes, seed: int, index: int) -> Bytes:
    """A face uint8 ``[R, R, 3]`` as a good generator makes it: a little blurred, warped and noisy, but whole."""
    draws = rng.stream(seed, "weathered", index)
    side = len(image)
    field = draws.uniform(-1, 1, (2, 7, 7)) * draws.uniform(0.2, 0.8) * side / 64
    picture = _pulled(image.astype(np.float32), _enlarged(field.astype(np.float32), side))
    picture += draws.uniform(0.1, 0.45) * (_blurred(picture) - picture)
    coarse = draws.standard_normal((3, side // 4, side // 4)) * draws.uniform(1, 4)
    picture += _enlarged(coarse.astype(np.float32), side).transpose(1, 2, 0)
    picture += draws.standard_normal(picture.shape) * draws.uniform(0.5, 2.5)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def _smeared_eyes(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """One eye or both, smeared along a direction."""
    side = len(picture)
    angle, length = draws.uniform(0, math.pi), draws.uniform(0.06, 0.12) * side
    steps = np.linspace(-0.5, 0.5, 9) * length
    smear = np.mean([_moved(picture, s * math.cos(angle), s * math.sin(angle)) for s in steps], axis=0)
    which = draws.integers(3)
    mask = np.zeros((side, side), dtype=np.float32)
    for skipped, code in enumerate((Part.LEFT_EYE, Part.RIGHT_EYE)):
        if which != skipped:
            mask = np.maximum(mask, _patch(side, _middle(codes, code), 0.10, 0.08))
    return picture + mask[..., None] * (smear - picture)


def _doubled_outlines(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """The head a second time, beside itself."""
    side = len(picture)
    angle, away = draws.uniform(0, 2 * math.pi), draws.uniform(0.04, 0.08) * side
    other = _moved(picture, away * math.cos(angle), away * math.sin(angle))
    mask = _patch(side, (0.5 * side, 0.5 * side), 0.42, 0.45) * draws.uniform(0.3, 0.5)
    return picture + mask[..., None] * (other - picture)


def _wrong_colors(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """A patch of the head in colours that no face has."""
    side = len(picture)
    places = np.argwhere((codes > 0) & (codes != Part.CLOTHES))
    center = places[draws.integers(len(places))] if len(places) else np.array([side / 2, side / 2])
    mask = _patch(side, (center[0], center[1]), *draws.uniform(0.08, 0.2, 2)) * draws.uniform(0.5, 0.9)
    odd = np.array(((40, 170, 90), (60, 90, 210), (190, 60, 200), (60, 190, 200))[draws.integers(4)], dtype=np.float32)
    brightness = picture.mean(axis=2, keepdims=True)
    return picture + mask[..., None] * (odd + 0.4 * (brightness - 128) - picture)


def _melted_mouth(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """The mouth drips in waves and runs."""
    side = len(picture)
    mask = _patch(side, _middle(codes, Part.UPPER_LIP, Part.INNER_MOUTH, Part.LOWER_LIP), 0.14, 0.13)
    columns = np.arange(side, dtype=np.float32) / side
    wave = np.sin(columns * draws.uniform(50, 90) + draws.uniform(0, 6)) * draws.uniform(0.02, 0.045)
    drip = (wave - draws.uniform(0.01, 0.04)) * side
    slant = (np.arange(side, dtype=np.float32) / side - 0.7)[:, None] * draws.uniform(-0.5, 0.5) * side
    field = np.stack([np.broadcast_to(slant, (side, side)), np.broadcast_to(drip, (side, side))])
    melted = _blurred(_pulled(picture, field.astype(np.float32) * mask))
    return picture + mask[..., None] * (melted - picture)


def _ghost(picture: Pixels, codes: Bytes, draws: np.random.Generator) -> Pixels:
    """A second head shows through."""
    side = len(picture)
    other, its_codes = render_with_parse_map(sample_attributes(0, GHOST_START + int(draws.integers(10**6))), side)
    head = ((its_codes > 0) & (its_codes != Part.CLOTHES) & (its_codes != Part.NECK)).astype(np.float32)
    left, down = draws.uniform(-0.12, 0.12, 2) * side
    both = np.concatenate([other.astype(np.float32), _blurred(head[..., None])], axis=2)
    both = _moved(both, left, down)
    return picture + both[..., 3:] * draws.uniform(0.3, 0.5) * (both[..., :3] - picture)


KINDS: dict[str, Callable[[Pixels, Bytes, np.random.Generator], Pixels]] = {
    "smeared_eyes": _smeared_eyes,
    "doubled_outlines": _doubled_outlines,
    "wrong_colors": _wrong_colors,
    "melted_mouth": _melted_mouth,
    "ghost": _ghost,
}
"""Kind of damage -> what does it to a picture and its parse map, by random numbers."""


def _middle(codes: Bytes, *wanted: int) -> tuple[float, float]:
    """Row and column of the middle of what has some codes; of the face's skin where nothing has."""
    for group in (wanted, (Part.SKIN, Part.NOSE)):
        places = np.argwhere(np.isin(codes, group))
        if len(places):
            return float(places[:, 0].mean()), float(places[:, 1].mean())
    return len(codes) / 2, len(codes) / 2


def _patch(side: int, center: tuple[float, float], half_width: float, half_height: float) -> Pixels:
    """A mask ``[R, R]`` from 0 to 1: an ellipse with soft edges; half its axes are shares of the side."""
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    away = ((columns - center[1]) / (half_width * side)) ** 2 + ((rows - center[0]) / (half_height * side)) ** 2
    return np.exp(-(away**2)).astype(np.float32)


def _pulled(picture: Pixels, field: Pixels) -> Pixels:
    """Each pixel of ``[R, R, C]`` taken from where it is plus ``field`` ``[2, R, R]`` (columns, rows); bilinear."""
    side = len(picture)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32)
    x, y = np.clip(columns + field[0], 0, side - 1.001), np.clip(rows + field[1], 0, side - 1.001)
    left, top = x.astype(int), y.astype(int)
    right_share, low_share = (x - left)[..., None], (y - top)[..., None]
    upper = picture[top, left] * (1 - right_share) + picture[top, left + 1] * right_share
    lower = picture[top + 1, left] * (1 - right_share) + picture[top + 1, left + 1] * right_share
    return (upper * (1 - low_share) + lower * low_share).astype(np.float32)


def _moved(picture: Pixels, right: float, down: float) -> Pixels:
    """A picture moved by so many pixels; edges are repeated."""
    shift = np.array([-right, -down], dtype=np.float32)[:, None, None]
    return _pulled(picture, np.broadcast_to(shift, (2, *picture.shape[:2])))


def _blurred(picture: Pixels) -> Pixels:
    """1-2-1 blur of ``[R, R, C]`` in both directions, edges repeated."""
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    rows = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
    return ((rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]) / 4).astype(np.float32)


def _enlarged(maps: Pixels, side: int) -> Pixels:
    """Small maps ``[C, r, r]`` enlarged smoothly to ``[C, side, side]``."""
    large = [Image.fromarray(plane).resize((side, side), Image.Resampling.BICUBIC) for plane in maps]
    return np.stack([np.asarray(plane) for plane in large])

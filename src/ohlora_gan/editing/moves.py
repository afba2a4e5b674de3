"""Moving codes in latent space (the manipulations of HiGAN, arXiv 1911.09267, section 3.3), and where sampled ones lie.

A strength is a length along a unit direction here; ``DirectionSet.steps`` turns score sigmas into lengths. Everything
is summed in float64, one direction after the other in their order, so that no result depends on how codes are batched.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

from ohlora_gan import rng
from ohlora_gan.directions.base import ALL, group_names
from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import CHOOSE, FaceSpace
from ohlora_gan.models.gan import to_uint8


def move(codes: ArrayLike, directions: ArrayLike, strengths: ArrayLike) -> np.ndarray:
    """Joint manipulation, along several directions at once: ``v + lambda_1 n_1 + lambda_2 n_2 + ...``.

    Codes are ``[D]`` or ``[N, D]``, directions ``[P, D]``, or ``[N, P, D]`` where each code has its own, and strengths
    ``[K, P]`` are K combinations of lengths along them. Returns float32 ``[K, D]`` or ``[N, K, D]``; raises ValueError
    where the shapes do not fit together.
    """
    codes, directions, strengths = (np.asarray(a, dtype=np.float64) for a in (codes, directions, strengths))
    if codes.ndim not in (1, 2) or strengths.ndim != 2:
        shapes = f"codes {list(codes.shape)}, strengths {list(strengths.shape)}"
        raise ValueError(f"{shapes}: expected [D] or [N, D], and [K, P]")
    num_directions, size = strengths.shape[1], codes.shape[-1]
    shared, own = (num_directions, size), (*codes.shape[:-1], num_directions, size)
    if directions.shape not in (shared, own):
        raise ValueError(f"directions {list(directions.shape)}: expected {list(shared)} or {list(own)}")
    moved = np.repeat(codes[..., None, :], len(strengths), axis=-2)
    for i in range(num_directions):
        moved += strengths[:, i, None] * directions[..., i, None, :]
    return moved.astype(np.float32)


def jitter(codes: ArrayLike, seed: int, indices: Sequence[int], num: int, scale: ArrayLike = 1.0) -> np.ndarray:
    """Jittering: several versions ``v + delta`` of each code; with moved codes, ``v + lambda n + delta``.

    delta ~ N(0, 1) x scale in every coordinate. HiGAN's scale is 1 in a w whose coordinates have a standard
    deviation near 1. In a layer where they vary less it drowns the face: give a share of the standard deviation of
    each coordinate over sampled codes instead. A version's delta depends on (seed, index, version)
    alone: a code moved by K strengths gets the same one in all K.

    Args:
        codes: float ``[N, ..., D]``; versions of them are float32 ``[N, num, ..., D]``.
        indices: N numbers, one a code, by which it draws.
        num: at least 1; the first few versions are the same whatever the number.
        scale: a number, or ``[D]``, one a coordinate; at least 0.

    Raises:
        ValueError: for a negative or infinite scale, or where the shapes do not fit together.
    """
    codes, scale = np.asarray(codes, dtype=np.float64), np.asarray(scale, dtype=np.float64)
    size = codes.shape[-1]
    if codes.ndim < 2 or len(indices) != len(codes) or num < 1 or scale.shape not in ((), (size,)):
        shapes = f"codes {list(codes.shape)}, {len(indices)} indices, {num} versions, scale {list(scale.shape)}"
        raise ValueError(f"{shapes}: expected [N, ..., D], N indices, at least 1 version, a number or [D]")
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise ValueError("a jitter's scale is negative or not finite: expected 0 or more")
    drawn = rng.normal(seed, "jitter", indices, (num, size)).numpy().astype(np.float64) * scale
    between = (1,) * (codes.ndim - 2)
    return (codes[:, None] + drawn.reshape(len(codes), num, *between, size)).astype(np.float32)


# --- Movers: the test and the editing session know no difference between straight directions and the closed loop ---


UNITS = ("sigma", "reference")
"""What a strength is: standard deviations of the finding score, or, as published, a length along the unit direction."""

Changes = Mapping[str, ArrayLike]
"""Property -> strengths of K edits: ``[K]`` for all codes, or ``[n, K]``, each code's own. What is not named is not
asked for."""


class Moved(NamedTuple):
    """All K edits of n codes: float32 ``[n, K, D]``, and words about each, ``[n][K]``, empty where all went well."""

    codes: np.ndarray
    notes: list[list[str]]


class Mover(Protocol):
    """What moves codes; ``medians`` are of the groups that directions were found for, empty where there are none."""

    @property
    def medians(self) -> Mapping[str, float]: ...

    def __call__(
        self, codes: np.ndarray, groups: Sequence[str] | np.ndarray, changes: Changes, unit: str = "sigma"
    ) -> Moved:
        """All K edits of codes float32 ``[n, D]`` of groups ``[n]``; strengths are in a unit of ``UNITS``.

        Raises:
            ValueError: for a unit or a property that the mover does not know.
        """
        ...


class StraightMover:
    """Moves each code along the directions that apply to it, all at once; what is not asked for is not moved along.

    What codes have behind the directions' values, see ``layers.Anchored``, stays.
    """

    def __init__(self, found: DirectionSet) -> None:
        self.found, self.medians = found, found.medians

    def __call__(
        self, codes: np.ndarray, groups: Sequence[str] | np.ndarray, changes: Changes, unit: str = "sigma"
    ) -> Moved:
        """See ``Mover``."""
        properties = list(self.found.properties)
        if unit not in UNITS:
            raise ValueError(f"unit is {unit!r}, expected one of {', '.join(UNITS)}")
        if unknown := [name for name in changes if name not in properties]:
            raise ValueError(f"there is no direction of {unknown[0]}, expected some of {', '.join(properties)}")
        num = np.shape(next(iter(changes.values())))[-1]
        strengths = np.zeros((len(codes), num, len(properties)))
        for name, values in changes.items():
            strengths[..., properties.index(name)] = values
        moved = np.repeat(np.asarray(codes, dtype=np.float32)[:, None], num, axis=1)
        for n, (x, group, own) in enumerate(zip(codes, map(str, groups), strengths, strict=True)):
            lengths = self.found.steps(own, group) if unit == "sigma" else own
            along = self.found.direction(x, group)
            moved[n, :, : along.shape[1]] = move(x[: along.shape[1]], along, lengths)
        return Moved(moved, [[""] * num for _ in codes])


def groups_of(space: FaceSpace, layer: Layer, codes: np.ndarray, medians: Mapping[str, float]) -> np.ndarray:
    """The groups ``[N]`` of faces by the scores of their unedited pictures; all one where there are no medians."""
    if not medians:
        return np.array([ALL] * len(codes))
    return group_names(space.score_codes(layer, codes), medians, space.property_names)


# --- Where sampled faces lie. What is further out is a guess: the networks have seen nothing like it ---


NUM = 1000
OUTERMOST = 0.999
"""Share of sampled codes that are no further from the mean than what counts as near the cloud."""
LEAST_REAL = 0.01
"""Share of sampled faces that the discriminator takes for less real than what counts as real enough."""


@dataclass(frozen=True)
class SafeRange:
    """What sampled faces show."""

    low: np.ndarray  # the lowest score of a sample, [P]
    high: np.ndarray  # the highest
    mean: np.ndarray  # of the codes' free values [D]
    whiten: np.ndarray  # [D, D], turns deviations from the mean into independent ones of unit variance
    outermost: float  # distance from the mean, so measured, within which OUTERMOST of the samples lie
    radius: float  # mean distance of codes from their mean
    realism: float = float("nan")  # the discriminator's score that 1 - LEAST_REAL of the faces reach; NaN without one

    @classmethod
    def sampled(
        cls, space: FaceSpace, layer: Layer, discriminator: nn.Module | None = None, num: int = NUM
    ) -> "SafeRange":
        """From samples of the stream "choose"; codes are cheap, so ten times as many of them as pictures are made."""
        codes = space.codes(layer, *space.latents(CHOOSE, range(10 * num)))
        scores = space.score_codes(layer, codes[:num]).astype(np.float64)
        real = realism(space, layer, codes[: num // 4], discriminator)
        part = codes[:, layer.free(space.generator)].astype(np.float64)
        mean = part.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(part, rowvar=False))
        values = np.maximum(values, 1e-4 * values.mean())  # directions in which samples hardly vary count for little
        whiten = vectors / np.sqrt(values)
        return cls(
            *(np.nanmin(scores, axis=0), np.nanmax(scores, axis=0), mean, whiten),
            outermost=float(np.quantile(np.linalg.norm((part - mean) @ whiten, axis=1), OUTERMOST)),
            radius=float(np.linalg.norm(part - mean, axis=1).mean()),
            realism=float(np.quantile(real, LEAST_REAL)),
        )

    def limits(self, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and highest scores ``[N, P]`` that faces of scores ``start`` may go to: those of the samples; a
        face that lies outside of them may stay or go back."""
        return np.minimum(self.low, start), np.maximum(self.high, start)

    def distance(self, part: np.ndarray) -> np.ndarray:
        """Mahalanobis distance of codes' free values ``[N, D]`` from the mean; 1 is as far as the outermost samples."""
        return np.linalg.norm((part - self.mean) @ self.whiten, axis=1) / self.outermost


def beyond_samples(distance: float, real: float) -> str:
    """What there is to say of a code this far out (``SafeRange.distance``), whose picture looks so real: sentences, or
    nothing. ``real`` is the discriminator's score less ``SafeRange.realism``; NaN without one."""
    far = f"{distance:.2f} times as far out as sampled faces. " if distance > 1 else ""
    return far + ("looks less real than sampled faces. " if real < 0 else "")


@torch.no_grad()
def realism(space: FaceSpace, layer: Layer, codes: np.ndarray, discriminator: nn.Module | None) -> np.ndarray:
    """The discriminator's scores ``[N]`` of codes' pictures, each judged alone; NaN without a discriminator.

    A conditional discriminator is given labels of zeros, as in fine-tuning.
    """
    if discriminator is None:
        return np.full(len(codes), np.nan)
    scores = []
    config: Any = getattr(discriminator, "config", {})
    channels = config.get("image_channels", 3)
    for images in space.render(layer, codes):
        images = images[:, :channels]  # grey pictures are shown as colours
        # one at a time: the minibatch statistics of a discriminator must not depend on which faces are edited together
        scores += [discriminator(image[None]).reshape(-1).cpu() for image in images.clamp(-1, 1)]
    return torch.cat(scores).float().numpy() if scores else np.empty(0)


# --- Faces to edit, how they move, and how far: what `ohlora edit` draws from ---


STREAM = "edit"  # directions are neither found nor judged on its faces


@dataclass
class Faces:
    """The N faces to edit."""

    names: list[str]  # what to call them
    indices: list[int]  # their numbers, by which random numbers are drawn
    codes: np.ndarray  # float32 [N, D]
    scores: np.ndarray  # by the finding scorer, float32 [N, P]
    groups: list[str]  # "" where directions are not grouped


def look_at(
    space: FaceSpace,
    layer: Layer,
    codes: np.ndarray,
    medians: Mapping[str, float],
    names: Sequence[str],
    indices: Sequence[int] | None = None,
) -> Faces:
    """Faces of codes float32 ``[N, D]``, called so; groups come from their own scores."""
    scores = space.score_codes(layer, codes)
    groups = group_names(scores, medians, space.property_names).tolist() if medians else [""] * len(codes)
    return Faces(list(names), list(range(len(codes)) if indices is None else indices), codes, scores, groups)


def sampled_faces(space: FaceSpace, layer: Layer, seeds: Sequence[int], medians: Mapping[str, float]) -> Faces:
    """The faces of some numbers."""
    codes = space.codes(layer, *space.latents(STREAM, seeds))
    return look_at(space, layer, codes, medians, [f"seed {seed}" for seed in seeds], seeds)


@dataclass
class Limits:
    """How far edits may go: as far as sampled faces do. What is not scored has no such bound."""

    safe: SafeRange
    names: Sequence[str]  # what the P scores are
    targets: str = "change"  # against each face's own score, or a score that is asked for, see closed_loop.TARGETS

    def asked(self, faces: Faces, name: str, values: ArrayLike) -> np.ndarray:
        """What edits ``[K]`` ask for, as changes against each face's own score, ``[N, K]``."""
        own = np.zeros((len(faces.codes), 1))
        if self.targets == "score":
            own = faces.scores[:, [self.names.index(name)]].astype(np.float64)
        return np.asarray(values) - own

    def clip(self, faces: Faces, changes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Changes ``[N, K]`` so that no face leaves the range; one that lies outside may go back."""
        scores = faces.scores.astype(np.float64)
        low, high = self.safe.limits(scores)
        found = dict(changes)
        for name, values in self.scored(changes).items():
            p = [self.names.index(name)]
            found[name] = np.clip(scores[:, p] + values, low[:, p], high[:, p]) - scores[:, p]
        return found

    def scored(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Those of changes that the scorer measures."""
        return {name: value for name, value in changes.items() if name in self.names}

    def beyond(self, faces: Faces, changes: Mapping[str, float]) -> list[str]:
        """A sentence for each face and change that would leave the range."""
        changes = self.scored(changes)
        asked = {name: self.asked(faces, name, [value]) for name, value in changes.items()}
        clipped = self.clip(faces, asked)
        words = []
        for name, value in changes.items():
            p = self.names.index(name)
            low, high = self.safe.low[p], self.safe.high[p]
            each = zip(faces.names, faces.scores[:, p], asked[name][:, 0], clipped[name][:, 0], strict=True)
            words += [
                f"{name}={value:+g} takes {who} from {start:+.2f} to {start + change:+.2f}, "
                f"beyond what faces of this generator show ({low:+.2f} to {high:+.2f})"
                for who, start, change, got in each
                if abs(got - change) > 1e-6
            ]
        return words


@dataclass
class Walk:
    """Faces moved from one end of a change, through what they are, to the other end."""

    changes: dict[str, float]  # property -> what the edit asks for, in sigmas: see Limits.targets, search.calibrate
    shares: np.ndarray  # how much of it at each step [K], from -1 to 1 or back; 0 in the middle is the unedited face
    codes: np.ndarray  # float32 [N, K, D]
    images: np.ndarray  # uint8 [N, K, R, R, 3]
    scores: np.ndarray  # float32 [N, K, P]
    distance: np.ndarray  # of the codes from the sampled cloud, 1 is as far as the outermost samples, [N, K]
    held: dict[str, np.ndarray]  # property -> whether each target was held at the limit of the range, bool [N, K]
    notes: list[list[str]]  # words about each, [N][K]; empty where there is nothing to say

    @property
    def middle(self) -> int:
        """The step of the unedited face."""
        return len(self.shares) // 2

    @property
    def end(self) -> int:
        """The step of the whole edit."""
        return int(np.argmax(self.shares))

    def measured(self, column: int) -> np.ndarray:
        """The change of a score against the unedited face, ``[N, K]``."""
        return self.scores[:, :, column] - self.scores[:, self.middle, None, column]


@dataclass
class Session:
    """Generator, faces, the way they move, and the range that they are held in.

    ``discriminator`` says how real pictures look; None: nothing does.
    """

    space: FaceSpace
    layer: Layer
    faces: Faces
    mover: Mover
    limits: Limits
    discriminator: nn.Module | None = None

    def walk(self, changes: Mapping[str, float], steps: int) -> Walk:
        """Moves all faces by shares of a change and looks at them; a single change goes from low to high scores."""
        falls = len(changes) == 1 and min(changes.values()) < 0 and self.limits.targets == "change"
        shares = np.linspace(1, -1, steps) if falls else np.linspace(-1, 1, steps)
        asked = {name: self.limits.asked(self.faces, name, [value]) * shares for name, value in changes.items()}
        clipped = self.limits.clip(self.faces, asked)
        codes, notes = self.mover(self.faces.codes, self.faces.groups, clipped)
        held = {name: ~np.isclose(clipped[name], asked[name]) for name in asked}
        free = codes[..., self.layer.free(self.space.generator)]
        distance = self.limits.safe.distance(free.reshape(-1, free.shape[-1])).reshape(codes.shape[:2])
        return Walk(dict(changes), shares, codes, *self.look(codes), distance, held, notes)

    def move(self, edits: Mapping[str, np.ndarray]) -> np.ndarray:
        """Codes float32 ``[N, K, D]`` of edits ``[K]`` a property, held in the range."""
        asked = {name: self.limits.asked(self.faces, name, values) for name, values in edits.items()}
        return self.mover(self.faces.codes, self.faces.groups, self.limits.clip(self.faces, asked)).codes

    def realism(self, codes: np.ndarray) -> np.ndarray:
        """How real the pictures of codes ``[n, D]`` look, see ``closed_loop.EditResult``, ``[n]``."""
        return realism(self.space, self.layer, codes, self.discriminator) - self.limits.safe.realism

    def look(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """uint8 images ``[..., R, R, 3]`` and scores float32 ``[..., P]`` of codes ``[..., D]``, rendered once."""
        images, scores = [], []
        for batch in self.space.render(self.layer, codes.reshape(-1, codes.shape[-1])):
            images.append(to_uint8(batch).cpu().numpy())
            scores.append(self.space.score(batch).cpu().numpy())
        shape = codes.shape[:-1]
        flat = np.concatenate(images)
        return flat.reshape(*shape, *flat.shape[1:]), np.concatenate(scores).reshape(*shape, -1)

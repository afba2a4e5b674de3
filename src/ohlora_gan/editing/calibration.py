"""How much a unit of length along a direction brings, so that strengths can be given in standard deviations of a score.

Measured on the second set of latents, the stream "choose": directions are found on the first and judged on the third.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from tqdm import tqdm

from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.editing.moves import StraightMover, groups_of
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import CHOOSE, FaceSpace

REACH = np.array([-1.0, -0.5, 0.5, 1.0])
"""Where a response is measured, in sigmas of its score."""
FIRST_LOOK = 0.1
"""How far the first look goes, as a share of the cloud's radius (the codes' mean distance from their mean)."""
LONGEST = 2.0
"""A sigma is never further away than so many radii: what hardly moves its score is not followed out of the world."""
OWN_GROUP = 10  # latents of a group that make its slope its own; with fewer it has that of all


def calibrate(
    space: FaceSpace, layer: Layer, found: DirectionSet, num_latents: int = 100, progress: tqdm | None = None
) -> DirectionSet:
    """The same directions with their slopes and the slopes' spread.

    A latent's slope is the straight line through its scores at four places, a half and a whole sigma to either side,
    which a first look finds. Slopes are means over latents: of a group where it has ``OWN_GROUP`` of them, else of all.

    Args:
        space: generator and the scorer whose sigmas are meant.
        layer: where the directions move codes.
        found: directions, for which ``direction(x, group)`` works.
        num_latents: at least 2.
        progress: told of each property.

    Raises:
        ValueError: for too few latents.
    """
    if num_latents < 2:
        raise ValueError(f"slopes need at least 2 latents, got {num_latents}")
    codes, groups = choose_faces(space, layer, found, num_latents)
    directions = np.stack([found.direction(x, group) for x, group in zip(codes, groups, strict=True)])
    radius = max(float(np.linalg.norm(codes - codes.mean(axis=0), axis=1).mean()), float(np.finfo(np.float32).tiny))
    floor = 1 / (LONGEST * radius)
    slopes, spreads = [], []
    for i, name in enumerate(found.properties):
        column = space.property_names.index(name)
        first = slopes_along(space, layer, codes, directions[:, i], FIRST_LOOK * radius)[:, column]
        length = 1 / max(float(first.mean()), floor)
        own = slopes_along(space, layer, codes, directions[:, i], length)[:, column]
        by_group = [own[groups == name] for name in found.group_names]
        by_group = [of_group if len(of_group) >= OWN_GROUP else own for of_group in by_group]
        slopes.append([max(float(of_group.mean()), floor) for of_group in by_group])
        spreads.append([float(of_group.std()) for of_group in by_group])
        if progress is not None:
            progress.update()
    return replace(found, slopes=np.array(slopes), spreads=np.array(spreads, dtype=np.float32))


def slopes_along(
    space: FaceSpace, layer: Layer, codes: np.ndarray, directions: np.ndarray, length: float
) -> np.ndarray:
    """Slopes [N, P] of straight lines through scores at ``REACH`` lengths from codes [N, D] along directions [N, D]."""
    moved = (codes[:, None] + (REACH * length)[:, None] * directions[:, None]).astype(np.float32)
    scores = space.score_codes(layer, moved.reshape(-1, codes.shape[1])).reshape(*moved.shape[:2], -1)
    return np.einsum("s,nsp->np", REACH, scores) / (length * (REACH @ REACH))


def correct(
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    edited: Sequence[str],
    strengths: dict[str, Sequence[float]],
    num_latents: int = 100,
    progress: tqdm | None = None,
) -> DirectionSet:
    """Directions of the edited properties, mixed so that by their *measured* response each changes its own score alone.

    Every direction, also those of properties that are to be held, is followed on real faces as far as the test goes,
    and what all scores do is measured. The inverse of this response says how to mix them. Derivatives tell what an
    infinitely small step does; this tells what an edit does.

    Args:
        space, layer: see ``calibrate``.
        found: calibrated directions that do not depend on the face, of the edited properties and of those to hold.
        edited: the properties whose directions are wanted.
        strengths: property -> the strengths it is tested with, in sigmas; others are followed a sigma to either side.
        num_latents: see ``calibrate``.
        progress: told of each property.

    Returns:
        The edited properties' directions, calibrated.

    Raises:
        ValueError: where the response cannot be inverted, or for directions that depend on the face.
    """
    if found.finder is not None or found.slopes is None:
        raise ValueError(
            f"method {found.method} gives each face its own directions, which cannot be mixed: correct=false"
        )
    codes, groups = choose_faces(space, layer, found, num_latents)
    base = space.score_codes(layer, codes)
    measured = [space.property_names.index(name) for name in found.properties]
    response = np.zeros((len(measured), len(measured)))
    for i, name in enumerate(found.properties):
        rows = np.array([s for s in strengths.get(name, (-1.0, 1.0)) if s != 0])
        moved = StraightMover(found)(codes, groups, {name: rows}).codes
        scores = space.score_codes(layer, moved.reshape(-1, codes.shape[1])).reshape(*moved.shape[:2], -1)
        # a straight line a latent through all places and the unedited face
        places = np.append(rows, 0.0) - rows.sum() / (len(rows) + 1)
        whole = np.concatenate([scores, base[:, None]], axis=1)[..., measured]
        response[i] = np.einsum("s,nsp->p", places, whole) / (len(codes) * places @ places)
        if progress is not None:
            progress.update()
    try:
        mix = np.linalg.inv(response)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            "the measured response cannot be inverted: hold fewer properties (decorrelate=[...])"
        ) from error
    sigmas = found.directions.astype(np.float64) / found.slopes[..., None]  # a sigma each
    mixed = np.einsum("km,mgd->kgd", mix[[found.properties.index(name) for name in edited]], sigmas)
    unit = mixed / np.linalg.norm(mixed, axis=2, keepdims=True)
    corrected = replace(found, directions=unit, properties=tuple(edited), slopes=None, spreads=None)
    return calibrate(space, layer, corrected, num_latents)


def choose_faces(space: FaceSpace, layer: Layer, found: DirectionSet, num: int) -> tuple[np.ndarray, np.ndarray]:
    """Codes [N, D] of the second set of latents, and their groups [N]."""
    codes = space.codes(layer, *space.latents(CHOOSE, range(num)))
    return codes, groups_of(space, layer, codes, found.medians)


# --- Where sampled faces lie. What is further out is a guess: the networks have seen nothing like it ---


NUM = 1000
OUTERMOST = 0.999
"""Share of sampled codes that are no further from the mean than what counts as near the cloud."""
LEAST_REAL = 0.01
"""Share of sampled faces that the discriminator takes for less real than what counts as real enough."""


@dataclass(frozen=True)
class SafeRange:
    """What sampled faces show.

    Attributes:
        low, high: the lowest and highest score of a sample, ``[P]``.
        mean: of the codes' free values ``[D]``.
        whiten: ``[D, D]``, turns deviations from the mean into independent ones of unit variance.
        outermost: distance from the mean, so measured, within which ``OUTERMOST`` of the samples lie.
        radius: mean distance of codes from their mean.
        realism: the discriminator's score that ``1 - LEAST_REAL`` of sampled faces reach; NaN without one.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    whiten: np.ndarray
    outermost: float
    radius: float
    realism: float = float("nan")

    @classmethod
    def sampled(
        cls, space: FaceSpace, layer: Layer, discriminator: nn.Module | None = None, num: int = NUM
    ) -> "SafeRange":
        """From samples of the stream "choose"; codes are cheap, so ten times as many of them as pictures are made."""
        codes = space.codes(layer, *space.latents(CHOOSE, range(10 * num)))
        scores = space.score_codes(layer, codes[:num])
        real = realism(space, layer, codes[: num // 4], discriminator)
        part = codes[:, layer.free(space.generator)].astype(np.float64)
        mean = part.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(part, rowvar=False))
        values = np.maximum(values, 1e-4 * values.mean())  # directions in which samples hardly vary count for little
        whiten = vectors / np.sqrt(values)
        distances = np.linalg.norm((part - mean) @ whiten, axis=1)
        return cls(
            scores.min(axis=0).astype(np.float64),
            scores.max(axis=0).astype(np.float64),
            mean,
            whiten,
            outermost=float(np.quantile(distances, OUTERMOST)),
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
    """What there is to say of a code this far out, whose picture looks so real: sentences, or nothing.

    Args:
        distance: see ``SafeRange.distance``.
        real: the discriminator's score less ``SafeRange.realism``; NaN without one.
    """
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
    for images in space.render(layer, codes):
        # one at a time: the minibatch statistics of a discriminator must not depend on which faces are edited together
        scores += [discriminator(image[None]).reshape(-1).cpu() for image in images.clamp(-1, 1)]
    return torch.cat(scores).float().numpy() if scores else np.empty(0)

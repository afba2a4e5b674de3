"""Where sampled faces lie. What is further out is a guess: the networks have seen nothing like it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import CHOOSE, FaceSpace

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

"""A generator and a scorer whose response is known: scores are linear in w, or bent as a test asks.

Samples are correlated, attributes are not orthogonal, and pictures weigh the values of w differently, so that methods
that take one for the other are found out.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.models.generator import GeneratorBase

NAMES = ("eyes", "mouth", "pose", "hair", "skin")
EDITED = NAMES[:3]
SIZE = 16
Curve = Callable[[Tensor], Tensor]


def straight(values: Tensor) -> Tensor:
    return values


class AnalyticGenerator(GeneratorBase):
    """``w = z @ mix``, and grey pictures whose pixels are ``curve`` of the sum of ``w_l @ paint[l]`` over 2 layers."""

    z_dim = w_dim = SIZE
    label_dim = 0
    layer_sides = (SIZE, SIZE)

    def __init__(self, mix: Tensor, paint: Tensor, curve: Curve = straight) -> None:
        super().__init__()
        self.mix, self.paint = nn.Parameter(mix), nn.Parameter(paint)
        self.curve = curve
        self.resolution = round(paint.shape[2] ** 0.5)

    @property
    def w_avg(self) -> Tensor:
        return self.mix.new_zeros(SIZE)

    def map(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        return z @ self.mix

    def synthesize(self, w: Tensor, psi: float = 1.0, num_truncated: int = 0, noise: None = None) -> Tensor:
        wp = w[:, None].expand(-1, self.num_layers, -1) if w.ndim == 2 else w
        wp = torch.cat([psi * wp[:, :num_truncated], wp[:, num_truncated:]], dim=1)  # the average of w is 0
        pixels = self.curve(torch.einsum("nld,ldx->nx", wp, self.paint))
        return pixels.reshape(-1, 1, self.resolution, self.resolution).expand(-1, 3, -1, -1)


class AnalyticScorer(nn.Module):
    """``curve`` of ``pixels @ matrix``."""

    def __init__(self, matrix: Tensor, resolution: int, curve: Curve = straight) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix)
        self.property_names, self.resolution, self.curve = NAMES, resolution, curve

    def forward(self, images: Tensor) -> Tensor:
        return self.curve(images.mean(dim=1).flatten(1) @ self.matrix)


@dataclass
class AnalyticWorld:
    """A face space and what is true of it where no curve bends it.

    Attributes:
        space: the face space.
        response: what a unit of each value of w does to each score, ``[P, D]``; a score's sigma over samples is 1.
        paint: what it does to pixels, ``[2, D, pixels]``, a synthesis layer each.
        covariance: of w, ``[D, D]``.
    """

    space: FaceSpace
    response: np.ndarray
    paint: np.ndarray
    covariance: np.ndarray

    def leakage(self, directions: np.ndarray) -> np.ndarray:
        """Sigmas that each score moves while a direction's own moves by one, ``[k, P]`` for ``[k, D]``."""
        moved = directions @ self.response.T
        return moved / np.diagonal(moved)[:, None]

    def truth(self, decorrelate: bool) -> np.ndarray:
        """The unit directions ``[k, D]`` of the edited scores: their own response, or what leaves all others."""
        rows = np.linalg.pinv(self.response).T if decorrelate else self.response
        return rows[: len(EDITED)] / np.linalg.norm(rows[: len(EDITED)], axis=1, keepdims=True)


def make_world(
    painted: Curve = straight, scored: Curve = straight, gain: float = 0.2, side: int = 4, batch_size: int = 64
) -> AnalyticWorld:
    """A world of ``side x side`` pictures.

    Args:
        painted: bends pixels.
        scored: bends scores ``[N, P]``.
        gain: of pixels: at .2 nearly all are within [-1, 1].
        side: of pictures, at least 4.
        batch_size: of the space.
    """
    rng = np.random.default_rng(3)
    mix = np.diag(np.linspace(0.6, 1.4, SIZE)) @ (np.eye(SIZE) + 0.4 * rng.standard_normal((SIZE, SIZE)) / 4)
    covariance = mix.T @ mix
    paint = np.zeros((2, SIZE, side * side))
    block = side * side // SIZE
    for d in range(SIZE):
        paint[d % 2, d, d * block : (d + 1) * block] = np.geomspace(0.4, 2.5, SIZE)[d]
    paint = gain * (paint + 0.1 * rng.standard_normal(paint.shape))
    response = rng.standard_normal((len(NAMES), SIZE)) + 0.8 * rng.standard_normal(SIZE)
    response /= np.sqrt(np.einsum("pd,de,pe->p", response, covariance, response))[:, None]
    matrix = np.linalg.pinv(paint.sum(axis=0)) @ response.T
    tensors = [torch.tensor(values, dtype=torch.float32) for values in (mix, paint, matrix)]
    generator = AnalyticGenerator(tensors[0], tensors[1], painted)
    space = FaceSpace(generator, AnalyticScorer(tensors[2], side, scored), batch_size=batch_size)  # type: ignore[arg-type]
    return AnalyticWorld(space, response, paint, covariance)

"""What a step in latent space costs: a symmetric positive matrix M, the cost of a step ``v`` being ``v^T M v``.

Many steps bring the same scores. The shortest one reaches them by shifting what nobody scores, hue and background
above all. A metric says which of them to take:

* ``euclid``: the shortest step (M is the identity, written None);
* ``cloud``: the one that stays among sampled vectors (M is their inverse covariance);
* ``image``: the one that changes the picture least (M is the mean of ``J^T J``, J the picture's Jacobian), and does not
  leave the cloud: alone it goes far where no picture changes, and there networks are deceived.

All are scaled to a mean eigenvalue of 1. ``shrinkage`` times the identity is added, so that directions without any cost
are not followed without end, and to ``image`` ``cloud`` times that metric.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ohlora_gan import rng
from ohlora_gan.latents.bank import ScoreBank
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FIND, FaceSpace, render_with_graph
from ohlora_gan.progress import Bar

Metric = NDArray[np.float64]
Weights = Callable[[int], NDArray[np.floating]]
"""How much a change of each block of a picture counts: side to ``[side, side]``."""
SETTINGS: dict[str, dict[str, Any]] = {
    "euclid": {},
    "cloud": {"num_latents": 60, "shrinkage": 0.01},
    "image": {"num_latents": 120, "num_probes": 48, "shrinkage": 2.0, "cloud": 0.0, "region": "all"},
}
"""Metric -> how it is measured where nothing else is asked for; ``conf/metric`` has the same."""
METRICS = tuple(SETTINGS)
SIDE = 16
"""Pictures are compared as averages over SIDE x SIDE blocks: what moves by less than a block is no change."""


@dataclass(frozen=True)
class Measured:
    """How a metric is measured, on the first samples of the bank.

    Latents times probes should exceed the layer's size. For ``shrinkage`` and ``cloud`` see above.
    """

    name: str
    num_latents: int = 60  # for ``image``; ``cloud`` takes 100 times as many, without pictures
    num_probes: int = 24  # random pictures a latent
    shrinkage: float = 0.01
    cloud: float = 0.0

    def __post_init__(self) -> None:
        if self.name not in METRICS:
            raise ValueError(f"metric is {self.name!r}, expected one of {', '.join(METRICS)}")
        if self.num_latents < 2 or self.num_probes < 1 or not self.shrinkage > 0 or not self.cloud >= 0:
            raise ValueError(
                f"metric: num_latents={self.num_latents}, num_probes={self.num_probes}, shrinkage={self.shrinkage}, "
                f"cloud={self.cloud}, expected at least 2, at least 1, above 0 and at least 0"
            )


def make_metric(space: FaceSpace, layer: Layer, how: Measured, weights: Weights | None = None) -> Metric | None:
    """A metric, measured anew, of the values that edits at a layer may move: float64 ``[D, D]``; None for ``euclid``.

    Without ``weights``, which count for ``image``, all blocks are alike.
    """
    if how.name == "euclid":
        return None
    free = layer.free(space.generator)
    if how.name == "cloud":
        return cloud_metric(space, layer, 100 * how.num_latents, how.shrinkage)
    codes = space.codes(layer, *space.latents(FIND, range(how.num_latents)))
    gram = image_gram(space, layer, codes, how.num_probes, weights)
    metric = scaled(gram[free, free], how.shrinkage)
    return metric + how.cloud * cloud_metric(space, layer, 100 * how.num_latents) if how.cloud else metric


def cloud_metric(space: FaceSpace, layer: Layer, num_latents: int, shrinkage: float = 0.01) -> Metric:
    """The inverse covariance of sampled codes' free values; ``shrinkage`` is added to the covariance, scaled."""
    codes = space.codes(layer, *space.latents(FIND, range(num_latents)))[:, layer.free(space.generator)]
    covariance = np.cov(codes.astype(np.float64), rowvar=False)
    return scaled(np.linalg.inv(scaled(covariance, shrinkage)), shrinkage=0.0)


def image_gram(
    space: FaceSpace, layer: Layer, codes: np.ndarray, num_probes: int, weights: Weights | None = None
) -> Metric:
    """The mean of ``J^T J``, float64 ``[D, D]``, over codes ``[N, D]``, J being the Jacobian of a picture's blocks.

    Estimated from random pictures u: ``E[(J^T u)(J^T u)^T] = J^T J`` for u of N(0, I) (Hutchinson 1990), which costs a
    pass backward each instead of one a pixel.
    """
    gram = np.zeros((codes.shape[1], codes.shape[1]))

    def gram_of(batch: slice) -> tuple[np.ndarray, int]:
        added, indices = np.zeros_like(gram), range(batch.start, batch.stop)
        v, blocks = weighted_blocks(space, layer, codes[batch], weights)
        for probe in range(num_probes):
            u = rng.normal(space.seed, f"metric/probe{probe}", indices, tuple(blocks.shape[1:])).to(blocks.device)
            pulled = pull_back(blocks, u, v, last=probe + 1 == num_probes)
            added += pulled.T @ pulled
        return added, len(indices)

    with Bar(desc="metric", total=len(codes)) as bar:
        for added, num in space.batches(len(codes), gram_of):
            gram += added
            bar.update(num)
    return gram / (len(codes) * num_probes)


def weighted_blocks(
    space: FaceSpace, layer: Layer, codes: np.ndarray, weights: Weights | None
) -> tuple[Tensor, Tensor]:
    """Codes as a leaf ``[n, D]``, and their pictures' block averages ``[n, 3, side, side]`` times root weights."""
    v, images = render_with_graph(space, layer, codes)
    small = F.adaptive_avg_pool2d(images, min(SIDE, images.shape[-1]))
    scale = np.sqrt(weights(small.shape[-1])) if weights else np.ones(small.shape[-2:])
    return v, small * torch.from_numpy(scale.astype(np.float32)).to(small.device)


def pull_back(blocks: Tensor, u: Tensor, v: Tensor, last: bool = True) -> NDArray[np.float64]:
    """``J^T u`` of each picture, ``[n, D]``; the graph is freed with the last."""
    (rows,) = torch.autograd.grad((blocks * u).sum(), v, retain_graph=not last)
    return rows.double().cpu().numpy()


def scaled(matrix: np.ndarray, shrinkage: float) -> Metric:
    """A positive matrix with a mean eigenvalue of 1, plus ``shrinkage`` times the identity."""
    size = len(matrix)
    return matrix * (size / np.trace(matrix)) + shrinkage * np.eye(size)


def stored_metric(bank: ScoreBank, layer: Layer, settings: Mapping[str, Any], face: Region) -> np.ndarray | None:
    """The metric of a layer, float64 ``[D, D]``, from the bank's folder where it was measured before.

    Args:
        settings: those of ``conf/metric``: ``name``, ``region``, and those of `Measured`.
        face: where the face is, for ``region`` ``face`` and ``border``.
    """
    if settings["name"] == "euclid":
        return None
    what = dict(settings) | ({"face": str(face)} if settings["region"] != "all" else {})
    how = Measured(**{key: value for key, value in settings.items() if key != "region"})
    weights = face.weights(settings["region"])
    return bank.cached("metric", layer, what, lambda: make_metric(bank.space, layer, how, weights))


PARTS = ("all", "face", "border")
"""What of a picture is to stay: all of it, the face, or what surrounds the face."""
FAINT = 0.1  # what is not to stay still counts a little, or nothing would hold it


@dataclass(frozen=True)
class Region:
    """An ellipse in a square picture, by its edges in shares of the picture's side.

    The default holds the face (skin, brows, eyes, nose and mouth, not the hair) in the embedded world: over 1,500
    rendered faces .99 of those pixels of their parse maps lie inside, and it covers .28 of the picture.
    """

    top: float = 0.22
    bottom: float = 0.86
    left: float = 0.22
    right: float = 0.78

    def __post_init__(self) -> None:
        if not (0 <= self.top < self.bottom <= 1 and 0 <= self.left < self.right <= 1):
            raise ValueError(
                f"the face's region is top {self.top}, bottom {self.bottom}, left {self.left}, right {self.right}: "
                f"expected shares of the picture's side from 0 to 1, top above bottom and left before right"
            )

    def mask(self, side: int) -> Tensor:
        """Which pixels' centres lie inside, bool ``[side, side]``."""
        center = (torch.arange(side) + 0.5) / side
        down = (center - (self.top + self.bottom) / 2) / ((self.bottom - self.top) / 2)
        across = (center - (self.left + self.right) / 2) / ((self.right - self.left) / 2)
        return down[:, None] ** 2 + across[None] ** 2 <= 1

    def weights(self, part: str) -> Weights | None:
        """How much a change of each block counts where one of ``PARTS`` is to stay: 1 there, ``FAINT`` elsewhere."""
        inside, outside = {"all": (1.0, 1.0), "face": (1.0, FAINT), "border": (FAINT, 1.0)}[part]
        return None if part == "all" else lambda side: np.where(self.mask(side).numpy(), inside, outside)

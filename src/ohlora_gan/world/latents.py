"""Latents for the faces of the embedded world: which z a generator is to paint a face from.

A generator that learns from pictures alone needs millions of them. One that is told which z stands for which picture
learns from each as much as from many, and paints it whole. The latents must be spread as a generator's are, by a
standard normal distribution, and they should not lay the attributes out one an axis, as no generator's z does: so each
attribute is first made a normal number, these numbers are twisted, and the result lies in a random subspace of z.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from ohlora_gan import rng
from ohlora_gan.world.face import ATTRIBUTES, attribute_shares

Floats = NDArray[np.float64]

TWIST = 0.35  # radians a standard deviation: linear regression still reads .86 of an attribute's variance off z
ROUNDS = 2
_NORMAL = NormalDist()
_EDGE = 1e-6


def latent(seed: int, index: int, z_dim: int, fixed: Collection[str] = ()) -> NDArray[np.float32]:
    """The latent ``[z_dim]`` of face ``index`` of a world, see `face.sample_attributes`.

    Over faces it is standard normal, also over those that share the value of ``fixed`` attributes, which then decide
    nothing of it: a generator that knew all faces learns to paint these alone. Faces of equal attributes have latents
    that differ in the dimensions that no attribute decides. ValueError if ``z_dim`` is less than the number of
    attributes, or the index negative.
    """
    if z_dim < len(ATTRIBUTES):
        raise ValueError(f"z_dim is {z_dim}, expected at least {len(ATTRIBUTES)}, the number of attributes of a face")
    basis = _basis(z_dim, "subspace")[: len(ATTRIBUTES)]
    free = rng.stream(seed, "faces/latents/fixed", index).random(len(ATTRIBUTES))
    shares = np.where([name in fixed for name in ATTRIBUTES], free, attribute_shares(seed, index))
    normals = np.array([_NORMAL.inv_cdf(share) for share in np.clip(shares, _EDGE, 1 - _EDGE)])
    rest = rng.stream(seed, "faces/latents", index).standard_normal(z_dim)
    return (rest + (twisted(normals) - basis @ rest) @ basis).astype(np.float32)


def twisted(normals: Floats) -> Floats:
    """Independent normal numbers ``[A]`` as others: pairs of them are turned by angles that third ones decide.

    A turn leaves a standard normal distribution as it is, whatever decides its angle, as long as that is not turned.
    """
    size, third = len(normals), len(normals) // 3
    for number in range(ROUNDS):
        normals = normals @ _basis(size, f"round {number}")
        a, b, c = normals[:third], normals[third : 2 * third], normals[2 * third : 3 * third]
        cos, sin = np.cos(TWIST * c), np.sin(TWIST * c)
        normals = np.concatenate([a * cos - b * sin, a * sin + b * cos, normals[2 * third :]])
    return normals @ _basis(size, "last")


@cache
def _basis(size: int, name: str) -> Floats:
    """Orthonormal rows ``[size, size]``, the same in all worlds."""
    rows, signs = np.linalg.qr(rng.stream(0, f"faces/latents/{name}").standard_normal((size, size)))
    return rows * np.sign(np.diag(signs))

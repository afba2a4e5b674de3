"""Derivatives of scores and of pictures in the vector at a layer.

A Jacobian of P scores costs one pass forward and P backward for a whole batch of vectors, since no score of one
picture depends on another picture's vector.
"""

import numpy as np
import torch
from torch import Tensor

from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace, Progress


def score_jacobian(
    space: FaceSpace, layer: Layer, codes: np.ndarray, progress: Progress | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of vectors, and how each score changes with each of a vector's values.

    Both networks are in eval mode, with the generator's fixed noise.

    Args:
        space: generator and scorer.
        layer: where the vectors lie.
        codes: float ``[N, D]``.
        progress: called as ``progress(done, N)`` after each batch.

    Returns:
        Scores float32 ``[N, P]`` and derivatives float32 ``[N, P, D]``.

    Raises:
        ValueError: if a derivative is not finite.
    """
    all_scores, parts = [], []
    for start in range(0, len(codes), space.batch_size):
        v, images = render_with_graph(space, layer, codes[start : start + space.batch_size])
        with space.device.autocast():
            scores = space.scorer(images).float()
        rows = [
            torch.autograd.grad(scores[:, p].sum(), v, retain_graph=p + 1 < scores.shape[1])[0]
            for p in range(scores.shape[1])
        ]
        all_scores.append(scores.detach().cpu().numpy())
        parts.append(torch.stack(rows, dim=1).cpu().numpy())
        if progress:
            progress(start + len(v), len(codes))
    jacobian = np.concatenate(parts)
    num_bad = int((~np.isfinite(jacobian)).any(axis=(1, 2)).sum())
    if num_bad:
        raise ValueError(f"{num_bad} of {len(codes)} vectors have derivatives that are not finite: use device=cpu")
    return np.concatenate(all_scores), jacobian


def render_with_graph(space: FaceSpace, layer: Layer, codes: np.ndarray) -> tuple[Tensor, Tensor]:
    """Vectors ``[n, D]`` as a leaf that takes a gradient, and their images ``[n, 3, R, R]`` in about [-1, 1]."""
    layer.check(space.generator)
    device = space.device.torch_device
    v = torch.from_numpy(np.array(codes, dtype=np.float32)).to(device).requires_grad_()
    with torch.enable_grad():
        images = space.synthesize(layer.to_w(space.generator, v))
    return v, images

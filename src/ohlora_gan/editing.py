"""Moving a code in latent space."""

import numpy as np
from numpy.typing import ArrayLike


def move(codes: ArrayLike, directions: ArrayLike, strengths: ArrayLike) -> np.ndarray:
    """Moves codes along several directions at once: ``v + lambda_1 n_1 + lambda_2 n_2 + ...``.

    Independent and joint manipulation of HiGAN (arXiv 1911.09267). Summed in float64, one direction after
    the other in their order, so that the result does not depend on how codes are batched.

    Args:
        codes: one code ``[D]`` or several ``[N, D]``.
        directions: ``[P, D]``, or ``[N, P, D]`` where each code has its own.
        strengths: ``[K, P]``, the K combinations of strengths, in lengths of the directions.

    Returns:
        float32 ``[K, D]`` for one code, ``[N, K, D]`` for several.

    Raises:
        ValueError: where the shapes do not fit together.
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

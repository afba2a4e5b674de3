"""Steps that change one score and leave others: the pseudo-inverse of what scores do along each latent value.

With R the response ``[P, D]`` of all scores and M what steps cost, the cheapest step that changes the scores of S by
``t`` is ``M^-1 R_S^T (R_S M^-1 R_S^T)^-1 t``. Without a metric it is the pseudo-inverse of ``R_S``; a column of it is,
up to its length, what is left of a row after projection off the others: the conditional manipulation of InterFaceGAN
(Shen et al. 2020, section 3.3) for any number of conditions.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

Decorrelate = str | Sequence[str]
"""``"none"``, ``"all"``, or the names of the scores that are to stay."""


class Costs:
    """Applies ``M^-1`` of a metric, symmetric positive ``[D, D]``; None is the identity.

    Raises:
        ValueError: for another shape or a matrix that is not positive.
    """

    def __init__(self, metric: ArrayLike | None, size: int) -> None:
        self.inverse: np.ndarray | None = None
        self._saved: np.ndarray | None = None
        if metric is None:
            return
        matrix = check_metric(metric, size)
        try:
            np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError as error:
            raise ValueError("metric is not positive: raise its shrinkage") from error
        self.inverse = np.linalg.inv(matrix)

    def cheapest(self, rows: np.ndarray) -> np.ndarray:
        """``rows M^-1``, ``[..., D]``: the steepest rise of each row for its cost."""
        cheap = rows if self.inverse is None else rows @ self.inverse
        return cheap if self._saved is None else cheap - (rows @ np.swapaxes(self._saved, -1, -2)) @ self._saved

    def raised(self, pulled: np.ndarray, which: np.ndarray) -> "Costs":
        """The costs of n codes, each with its own metric ``M + G^T G``, its ``G`` being ``pulled[which]``.

        ``pulled`` is ``[u, r, D]``, ``which`` numbers below u, ``[n]``; ``cheapest`` then takes rows ``[n, S, D]``. No
        ``[D, D]`` matrix is inverted: ``M^-1`` loses ``(L^-1 G M^-1)^T (L^-1 G M^-1)``, L being the Cholesky factor of
        ``1 + G M^-1 G^T`` (Woodbury 1950).
        """
        cheap = self.cheapest(pulled)
        lower = np.linalg.cholesky(cheap @ np.swapaxes(pulled, 1, 2) + np.eye(pulled.shape[1]))
        found = Costs(None, pulled.shape[2])
        found.inverse, found._saved = self.inverse, np.linalg.solve(lower, cheap)[which]
        return found


def check_metric(metric: ArrayLike, size: int) -> np.ndarray:
    """A metric as float64 ``[size, size]``; ValueError for another shape."""
    matrix = np.asarray(metric, dtype=np.float64)
    if matrix.shape != (size, size):
        raise ValueError(f"metric has shape {list(matrix.shape)}, expected [{size}, {size}]")
    return matrix


def held_names(decorrelate: Decorrelate, names: Sequence[str]) -> list[str]:
    """The scores that are to stay while another one changes; raises ValueError for names that are not scored."""
    if isinstance(decorrelate, str):
        if decorrelate not in ("none", "all"):
            raise ValueError(f"decorrelate is {decorrelate!r}, expected none, all, or a list of names of scores")
        return list(names) if decorrelate == "all" else []
    unknown = [name for name in decorrelate if name not in names]
    if unknown:
        raise ValueError(f"decorrelate names {', '.join(unknown)}, expected some of {', '.join(names)}")
    return list(decorrelate)


def steps(
    response: np.ndarray,
    names: Sequence[str],
    edited: Sequence[str],
    decorrelate: Decorrelate = "all",
    costs: Costs | None = None,
    damping: float = 0.0,
) -> np.ndarray:
    """The cheapest step for each edited score that leaves the held ones, of unit length: float64 ``[(n,) k, D]``.

    Args:
        response: what each score of ``names`` does per unit of length, ``[(n,) P, D]``.
        decorrelate: those to hold; ``none`` follows each score's own steepest rise.
        damping: at least 0; added to the (unit) diagonal of the normal equations after every score is put on the same
            footing, so that a score that hardly responds does not blow up the step. 0 holds exactly.

    Raises:
        ValueError: for settings out of range, or a score that nothing changes.
    """
    if not damping >= 0:
        raise ValueError(f"damping is {damping}, expected at least 0")
    costs = costs or Costs(None, response.shape[-1])
    held = held_names(decorrelate, names)
    found = []
    for name in edited:
        rows = response[..., [names.index(s) for s in (name, *(h for h in held if h != name))], :].astype(np.float64)
        found.append(one_step(rows, costs, damping, name))
    return np.stack(found, axis=-2)


def one_step(rows: np.ndarray, costs: Costs, damping: float, name: str) -> np.ndarray:
    """The unit step ``[..., D]`` that raises the first of ``rows [..., S, D]`` and leaves the others."""
    cheap = costs.cheapest(rows)
    gram = cheap @ np.swapaxes(rows, -1, -2)
    scale = np.sqrt(np.maximum(np.einsum("...ii->...i", gram), np.finfo(np.float64).tiny))
    normal = gram / (scale[..., :, None] * scale[..., None, :]) + damping * np.eye(rows.shape[-2])
    target = np.zeros(rows.shape[-2])
    target[0] = 1.0
    try:
        weights = np.linalg.solve(normal, np.broadcast_to(target[:, None], (*normal.shape[:-1], 1)))[..., 0]
    except np.linalg.LinAlgError as error:
        raise ValueError(f"{name} cannot be told from what is to be held: use damping above 0") from error
    step = np.einsum("...s,...sd->...d", weights / scale, cheap)
    norm = np.linalg.norm(step, axis=-1, keepdims=True)
    if not (norm > 0).all() or not np.isfinite(norm).all():
        raise ValueError(f"nothing changes {name}, or nothing but what is to be held: hold fewer scores")
    return step / norm

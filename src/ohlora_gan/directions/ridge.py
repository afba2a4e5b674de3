"""Directions by ridge regression of all scores on the vectors, of all samples instead of the extreme ones."""

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import Ridge

from ohlora_gan.directions.base import DirectionFinder, Samples
from ohlora_gan.directions.decorrelate import Costs, Decorrelate, steps
from ohlora_gan.directions.groups import members

ALPHAS = (0.001, 0.01, 0.1, 1.0)


class RidgeFinder(DirectionFinder):
    """One linear model of all scores a group; its coefficients are the response that directions are made from.

    With ``decorrelate=none`` a direction is the coefficients of its score; else it is the cheapest step that changes
    this score and leaves the others (see ``decorrelate``).

    After ``fit``, ``metrics_`` holds ``ridge_{property}_r2``, the share of the score's variance that the model explains
    in samples left out (mean over groups), and ``alpha``, the penalty of each group.

    Args:
        decorrelate: ``none``, ``all``, or names of scores that are to stay.
        alphas: strengths of the penalty to choose from, above 0, in units of the vectors' mean variance times n.
        damping: see ``decorrelate.steps``.
    """

    def __init__(
        self, decorrelate: Decorrelate = "all", alphas: Sequence[float] = ALPHAS, damping: float = 0.0
    ) -> None:
        self.decorrelate = decorrelate
        self.alphas = alphas
        self.damping = damping

    def _fit(self, samples: Samples) -> None:
        """Fits one model a group; see ``DirectionFinder.fit``."""
        if not self.alphas or not all(alpha > 0 for alpha in self.alphas):
            raise ValueError(f"alphas are {list(self.alphas)}, expected one or more numbers above 0")
        X, names, edited = samples.X, samples.names, samples.edited
        rows = members(samples.groups, len(X))
        small = [name for name, members_ in rows.items() if len(members_) < 3]
        if small:
            raise ValueError(f"ridge needs at least 3 samples in group {small[0]!r}: raise n, or use groups=none")
        costs = Costs(samples.geometry.metric, X.shape[1])
        samples.expect(len(rows))
        found, r2, alphas = [], [], {}
        for name, of_group in rows.items():
            response, explained, alphas[name] = ridge_response(X[of_group], samples.scores[of_group], self.alphas)
            found.append(steps(response, names, edited, self.decorrelate, costs, self.damping))
            r2.append(explained)
            samples.tell()
        self.group_names_ = list(rows)
        self.directions_ = np.stack(found, axis=1).astype(np.float32)
        self.metrics_ = {f"ridge_{name}_r2": float(np.mean(r2, axis=0)[names.index(name)]) for name in edited}
        self.metrics_["alpha"] = alphas


def ridge_response(X: np.ndarray, scores: np.ndarray, alphas: Sequence[float]) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients of scores ``[n, P]`` on vectors ``[n, D]``, with the penalty that explains every fifth sample best.

    Returns:
        Response ``[P, D]``, fitted to all samples; the R2 ``[P]`` of the samples that were left out of the choice's
        fits (0 for a score that is constant); the alpha that was chosen.
    """
    X, scores = X.astype(np.float64), scores.astype(np.float64)
    center, spread = X.mean(axis=0), scores.std(axis=0)
    X, scores = X - center, (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0)  # all count alike
    unit = max(float(X.var(axis=0).mean()), np.finfo(float).tiny) * len(X)
    is_left_out = np.arange(len(X)) % 5 == 4 if len(X) >= 5 else np.arange(len(X)) == len(X) - 1
    held = scores[is_left_out]
    total = np.maximum(np.square(held - held.mean(axis=0)).sum(axis=0), np.finfo(float).tiny)
    explained = []
    for alpha in alphas:
        model = Ridge(alpha=alpha * unit, solver="cholesky").fit(X[~is_left_out], scores[~is_left_out])
        explained.append(1 - np.square(held - model.predict(X[is_left_out])).sum(axis=0) / total)
    best = int(np.argmax(np.mean(explained, axis=1)))
    model = Ridge(alpha=alphas[best] * unit, solver="cholesky").fit(X, scores)
    r2 = np.where(spread > 0, explained[best], 0.0)
    return np.atleast_2d(model.coef_) * spread[:, None], r2, float(alphas[best])

"""Directions from derivatives: what the scores of a generated picture do along each latent value.

The gradient of a score through generator and scorer, instead of a model fitted to samples; compare GANalyze
(Goetschalckx et al. 2019) and StyleSpace (Wu et al. 2021). With ``decorrelate`` the other scores are held (see
``decorrelate``).
"""

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import DirectionFinder, Jacobian, Samples
from ohlora_gan.directions.decorrelate import Costs, Decorrelate, check_metric, steps
from ohlora_gan.directions.groups import members

BATCH = 50
"""Vectors whose derivatives are asked for at once: what progress is told of."""
ROUNDING = 1e-10
"""Share of the derivatives' squares below which their variance is but rounding, which nothing may be scaled up from."""


class MeanJacobianFinder(DirectionFinder):
    """The directions of the mean derivative over samples.

    After ``fit``, ``metrics_`` holds ``jacobian_{property}_agreement``: the mean cosine of a sample's own derivative
    with the mean one (mean over groups), and ``num_jacobians``.

    Args:
        num_jacobians: samples whose derivatives are taken, the first ones of each group; at least 1 a group.
        decorrelate: ``none``, ``all``, or names of scores that are to stay.
        damping: see ``decorrelate.steps``.
        steadiness: at least 0; how much a step costs for what it does to some faces and not to others: so many times
            the derivatives' variance over samples (with a mean eigenvalue of 1, like the metric) is added to the
            metric.
    """

    def __init__(
        self,
        num_jacobians: int = 1000,
        decorrelate: Decorrelate = "all",
        damping: float = 0.0,
        steadiness: float = 3.0,
    ) -> None:
        self.num_jacobians = num_jacobians
        self.decorrelate = decorrelate
        self.damping = damping
        self.steadiness = steadiness

    def _fit(self, samples: Samples) -> None:
        """Takes the derivatives and their mean a group; see ``DirectionFinder.fit``."""
        rows = spread_evenly(members(samples.groups, len(samples.X)), self.num_jacobians)
        total = sum(map(len, rows.values()))
        found, agreements, done = [], [], 0
        for of_group in rows.values():
            own, mean, costs = response_of(samples, of_group, self.steadiness, done, total)
            done += len(own)
            agreements.append(cosine(own, mean).mean(axis=0))
            found.append(steps(mean, samples.names, samples.edited, self.decorrelate, costs, self.damping))
        self.group_names_ = list(rows)
        self.directions_ = np.stack(found, axis=1).astype(np.float32)
        self.metrics_ = agreement_metrics(samples, np.mean(agreements, axis=0), total)


def response_of(
    samples: Samples, rows: np.ndarray, steadiness: float, done: int, total: int
) -> tuple[np.ndarray, np.ndarray, Costs]:
    """Derivatives of some samples, their mean, and what steps cost, see ``steady_costs``.

    Args:
        samples: all of them.
        rows: the numbers of those that are differentiated, ``[m]``.
        steadiness: see ``MeanJacobianFinder``.
        done, total: samples differentiated before, and in all: what progress is told of.

    Returns:
        float64 ``[m, P, D]`` and ``[P, D]``, and the costs.
    """
    derivatives = []
    for start in range(0, len(rows), BATCH):
        derivatives.append(take(samples.jacobian, samples.X[rows[start : start + BATCH]], len(samples.names)))
        done += len(derivatives[-1])
        samples.tell(done, total)
    own = np.concatenate(derivatives).astype(np.float64)
    return own, own.mean(axis=0), steady_costs(samples.metric, own, steadiness)


def agreement_metrics(samples: Samples, agreement: np.ndarray, num_jacobians: int) -> dict[str, float]:
    """``metrics_`` from the mean cosines ``[P]``, see ``MeanJacobianFinder``."""
    named = dict(zip(samples.names, agreement.tolist(), strict=True))
    return {f"jacobian_{name}_agreement": named[name] for name in samples.edited} | {"num_jacobians": num_jacobians}


def take(jacobian: Jacobian | None, codes: np.ndarray, num_scores: int) -> np.ndarray:
    """Derivatives ``[m, P, D]`` at vectors ``[m, D]``; a ValueError where nothing gives them, or of another shape."""
    if jacobian is None:
        raise ValueError("this method needs jacobian, the scores' derivatives: give a function codes -> [m, P, D]")
    found = np.asarray(jacobian(codes))
    expected = (len(codes), num_scores, codes.shape[1])
    if found.shape != expected:
        raise ValueError(f"jacobian gave shape {list(found.shape)}, expected {list(expected)}")
    return found


def steady_costs(metric: ArrayLike | None, derivatives: np.ndarray, steadiness: float) -> Costs:
    """A metric with the variance of derivatives ``[m, P, D]`` over samples added, see ``MeanJacobianFinder``."""
    if not steadiness >= 0:
        raise ValueError(f"steadiness is {steadiness}, expected at least 0")
    size = derivatives.shape[2]
    apart = (derivatives - derivatives.mean(axis=0)).reshape(-1, size)
    variance = apart.T @ apart
    scale = np.trace(variance)
    if steadiness == 0 or scale <= ROUNDING * np.square(derivatives).sum():
        return Costs(metric, size)
    base = np.eye(size) if metric is None else check_metric(metric, size)
    return Costs(base + steadiness * size / scale * variance, size)


def spread_evenly(rows: dict[str, np.ndarray], total: int) -> dict[str, np.ndarray]:
    """The first ``total`` samples, as evenly over groups as their sizes allow."""
    share = max(total // len(rows), 1)
    empty = [name for name, of_group in rows.items() if not len(of_group)]
    if total < 1 or empty:
        what = f"num_jacobians is {total}, expected at least 1" if total < 1 else f"group {empty[0]!r} has no sample"
        raise ValueError(f"{what}: raise n, or use groups=none")
    return {name: of_group[:share] for name, of_group in rows.items()}


def cosine(own: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Cosine ``[m, P]`` of each sample's derivatives ``[m, P, D]`` with the mean ones ``[P, D]``."""
    norms = np.linalg.norm(own, axis=2) * np.linalg.norm(mean, axis=1)
    return np.einsum("mpd,pd->mp", own, mean) / np.maximum(norms, np.finfo(np.float64).tiny)

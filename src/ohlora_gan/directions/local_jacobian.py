"""Directions from a face's own derivatives, steadied by the mean ones; see ``mean_jacobian``."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import ALL, DirectionFinder, Jacobian, Samples
from ohlora_gan.directions.decorrelate import Costs, Decorrelate, steps
from ohlora_gan.directions.mean_jacobian import agreement_metrics, cosine, derivatives, steady_costs, take


class LocalJacobianFinder(DirectionFinder):
    """The directions of a vector's own derivative, or of a mixture of its own with the mean one.

    A single derivative costs a pass forward and one backward a score. It fits the face, but is noisy: networks wiggle
    at small scale, and a share of the mean steadies it. Samples are not grouped.

    After ``fit``, ``directions_`` holds the directions of the mean derivative, and ``metrics_`` those of
    ``MeanJacobianFinder``.

    Args:
        num_jacobians: samples of the mean derivative, at least 1.
        share: of a vector's own derivative, above 0 and at most 1; the rest is the mean one.
        decorrelate, damping, steadiness: see ``MeanJacobianFinder``.
    """

    pointwise: ClassVar[bool] = True

    def __init__(
        self,
        num_jacobians: int = 1000,
        share: float = 0.5,
        decorrelate: Decorrelate = "all",
        damping: float = 0.0,
        steadiness: float = 3.0,
    ) -> None:
        self.num_jacobians = num_jacobians
        self.share = share
        self.decorrelate = decorrelate
        self.damping = damping
        self.steadiness = steadiness

    def _fit(self, samples: Samples) -> None:
        """Takes the mean derivative; see ``DirectionFinder.fit``. Groups are of no effect."""
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected above 0 and at most 1")
        if self.num_jacobians < 1:
            raise ValueError(f"num_jacobians is {self.num_jacobians}, expected at least 1")
        num = min(self.num_jacobians, len(samples.X))
        own = derivatives(samples, samples.X[:num], 0, num)
        mean, costs = own.mean(axis=0), steady_costs(samples.metric, own, self.steadiness)
        directions = steps(mean, samples.names, samples.edited, self.decorrelate, costs, self.damping)[:, None]
        self.metrics_ = agreement_metrics(samples, cosine(own, mean).mean(axis=0), num)
        state = {"mean": mean.astype(np.float32)}
        if costs.inverse is not None:
            state["inverse_metric"] = costs.inverse.astype(np.float32)
        self.restore(directions, [ALL], samples.names, samples.edited, state, samples.jacobian)

    def _restore(self, names: Sequence[str], edited: Sequence[str], jacobian: Jacobian | None) -> None:
        """``state_`` has the mean derivative and the metric's inverse."""
        self.jacobian_, self.names_, self.edited_ = jacobian, tuple(names), tuple(edited)
        self.costs_ = Costs(None, self.directions_.shape[2])
        self.costs_.inverse = self.state_.get("inverse_metric")

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The directions at ``x`` ``[D]``, see ``DirectionFinder.direction``."""
        super().direction(x, group)  # checks x and group
        own = take(self.jacobian_, np.asarray(x, dtype=np.float32)[None], len(self.names_))[0].astype(np.float64)
        response = self.share * own + (1 - self.share) * self.state_["mean"]
        found = steps(response, self.names_, self.edited_, self.decorrelate, self.costs_, self.damping)
        return found.astype(np.float32)

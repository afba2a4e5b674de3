"""Directions from a face's own derivatives, steadied by the mean ones; see ``mean_jacobian``."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import ALL, DirectionFinder, Jacobian, Progress, validate_inputs
from ohlora_gan.directions.decorrelate import Costs, Decorrelate, steps
from ohlora_gan.directions.mean_jacobian import BATCH, cosine, steady_costs, take
from ohlora_gan.vocabulary import EDITED_PROPERTIES, PROPERTIES


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

    def fit(
        self,
        X: ArrayLike,
        scores: ArrayLike,
        groups: ArrayLike | None = None,
        progress: Progress | None = None,
        names: Sequence[str] = PROPERTIES,
        edited: Sequence[str] = EDITED_PROPERTIES,
        jacobian: Jacobian | None = None,
        metric: ArrayLike | None = None,
    ) -> "LocalJacobianFinder":
        """Takes the mean derivative; see ``DirectionFinder.fit``. Groups are of no effect."""
        X, scores, _ = validate_inputs(X, scores, groups, names, edited)
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected above 0 and at most 1")
        if self.num_jacobians < 1:
            raise ValueError(f"num_jacobians is {self.num_jacobians}, expected at least 1")
        sampled, derivatives = X[: self.num_jacobians], []
        for start in range(0, len(sampled), BATCH):
            derivatives.append(take(jacobian, sampled[start : start + BATCH], len(names)))
            if progress is not None:
                progress(min(start + BATCH, len(sampled)), len(sampled))
        own = np.concatenate(derivatives).astype(np.float64)
        mean = own.mean(axis=0)
        costs = steady_costs(metric, own, self.steadiness)
        directions = steps(mean, names, edited, self.decorrelate, costs, self.damping)[:, None]
        agreement = cosine(own, mean).mean(axis=0)
        self.metrics_ = {f"jacobian_{name}_agreement": float(agreement[names.index(name)]) for name in edited}
        self.metrics_["num_jacobians"] = len(own)
        state = {"mean": mean.astype(np.float32)}
        if costs.inverse is not None:
            state["inverse_metric"] = costs.inverse.astype(np.float32)
        return self.restore(directions, [ALL], names, edited, state, jacobian)

    def restore(
        self,
        directions: np.ndarray,
        group_names: Sequence[str],
        names: Sequence[str],
        edited: Sequence[str],
        state: Mapping[str, np.ndarray],
        jacobian: Jacobian | None = None,
        metric: ArrayLike | None = None,
    ) -> "LocalJacobianFinder":
        """See ``DirectionFinder.restore``; ``state`` has the mean derivative and the metric's inverse."""
        super().restore(directions, group_names, names, edited, state)
        self.jacobian_, self.names_, self.edited_ = jacobian, tuple(names), tuple(edited)
        self.costs_ = Costs(None, self.directions_.shape[2])
        self.costs_.inverse = self.state_.get("inverse_metric")
        return self

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The directions at ``x`` ``[D]``, see ``DirectionFinder.direction``."""
        super().direction(x, group)  # checks x and group
        own = take(self.jacobian_, np.asarray(x, dtype=np.float32)[None], len(self.names_))[0].astype(np.float64)
        response = self.share * own + (1 - self.share) * self.state_["mean"]
        found = steps(response, self.names_, self.edited_, self.decorrelate, self.costs_, self.damping)
        return found.astype(np.float32)

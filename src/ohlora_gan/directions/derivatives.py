"""Directions from derivatives: of small networks from vector to score, or of the scores of generated pictures.

The former is the method of Oh-LoRA, with dropout off where the network is differentiated.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from ohlora_gan import rng
from ohlora_gan.directions.base import (
    ALL,
    Costs,
    Decorrelate,
    DirectionFinder,
    Jacobian,
    Samples,
    check_metric,
    members,
    steps,
)

Train = Callable[[np.ndarray, np.ndarray, str, tqdm | None], tuple[dict[str, np.ndarray], Mapping[str, float | None]]]
"""``(X [n, D], scores [n], stream, progress) -> (tensors by name, figures)``, see `training.gradient_net`."""

LAYERS = ("fc1.0", "fc2.0", "fc_final")
KEYS = tuple(f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias"))
"""The tensors of a net with two hidden tanh layers and one output, by the names that its training gives them."""

CHUNK = 4096  # vectors whose activations are in memory at a time
TINY = np.finfo(np.float32).tiny


class GradientFinder(DirectionFinder):
    """One network a property, from vector to score; a vector's direction is the network's gradient there.

    The samples are not grouped: a network sees where in the space it is. After ``fit``, ``metrics_`` holds what the
    training says of each net on its test samples, named ``nn_{property}_{figure}``: ``mse``, ``mae``, ``rmse``,
    ``corr``, ``epochs``. ``state_`` holds the nets' tensors, named ``{property}.{tensor}``.

    Args:
        train: trains a net, called once a property. None makes a finder that can be restored, but not fitted.
    """

    pointwise: ClassVar[bool] = True

    def __init__(self, train: Train | None = None) -> None:
        self.train = train

    def _fit(self, samples: Samples) -> None:
        X, names, edited = samples.X, samples.names, samples.edited
        if self.train is None:
            raise ValueError("train is None: a gradient finder without training can only be restored")
        columns = {prop: samples.of(prop) for prop in edited}
        for prop, values in columns.items():
            if values.min() == values.max():
                raise ValueError(f"all {len(X)} samples have the same {prop} score: nothing to learn")
        state: dict[str, np.ndarray] = {}
        self.metrics_ = {}
        for prop, values in columns.items():
            weights, figures = self.train(X, values, f"gradient/{prop}", samples.progress)
            state |= {f"{prop}.{key}": weights[key] for key in KEYS}
            self.metrics_ |= {f"nn_{prop}_{figure}": value for figure, value in figures.items()}
        means = [_mean_direction(_net(state, prop), X, prop) for prop in edited]
        self.restore(np.array(means)[:, None], [ALL], names, edited, state)

    def _restore(self, names: Sequence[str], edited: Sequence[str], jacobian: Jacobian | None) -> None:
        missing = [f"{prop}.{key}" for prop in edited for key in KEYS if f"{prop}.{key}" not in self.state_]
        if missing:
            raise ValueError(
                f"the gradient nets lack {len(missing)} tensors, {missing[0]} first: find the directions anew"
            )
        self.nets_ = [_net(self.state_, prop) for prop in edited]

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        super().direction(x, group)  # checks x and group
        gradients = np.concatenate([input_gradients(net, np.asarray(x)[None]) for net in self.nets_])
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        # so far from the samples that every tanh is flat in float32, the samples' mean is all there is
        return np.where(norms > 0, gradients / np.maximum(norms, TINY), self.directions_[:, 0])


def input_gradients(net: Mapping[str, np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """The gradients, float32 ``[m, D]``, of a net's score (its tensors are those of `KEYS`) at vectors ``[m, D]``."""
    wide = np.tanh(np.asarray(vectors, dtype=np.float32) @ net["fc1.0.weight"].T + net["fc1.0.bias"])
    narrow = np.tanh(wide @ net["fc2.0.weight"].T + net["fc2.0.bias"])
    of_narrow = net["fc_final.weight"] * (1 - narrow**2)
    of_wide = of_narrow @ net["fc2.0.weight"] * (1 - wide**2)
    return of_wide @ net["fc1.0.weight"]


def _net(state: Mapping[str, np.ndarray], prop: str) -> dict[str, np.ndarray]:
    return {key: np.asarray(state[f"{prop}.{key}"], dtype=np.float32) for key in KEYS}


def _mean_direction(net: Mapping[str, np.ndarray], X: np.ndarray, prop: str) -> np.ndarray:
    """The mean of the unit gradients at the samples, of unit norm, float32 ``[D]``."""
    total = np.zeros(X.shape[1])
    for start in range(0, len(X), CHUNK):
        gradients = input_gradients(net, X[start : start + CHUNK])
        total += (gradients / np.maximum(np.linalg.norm(gradients, axis=1, keepdims=True), TINY)).sum(axis=0)
    norm = np.linalg.norm(total)
    if not norm > 0:
        raise ValueError(f"the net that predicts {prop} does not depend on its vector: raise n or max_epochs")
    return (total / norm).astype(np.float32)


# --- A method of its own for each property ---


class MixedFinder(DirectionFinder):
    """Finds each property's directions with the finder that is named for it.

    Where some finders group the samples and others do not, ``directions_`` repeats an ungrouped direction in every
    group. ``metrics_`` merges those of the finders: numbers named after their property stay, any other number becomes
    ``{property: number}``, and dictionaries are united. ``state_`` has a finder's state under ``{property}.{name}``.

    Args:
        finders: property -> finder, at least for what is edited; others are of no effect. They stay as they are: each
            property is fitted with a copy.
    """

    def __init__(self, finders: Mapping[str, DirectionFinder]) -> None:
        self.finders = finders

    @property
    def pointwise(self) -> bool:  # type: ignore[override]
        """Whether the direction of any property depends on the point."""
        return any(finder.pointwise for finder in self.finders.values())

    @property
    def differentiates(self) -> bool:  # type: ignore[override]
        """Whether the finder of any property does."""
        return any(finder.differentiates for finder in self.finders.values())

    def _fit(self, samples: Samples) -> None:
        parts = self._copies(samples.edited)
        for prop, part in parts.items():
            part._fit(replace(samples, edited=(prop,)))
        groupings = [part.group_names_ for part in parts.values()]
        self.group_names_ = next((grouping for grouping in groupings if grouping != [ALL]), [ALL])
        shape = (1, len(self.group_names_), samples.X.shape[1])
        self.directions_ = np.concatenate([np.broadcast_to(part.directions_, shape) for part in parts.values()])
        self.metrics_ = merged({prop: part.metrics_ for prop, part in parts.items()})
        self.state_ = {f"{prop}.{key}": value for prop, part in parts.items() for key, value in part.state_.items()}
        self.parts_ = parts

    def _restore(self, names: Sequence[str], edited: Sequence[str], jacobian: Jacobian | None) -> None:
        self.parts_ = self._copies(edited)
        for i, (prop, part) in enumerate(self.parts_.items()):
            own = {k.removeprefix(f"{prop}."): value for k, value in self.state_.items() if k.startswith(f"{prop}.")}
            part.restore(self.directions_[i : i + 1], self.group_names_, names, [prop], own, jacobian)

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        super().direction(x, group)  # checks x and group
        return np.concatenate([part.direction(x, group) for part in self.parts_.values()])

    def _copies(self, edited: Sequence[str]) -> dict[str, DirectionFinder]:
        missing = [prop for prop in edited if prop not in self.finders]
        if missing:
            raise ValueError(
                f"method mixed has no finder for {', '.join(missing)}: give one with "
                f"'+method.finder.finders.{missing[0]}=${{method.parts.svm.finder}}', or edit other properties"
            )
        return {prop: copy(self.finders[prop]) for prop in edited}


def merged(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The metrics of one finder a property as those of one finder, see ``MixedFinder``."""
    result: dict[str, Any] = {}
    for prop, of_property in metrics.items():
        for key, value in of_property.items():
            if f"_{prop}_" in key:
                result[key] = value
            else:
                result[key] = result.get(key, {}) | (value if isinstance(value, Mapping) else {prop: value})
    return result


# --- The derivatives of a generated picture's scores in each latent value ---


BATCH = 50
"""Vectors whose derivatives are asked for at once."""
STREAM = "mean_jacobian/edits"
ROUNDING = 1e-10
"""Share of the derivatives' squares below which their variance is but rounding, which nothing may be scaled up from."""


class MeanJacobianFinder(DirectionFinder):
    """The directions of the mean derivative over samples, and over where edits take them.

    A score bends along the way of an edit. So derivatives are taken twice: at the samples, which gives first
    directions, and where random strengths along all of these together take the samples. The mean of the latter tells
    what edits of that length do, and their variance also holds what a face's derivative changes by on the way.

    After ``fit``, ``metrics_`` holds ``jacobian_{property}_agreement``: the mean cosine of a sample's own derivative
    with the mean one (mean over groups), and ``num_jacobians``.

    Args:
        num_jacobians: samples whose derivatives are taken, the first ones of each group; at least 1 a group.
        decorrelate: ``none``, ``all``, or names of scores that are to stay.
        damping: see ``decorrelate.steps``.
        steadiness: at least 0; how much a step costs for what it does to some faces and not to others: so many times
            the derivatives' variance over samples (with a mean eigenvalue of 1, like the metric) is added to the
            metric.
        reach: how far edits take samples at most, in units of the scores (sigmas), at least 0; 0 looks at the samples
            alone.
    """

    differentiates: ClassVar[bool] = True

    def __init__(
        self,
        num_jacobians: int = 1000,
        decorrelate: Decorrelate = "all",
        damping: float = 0.0,
        steadiness: float = 10.0,
        reach: float = 2.0,
    ) -> None:
        self.num_jacobians = num_jacobians
        self.decorrelate = decorrelate
        self.damping = damping
        self.steadiness = steadiness
        self.reach = reach

    def _fit(self, samples: Samples) -> None:
        if not self.reach >= 0:
            raise ValueError(f"reach is {self.reach}, expected at least 0")
        rows = spread_evenly(members(samples.groups, len(samples.X)), self.num_jacobians)
        total = sum(map(len, rows.values())) * (2 if self.reach else 1)
        samples.expect(total)
        found, agreements = [], []
        for of_group in rows.values():
            codes = samples.X[of_group]
            own, directions = self._look(samples, codes)
            if self.reach:
                mean = own.mean(axis=0)[[samples.names.index(name) for name in samples.edited]]
                slopes = np.einsum("kd,kd->k", mean, directions)
                edited = codes + random_edits(of_group, directions, slopes, self.reach)
                own, directions = self._look(samples, edited)
            agreements.append(agreement(own))
            found.append(directions)
        self.group_names_ = list(rows)
        self.directions_ = np.stack(found, axis=1).astype(np.float32)
        self.metrics_ = agreement_metrics(samples, np.mean(agreements, axis=0), total)

    def _look(self, samples: Samples, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Derivatives at vectors, and the directions by their mean, ``[k, D]``."""
        own = derivatives(samples, codes)
        costs = steady_costs(samples.geometry.metric, own, self.steadiness)
        return own, steps(own.mean(axis=0), samples.names, samples.edited, self.decorrelate, costs, self.damping)


def derivatives(samples: Samples, codes: np.ndarray) -> np.ndarray:
    """The scores' derivatives at vectors ``[m, D]``, float64 ``[m, P, D]``."""
    found = []
    for start in range(0, len(codes), BATCH):
        found.append(take(samples.geometry.jacobian, codes[start : start + BATCH], len(samples.names)))
        samples.tell(len(found[-1]))
    return np.concatenate(found).astype(np.float64)


def random_edits(rows: np.ndarray, directions: np.ndarray, slopes: np.ndarray, reach: float) -> np.ndarray:
    """Steps float32 ``[m, D]`` along all directions ``[k, D]`` together, by strengths even in minus to plus ``reach``.

    They depend on the samples' numbers ``rows`` alone; ``slopes`` ``[k]`` is what a unit of length along each brings.
    """
    strengths = [rng.stream(0, STREAM, int(row)).uniform(-reach, reach, len(directions)) for row in rows]
    return (np.stack(strengths) @ (directions / slopes[:, None])).astype(np.float32)


def agreement(own: np.ndarray) -> np.ndarray:
    """The mean cosine ``[P]`` of samples' derivatives ``[m, P, D]`` with their mean."""
    mean = own.mean(axis=0)
    norms = np.linalg.norm(own, axis=2) * np.linalg.norm(mean, axis=1)
    return (np.einsum("mpd,pd->mp", own, mean) / np.maximum(norms, np.finfo(np.float64).tiny)).mean(axis=0)


def agreement_metrics(samples: Samples, cosines: np.ndarray, num_jacobians: int) -> dict[str, float]:
    """``metrics_`` from the mean cosines ``[P]``, see ``MeanJacobianFinder``."""
    named = dict(zip(samples.names, cosines.tolist(), strict=True))
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


# --- A face's own derivatives, steadied by the mean ones ---


class LocalJacobianFinder(DirectionFinder):
    """The directions of a vector's own derivative, or of a mixture of its own with the mean one.

    A single derivative costs a pass forward and one backward a score. It fits the face, but is noisy: networks wiggle
    at small scale, and a share of the mean steadies it. Samples are not grouped.

    After ``fit``, ``directions_`` holds the directions of the mean derivative. For ``metrics_`` and the other settings
    see ``MeanJacobianFinder``.

    Args:
        num_jacobians: samples of the mean derivative, at least 1.
        share: of a vector's own derivative, above 0 and at most 1; the rest is the mean one.
    """

    pointwise: ClassVar[bool] = True
    differentiates: ClassVar[bool] = True

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
        if not 0 < self.share <= 1:
            raise ValueError(f"share is {self.share}, expected above 0 and at most 1")
        if self.num_jacobians < 1:
            raise ValueError(f"num_jacobians is {self.num_jacobians}, expected at least 1")
        num = min(self.num_jacobians, len(samples.X))
        samples.expect(num)
        own = derivatives(samples, samples.X[:num])
        mean, costs = own.mean(axis=0), steady_costs(samples.geometry.metric, own, self.steadiness)
        directions = steps(mean, samples.names, samples.edited, self.decorrelate, costs, self.damping)[:, None]
        self.metrics_ = agreement_metrics(samples, agreement(own), num)
        state = {"mean": mean.astype(np.float32)}
        if costs.inverse is not None:
            state["inverse_metric"] = costs.inverse.astype(np.float32)
        self.restore(directions, [ALL], samples.names, samples.edited, state, samples.geometry.jacobian)

    def _restore(self, names: Sequence[str], edited: Sequence[str], jacobian: Jacobian | None) -> None:
        """``state_`` has the mean derivative and the metric's inverse."""
        self.jacobian_, self.names_, self.edited_ = jacobian, tuple(names), tuple(edited)
        self.costs_ = Costs(None, self.directions_.shape[2])
        self.costs_.inverse = self.state_.get("inverse_metric")

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        super().direction(x, group)  # checks x and group
        own = take(self.jacobian_, np.asarray(x, dtype=np.float32)[None], len(self.names_))[0].astype(np.float64)
        response = self.share * own + (1 - self.share) * self.state_["mean"]
        found = steps(response, self.names_, self.edited_, self.decorrelate, self.costs_, self.damping)
        return found.astype(np.float32)

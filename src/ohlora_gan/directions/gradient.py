"""Directions by the input gradient of small networks that predict a score from a vector.

The method of the published Oh-LoRA system, with dropout off where the network is differentiated.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from ohlora_gan.directions.base import ALL, DirectionFinder, Jacobian, Samples

Train = Callable[[np.ndarray, np.ndarray, str, tqdm | None], tuple[dict[str, np.ndarray], Mapping[str, float | None]]]
"""``(X [n, D], scores [n], stream, progress) -> (tensors by name, figures)``, see `training.gradient_net`."""

LAYERS = ("fc1.0", "fc2.0", "fc_final")
KEYS = tuple(f"{layer}.{kind}" for layer in LAYERS for kind in ("weight", "bias"))
"""The tensors of a net with two hidden tanh layers and one output, by the names that its training gives them."""

CHUNK = 4096  # vectors whose activations are in memory at a time
TINY = np.finfo(np.float32).tiny


class GradientFinder(DirectionFinder):
    """One network a property, from vector to score; a vector's direction is the network's gradient there.

    The samples are not grouped: a network sees where in the space it is. ``directions_`` are the means of the samples'
    directions. After ``fit``, ``metrics_`` holds what the training says of each net on its test samples, named
    ``nn_{property}_{figure}``: ``mse``, ``mae``, ``rmse``, ``corr``, ``epochs``. ``state_`` holds the nets' tensors,
    named ``{property}.{tensor}``.

    Args:
        train: trains a net, called once a property. None makes a finder that can be restored, but not fitted.
    """

    pointwise: ClassVar[bool] = True

    def __init__(self, train: Train | None = None) -> None:
        self.train = train

    def _fit(self, samples: Samples) -> None:
        """Trains k nets; see ``DirectionFinder.fit``. Groups are of no effect.

        Raises:
            ValueError: for unusable inputs or settings, for a property whose scores are all equal, and where a net does
                not depend on its vector.
        """
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
        """``state_`` must hold the tensors of every edited property's net."""
        missing = [f"{prop}.{key}" for prop in edited for key in KEYS if f"{prop}.{key}" not in self.state_]
        if missing:
            raise ValueError(
                f"the gradient nets lack {len(missing)} tensors, {missing[0]} first: find the directions anew"
            )
        self.nets_ = [_net(self.state_, prop) for prop in edited]

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The nets' gradients at ``x`` ``[D]``, of unit norm, float32 ``[k, D]``; see ``DirectionFinder.direction``."""
        super().direction(x, group)  # checks x and group
        gradients = np.concatenate([input_gradients(net, np.asarray(x)[None]) for net in self.nets_])
        norms = np.linalg.norm(gradients, axis=1, keepdims=True)
        # so far from the samples that every tanh is flat in float32, the samples' mean is all there is
        return np.where(norms > 0, gradients / np.maximum(norms, TINY), self.directions_[:, 0])


def input_gradients(net: Mapping[str, np.ndarray], vectors: np.ndarray) -> np.ndarray:
    """The gradient of a net's score in its vector, by the chain rule.

    Args:
        net: the tensors of `KEYS`.
        vectors: ``[m, D]``.

    Returns:
        float32 ``[m, D]``.
    """
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

    def _fit(self, samples: Samples) -> None:
        """Fits a finder a property; see ``DirectionFinder.fit``.

        Raises:
            ValueError: where an edited property has no finder, and for what its finder refuses.
        """
        edited = samples.edited
        parts = self._copies(edited)
        given = samples.X, samples.scores, samples.groups
        for prop, part in parts.items():
            part.fit(*given, samples.progress, samples.names, [prop], samples.geometry)
        groupings = [part.group_names_ for part in parts.values()]
        self.group_names_ = next((grouping for grouping in groupings if grouping != [ALL]), [ALL])
        shape = (1, len(self.group_names_), samples.X.shape[1])
        self.directions_ = np.concatenate([np.broadcast_to(part.directions_, shape) for part in parts.values()])
        self.metrics_ = merged({prop: part.metrics_ for prop, part in parts.items()})
        self.state_ = {f"{prop}.{key}": value for prop, part in parts.items() for key, value in part.state_.items()}
        self.parts_ = parts

    def _restore(self, names: Sequence[str], edited: Sequence[str], jacobian: Jacobian | None) -> None:
        """Restores a finder a property, each with its own directions and its part of the state."""
        self.parts_ = self._copies(edited)
        for i, (prop, part) in enumerate(self.parts_.items()):
            own = {k.removeprefix(f"{prop}."): value for k, value in self.state_.items() if k.startswith(f"{prop}.")}
            part.restore(self.directions_[i : i + 1], self.group_names_, names, [prop], own, jacobian)

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """Each property's direction as its finder gives it; see ``DirectionFinder.direction``."""
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
    """The metrics of one finder a property as those of one finder, see `MixedFinder`."""
    result: dict[str, Any] = {}
    for prop, of_property in metrics.items():
        for key, value in of_property.items():
            if f"_{prop}_" in key:
                result[key] = value
            else:
                result[key] = result.get(key, {}) | (value if isinstance(value, Mapping) else {prop: value})
    return result

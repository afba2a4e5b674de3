"""Directions by the input gradient of small networks that predict a score from a vector.

The method of the published Oh-LoRA system, with dropout off where the network is differentiated.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import ALL, DirectionFinder, Jacobian, Progress, Samples
from ohlora_gan.directions.parts_progress import PartsProgress

Train = Callable[
    [np.ndarray, np.ndarray, str, Progress | None], tuple[dict[str, np.ndarray], Mapping[str, float | None]]
]
"""``(X [n, D], scores [n], stream, progress) -> (tensors by name, figures)``, see `training.vector_regressor`."""

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
        report = PartsProgress(samples.progress, len(columns))
        for prop, values in columns.items():
            weights, figures = self.train(X, values, f"gradient/{prop}", report)
            report.next()
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

"""Directions by linear models: the normal of a plane between high and low scores, and ridge regression.

Planes are the method of InterFaceGAN (Shen et al. 2020) and HiGAN (arXiv 1911.09267), fitted separately in each group
of look-alikes as in Oh-LoRA.
"""

import warnings
from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.svm import LinearSVC

from ohlora_gan import rng
from ohlora_gan.directions.base import Costs, Decorrelate, DirectionFinder, Samples, held_names, members, steps


class SvmFit(NamedTuple):
    """One fitted plane, and how many validation samples are on its right side."""

    direction: np.ndarray  # float64 [D], unit norm, from the low to the high scores
    num_correct: int
    num_validation: int  # 0 where every sample was trained on
    converged: bool  # whether the solver stopped before max_iter


class SvmFinder(DirectionFinder):
    """One linear SVM a group and property, between the samples with the largest and the smallest scores.

    Features are neither centred nor scaled. Fits run one after the other on purpose: liblinear draws its
    random numbers from one generator a process, so threads would let timing decide the directions.

    After ``fit``, ``metrics_`` holds ``svm_{property}_acc`` (validation accuracy over all groups together;
    None where ``train_share`` is 1), ``accuracy`` (the same a property and group), ``samples_per_class`` and
    ``num_validation`` (a group; the same for every property), ``num_fits`` and ``num_unconverged``.

    Args:
        ratio: share of a group's samples in either class, above 0 and at most 0.5.
        train_share: share of a class that is trained on, above 0; 1 trains on all and validates nothing.
        seed: of the shuffle before the split, which is its own for each group and property.
        C: inverse regularisation strength, above 0.
        max_iter: most iterations of the solver, at least 1.
        num_extreme: so many samples in either class in place of ``ratio``: the paper probes with the 2,000 highest and
            lowest of 500,000.
        decorrelate: scores that are to stay: ``none``, ``all``, or names. Each has a plane fitted, too, and a direction
            is what is left of a plane's normal beside theirs: the conditional manipulation of InterFaceGAN.
    """

    solver_seed: ClassVar[int] = 2025  # of the solver's own random order

    def __init__(
        self,
        ratio: float = 0.2,
        train_share: float = 0.8,
        seed: int = 0,
        C: float = 1.0,
        max_iter: int = 1000,
        num_extreme: int | None = None,
        decorrelate: Decorrelate = "none",
    ) -> None:
        self.ratio = ratio
        self.train_share = train_share
        self.seed = seed
        self.C = C
        self.max_iter = max_iter
        self.num_extreme = num_extreme
        self.decorrelate = decorrelate

    def _fit(self, samples: Samples) -> None:
        """Fits ``k * num_groups`` planes, and those of scores to be held; what cannot be is said before the first."""
        self._check_settings()
        X, edited, rows = samples.X, samples.edited, members(samples.groups, len(samples.X))
        self._check_sizes({name: len(group) for name, group in rows.items()})
        held = [name for name in held_names(self.decorrelate, samples.names) if name not in edited]
        fitted = (*edited, *held)
        classes = {
            (prop, name): self._select(samples.of(prop), rows[name], prop, name) for name in rows for prop in fitted
        }
        samples.expect(len(classes))
        fits = {}
        for key, (largest, smallest) in classes.items():
            num_train = int(self.train_share * len(largest))
            fits[key] = fit_plane(X, largest, smallest, num_train, self.C, self.max_iter, self.solver_seed)
            samples.tell()
        self.group_names_ = list(rows)
        planes = np.array([[fits[prop, name].direction for prop in fitted] for name in rows])  # a group at a time
        if self.decorrelate != "none":
            planes = steps(planes, fitted, edited, self.decorrelate, Costs(samples.geometry.metric, X.shape[1]))
        self.directions_ = np.stack(list(planes), axis=1).astype(np.float32)
        self.metrics_ = _metrics(fits, edited, {name: len(classes[edited[0], name][0]) for name in rows})
        if num_unconverged := self.metrics_["num_unconverged"]:
            message = f"{num_unconverged} of {len(fits)} fits stopped at max_iter={self.max_iter}: raise it"
            warnings.warn(message, ConvergenceWarning, stacklevel=3)

    def _select(self, of_property: np.ndarray, rows: np.ndarray, prop: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The samples of the two classes of one group and property, shuffled where some are held out."""
        values = of_property[rows]
        if values.min() == values.max():
            raise ValueError(
                f"all {len(rows)} samples of group {name!r} have the same {prop} score: nothing to tell apart"
            )
        largest, smallest = (rows[of_class] for of_class in extremes(values, self.ratio, self.num_extreme))
        if self.train_share < 1:
            draws = rng.stream(self.seed, f"svm/{name}/{prop}")
            largest, smallest = draws.permutation(largest), draws.permutation(smallest)
        return largest, smallest

    def _check_settings(self) -> None:
        if not 0 < self.ratio <= 0.5:
            raise ValueError(f"ratio is {self.ratio}, expected above 0 and at most 0.5")
        if self.num_extreme is not None and self.num_extreme < 1:
            raise ValueError(f"num_extreme is {self.num_extreme}, expected at least 1 sample a class, or null")
        if not 0 < self.train_share <= 1:
            raise ValueError(f"train_share is {self.train_share}, expected above 0 and at most 1")
        if not self.C > 0:
            raise ValueError(f"C is {self.C}, expected above 0")
        if self.max_iter < 1:
            raise ValueError(f"max_iter is {self.max_iter}, expected at least 1")

    def _check_sizes(self, sizes: dict[str, int]) -> None:
        needed = next(n for n in count(2) if int(self.train_share * _class_size(n, self.ratio)) >= 1)
        if self.num_extreme is not None:
            needed = 2 * self.num_extreme
        smallest = min(sizes, key=lambda name: sizes[name])
        if sizes[smallest] < needed:
            remedy = "raise n, or use groups=none" if len(sizes) > 1 else "raise n"
            raise ValueError(
                f"svm needs at least {needed} samples in every group, but of n={sum(sizes.values())} samples "
                f"the smallest group, {smallest!r}, has only {sizes[smallest]}: {remedy}"
            )


def extremes(values: np.ndarray, ratio: float, num: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The positions of the largest and of the smallest values, ascending.

    ``k = max(int(ratio * n), 1)`` each, or ``num``; with a ratio of at most 0.5 (and n at least 2), or a ``num`` of at
    most n / 2, nothing is in both. Equal values rank by position: the earlier counts as larger.
    """
    k = _class_size(len(values), ratio) if num is None else num
    order = np.argsort(-values, kind="stable")
    return np.sort(order[:k]), np.sort(order[-k:])


def _class_size(num_samples: int, ratio: float) -> int:
    return max(int(ratio * num_samples), 1)


def fit_plane(
    X: np.ndarray,
    largest: np.ndarray,
    smallest: np.ndarray,
    num_train: int,
    C: float,
    max_iter: int,
    solver_seed: int,
) -> SvmFit:
    """Separates two classes by a plane and judges it on the samples that were held out.

    Of the rows ``[k]`` of X with large and with small scores, the first ``num_train`` are trained on. Raises ValueError
    where the plane has no direction.
    """
    num_held_out = len(largest) - num_train
    train = np.concatenate([largest[:num_train], smallest[:num_train]])
    held_out = np.concatenate([largest[num_train:], smallest[num_train:]])
    model = LinearSVC(C=C, max_iter=max_iter, dual="auto", random_state=solver_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # SvmFinder counts these and warns once
        model.fit(X[train], np.repeat([0, 1], num_train))
    # Class 1 holds the small scores, as in Oh-LoRA: which class comes first decides, within the
    # solver's tolerance, where it stops. So the coefficients lower the score, and their negative raises it.
    normal = -model.coef_[0]
    norm = np.linalg.norm(normal)
    if norm == 0:
        raise ValueError("the vectors of large and of small scores are alike, so no plane separates them")
    num_correct = 0
    if num_held_out:
        num_correct = int((model.predict(X[held_out]) == np.repeat([0, 1], num_held_out)).sum())
    return SvmFit(normal / norm, num_correct, 2 * num_held_out, bool(model.n_iter_ < max_iter))


def _metrics(
    fits: dict[tuple[str, str], SvmFit], edited: Sequence[str], samples_per_class: dict[str, int]
) -> dict[str, Any]:
    names = list(samples_per_class)
    accuracies = {f"svm_{prop}_acc": _accuracy([fits[prop, name] for name in names]) for prop in edited}
    return accuracies | {
        "accuracy": {prop: {name: _accuracy([fits[prop, name]]) for name in names} for prop in edited},
        "samples_per_class": samples_per_class,
        "num_validation": {name: fits[edited[0], name].num_validation for name in names},
        "num_fits": len(fits),
        "num_unconverged": sum(not fit.converged for fit in fits.values()),
    }


def _accuracy(fits: list[SvmFit]) -> float | None:
    total = sum(fit.num_validation for fit in fits)
    return sum(fit.num_correct for fit in fits) / total if total else None


# --- Ridge regression of all scores on the vectors, of all samples instead of the extreme ones ---


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
        self,
        decorrelate: Decorrelate = "all",
        alphas: Sequence[float] = (0.001, 0.01, 0.1, 1.0),
        damping: float = 0.0,
    ) -> None:
        self.decorrelate = decorrelate
        self.alphas = alphas
        self.damping = damping

    def _fit(self, samples: Samples) -> None:
        if not self.alphas or not all(alpha > 0 for alpha in self.alphas):
            raise ValueError(f"alphas are {list(self.alphas)}, expected one or more numbers above 0")
        X, names, edited = samples.X, samples.names, samples.edited
        rows = members(samples.groups, len(X))
        small = [name for name, of_group in rows.items() if len(of_group) < 3]
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
    """Coefficients ``[P, D]`` of scores ``[n, P]`` on vectors ``[n, D]``, with the penalty that explains every fifth
    sample best, when the others are fitted; R2 ``[P]`` of these (0 for a score that is constant); the penalty."""
    X, scores = X.astype(np.float64), scores.astype(np.float64)
    center, spread = X.mean(axis=0), scores.std(axis=0)
    X, scores = X - center, (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0)  # all count alike
    unit = max(float(X.var(axis=0).mean()), np.finfo(float).tiny) * len(X)
    is_left_out = np.arange(len(X)) % 5 == 4 if len(X) >= 5 else np.arange(len(X)) == len(X) - 1
    left_out = scores[is_left_out]
    total = np.maximum(np.square(left_out - left_out.mean(axis=0)).sum(axis=0), np.finfo(float).tiny)
    explained = []
    for alpha in alphas:
        model = Ridge(alpha=alpha * unit, solver="cholesky").fit(X[~is_left_out], scores[~is_left_out])
        explained.append(1 - np.square(left_out - model.predict(X[is_left_out])).sum(axis=0) / total)
    best = int(np.argmax(np.mean(explained, axis=1)))
    model = Ridge(alpha=alphas[best] * unit, solver="cholesky").fit(X, scores)
    r2 = np.where(spread > 0, explained[best], 0.0)
    return np.atleast_2d(model.coef_) * spread[:, None], r2, float(alphas[best])

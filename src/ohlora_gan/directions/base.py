"""The contract of every direction finder: arrays in, unit directions out.

A finder sees vectors, property scores and group names. It knows no generator, no trainer and no
configuration, so a new method is one class in one file.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from ohlora_gan.names import EDITED_PROPERTIES, GROUP_PROPERTIES, PROPERTIES

ALL = "all"
"""The name of the only group where samples are not grouped."""

Jacobian = Callable[[np.ndarray], np.ndarray]
"""Vectors ``[m, D]`` to what each score does there per unit of length: float32 ``[m, P, D]``."""


@dataclass(frozen=True)
class Geometry:
    """What is known of the space besides samples: derivatives of the scores, and what a step costs.

    A step ``v`` costs ``v^T M v``; M, the metric, is symmetric and positive, float ``[D, D]``. None is the squared
    length. Methods that choose among directions with the same effect take the cheapest.
    """

    jacobian: Jacobian | None = None
    metric: ArrayLike | None = None


@dataclass(frozen=True)
class Samples:
    """What ``fit`` was given, checked; see ``DirectionFinder.fit``."""

    X: np.ndarray
    scores: np.ndarray
    groups: np.ndarray | None
    names: tuple[str, ...]
    edited: tuple[str, ...]
    progress: tqdm | None = None
    geometry: Geometry = field(default_factory=Geometry)

    def of(self, name: str) -> np.ndarray:
        """The scores ``[n]`` of one property."""
        return self.scores[:, self.names.index(name)]

    def expect(self, num: int) -> None:
        """Says that the fit has ``num`` more units of work before it."""
        if self.progress is not None:
            self.progress.total = (self.progress.total or 0) + num

    def tell(self, num: int = 1) -> None:
        """Says that ``num`` units of work are done."""
        if self.progress is not None:
            self.progress.update(num)


class DirectionFinder(ABC):
    """Finds, in a latent space, the directions along which single properties change.

    ``__init__`` only stores its arguments; ``fit`` validates everything and sets the attributes below.

    Attributes:
        directions_: float32 ``[k, num_groups, D]``, one a property of ``edited``, in its order. Unit norm, and of
            positive sign: moving along a direction raises the score.
        group_names_: the names along axis 1; ``["all"]`` where the samples are not grouped.
        metrics_: how good the fit is, plain numbers, strings and dictionaries of them. A number that belongs
            to a property carries it in its name (``svm_eyes_acc``), so that tables find it.
        state_: what ``direction`` needs besides ``directions_``, for methods whose direction depends on the point.
        pointwise: whether it does. ``directions_`` then is the mean over samples, of unit norm.
        differentiates: whether it asks for the scores' derivatives.
    """

    pointwise: ClassVar[bool] = False
    differentiates: ClassVar[bool] = False
    directions_: np.ndarray
    group_names_: list[str]
    metrics_: dict[str, Any]
    state_: Mapping[str, np.ndarray] = MappingProxyType({})

    def fit(
        self,
        X: ArrayLike,
        scores: ArrayLike,
        groups: ArrayLike | None = None,
        progress: tqdm | None = None,
        names: Sequence[str] = PROPERTIES,
        edited: Sequence[str] = EDITED_PROPERTIES,
        geometry: Geometry | None = None,
    ) -> "DirectionFinder":
        """Finds the directions; returns the finder itself.

        Args:
            X: vectors, float ``[n, D]``.
            scores: property scores, float ``[n, P]``.
            groups: ``[n]`` group names, or None for one group of all samples.
            progress: a bar, whose total grows by the units of work that the fit has.
            names: what the P columns of ``scores`` are.
            edited: the k properties for which directions are sought, all among ``names``.
            geometry: what is known of the space; None: nothing.

        Raises:
            ValueError: where the inputs or the settings are unusable; one sentence that names the remedy.
        """
        X, scores, groups = _checked(X, scores, groups, names)
        check_edited(edited, names)
        self._fit(Samples(X, scores, groups, tuple(names), tuple(edited), progress, geometry or Geometry()))
        return self

    @abstractmethod
    def _fit(self, samples: Samples) -> None:
        """Checks the settings, finds the directions, and sets the attributes above."""

    def restore(
        self,
        directions: np.ndarray,
        group_names: Sequence[str],
        names: Sequence[str],
        edited: Sequence[str],
        state: Mapping[str, np.ndarray],
        jacobian: Jacobian | None = None,
    ) -> "DirectionFinder":
        """Makes a finder usable again from what ``fit`` had set, as a file keeps it; see ``fit`` for the rest."""
        self.directions_, self.group_names_ = np.asarray(directions, dtype=np.float32), list(group_names)
        self.state_ = dict(state)
        self._restore(names, edited, jacobian)
        return self

    def _restore(self, names: Sequence[str], edited: Sequence[str], jacobian: Jacobian | None) -> None:
        """Sets what ``direction`` needs besides, from ``directions_`` and ``state_``."""
        return

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray:
        """The directions that apply to one latent, float32 ``[k, D]``, unit norm, properties in the order of ``fit``.

        Args:
            x: the latent's vector, ``[D]``. Methods whose direction depends on the point override this.
            group: the latent's group; of no effect where the samples were not grouped.

        Raises:
            ValueError: before ``fit``, for a vector of another size, or for a group that ``fit`` did not see.
        """
        if not hasattr(self, "directions_"):
            raise ValueError(f"{type(self).__name__} has no directions yet, call fit first")
        size = self.directions_.shape[2]
        if np.shape(x) != (size,):
            raise ValueError(f"x has shape {list(np.shape(x))}, expected [{size}]")
        if self.group_names_ == [ALL]:
            return self.directions_[:, 0]
        if group not in self.group_names_:
            raise ValueError(f"group is {group!r}, expected one of {', '.join(self.group_names_)}")
        return self.directions_[:, self.group_names_.index(group)]


def _checked(
    X: ArrayLike, scores: ArrayLike, groups: ArrayLike | None, names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """What ``fit`` is given as arrays, without a copy where they are arrays already: X and scores float, groups str."""
    X, scores = _float_array(X), _float_array(scores)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X has shape {list(X.shape)}, expected [n, D] with n and D at least 1")
    if scores.ndim != 2 or scores.shape[1] != len(names):
        raise ValueError(f"scores have shape {list(scores.shape)}, expected [n, {len(names)}]")
    if len(scores) != len(X):
        raise ValueError(f"X has {len(X)} samples but scores have {len(scores)}")
    for name, values in (("X", X), ("scores", scores)):
        num_bad = values.size - np.count_nonzero(np.isfinite(values))
        if num_bad:
            raise ValueError(f"{name}: {num_bad} of {values.size} values are not finite")
    if groups is not None:
        groups = np.asarray(groups).astype(str)
        if groups.shape != (len(X),):
            raise ValueError(f"groups have shape {list(groups.shape)}, expected [{len(X)}]")
    return X, scores, groups


def _float_array(values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    return array if array.dtype.kind == "f" else array.astype(np.float64)


def check_edited(edited: Sequence[str], names: Sequence[str]) -> None:
    """Raises ValueError where a property that is to be edited is not scored, or none is given."""
    unknown = [name for name in edited if name not in names]
    if unknown or not edited:
        asked = ", ".join(unknown) if unknown else "none"
        raise ValueError(f"properties to edit: {asked}, expected some of what the scorer measures: {', '.join(names)}")


# --- Groups of look-alikes: faces split at the medians of some properties, by default the published four ---


REFERENCE_MEDIANS = dict(zip(GROUP_PROPERTIES, (-0.4315, 0.5685, 0.6753, 0.0372), strict=True))
"""The medians of Oh-LoRA v3.1, in units of the normalised scores."""


def all_group_names(num_letters: int = len(GROUP_PROPERTIES)) -> list[str]:
    """The names from ``hhhh`` to ``llll``: 16, or ``2 ** num_letters``, a letter a grouping property."""
    return ["".join(letters) for letters in product("hl", repeat=num_letters)]


def medians(
    scores: ArrayLike, names: Sequence[str] = PROPERTIES, group_by: Sequence[str] = GROUP_PROPERTIES
) -> dict[str, float]:
    """The medians of the grouping properties over scores ``[n, P]`` of ``names``, in float64.

    Raises:
        ValueError: for no samples, scores of another shape, or a grouping property that is not scored.
    """
    columns = _columns(scores, names, group_by)
    if len(columns) == 0:
        raise ValueError("medians need at least one sample, got none")
    return dict(zip(group_by, np.median(columns, axis=0).tolist(), strict=True))


def group_names(
    scores: ArrayLike, medians: Mapping[str, float] = REFERENCE_MEDIANS, names: Sequence[str] = PROPERTIES
) -> np.ndarray:
    """The group of every sample, str ``[n]``: a letter a median, ``h`` where a score is at least it, else ``l``.

    A row of NaN, a face of which nothing is known, counts as one at the medians.

    Raises:
        ValueError: for scores of another shape or not finite, or a grouping property that is not scored.
    """
    columns = _columns(scores, names, tuple(medians))
    num_bad = np.count_nonzero(~np.isfinite(columns[~np.isnan(np.asarray(scores)).all(axis=1)]))
    if num_bad:
        raise ValueError(f"scores: {num_bad} of {columns.size} values that decide on groups are not finite")
    # In float64: a median rounded to float32 is another number, and scores at the median would change sides.
    is_low = columns < np.array(list(medians.values()), dtype=np.float64)
    weights = 2 ** np.arange(len(medians))[::-1]
    return np.array(all_group_names(len(medians)))[is_low @ weights]


def _columns(scores: ArrayLike, names: Sequence[str], group_by: Sequence[str]) -> np.ndarray:
    """The grouping properties' scores, float64 ``[n, len(group_by)]``."""
    array = np.asarray(scores).astype(np.float64)
    if array.ndim != 2 or array.shape[1] != len(names):
        raise ValueError(f"scores have shape {list(array.shape)}, expected [n, {len(names)}]")
    check_group_by(group_by, names)
    return array[:, [names.index(name) for name in group_by]]


def check_group_by(group_by: Sequence[str], names: Sequence[str]) -> None:
    """Raises ValueError where a grouping property is not scored, or none is given."""
    some = f"some of {', '.join(names)}"
    if not group_by:
        raise ValueError(f"group_by is empty: give groups=none, or {some}")
    if unknown := [name for name in group_by if name not in names]:
        raise ValueError(
            f"the scorer does not measure {', '.join(unknown)}, which faces are to be grouped by: give groups=none, "
            f"or group_by=[...] with {some}"
        )


def members(groups: np.ndarray | None, num_samples: int) -> dict[str, np.ndarray]:
    """The indices of each group's samples, ascending; ``groups`` is ``[num_samples]`` names, or None for one ``all``.

    Names like ``hlhh`` stand for all groups of so many letters, so that a group nobody belongs to shows up empty
    instead of being missed later. Other names stand for themselves, sorted.
    """
    if groups is None:
        return {ALL: np.arange(num_samples)}
    names = sorted(set(groups.tolist()))
    lengths = {len(name) for name in names}
    if len(lengths) == 1 and all(re.fullmatch("[hl]+", name) for name in names):
        names = all_group_names(*lengths)
    return {name: np.flatnonzero(groups == name) for name in names}


# --- Steps that change one score and leave others: the pseudo-inverse of what scores do along each latent ---


Decorrelate = str | Sequence[str]
"""``"none"``, ``"all"``, or the names of the scores that are to stay."""


class Costs:
    """Applies ``M^-1`` of a metric, symmetric positive ``[D, D]``; None is the identity.

    Raises:
        ValueError: for another shape or a matrix that is not positive.
    """

    def __init__(self, metric: ArrayLike | None, size: int) -> None:
        self.inverse: np.ndarray | None = None
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
        return rows if self.inverse is None else rows @ self.inverse


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

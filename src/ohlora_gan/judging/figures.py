"""The judge's figures: pure functions of strengths and scores.

K strength combinations of k edited properties are a grid ``[K, k]``; the scores of N latents' pictures are
``[N, K, P]``, NaN in the row of a lost picture. A figure of a latent that lost more than half of its pictures is NaN,
and the latent is left out of means.
"""

from collections.abc import Callable, Iterable, Sequence
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ohlora_gan import rng

Floats = NDArray[np.float64]
NUM_RESAMPLES = 1000


class Interval(NamedTuple):
    """A figure and the bounds of its 95 % interval: numbers, or arrays of them; NaN where there is none."""

    value: Any
    low: Any = np.nan
    high: Any = np.nan

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @classmethod
    def of_draws(cls, value: Any, draws: NDArray[Any]) -> "Interval":
        """A figure ``[...]`` with the percentile interval of what it is in resamples ``[R, ...]``."""
        return cls(value, *np.quantile(draws, [0.025, 0.975], axis=0))

    @classmethod
    def of_means(cls, values: NDArray[Any], counts: Floats) -> "Interval":
        """The means over N rows of values ``[N, ...]``, given how often each resample draws each row, ``[R, N]``."""
        draws = counts @ values.reshape(len(values), -1).astype(np.float64) / len(values)
        return cls.of_draws(values.mean(axis=0, dtype=np.float64), draws.reshape(-1, *values.shape[1:]))


def resamples(num: int, seed: int, stream: str) -> Floats:
    """How often each of ``num`` rows is drawn in each bootstrap resample, ``[NUM_RESAMPLES, num]`` (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13); (seed, stream) decide."""
    draws = rng.stream(seed, stream)
    return draws.multinomial(num, np.full(num, 1 / num), size=NUM_RESAMPLES).astype(np.float64)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]], right: bool = False) -> str:
    """A Markdown table; all columns but the first stand to the ``right`` or to the left."""
    line = "|".join(["---", *["---:" if right else "---"] * (len(heads) - 1)])
    return "\n".join([f"| {' | '.join(heads)} |", f"|{line}|", *(f"| {' | '.join(row)} |" for row in rows)])


class Bootstrap:
    """Percentile bootstrap of means over N latents: every figure of a test uses the same resamples of latents."""

    def __init__(self, num: int, seed: int = 0) -> None:
        self.counts = resamples(num, seed, "judge/bootstrap")

    def mean(self, values: NDArray[Any], size: bool = False) -> Interval:
        """The mean of the values ``[N]`` that are not NaN, all NaN where there are none; its ``size`` is without sign,
        and so are the means of the resamples."""
        values = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(values)
        if not known.any():
            return Interval(np.nan)
        totals, nums = self.counts @ np.where(known, values, 0.0), self.counts @ known
        means, value = totals[nums > 0] / nums[nums > 0], values[known].mean()
        if size:
            means, value = np.abs(means), abs(value)
        return Interval(*map(float, Interval.of_draws(value, means)))


def share(passes: NDArray[np.bool_]) -> Interval:
    """The share of N latents that pass, with Wilson's 95 % interval (1927): honest also at 0 and for few, where a
    bootstrap has no width; all NaN for none."""
    num, num_passed, z = len(passes), int(passes.sum()), 1.96
    if not num:
        return Interval(np.nan)
    middle = (num_passed + z * z / 2) / (num + z * z)
    half = z / (num + z * z) * sqrt(num_passed * (num - num_passed) / num + z * z / 4)
    return Interval(num_passed / num, max(0.0, middle - half), min(1.0, middle + half))


def lost_pictures(scores: ArrayLike) -> np.ndarray:
    """Which pictures have no score: bool ``[...]`` of scores ``[..., P]``."""
    return np.isnan(np.asarray(scores)).any(axis=-1)


def slopes(grid: NDArray[Any], scores: NDArray[Any]) -> Floats:
    """What one unit of each strength does to each score of each latent, ``[N, k, P]``: least squares of the scores on
    all strengths and a constant, over the pictures that have scores."""
    design = np.column_stack([grid, np.ones(len(grid))])

    def fit(seen: NDArray[np.bool_], of_latent: Floats) -> Floats:
        return np.linalg.lstsq(design[seen], of_latent, rcond=None)[0][:-1]

    return _by_latent(scores, fit, (grid.shape[1], scores.shape[2]))


def linearity(grid: NDArray[Any], own: NDArray[Any], column: int) -> Floats:
    """How straight a property's score ``[N, K]`` runs along its own strength, a column of the grid: ``[N]``, 0 to 1.

    A constant and the other strengths are fitted first; of what they leave unexplained of the score, the share that
    the own strength explains as well (partial R²). 1 is a straight line, and nothing else that moves the score. NaN
    where nothing is left to explain.
    """
    others = np.column_stack([np.delete(grid, column, axis=1), np.ones(len(grid))])
    full = np.column_stack([others, grid[:, column]])

    def unexplained(design: Floats, y: Floats) -> float:
        return float(np.square(y - design @ np.linalg.lstsq(design, y, rcond=None)[0]).sum())

    def fit(seen: NDArray[np.bool_], of_latent: Floats) -> Floats:
        left = [unexplained(design[seen], of_latent[:, 0]) for design in (others, full)]
        return np.array(1 - left[1] / left[0] if left[0] > 1e-12 else np.nan)

    return _by_latent(own[..., None], fit, ())


def _by_latent(
    scores: NDArray[Any], fit: Callable[[NDArray[np.bool_], Floats], Floats], shape: tuple[int, ...]
) -> Floats:
    """``fit(which pictures have scores, these scores)`` of each latent; NaN where more than half have none."""
    results = np.full((len(scores), *shape), np.nan)
    for i, of_latent in enumerate(np.asarray(scores, dtype=np.float64)):
        seen = ~lost_pictures(of_latent)
        if 2 * seen.sum() >= len(seen):
            results[i] = fit(seen, of_latent[seen])
    return results


def leakage(
    responses: Floats, names: Sequence[str], own: str, bootstrap: Bootstrap, a_sigma_of_its_own: bool = False
) -> dict[str, Any]:
    """What else moves where the property ``own`` is asked to, in sigmas for each sigma asked for.

    Args:
        responses: what a unit of the property's strength does to every score, by latent: ``[N, P]``, see ``slopes``.
        names: what the P scores are.
        a_sigma_of_its_own: divide by the property's own mean response: for strengths that are not sigmas.

    Returns:
        ``worst``, the largest mean response of another attribute, without its sign, with its bounds as ``interval``;
        ``name``, which one; ``rms``, root mean square over all others. NaN where there is nothing else, or nothing to
        divide by.
    """
    if a_sigma_of_its_own:
        unit = abs(bootstrap.mean(responses[:, names.index(own)]).value) if own in names else np.nan
        responses = responses / (unit if unit > 0 else np.nan)
    found = {name: bootstrap.mean(responses[:, i], size=True) for i, name in enumerate(names) if name != own}
    if not found or not np.isfinite([leak.value for leak in found.values()]).all():
        return {"worst": np.nan, "name": None, "rms": np.nan, "interval": (np.nan, np.nan)}
    name, worst = max(found.items(), key=lambda item: item[1].value)
    rms = float(np.sqrt(np.mean([leak.value**2 for leak in found.values()])))
    return {"worst": worst.value, "name": name, "rms": rms, "interval": worst[1:]}


def saturation(strengths: NDArray[Any], scores: NDArray[Any]) -> tuple[float, float]:
    """Between which strengths a property goes on responding: with at least half the slope that its mean score has at 0.

    Strengths ``[S]`` of the property alone ascend, 0 among them; its scores are ``[N, S]``, NaN where lost.
    Slopes are central differences, straight between two strengths. NaN where the score does not rise at 0.
    """
    strengths = np.asarray(strengths, dtype=np.float64)
    known = ~np.isnan(scores)
    if not known.any(axis=0).all():
        return np.nan, np.nan
    mean = np.where(known, scores, 0.0).sum(axis=0, dtype=np.float64) / known.sum(axis=0)
    local = np.gradient(mean, strengths)
    middle = int(np.argmin(np.abs(strengths)))
    if not local[middle] > 0:
        return np.nan, np.nan
    share = local / local[middle] - 0.5
    return _last(strengths[middle::-1], share[middle::-1]), _last(strengths[middle:], share[middle:])


def _last(strengths: Floats, share: Floats) -> float:
    """How far one can go before ``share`` falls below 0."""
    below = np.flatnonzero(share < 0)
    if not len(below):
        return float(strengths[-1])
    i = below[0]
    return float(strengths[i - 1] + (strengths[i] - strengths[i - 1]) * share[i - 1] / (share[i - 1] - share[i]))


def passed_again(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Share of those that passed which pass again; NaN where none passed."""
    return float(second[first].mean()) if first.any() else np.nan


def draw_change(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Root mean square change of a score from one draw of the pictures to the other: how hard passing again is; NaN
    where no picture has scores in both."""
    squares = np.square(second.astype(np.float64) - first)
    known = ~np.isnan(squares)
    return float(np.sqrt(squares[known].mean())) if known.any() else np.nan


def drift(unedited: NDArray[Any], scores: NDArray[Any]) -> Floats:
    """How far each score of each latent's pictures is from the unedited face's ``[N, P]`` on average, without sign:
    ``[N, P]``. It sees what mean slopes do not, such as a score that rises in one face and falls in another."""
    return _mean_size(scores - unedited[:, None])


def miss(grid: NDArray[Any], unedited: NDArray[Any], scores: NDArray[Any]) -> Floats:
    """How far the edited scores ``[N, K, k]`` are from the face's own ``[N, k]`` plus what was asked for, in
    sigmas ``[K, k]``, on average and without sign: ``[N, k]``."""
    return _mean_size(scores - unedited[:, None] - grid)


def _mean_size(differences: NDArray[Any]) -> Floats:
    """Mean absolute value over pictures that are not lost: ``[N, K, P]`` to ``[N, P]``."""
    differences = np.abs(differences.astype(np.float64))
    seen = ~lost_pictures(differences)[..., None]
    num = seen.sum(axis=1)
    totals = np.where(seen, differences, 0.0).sum(axis=1)
    return np.where(2 * num >= differences.shape[1], totals / np.maximum(num, 1), np.nan)

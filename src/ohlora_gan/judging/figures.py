"""The figures of a test of directions, and the image generation test: do measured scores follow the intended strengths?

A latent is moved along the directions of all edited properties at once, by every combination of a few strengths, and
every picture is scored. The test of a property is the Pearson correlation of intended strength and measured score, as
in Oh-LoRA; judging directions by re-scored pictures is the verification of HiGAN (arXiv 1911.09267). A picture may
have no score, where a judge finds no face in it: its row of scores is NaN, and it is lost.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ohlora_gan import rng
from ohlora_gan.editing.moves import Mover
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES

# --- The judge's figures: pure functions of strengths and scores ---


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


def damage(
    unedited: NDArray[Any], edited: NDArray[Any], clean: NDArray[Any], bootstrap: Bootstrap
) -> dict[str, Interval]:
    """What edits do to pictures besides what was asked, by the residuals of the unedited pictures of N latents ``[N]``,
    of their edited ones ``[N, K]``, and of clean pictures ``[M]``, see ``measure.DAMAGE``; NaN for a lost picture,
    which counts as damaged where it was edited.

    Returns:
        ``ratio``: an edited picture's residual over that of the unedited one, mean; ``ratio_p95``: 95th percentile of
        the ratio; ``share``: share of the pictures whose residual is above the 99th percentile of the clean ones.
    """
    ratio = edited.astype(np.float64) / np.maximum(unedited, 1e-6)[:, None]
    over = (~(edited <= np.nanquantile(clean, 0.99))).mean(axis=1)
    num = np.isfinite(ratio).sum(axis=1)

    def highest(of: Floats) -> float:
        return float(np.nanquantile(of, 0.95)) if np.isfinite(of).any() else np.nan

    draws = np.array([highest(np.repeat(ratio, counts.astype(int), axis=0)) for counts in bootstrap.counts])
    p95 = Interval.of_draws(highest(ratio), draws[~np.isnan(draws)]) if num.any() else Interval(np.nan)
    means = np.where(num > 0, np.nansum(ratio, axis=1) / np.maximum(num, 1), np.nan)
    return {"ratio": bootstrap.mean(means), "ratio_p95": p95, "share": bootstrap.mean(over)}


def _mean_size(differences: NDArray[Any]) -> Floats:
    """Mean absolute value over pictures that are not lost: ``[N, K, P]`` to ``[N, P]``."""
    differences = np.abs(differences.astype(np.float64))
    seen = ~lost_pictures(differences)[..., None]
    num = seen.sum(axis=1)
    totals = np.where(seen, differences, 0.0).sum(axis=1)
    return np.where(2 * num >= differences.shape[1], totals / np.maximum(num, 1), np.nan)


# --- The image generation test: do the measured scores follow the intended strengths? ---


STRENGTHS: dict[str, dict[str, tuple[float, ...]]] = {
    "svm": {
        "eyes": (-1.2, 1.2),
        "mouth": (-1.8, -0.9, 0.0, 0.9, 1.8),
        "pose": (-1.8, -1.2, -0.6, 0.0, 0.6),
    },
    "gradient": {
        "eyes": (-1.2, 1.2),
        "mouth": (-1.6, -0.8, 0.0, 0.8, 1.6),
        "pose": (-1.4, -0.7, 0.0, 0.7, 1.4),
    },
}
"""The intended strengths of each published option, in lengths of a unit direction."""

PASS_THRESHOLDS = {"eyes": 0.92, "mouth": 0.88, "pose": 0.88}
"""The correlation that a property of the published test has to reach."""

DEFAULT_ROWS = ((-1.8, -0.9, 0.0, 0.9, 1.8), (-1.8, 0.0, 1.8), (-1.8, 1.8))
"""Strengths of any other property; the first row with which the test stays within ``MAX_PICTURES`` is taken."""

DEFAULT_THRESHOLD = 0.88
MIN_PICTURES, MAX_PICTURES = 3, 250  # a latent: two pictures always correlate, and hundreds take too long
NESTING = ("mouth", "eyes", "pose")  # the published order of the pictures, slowest first


@dataclass(frozen=True)
class Plan:
    """What the test does to each latent."""

    strengths: Mapping[str, Sequence[float]]  # edited property -> its strengths, in the order of the directions
    thresholds: Mapping[str, float]  # edited property -> the correlation it has to reach
    unit: str = "sigma"  # what a strength is, see ``moves.UNITS``
    # demand that scores rise with the strength, as directions of positive sign promise. False is the published rule,
    # which also accepts scores that fall.
    signed: bool = True

    @property
    def grid(self) -> np.ndarray:
        """All combinations of strengths, float64 ``[K, k]``; which one varies slowest says ``nested``."""
        order = nested(list(self.strengths))
        rows = [dict(zip(order, values, strict=True)) for values in product(*(self.strengths[name] for name in order))]
        return np.array([[row[name] for name in self.strengths] for row in rows], dtype=np.float64)

    def changes(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Strengths ``[K, k]`` as movers take them."""
        return dict(zip(self.strengths, rows.T, strict=True))


def make_plan(
    properties: Sequence[str],
    option: str = "svm",
    strengths: Mapping[str, Sequence[float]] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Plan:
    """A test of some properties.

    Args:
        properties: the edited properties, in the order of their directions.
        option: whose published strengths eyes, mouth and pose get.
        strengths, thresholds: by property, in place of the published or the default ones.

    Raises:
        ValueError: for an unknown option, settings of a property that is not edited, strengths that cannot be
            correlated, a threshold outside (0, 1], or too many pictures a latent.
    """
    if option not in STRENGTHS:
        raise ValueError(f"option is {option!r}, expected one of {', '.join(STRENGTHS)}")
    strengths, thresholds = strengths or {}, thresholds or {}
    for key, given in (("strengths", strengths), ("thresholds", thresholds)):
        if unknown := [name for name in given if name not in properties]:
            raise ValueError(f"test.{key} names {', '.join(unknown)}, expected some of {', '.join(properties)}")
    rows = STRENGTHS[option] | {name: tuple(map(float, values)) for name, values in strengths.items()}
    if len(properties) == 1 and not strengths and len(rows.get(properties[0], ())) < MIN_PICTURES:
        rows.pop(properties[0], None)  # eyes alone: the published two strengths would always correlate
    fixed = {name: rows[name] for name in properties if name in rows}
    num_fixed, num_open = prod(map(len, fixed.values())), len(properties) - len(fixed)
    fitting = [row for row in DEFAULT_ROWS if num_fixed * len(row) ** num_open <= MAX_PICTURES]
    plan = Plan(
        {name: fixed.get(name, (fitting or DEFAULT_ROWS[-1:])[0]) for name in properties},
        {name: float(thresholds.get(name, PASS_THRESHOLDS.get(name, DEFAULT_THRESHOLD))) for name in properties},
    )
    _check(plan)
    return plan


def _check(plan: Plan) -> None:
    for name, values in plan.strengths.items():
        if len(set(values)) < 2 or len(set(values)) < len(values) or not np.isfinite(values).all():
            raise ValueError(f"test.strengths of {name} are {list(values)}, expected two or more different numbers")
    for name, threshold in plan.thresholds.items():
        if not 0 < threshold <= 1:
            raise ValueError(f"test.thresholds of {name} is {threshold}, expected a correlation above 0, at most 1")
    lengths = [len(values) for values in plan.strengths.values()]
    if not MIN_PICTURES <= prod(lengths) <= MAX_PICTURES:
        remedy = "give more strengths" if prod(lengths) < MIN_PICTURES else "give fewer strengths or fewer properties"
        raise ValueError(
            f"test.strengths make {prod(lengths)} pictures a latent ({' x '.join(map(str, lengths))}), expected "
            f"{MIN_PICTURES} to {MAX_PICTURES}: {remedy}"
        )


def nested(properties: Sequence[str]) -> list[str]:
    """The properties from the slowest varying to the fastest: the published ones in their order, then others."""
    return [*(name for name in NESTING if name in properties), *(name for name in properties if name not in NESTING)]


@dataclass(frozen=True)
class Case:
    """What the test found for one latent."""

    index: int  # position of the latent among those tested
    group: str
    # correlation of intended strength and measured score, by edited property; NaN where undefined
    corrs: dict[str, float]
    passed: bool  # whether every correlation reaches its threshold, and no picture is lost
    # the measured scores, float32 ``[K, P]``, one row a strength combination; NaN where it is lost
    scores: np.ndarray = field(repr=False, compare=False)

    @property
    def sum_abs_corr(self) -> float:
        """Sum of the absolute correlations, 0 to their number; an undefined one counts as 0."""
        return float(sum(np.nan_to_num(abs(corr)) for corr in self.corrs.values()))


def correlations(
    strengths: ArrayLike,
    scores: ArrayLike,
    names: Sequence[str] = PROPERTIES,
    edited: Sequence[str] = EDITED_PROPERTIES,
) -> dict[str, float]:
    """Pearson correlation of each edited property's strengths and scores, -1 to 1.

    Scores are rounded to 4 decimals first, as in the published tables. Where scores or strengths are all equal, or more
    than half of the pictures are lost, a correlation is undefined: NaN, which never passes.

    Args:
        strengths: ``[K, k]``, a column a property of ``edited``.
        scores: ``[K, P]``, a column a property of ``names``; the row of a lost picture is NaN.

    Raises:
        ValueError: for other shapes, or scores that are infinite.
    """
    strengths = np.asarray(strengths, dtype=np.float64)
    rounded = np.round(np.asarray(scores, dtype=np.float32), 4).astype(np.float64)
    if strengths.shape != (len(rounded), len(edited)) or rounded.shape[1:] != (len(names),):
        raise ValueError(
            f"strengths {list(strengths.shape)} and scores {list(rounded.shape)}: "
            f"expected [K, {len(edited)}] and [K, {len(names)}]"
        )
    if num_bad := np.count_nonzero(np.isinf(rounded)):
        raise ValueError(f"{num_bad} of {rounded.size} scores are not finite")
    seen = ~lost_pictures(rounded)
    if 2 * seen.sum() < len(seen):
        return dict.fromkeys(edited, float("nan"))
    return {name: _pearson(strengths[seen, i], rounded[seen, names.index(name)]) for i, name in enumerate(edited)}


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def passed(corrs: Mapping[str, float], signed: bool = True, thresholds: Mapping[str, float] = PASS_THRESHOLDS) -> bool:
    """Whether every correlation reaches its threshold, see ``Plan``; NaN fails."""
    return all((corrs[name] if signed else abs(corrs[name])) >= least for name, least in thresholds.items())


def make_cases(plan: Plan, groups: Sequence[str] | np.ndarray, scores: np.ndarray, names: Sequence[str]) -> list[Case]:
    """The test of every latent of groups ``[N]`` by scores ``[N, K, P]`` of these names, of the edited properties that
    are among them; the row of a lost picture is NaN."""
    columns = [i for i, name in enumerate(plan.strengths) if name in names]
    thresholds = {name: least for name, least in plan.thresholds.items() if name in names}
    grid, cases = plan.grid[:, columns], []
    for i, (group, of_latent) in enumerate(zip(groups, np.asarray(scores, dtype=np.float32), strict=True)):
        corrs = correlations(grid, of_latent, names, list(thresholds))
        complete = not lost_pictures(of_latent).any()
        cases.append(Case(i, str(group), corrs, complete and passed(corrs, plan.signed, thresholds), of_latent))
    return cases


def summary(table: Sequence[Case]) -> dict[str, float]:
    """What cases say as a whole: ``{property}_mean_corr`` with its sign, ``sum_mean_corr``, ``mean_sum_abs_corr``,
    ``num_cases``, ``num_passed``, ``share_passed``, and ``num_undefined``, the number of undefined correlations, which
    count as 0 in the means: a direction without effect must not improve them.

    Raises:
        ValueError: for an empty table.
    """
    if not table:
        raise ValueError("a summary needs at least one case, got none")
    edited = list(table[0].corrs)
    corrs = np.array([[case.corrs[name] for name in edited] for case in table])
    means = np.nan_to_num(corrs).mean(axis=0).tolist()
    num_passed = sum(case.passed for case in table)
    return {
        **{f"{name}_mean_corr": mean for name, mean in zip(edited, means, strict=True)},
        "sum_mean_corr": sum(means),
        "mean_sum_abs_corr": float(np.abs(np.nan_to_num(corrs)).sum(axis=1).mean()),
        "num_cases": len(table),
        "num_passed": num_passed,
        "share_passed": num_passed / len(table),
        "num_undefined": int(np.isnan(corrs).sum()),
    }


@dataclass
class VectorTest:
    """The image generation test of directions, by the scorer that they were found with."""

    plan: Plan  # what was asked for
    codes: np.ndarray  # vectors of the latents, float32 ``[N, D]``
    groups: np.ndarray  # their groups, ``[N]``
    cases: list[Case]  # what was found, one a tested latent, at most N
    mover: Mover  # how codes are moved

    def response(self) -> np.ndarray:
        """Score units of each property that one unit of strength along each direction brings, ``[k, P]``: slopes of
        each latent, averaged. What is off the property's own column is leakage."""
        return slopes(self.plan.grid, np.stack([case.scores for case in self.cases])).mean(axis=0)

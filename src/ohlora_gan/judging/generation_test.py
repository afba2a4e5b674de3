"""The image generation test: do the measured scores follow the intended strengths?

A latent is moved along the directions of all edited properties at once, by every combination of a few strengths, and
every picture is scored. The test of a property is the Pearson correlation of intended strength and measured score, as
in the published Oh-LoRA system; judging directions by re-scored pictures is the verification of HiGAN (arXiv
1911.09267). A picture may have no score, where a judge finds no face in it: its row of scores is NaN, and it is lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.editing.moves import Mover
from ohlora_gan.judging.figures import lost_pictures, slopes
from ohlora_gan.names import EDITED_PROPERTIES, PROPERTIES

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

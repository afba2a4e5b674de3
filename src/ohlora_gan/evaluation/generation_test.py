"""The image generation test: do the measured scores follow the intended strengths?

A latent is moved along the directions of all edited properties at once, by every combination of a few strengths,
and every picture is scored. The test of a property is the Pearson correlation of intended strength and measured
score. The test is that of the published Oh-LoRA system; judging directions by re-scored pictures is the
verification of HiGAN (arXiv 1911.09267).

A picture may have no score, where a judge finds no face in it: then its whole row of scores is NaN. Such a picture
is lost. Correlations are taken over the others, and a latent that lost a picture does not pass.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.evaluation.strengths import PASS_THRESHOLDS
from ohlora_gan.vocabulary import EDITED_PROPERTIES, PROPERTIES


@dataclass(frozen=True)
class Case:
    """What the test found for one latent.

    Attributes:
        index: position of the latent among those tested.
        group: its group.
        corrs: correlation of intended strength and measured score, by edited property; NaN where undefined.
        passed: whether every correlation reaches its threshold, and no picture is lost.
        scores: the measured scores, float32 ``[K, P]``, one row a strength combination; NaN where it is lost.
    """

    index: int
    group: str
    corrs: dict[str, float]
    passed: bool
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
    """Pearson correlation of each property's intended strengths and measured scores.

    Scores are rounded to 4 decimals first, as in the published tables. Where scores or strengths are all
    equal the correlation is undefined: NaN, which never passes. Lost pictures are left out; where more than half are
    lost, all correlations are undefined.

    Args:
        strengths: ``[K, k]``.
        scores: ``[K, P]``; the row of a lost picture is NaN.
        names: what the P columns of ``scores`` are.
        edited: what the k columns of ``strengths`` are, all among ``names``.

    Returns:
        By edited property, -1 to 1 or NaN.

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
    num_bad = np.count_nonzero(np.isinf(rounded))
    if num_bad:
        raise ValueError(f"{num_bad} of {rounded.size} scores are not finite")
    seen = ~lost_pictures(rounded)
    if 2 * seen.sum() < len(seen):
        return dict.fromkeys(edited, float("nan"))
    return {name: _pearson(strengths[seen, i], rounded[seen, names.index(name)]) for i, name in enumerate(edited)}


def passed(corrs: Mapping[str, float], signed: bool = True, thresholds: Mapping[str, float] = PASS_THRESHOLDS) -> bool:
    """Whether every correlation reaches its threshold.

    Args:
        corrs: by edited property; NaN fails.
        signed: demand that the score rises with the strength, as directions of positive sign promise. False
            is the published rule, which also accepts a score that falls.
        thresholds: by edited property.
    """
    return all((corrs[name] if signed else abs(corrs[name])) >= least for name, least in thresholds.items())


def summary(table: Sequence[Case]) -> dict[str, float]:
    """What a table of cases says as a whole.

    An undefined correlation counts as 0 in the means: a direction without effect must not improve them.

    Returns:
        ``{property}_mean_corr``: mean correlation with its sign; ``sum_mean_corr``: their sum;
        ``mean_sum_abs_corr``: mean sum of absolute correlations; ``num_cases``; ``num_passed``;
        ``share_passed``, 0 to 1; ``num_undefined``: the number of undefined correlations.

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


def make_case(
    index: int,
    group: str,
    strengths: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str] = PROPERTIES,
    thresholds: Mapping[str, float] = PASS_THRESHOLDS,
    signed: bool = True,
) -> Case:
    """The test of one latent from the scores of its pictures.

    Args:
        index: position of the latent among those tested.
        group: its group.
        strengths: ``[K, k]``, a column a property of ``thresholds``, in its order.
        scores: ``[K, P]``; the row of a lost picture is NaN.
        names: what the P scores are.
        thresholds: what each edited property has to reach.
        signed: see ``passed``.
    """
    corrs = correlations(strengths, scores, names, list(thresholds))
    complete = not lost_pictures(scores).any()
    scores = np.asarray(scores, dtype=np.float32)
    return Case(index, group, corrs, complete and passed(corrs, signed, thresholds), scores)


def lost_pictures(scores: ArrayLike) -> np.ndarray:
    """Which pictures have no score: bool ``[...]`` of scores ``[..., P]``."""
    return np.isnan(np.asarray(scores)).any(axis=-1)


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])

"""The image generation test: do the measured scores follow the intended strengths?

A latent is moved along the directions of all edited properties at once, by every combination of a few strengths,
and every picture is scored. The test of a property is the Pearson correlation of intended strength and measured
score. The test is that of the published Oh-LoRA system; judging directions by re-scored pictures is the
verification of HiGAN (arXiv 1911.09267).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.editing import move
from ohlora_gan.evaluation.strengths import PASS_THRESHOLDS
from ohlora_gan.vocabulary import EDITED_PROPERTIES, PROPERTIES

DirectionFunction = Callable[[np.ndarray, str | None], np.ndarray]
"""``(x [D], group) -> directions [k, D]``."""


class HasDirection(Protocol):
    """What a fitted direction finder offers to the test."""

    def direction(self, x: ArrayLike, group: str | None = None) -> np.ndarray: ...


@dataclass(frozen=True)
class Case:
    """What the test found for one latent.

    Attributes:
        index: position of the latent among those tested.
        group: its group.
        corrs: correlation of intended strength and measured score, by edited property; NaN where undefined.
        passed: whether every correlation reaches its threshold.
        scores: the measured scores, float32 ``[K, P]``, one row a strength combination.
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
    equal the correlation is undefined: NaN, which never passes.

    Args:
        strengths: ``[K, k]``.
        scores: ``[K, P]``.
        names: what the P columns of ``scores`` are.
        edited: what the k columns of ``strengths`` are, all among ``names``.

    Returns:
        By edited property, -1 to 1 or NaN.

    Raises:
        ValueError: for other shapes, or scores that are not finite.
    """
    strengths = np.asarray(strengths, dtype=np.float64)
    rounded = np.round(np.asarray(scores, dtype=np.float32), 4).astype(np.float64)
    if strengths.shape != (len(rounded), len(edited)) or rounded.shape[1:] != (len(names),):
        raise ValueError(
            f"strengths {list(strengths.shape)} and scores {list(rounded.shape)}: "
            f"expected [K, {len(edited)}] and [K, {len(names)}]"
        )
    num_bad = np.count_nonzero(~np.isfinite(rounded))
    if num_bad:
        raise ValueError(f"{num_bad} of {rounded.size} scores are not finite")
    return {name: _pearson(strengths[:, i], rounded[:, names.index(name)]) for i, name in enumerate(edited)}


def passed(
    corrs: Mapping[str, float], signed: bool = True, thresholds: Mapping[str, float] = PASS_THRESHOLDS
) -> bool:
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


def run_generation_test(
    codes: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    finder: HasDirection | DirectionFunction,
    score_codes: Callable[[np.ndarray], np.ndarray],
    strengths: np.ndarray,
    *,
    signed: bool = True,
    max_passes: int | None = None,
    latents_per_batch: int = 8,
    progress: Callable[[int, int], None] | None = None,
    names: Sequence[str] = PROPERTIES,
    thresholds: Mapping[str, float] = PASS_THRESHOLDS,
) -> list[Case]:
    """Tests latents one after the other.

    Args:
        codes: vectors of the latents, ``[N, D]``.
        groups: their groups, ``[N]``.
        finder: a fitted finder, or a function ``(x, group) -> [k, D]``.
        score_codes: scores of the pictures of moved codes, float32 ``[M, D] -> [M, P]``.
        strengths: ``[K, k]``, see ``strengths.strength_grid``.
        signed: see ``passed``.
        max_passes: stop at the latent that makes this number of passes full, at least 1; None tests all.
        latents_per_batch: latents per call of ``score_codes``, K codes each; at least 1.
        progress: called as ``progress(tested, N)`` after each latent.
        names: what the P scores are.
        thresholds: what each edited property has to reach, in the order of the k directions.

    Returns:
        One case a tested latent, in order; ``latents_per_batch`` has no part in it.

    Raises:
        ValueError: for lengths that differ, limits under 1, or scores of another shape.
    """
    if len(groups) != len(codes):
        raise ValueError(f"there are {len(codes)} codes but {len(groups)} groups")
    if latents_per_batch < 1 or (max_passes is not None and max_passes < 1):
        raise ValueError(f"latents_per_batch {latents_per_batch}, max_passes {max_passes}: expected >= 1")
    cases: list[Case] = []
    num_passed = 0
    for scores in _scores(np.asarray(codes), groups, finder, score_codes, strengths, latents_per_batch, len(names)):
        corrs = correlations(strengths, scores, names, list(thresholds))
        cases.append(Case(len(cases), str(groups[len(cases)]), corrs, passed(corrs, signed, thresholds), scores))
        num_passed += cases[-1].passed
        if progress is not None:
            progress(len(cases), len(codes))
        if num_passed == max_passes:
            break
    return cases


def _scores(
    codes: np.ndarray,
    groups: Sequence[str] | np.ndarray,
    finder: HasDirection | DirectionFunction,
    score_codes: Callable[[np.ndarray], np.ndarray],
    strengths: np.ndarray,
    latents_per_batch: int,
    num_scores: int,
) -> Iterator[np.ndarray]:
    """Yields the scores ``[K, P]`` of each latent in turn; a batch is scored when its first latent is due."""
    direction = finder.direction if hasattr(finder, "direction") else finder
    for start in range(0, len(codes), latents_per_batch):
        batch = slice(start, start + latents_per_batch)
        pairs = zip(codes[batch], groups[batch], strict=True)
        moved = move(codes[batch], np.stack([direction(x, str(group)) for x, group in pairs]), strengths)
        num_latents, num_strengths, size = moved.shape
        scores = np.asarray(score_codes(moved.reshape(-1, size)), dtype=np.float32)
        expected = (num_latents * num_strengths, num_scores)
        if scores.shape != expected:
            raise ValueError(f"score_codes returned shape {list(scores.shape)}, expected {list(expected)}")
        yield from scores.reshape(num_latents, num_strengths, num_scores)


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])

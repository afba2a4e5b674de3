"""The image generation test: do the measured scores follow the intended strengths?

A latent is moved along its three directions at once, by every combination of a few strengths, and every
picture is scored. The test of a property is the Pearson correlation of intended strength and measured score.
Test and thresholds are those of the published Oh-LoRA system; judging directions by re-scored pictures is the
verification of HiGAN (arXiv 1911.09267).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.editing import move
from ohlora_gan.vocabulary import EDITED_PROPERTIES, PROPERTIES

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
"""The intended strengths of each option, in lengths of a unit direction."""

PASS_THRESHOLDS = {"eyes": 0.92, "mouth": 0.88, "pose": 0.88}
"""The correlation that a property has to reach."""

DirectionFunction = Callable[[np.ndarray, str | None], np.ndarray]
"""``(x [D], group) -> directions [3, D]``."""


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
        scores: the measured scores, float32 ``[K, 8]``, one row a strength combination.
    """

    index: int
    group: str
    corrs: dict[str, float]
    passed: bool
    scores: np.ndarray = field(repr=False, compare=False)

    @property
    def sum_abs_corr(self) -> float:
        """Sum of the absolute correlations, 0 to 3; an undefined one counts as 0."""
        return float(sum(np.nan_to_num(abs(corr)) for corr in self.corrs.values()))


def strength_grid(option: str) -> np.ndarray:
    """All combinations of an option's strengths.

    Returns:
        float64 ``[50, 3]``, columns in ``EDITED_PROPERTIES`` order; mouth varies slowest, pose fastest.

    Raises:
        ValueError: for an unknown option.
    """
    if option not in STRENGTHS:
        raise ValueError(f"option is {option!r}, expected one of {', '.join(STRENGTHS)}")
    values = STRENGTHS[option]
    rows = product(values["mouth"], values["eyes"], values["pose"])
    return np.array([(eyes, mouth, pose) for mouth, eyes, pose in rows])


def correlations(strengths: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Pearson correlation of each property's intended strengths and measured scores.

    Scores are rounded to 4 decimals first, as in the published tables. Where scores or strengths are all
    equal the correlation is undefined: NaN, which never passes.

    Args:
        strengths: ``[K, 3]`` in ``EDITED_PROPERTIES`` order.
        scores: ``[K, 8]`` in ``PROPERTIES`` order.

    Returns:
        By edited property, -1 to 1 or NaN.

    Raises:
        ValueError: for other shapes, or scores that are not finite.
    """
    strengths = np.asarray(strengths, dtype=np.float64)
    rounded = np.round(np.asarray(scores, dtype=np.float32), 4).astype(np.float64)
    if strengths.shape != (len(rounded), len(EDITED_PROPERTIES)) or rounded.shape[1:] != (len(PROPERTIES),):
        raise ValueError(
            f"strengths {list(strengths.shape)} and scores {list(rounded.shape)}: expected [K, 3] and [K, 8]"
        )
    num_bad = np.count_nonzero(~np.isfinite(rounded))
    if num_bad:
        raise ValueError(f"{num_bad} of {rounded.size} scores are not finite")
    return {
        name: _pearson(strengths[:, i], rounded[:, PROPERTIES.index(name)])
        for i, name in enumerate(EDITED_PROPERTIES)
    }


def passed(corrs: Mapping[str, float], signed: bool = True) -> bool:
    """Whether every correlation reaches its threshold.

    Args:
        corrs: by edited property; NaN fails.
        signed: demand that the score rises with the strength, as directions of positive sign promise. False
            is the published rule, which also accepts a score that falls.
    """
    values = {name: corrs[name] if signed else abs(corrs[name]) for name in PASS_THRESHOLDS}
    return all(values[name] >= threshold for name, threshold in PASS_THRESHOLDS.items())


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
    corrs = np.array([[case.corrs[name] for name in EDITED_PROPERTIES] for case in table])
    means = np.nan_to_num(corrs).mean(axis=0).tolist()
    num_passed = sum(case.passed for case in table)
    return {
        **{f"{name}_mean_corr": mean for name, mean in zip(EDITED_PROPERTIES, means, strict=True)},
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
) -> list[Case]:
    """Tests latents one after the other.

    Args:
        codes: vectors of the latents, ``[N, D]``.
        groups: their groups, ``[N]``.
        finder: a fitted finder, or a function ``(x, group) -> [3, D]``.
        score_codes: scores of the pictures of moved codes, float32 ``[M, D] -> [M, 8]``.
        strengths: ``[K, 3]``, see ``strength_grid``.
        signed: see ``passed``.
        max_passes: stop at the latent that makes this number of passes full, at least 1; None tests all.
        latents_per_batch: latents per call of ``score_codes``, K codes each; at least 1.
        progress: called as ``progress(tested, N)`` after each latent.

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
    for scores in _scores(np.asarray(codes), groups, finder, score_codes, strengths, latents_per_batch):
        corrs = correlations(strengths, scores)
        cases.append(Case(len(cases), str(groups[len(cases)]), corrs, passed(corrs, signed), scores))
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
) -> Iterator[np.ndarray]:
    """Yields the scores ``[K, 8]`` of each latent in turn; a batch is scored when its first latent is due."""
    direction = finder.direction if hasattr(finder, "direction") else finder
    for start in range(0, len(codes), latents_per_batch):
        batch = slice(start, start + latents_per_batch)
        pairs = zip(codes[batch], groups[batch], strict=True)
        moved = move(codes[batch], np.stack([direction(x, str(group)) for x, group in pairs]), strengths)
        num_latents, num_strengths, size = moved.shape
        scores = np.asarray(score_codes(moved.reshape(-1, size)), dtype=np.float32)
        expected = (num_latents * num_strengths, len(PROPERTIES))
        if scores.shape != expected:
            raise ValueError(f"score_codes returned shape {list(scores.shape)}, expected {list(expected)}")
        yield from scores.reshape(num_latents, num_strengths, len(PROPERTIES))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if x.min() == x.max() or y.min() == y.max():
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])

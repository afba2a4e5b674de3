"""Directions tested on faces that played no part in finding them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.base import ALL
from ohlora_gan.directions.groups import group_names
from ohlora_gan.evaluation.generation_test import Case, make_case, summary
from ohlora_gan.evaluation.judge_figures import slopes
from ohlora_gan.evaluation.movers import MakeMover
from ohlora_gan.evaluation.strengths import Plan
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace


@dataclass
class VectorTest:
    """The image generation test of directions, by the scorer that they were found with.

    Attributes:
        plan: what was asked for.
        codes: vectors of the latents, float32 ``[N, D]``.
        groups: their groups, ``[N]``.
        cases: what was found, one a tested latent, at most N.
        make_mover: how codes are moved.
        grid: what a strength is, see ``movers.GRIDS``.
    """

    plan: Plan
    codes: np.ndarray
    groups: np.ndarray
    cases: list[Case]
    make_mover: MakeMover
    grid: str = "reference"

    def summary(self) -> dict[str, float]:
        """What the cases say as a whole, see ``generation_test.summary``."""
        return summary(self.cases)

    def response(self) -> np.ndarray:
        """What a unit of strength along each direction brings, see ``response``."""
        return response(self.plan.grid, self.cases)


def groups_of(space: FaceSpace, layer: Layer, codes: np.ndarray, medians: Mapping[str, float]) -> np.ndarray:
    """The groups ``[N]`` of faces by the scores of their unedited pictures; all one where there are no medians."""
    if not medians:
        return np.array([ALL] * len(codes))
    return group_names(space.score_codes(layer, codes), medians, space.property_names, tuple(medians))


def make_cases(
    plan: Plan, groups: Sequence[str] | np.ndarray, scores: np.ndarray, names: Sequence[str], signed: bool = True
) -> list[Case]:
    """The test of every latent by the edited properties that a judge measures.

    Args:
        plan: what was asked for.
        groups: of the latents, ``[N]``.
        scores: ``[N, K, P]``.
        names: what the P scores are.
        signed: see ``generation_test.passed``.
    """
    columns = [i for i, name in enumerate(plan.strengths) if name in names]
    thresholds = {name: least for name, least in plan.thresholds.items() if name in names}
    grid = plan.grid[:, columns]
    return [
        make_case(i, str(group), grid, of_latent, names, thresholds, signed)
        for i, (group, of_latent) in enumerate(zip(groups, scores, strict=True))
    ]


def response(strengths: ArrayLike, cases: Sequence[Case]) -> np.ndarray:
    """Score units of each property [P] that one unit of strength along each direction [k] brings: [k, P].

    Least squares over the strength combinations of each latent, averaged over latents. What is off the property's own
    column is leakage.
    """
    return slopes(np.asarray(strengths, dtype=np.float64), np.stack([case.scores for case in cases])).mean(axis=0)

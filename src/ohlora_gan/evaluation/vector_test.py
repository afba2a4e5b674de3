"""Directions tested on faces that played no part in finding them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.groups import group_names
from ohlora_gan.directions.storage import DirectionSet
from ohlora_gan.evaluation.generation_test import Case, run_generation_test, summary
from ohlora_gan.evaluation.strengths import Plan
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace


@dataclass
class VectorTest:
    """The image generation test of directions.

    Attributes:
        plan: what was asked for.
        codes: vectors of the latents, float32 ``[N, D]``.
        groups: their groups, ``[N]``.
        cases: what was found, one a tested latent, at most N.
    """

    plan: Plan
    codes: np.ndarray
    groups: np.ndarray
    cases: list[Case]

    def summary(self) -> dict[str, float]:
        """What the cases say as a whole, see ``generation_test.summary``."""
        return summary(self.cases)

    def response(self) -> np.ndarray:
        """What a unit of strength along each direction brings, see ``response``."""
        return response(self.plan.grid, self.cases)


def run_vector_test(
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    plan: Plan,
    num_latents: int,
    *,
    signed: bool = True,
    max_passes: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> VectorTest:
    """Tests directions on fresh latents, which no bank holds; for the settings see ``run_generation_test``."""
    codes = space.codes(layer, *space.latents("test", range(num_latents)))
    groups = np.array(found.group_names * num_latents)
    if found.medians:
        scores = space.score_codes(layer, codes)
        groups = group_names(scores, found.medians, space.property_names, tuple(found.medians))
    cases = run_generation_test(
        codes,
        groups,
        found,
        lambda moved: space.score_codes(layer, moved),
        plan.grid,
        signed=signed,
        max_passes=max_passes,
        progress=progress,
        names=space.property_names,
        thresholds=plan.thresholds,
    )
    return VectorTest(plan, codes, groups, cases)


def response(strengths: ArrayLike, cases: Sequence[Case]) -> np.ndarray:
    """Score units of each property [P] that one unit of strength along each direction [k] brings: [k, P].

    Least squares over the strength combinations of each latent, averaged over latents. What is off the property's own
    column is leakage.
    """
    grid = np.asarray(strengths, dtype=np.float64)
    design = np.column_stack([grid, np.ones(len(grid))])
    scores = np.stack([case.scores for case in cases]).astype(np.float64)
    slopes = np.linalg.pinv(design) @ scores  # [N, k + 1, P]
    return slopes[:, : grid.shape[1]].mean(axis=0)

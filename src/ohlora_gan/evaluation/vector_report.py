"""What the report of a vector search shows: pictures and numbers, made from directions and a face space."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ohlora_gan.directions.storage import DirectionSet
from ohlora_gan.editing import move
from ohlora_gan.evaluation.generation_test import STRENGTHS, Case, strength_grid
from ohlora_gan.evaluation.report_data import CaseGrid, Strip
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.vocabulary import EDITED_PROPERTIES, PROPERTIES


def response(strengths: ArrayLike, cases: Sequence[Case]) -> np.ndarray:
    """Score units of each property [8] that one unit of strength along each direction [3] brings: [3, 8].

    Least squares over the strength combinations of each latent, averaged over latents. What is off the property's own
    column is leakage.
    """
    grid = np.asarray(strengths, dtype=np.float64)
    design = np.column_stack([grid, np.ones(len(grid))])
    scores = np.stack([case.scores for case in cases]).astype(np.float64)
    slopes = np.linalg.pinv(design) @ scores  # [N, 4, 8]
    return slopes[:, : len(EDITED_PROPERTIES)].mean(axis=0)


def strip_strengths(slope: float, reach: float, steps: int) -> np.ndarray:
    """Evenly spaced strengths [steps] around 0 that move a score by about ``reach`` sigmas to either side.

    Args:
        slope: score units that a unit of strength brings; where it is tiny, the range stops at 20 units.
    """
    end = min(reach / max(abs(slope), 1e-6), 20.0)
    return np.linspace(-end, end, steps).round(2) + 0.0


def make_strips(
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    codes: np.ndarray,
    groups: Sequence[str],
    strengths_of: Mapping[str, np.ndarray],
) -> list[Strip]:
    """A strip a property: each code [N, D] moved along its group's direction by the property's strengths [K]."""
    strips = []
    for i, name in enumerate(EDITED_PROPERTIES):
        strengths = strengths_of[name]
        directions = np.stack([found.direction(x, g)[i : i + 1] for x, g in zip(codes, groups, strict=True)])
        moved = move(codes, directions, strengths[:, None])
        flat = moved.reshape(-1, moved.shape[-1])
        images = space.images(layer, flat)
        scores = space.score_codes(layer, flat).reshape(*moved.shape[:2], len(PROPERTIES))
        strips.append(
            Strip(
                property=name,
                strengths=strengths,
                images=images.reshape(*moved.shape[:2], *images.shape[1:]),
                scores=scores[..., PROPERTIES.index(name)],
                other_scores=scores,
                labels=[str(g) for g in groups],
            )
        )
    return strips


def case_grid(
    title: str, case: Case, space: FaceSpace, layer: Layer, found: DirectionSet, code: np.ndarray, option: str
) -> CaseGrid:
    """All pictures of one latent's generation test."""
    moved = move(code, found.direction(code, case.group), strength_grid(option))
    axes = STRENGTHS[option]
    images = space.images(layer, moved)
    shape = (len(axes["mouth"]), len(axes["eyes"]), len(axes["pose"]), *images.shape[1:])
    return CaseGrid(title, images.reshape(shape), axes, case.corrs, case.passed, f"group {case.group}")


def accuracy_table(metrics: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, int]]]:
    """A classifier's validation accuracy by property and group, with the number of validation samples."""
    table: dict[str, dict[str, tuple[float, int]]] = {}
    for name, by_group in metrics.get("accuracy", {}).items():
        sizes = metrics["num_validation"]
        table[name] = {g: (float(value), sizes[g]) for g, value in by_group.items() if value is not None}
    return table


def headline(summary: Mapping[str, float], n: int, seconds: float) -> list[tuple[str, str, str]]:
    """The cards at the top of the page."""
    cards = [
        (
            "latents that pass",
            f"{summary['share_passed']:.0%}",
            f"{summary['num_passed']:.0f} of {summary['num_cases']:.0f} unseen latents",
        )
    ]
    cards += [
        (f"{name} follows its slider", f"{summary[f'{name}_mean_corr']:.3f}", "mean correlation, intended and measured")
        for name in EDITED_PROPERTIES
    ]
    cards.append(("samples", f"{n:,}", "scored faces that the directions were found with"))
    cards.append(("seconds", f"{seconds:.0f}", "for sampling, finding and testing"))
    return cards

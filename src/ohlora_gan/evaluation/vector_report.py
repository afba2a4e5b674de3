"""What the report of a vector search shows: pictures and numbers, made from directions and a face space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from ohlora_gan.directions.storage import DirectionSet
from ohlora_gan.editing import move
from ohlora_gan.evaluation.generation_test import Case
from ohlora_gan.evaluation.report_data import CaseGrid, ReportData, Strip
from ohlora_gan.evaluation.report_numbers import strength
from ohlora_gan.evaluation.report_words import action, listed, plain
from ohlora_gan.evaluation.strengths import nested, strength_grid
from ohlora_gan.evaluation.training_report import read_training
from ohlora_gan.evaluation.vector_test import VectorTest
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace


@dataclass
class VectorSearch:
    """A finished search for directions, as the page needs it.

    Attributes:
        settings: the whole configuration of ``find_vectors.py``, as plain data.
        space: generator and scorer.
        layer: where codes were moved.
        found: the directions.
        metrics: how well the finder could fit them.
        test: the generation test of the directions.
        strips: rows of faces along each direction.
        seconds: time of sampling, finding and testing.
    """

    settings: Mapping[str, Any]
    space: FaceSpace
    layer: Layer
    found: DirectionSet
    metrics: Mapping[str, Any]
    test: VectorTest
    strips: Sequence[Strip]
    seconds: float


def vector_page(search: VectorSearch) -> ReportData:
    """The report's content."""
    space, layer, found, test = search.space, search.layer, search.found, search.test
    order = sorted(test.cases, key=lambda case: case.sum_abs_corr)
    picked = [(f"Best of {len(order)}", order[-1]), (f"Worst of {len(order)}", order[0])]
    n = search.settings["n"]
    return ReportData(
        title=f"Directions that {listed([action(name) for name in found.properties])}",
        subtitle=f"{found.method} at {found.layer}, n = {n:,}",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        headline=headline(test.summary(), found.properties, n, search.seconds),
        settings=page_settings(search),
        notes=page_notes(search),
        samples=space.images(layer, space.codes(layer, *space.latents("samples", range(100)))),
        strips=search.strips,
        accuracy=accuracy_table(search.metrics),
        correlations={name: [case.corrs[name] for case in test.cases] for name in found.properties},
        thresholds=test.plan.thresholds,
        passed=np.array([case.passed for case in test.cases]),
        response=test.response(),
        cases=[
            case_grid(title, case, space, layer, found, test.codes[case.index], test.plan.strengths)
            for title, case in picked
        ],
        training=read_training(search.settings["checkpoint"], found.properties),
        properties=found.properties,
        score_names=space.property_names,
        group_by=tuple(found.medians),
    )


def page_notes(search: VectorSearch) -> list[str]:
    """What a reader of the figures has to know."""
    notes = ["A strength is a length along a unit direction; it means different things in layers of different sizes."]
    if search.layer.equivalent_to_w:
        notes.append(f"{search.layer.name} edits are w edits: w = w1' + w2', so the edit (d1, d2) moves w by d1 + d2.")
    if not search.settings["test"]["signed"]:
        notes.append("The published rule was used: a latent passes on the size of its correlations, not their sign.")
    return notes


def page_settings(search: VectorSearch) -> dict[str, dict[str, str]]:
    """The settings at the end of the page, by group."""
    settings, found = search.settings, search.found
    rows = [f"{plain(name)} {', '.join(map(strength, row))}" for name, row in search.test.plan.strengths.items()]
    test = {"latents": str(settings["test"]["num_latents"]), "signed": str(settings["test"]["signed"])}
    return {
        "Run": {
            "method": found.method,
            "layer": found.layer,
            "samples": f"{settings['n']:,}",
            "seed": str(settings["seed"]),
        },
        "Models": {
            "generator": str(settings["checkpoint"]),
            "scorer": str(settings["scorer"]),
            "device": str(settings["device"]["name"]),
        },
        "Finder": {name: str(value) for name, value in settings["method"]["finder"].items() if name != "_target_"},
        "Groups": {name: f"{value:.3f}" for name, value in found.medians.items()} or {"groups": "none"},
        "Test": test | {"strengths": "; ".join(rows)},
    }


def describe_results(results: Mapping[str, float], properties: Sequence[str]) -> str:
    """The test's summary in a line for the terminal."""
    means = ", ".join(f"{name} {results[f'{name}_mean_corr']:.3f}" for name in properties)
    return f"mean correlations: {means}; {results['num_passed']} of {results['num_cases']} latents pass"


def strip_strengths(slope: float, reach: float, steps: int) -> np.ndarray:
    """Evenly spaced strengths [steps] around 0 that move a score by about ``reach`` sigmas to either side.

    Args:
        slope: score units that a unit of strength brings; where it is tiny, the range stops at 20 units.
    """
    end = min(reach / max(abs(slope), 1e-6), 20.0)
    return np.linspace(-end, end, steps).round(2) + 0.0


def draw_strips(
    space: FaceSpace, layer: Layer, found: DirectionSet, test: VectorTest, num_faces: int, reach: float, steps: int
) -> list[Strip]:
    """The first few tested faces along each direction, as far as its own response asks for (``strip_strengths``)."""
    ranges = {
        name: strip_strengths(slopes[space.property_names.index(name)], reach, steps)
        for name, slopes in zip(found.properties, test.response(), strict=True)
    }
    return make_strips(space, layer, found, test.codes[:num_faces], test.groups[:num_faces].tolist(), ranges)


def make_strips(
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    codes: np.ndarray,
    groups: Sequence[str],
    strengths_of: Mapping[str, np.ndarray],
) -> list[Strip]:
    """A strip a property: each code [N, D] moved along its group's direction by the property's strengths [K]."""
    strips, names = [], space.property_names
    for i, name in enumerate(found.properties):
        strengths = strengths_of[name]
        directions = np.stack([found.direction(x, g)[i : i + 1] for x, g in zip(codes, groups, strict=True)])
        moved = move(codes, directions, strengths[:, None])
        flat = moved.reshape(-1, moved.shape[-1])
        images = space.images(layer, flat)
        scores = space.score_codes(layer, flat).reshape(*moved.shape[:2], len(names))
        strips.append(
            Strip(
                property=name,
                strengths=strengths,
                images=images.reshape(*moved.shape[:2], *images.shape[1:]),
                scores=scores[..., names.index(name)],
                other_scores=scores,
                labels=[str(g) for g in groups],
                score_names=names,
            )
        )
    return strips


def case_grid(
    title: str,
    case: Case,
    space: FaceSpace,
    layer: Layer,
    found: DirectionSet,
    code: np.ndarray,
    strengths: Mapping[str, Sequence[float]],
) -> CaseGrid:
    """All pictures of one latent's generation test, of which ``strengths`` are the plan's."""
    images = space.images(layer, move(code, found.direction(code, case.group), strength_grid(strengths)))
    shape = (*(len(strengths[name]) for name in nested(list(strengths))), *images.shape[1:])
    return CaseGrid(title, images.reshape(shape), strengths, case.corrs, case.passed, f"group {case.group}")


def accuracy_table(metrics: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, int]]]:
    """A classifier's validation accuracy by property and group, with the number of validation samples."""
    table: dict[str, dict[str, tuple[float, int]]] = {}
    for name, by_group in metrics.get("accuracy", {}).items():
        sizes = metrics["num_validation"]
        table[name] = {g: (float(value), sizes[g]) for g, value in by_group.items() if value is not None}
    return table


def headline(
    summary: Mapping[str, float], properties: Sequence[str], n: int, seconds: float
) -> list[tuple[str, str, str]]:
    """The cards at the top of the page."""
    cards = [
        (
            "latents that pass",
            f"{summary['share_passed']:.0%}",
            f"{summary['num_passed']:.0f} of {summary['num_cases']:.0f} unseen latents",
        )
    ]
    cards += [
        (
            f"{plain(name)} follows its slider",
            f"{summary[f'{name}_mean_corr']:.3f}",
            "mean correlation, intended and measured",
        )
        for name in properties
    ]
    cards.append(("samples", f"{n:,}", "scored faces that the directions were found with"))
    cards.append(("seconds", f"{seconds:.0f}", "for sampling, finding and testing"))
    return cards

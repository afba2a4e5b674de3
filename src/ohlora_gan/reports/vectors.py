"""What the report of a vector search shows: pictures and numbers, made from directions and a face space."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np

from ohlora_gan.directions.base import ALL
from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.judging.generation_test import Case, VectorTest, nested
from ohlora_gan.judging.judge import Judgement
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.reports.pages import action, listed, plain, strength
from ohlora_gan.reports.report import CaseGrid, ReportData, Strip, read_training


@dataclass
class VectorSearch:
    """A finished search for directions, as the page needs it.

    Attributes:
        settings: the whole configuration of ``find_vectors.py``, as plain data.
        space: generator and scorer.
        layer: where codes were moved.
        found: the directions; None for a closed loop, which has none.
        metrics: how well the finder could fit them.
        judgement: what the judges say of the directions.
        strips: rows of faces along each direction.
        seconds: time of sampling, finding and testing.
    """

    settings: Mapping[str, Any]
    space: FaceSpace
    layer: Layer
    found: DirectionSet | None
    metrics: Mapping[str, Any]
    judgement: Judgement
    strips: Sequence[Strip]
    seconds: float

    @property
    def properties(self) -> tuple[str, ...]:
        """What is edited."""
        return tuple(self.test.plan.strengths)

    @property
    def medians(self) -> Mapping[str, float]:
        """What faces are grouped by; empty where they are not."""
        return self.found.medians if self.found else {}

    @property
    def test(self) -> VectorTest:
        """The generation test by the finding scorer."""
        return self.judgement.test


def vector_page(search: VectorSearch) -> ReportData:
    """The report's content."""
    space, layer, test, properties = search.space, search.layer, search.test, search.properties
    order = sorted(test.cases, key=lambda case: case.sum_abs_corr)
    picked = [(f"Best of {len(order)}", order[-1]), (f"Worst of {len(order)}", order[0])]
    n, judgement = search.settings["n"], search.judgement.to_dict()
    return ReportData(
        title=f"{'Directions' if search.found else 'Edits'} that {listed([action(name) for name in properties])}",
        subtitle=f"{search.settings['method']['name']} at {layer.name}" + (f", n = {n:,}" if search.found else ""),
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        headline=headline(judgement, n, search.seconds),
        settings=page_settings(search),
        notes=page_notes(search),
        samples=space.images(layer, space.codes(layer, *space.latents("samples", range(100)))),
        strips=search.strips,
        accuracy=accuracy_table(search.metrics),
        correlations={name: [case.corrs[name] for case in test.cases] for name in properties},
        thresholds=test.plan.thresholds,
        passed=np.array([case.passed for case in test.cases]),
        response=test.response(),
        judgement=judgement,
        cases=[case_grid(title, case, space, layer, test) for title, case in picked],
        training=read_training(search.settings["checkpoint"], properties),
        properties=properties,
        score_names=space.property_names,
        group_by=tuple(search.medians),
        grid=test.plan.unit,
    )


SIGMA_NOTE = (
    "A strength is the change of the score that is asked for, in standard deviations (σ) of the scorer that found the "
    "directions; each direction's own slope turns it into a length. So all methods and layers share one grid."
)
REFERENCE_NOTE = (
    "Strengths are the published ones: lengths along a unit direction. They mean different things in vectors of 512, "
    "1,024 and 2,560 values, and differ between methods: figures of different layers or methods do not compare."
)


def page_notes(search: VectorSearch) -> list[str]:
    """What a reader of the figures has to know."""
    notes = [SIGMA_NOTE if search.test.plan.unit == "sigma" else REFERENCE_NOTE]
    if search.layer.equivalent_to_w:
        notes.append(f"{search.layer.name} edits are w edits: w = w1' + w2', so the edit (d1, d2) moves w by d1 + d2.")
    if not search.settings["test"]["signed"]:
        notes.append("The published rule was used: a latent passes on the size of its correlations, not their sign.")
    return notes


def page_settings(search: VectorSearch) -> dict[str, dict[str, str]]:
    """The settings at the end of the page, by group."""
    settings, method = search.settings, search.settings["method"]
    how = method.get("finder") or method["loop"]
    rows = [f"{plain(name)} {', '.join(map(strength, row))}" for name, row in search.test.plan.strengths.items()]
    test = {"latents": str(settings["test"]["num_latents"]), "signed": str(settings["test"]["signed"])}
    return {
        "Run": {
            "method": method["name"],
            "layer": search.layer.name,
            "samples": f"{settings['n']:,}",
            "seed": str(settings["seed"]),
        },
        "Models": {
            "generator": str(settings["checkpoint"]),
            "scorer": str(settings["scorer"]),
            "device": str(settings["device"]["name"]),
        },
        "Method": plain_settings(how),
        "Groups": {name: f"{value:.3f}" for name, value in search.medians.items()} or {"groups": "none"},
        "Test": test | {"strengths": "; ".join(rows)},
    }


def plain_settings(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings as dotted names and text, without the classes that they are for."""
    flat: dict[str, str] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            flat |= plain_settings(value, f"{prefix}{name}.")
        elif name != "_target_":
            flat[prefix + name] = str(value)
    return flat


def describe_results(results: Mapping[str, float], properties: Sequence[str]) -> str:
    """The test's summary in a line for the terminal."""
    means = ", ".join(f"{name} {results[f'{name}_mean_corr']:.3f}" for name in properties)
    return f"mean correlations: {means}; {results['num_passed']} of {results['num_cases']} latents pass"


def describe_judges(judgement: Judgement) -> list[str]:
    """What each judge says, a line a judge for the terminal."""
    return [
        f"{name} ({found['role']}): sum of correlations {found['sum_corr'].value:.3f}, "
        f"{found['pass_share'].value:.1%} of latents pass"
        for name, found in judgement.by.items()
    ]


def strip_strengths(slope: float, reach: float, steps: int) -> np.ndarray:
    """Evenly spaced strengths [steps] around 0 that move a score by about ``reach`` sigmas to either side.

    Args:
        slope: score units that a unit of strength brings; where it is tiny, the range stops at 20 units.
    """
    end = min(reach / max(abs(slope), 1e-6), 20.0)
    return np.linspace(-end, end, steps).round(2) + 0.0


def draw_strips(
    space: FaceSpace,
    layer: Layer,
    test: VectorTest,
    properties: Sequence[str],
    num_faces: int,
    reach: float,
    steps: int,
) -> list[Strip]:
    """The first few tested faces along each direction: by ``reach`` sigmas to either side.

    Where strengths are lengths, a direction's own response says how far that is (``strip_strengths``).
    """
    if test.plan.unit == "sigma":
        ranges = dict.fromkeys(properties, np.linspace(-reach, reach, steps).round(2) + 0.0)
    else:
        ranges = {
            name: strip_strengths(slopes[space.property_names.index(name)], reach, steps)
            for name, slopes in zip(properties, test.response(), strict=True)
        }
    return make_strips(space, layer, test, num_faces, ranges)


def make_strips(
    space: FaceSpace,
    layer: Layer,
    test: VectorTest,
    num_faces: int,
    strengths_of: Mapping[str, np.ndarray],
) -> list[Strip]:
    """A strip a property: each tested face moved by the property's strengths [K], and by none of the others'."""
    strips, names = [], space.property_names
    codes, groups = test.codes[:num_faces], test.groups[:num_faces].tolist()
    for i, (name, strengths) in enumerate(strengths_of.items()):
        alone = test.plan.changes(strengths[:, None] * np.eye(len(strengths_of))[i])
        moved = test.mover(codes, groups, alone, test.plan.unit).codes
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
                labels=[] if set(groups) == {ALL} else [str(g) for g in groups],
                score_names=names,
            )
        )
    return strips


def case_grid(title: str, case: Case, space: FaceSpace, layer: Layer, test: VectorTest) -> CaseGrid:
    """All pictures of one latent's generation test."""
    strengths = test.plan.strengths
    changes = test.plan.changes(test.plan.grid)
    moved = test.mover(test.codes[case.index : case.index + 1], [case.group], changes, test.plan.unit).codes
    images = space.images(layer, moved[0])
    shape = (*(len(strengths[name]) for name in nested(list(strengths))), *images.shape[1:])
    note = "" if case.group == ALL else f"Group {case.group}."
    return CaseGrid(title, images.reshape(shape), strengths, case.corrs, case.passed, note)


def accuracy_table(metrics: Mapping[str, Any]) -> dict[str, dict[str, tuple[float, int]]]:
    """A classifier's validation accuracy by property and group, with the number of validation samples."""
    table: dict[str, dict[str, tuple[float, int]]] = {}
    for name, by_group in metrics.get("accuracy", {}).items():
        sizes = metrics["num_validation"]
        table[name] = {g: (float(value), sizes[g]) for g, value in by_group.items() if value is not None}
    return table


def headline(judgement: Mapping[str, Any], n: int, seconds: float) -> list[tuple[str, str, str]]:
    """The cards at the top of the page, by the first judge that had no part in finding the directions, if there is one.

    Args:
        judgement: as ``Judgement.to_dict`` gives it.
        n: samples that directions were found with.
        seconds: of the whole run.
    """
    by = judgement["by"]
    finding, *others = sorted(by, key=lambda name: by[name]["role"] != "finding")
    name = others[0] if others else finding
    hint = f"of {judgement['num_latents']:,} unseen latents, by {name}"
    if others:
        hint += f"; {by[finding]['pass_share'][0]:.0%} by the scorer that found the directions"
    cards = [("latents that pass", f"{by[name]['pass_share'][0]:.0%}", hint)]
    for prop, corr in by[name]["corr"].items():
        cards.append((f"{plain(prop)} follows its slider", f"{corr[0]:.3f}", "mean correlation, intended and measured"))
    cards.append(("samples", f"{n:,}", "scored faces that the directions were found with"))
    cards.append(("seconds", f"{seconds:.0f}", "for sampling, finding and testing"))
    return cards

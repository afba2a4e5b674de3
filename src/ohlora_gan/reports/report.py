"""The report of a vector search: what its page shows, as plain data, and how this is made of a finished search.

``templates/report.html.j2`` holds the page's words and layout; what takes counting is counted here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import product
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ohlora_gan.directions.base import ALL, all_group_names
from ohlora_gan.directions.files import DirectionSet
from ohlora_gan.judging.figures import Case, VectorTest, nested, share
from ohlora_gan.judging.judge import Judgement
from ohlora_gan.latents.layers import Layer
from ohlora_gan.latents.space import FaceSpace
from ohlora_gan.names import EDITED_PROPERTIES, GROUP_PROPERTIES
from ohlora_gan.reports import pages, plots
from ohlora_gan.reports.pages import Strip, action, effect, line_fit, listed, plain, strength, write_page

if TYPE_CHECKING:
    import pandas as pd


@dataclass
class CaseGrid:
    """All pictures of one latent's generation test."""

    title: str  # for example ``"Best of 100"``
    # uint8 ``[..., H, W, 3]``, an axis a property in the order of ``figures.nested``: down, then blocks, and
    # the last one across; for the published three ``[mouth, eyes, pose, H, W, 3]``
    images: NDArray[np.uint8]
    strengths: Mapping[str, Sequence[float]]  # property -> the strengths of its axis of ``images``
    correlations: Mapping[str, float]  # property -> Pearson correlation of intended strength and measured score
    passed: bool  # whether all correlations reach their thresholds
    note: str = ""  # a further remark, such as the group

    @property
    def steps(self) -> dict[str, list[str]]:
        """Property -> its strengths in words, in the order of the sliders: blocks, down, across."""
        down, between, across = layout(list(self.strengths))
        return {name: [strength(s) for s in self.strengths[name]] for name in (*between, *down, across)}

    def blocks(self) -> list[tuple[str, list[str], NDArray[np.uint8]]]:
        """The pictures ``[N, H, W, 3]`` at each combination of the strengths that blocks stand for, in words, and the
        strengths within the block of each picture."""
        down, between, across = layout(list(self.strengths))
        images = np.moveaxis(self.images, 0, len(between)) if down else self.images
        inner = [[f"{plain(name)} {step}" for step in self.steps[name]] for name in (*down, across)]
        within = [", ".join(words) for words in product(*inner)]
        made = []
        for at in np.ndindex(images.shape[: len(between)]):
            here = ", ".join(f"{plain(name)} {self.steps[name][i]}" for name, i in zip(between, at, strict=True))
            made.append((here, within, images[at].reshape(-1, *images.shape[-3:])))
        return made


@dataclass
class Training:
    """Curves of a fine-tuning run over its T ``steps``; what is empty is left out."""

    steps: ArrayLike
    losses: Mapping[str, ArrayLike] = field(default_factory=dict)  # name -> ``[T]``, such as ``d_loss`` and ``g_loss``
    auroc: ArrayLike | None = None  # ``[T]`` in [0, 1], how well the discriminator tells real from generated
    scores: Mapping[str, ArrayLike] = field(default_factory=dict)  # name -> ``[T]``, mean scores of generated faces

    def curves(self) -> list[tuple[str, plots.Plot]]:
        """A plot for each kind of figures that was logged, with its title."""
        series = {"Losses": self.losses, "Mean scores": self.scores}
        if self.auroc is not None:
            series["Real or generated"] = {"AUROC": self.auroc}
        return [(title, plots.curves(self.steps, lines, title)) for title, lines in series.items() if lines]


@dataclass
class ReportData:
    """All that a report shows; a part that is empty or None is left out."""

    title: str
    subtitle: str = ""  # what was run, for example ``"svm at mapping_split2, n = 4,000"``
    created: str = ""  # ISO 8601 time
    headline: Sequence[tuple[str, str, str]] = ()  # (label, value, hint) cards at the top
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # group -> name -> value
    notes: Sequence[str] = ()  # remarks, a sentence or two each
    samples: NDArray[np.uint8] | None = None  # uint8 ``[N, H, W, 3]`` random faces
    strips: Sequence[Strip] = ()  # at most one a property
    # property -> group (``hhhh`` .. ``llll``) -> (accuracy in [0, 1], number of validation samples)
    accuracy: Mapping[str, Mapping[str, tuple[float, int]]] = field(default_factory=dict)
    # property -> ``[num_latents]`` correlations of the generation test, in [-1, 1]
    correlations: Mapping[str, ArrayLike] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)  # property -> what a correlation must reach
    passed: ArrayLike | None = None  # bool ``[num_latents]``
    cases: Sequence[CaseGrid] = ()  # single latents with all their pictures
    training: Training | None = None
    properties: Sequence[str] = EDITED_PROPERTIES  # the k edited properties
    group_by: Sequence[str] = GROUP_PROPERTIES  # what a group's letters stand for; empty where faces are not grouped
    judgement: Mapping[str, Any] | None = None  # what the judges say, as ``judge.Judgement.to_dict`` gives it
    grid: str = "reference"  # what a strength is, ``"sigma"`` or ``"reference"``


def write_report(path: str | Path, data: ReportData) -> Path:
    """Writes the page, which needs no other file and no network; returns its path."""
    judges: Mapping[str, Any] = data.judgement["by"] if data.judgement else {}
    return write_page(
        path,
        "report.html.j2",
        title=data.title,
        subtitle=data.subtitle,
        created=data.created,
        data=data,
        tests=tests(data),
        num_pictures=int(np.prod(data.cases[0].images.shape[:-3])) if data.cases else 0,
        worst_leak=worst_leak,
        responses=[(name, found, response_table(found, data.properties)) for name, found in judges.items()],
        accuracy=by_group(data.accuracy, data.group_by) if data.accuracy else None,
        has_samples=data.samples is not None and len(data.samples) > 0,
        line_fit=line_fit,
        layout=layout,
        ways=ways,
        plots=plots,
    )


def layout(properties: Sequence[str]) -> tuple[list[str], list[str], str]:
    """Where the pictures of a test go: what varies down a block (none or one), from block to block, and across."""
    order = nested(properties)
    return order[:-1][:1], order[1:-1], order[-1]


def ways(properties: Sequence[str]) -> list[str]:
    """What changes from picture to picture inside a block."""
    down, _, across = layout(properties)
    return [f"{effect(name)} from top to bottom" for name in down] + [f"{effect(across)} from left to right"]


def tests(data: ReportData) -> dict[str, Any]:
    """The generation test in figures: by property the ``means`` of its correlations, of which those ``undefined`` count
    as 0; of the ``num`` latents, 0 where unknown, ``num_passed``, and the 95 % ``interval`` of that share."""
    values = {name: np.asarray(corrs, float) for name, corrs in data.correlations.items()}
    means = {name: float(np.nan_to_num(corrs).mean()) for name, corrs in values.items()}
    undefined = sum(int(np.isnan(corrs).sum()) for corrs in values.values())
    flags = np.asarray([] if data.passed is None else data.passed, bool)
    passed = {"num_passed": int(flags.sum()), "num": len(flags), "interval": share(flags)[1:]}
    return {"means": means, "undefined": undefined, **passed}


def response_table(found: Mapping[str, Any], edited: Sequence[str]) -> "pd.DataFrame":
    """A judge's σ for one unit of strength, NaN where unknown: a row a direction, a column a score, the edited ones
    first, along a diagonal."""
    import pandas as pd  # a second that other pages need not wait

    names = found["names"]
    table = pd.DataFrame(np.array(found["response"], dtype=float), index=[*edited], columns=[*names])
    return table[[name for name in edited if name in names] + [name for name in names if name not in edited]]


def worst_leak(table: "pd.DataFrame") -> tuple[str, str, float] | None:
    """(direction, score, slope) of the largest side effect; None where one score alone was measured."""
    slopes = table.T.unstack().dropna()
    leaks = slopes[[direction != score for direction, score in slopes.index]]
    worst: Any = leaks.abs().idxmax() if len(leaks) else None
    return None if worst is None else (*worst, leaks[worst])


def by_group(accuracy: Mapping[str, Mapping[str, tuple[float, int]]], group_by: Sequence[str]) -> dict[str, Any]:
    """How well faces are separated: ``groups``, all of as many letters even where nothing is known of one; ``letters``:
    what groups are made by -> the letter of each group, empty where it has none; ``rows``: property -> (accuracy or
    NaN, number of held-out faces) of each group and, last, of all."""
    named = {group for groups in accuracy.values() for group in groups}
    lettered = all_group_names(len(group_by))
    if not named & {*lettered}:
        lettered, group_by = [], ()
    groups = [*lettered, *sorted(named - {*lettered})]
    letters = {name: [g[i] if g in lettered else "" for g in groups] for i, name in enumerate(group_by)}
    rows = {name: [values.get(group, (nan, 0)) for group in groups] for name, values in accuracy.items()}
    return {"groups": groups, "letters": letters, "rows": {name: [*row, overall(row)] for name, row in rows.items()}}


def overall(values: Sequence[tuple[float, int]]) -> tuple[float, int]:
    """The accuracy over all groups, which weigh by their number of faces."""
    known = [(value, num) for value, num in values if isfinite(value) and num > 0]
    total = sum(num for _, num in known)
    return (sum(value * num for value, num in known) / total if total else nan), total


def read_training(checkpoint: str | Path, properties: Sequence[str] = EDITED_PROPERTIES) -> Training | None:
    """Losses, AUROC and mean scores of some properties logged beside a checkpoint; None without a log."""
    import pandas as pd

    tables = sorted(Path(checkpoint).parent.glob("csv/**/metrics.csv"))
    logged = [pd.read_csv(table) for table in tables if table.stat().st_size]
    figures = pd.concat(logged).set_index("step") if logged else pd.DataFrame()

    def column(name: str) -> pd.Series:
        return figures[name].dropna() if name in figures else pd.Series(dtype=float)

    trained = figures.reindex(columns=[f"train/{name}" for name in ("d_loss", "g_loss", "auroc")]).dropna(how="all")
    steps = trained.index.to_numpy(float)
    if not len(steps):
        return None
    scores = {name: column(f"scores/mean/{name}") for name in properties}
    return Training(
        steps=steps,
        losses={name: trained[f"train/{name}"].to_numpy() for name in ("d_loss", "g_loss")},
        auroc=trained["train/auroc"].to_numpy(),
        # scores are logged less often than losses: drawn between their points on the losses' steps
        scores={name: np.interp(steps, values.index, values) for name, values in scores.items() if len(values)},
    )


# --- The page of a finished search ---


@dataclass
class VectorSearch:
    """A finished search for directions, as the page needs it."""

    settings: Mapping[str, Any]  # the whole configuration of ``find_vectors.py``, as plain data
    space: FaceSpace
    layer: Layer  # where codes were moved
    found: DirectionSet | None  # the directions; None for a closed loop, which has none
    metrics: Mapping[str, Any]  # how well the finder could fit them
    judgement: Judgement  # what the judges say of the directions
    strips: Sequence[Strip]  # rows of faces along each direction
    seconds: float  # time of sampling, finding and testing

    @property
    def medians(self) -> Mapping[str, float]:
        """What faces are grouped by; empty where they are not."""
        return self.found.medians if self.found else {}


def vector_page(search: VectorSearch) -> ReportData:
    """The report's content."""
    space, layer, test = search.space, search.layer, search.judgement.test
    properties = tuple(test.plan.strengths)
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
        judgement=judgement,
        cases=[case_grid(title, case, space, layer, test) for title, case in picked],
        training=read_training(search.settings["checkpoint"], properties),
        properties=properties,
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
    notes = [SIGMA_NOTE if search.judgement.test.plan.unit == "sigma" else REFERENCE_NOTE]
    if search.layer.equivalent_to_w:
        notes.append(f"{search.layer.name} edits are w edits: w = w1' + w2', so the edit (d1, d2) moves w by d1 + d2.")
    if not search.settings["test"]["signed"]:
        notes.append("The published rule was used: a latent passes on the size of its correlations, not their sign.")
    return notes


def page_settings(search: VectorSearch) -> dict[str, dict[str, str]]:
    """The settings at the end of the page, by group."""
    settings, method, plan = search.settings, search.settings["method"], search.judgement.test.plan
    rows = [f"{plain(name)} {', '.join(map(strength, row))}" for name, row in plan.strengths.items()]
    test = {"latents": str(settings["test"]["num_latents"]), "signed": str(settings["test"]["signed"])}
    run = {"method": method["name"], "layer": search.layer.name, "samples": f"{settings['n']:,}"}
    models = {"generator": settings["checkpoint"], "scorer": settings["scorer"], "device": settings["device"]["name"]}
    return {
        "Run": run | {"seed": str(settings["seed"])},
        "Models": {name: str(value) for name, value in models.items()},
        "Method": plain_settings(method.get("finder") or method["loop"]),
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
    """Evenly spaced strengths [steps] around 0 that move a score, which a unit of strength changes by ``slope``, by
    about ``reach`` sigmas to either side, or 20 units where the slope is tiny."""
    end = min(reach / max(abs(slope), 1e-6), 20.0)
    return np.linspace(-end, end, steps).round(2) + 0.0


def draw_strips(
    space: FaceSpace, layer: Layer, test: VectorTest, num_faces: int, reach: float, steps: int
) -> list[Strip]:
    """The first few tested faces along each direction: by ``reach`` sigmas to either side. Where strengths are lengths,
    a direction's own response says how far that is (``strip_strengths``)."""
    if test.plan.unit == "sigma":
        ranges = dict.fromkeys(test.plan.strengths, np.linspace(-reach, reach, steps).round(2) + 0.0)
    else:
        ranges = {
            name: strip_strengths(slopes[space.property_names.index(name)], reach, steps)
            for name, slopes in zip(test.plan.strengths, test.response(), strict=True)
        }
    return make_strips(space, layer, test, num_faces, ranges)


def make_strips(
    space: FaceSpace, layer: Layer, test: VectorTest, num_faces: int, strengths_of: Mapping[str, np.ndarray]
) -> list[Strip]:
    """A strip a property: each tested face moved by the property's strengths [K], and by none of the others'."""
    strips, names = [], space.property_names
    codes, groups = test.codes[:num_faces], test.groups[:num_faces].tolist()
    for i, (name, strengths) in enumerate(strengths_of.items()):
        alone = test.plan.changes(strengths[:, None] * np.eye(len(strengths_of))[i])
        moved = test.mover(codes, groups, alone, test.plan.unit).codes
        flat, labels = moved.reshape(-1, moved.shape[-1]), [] if set(groups) == {ALL} else groups
        images = space.images(layer, flat)
        images = images.reshape(*moved.shape[:2], *images.shape[1:])
        scores = space.score_codes(layer, flat).reshape(*moved.shape[:2], len(names))
        strips.append(Strip(name, strengths, images, scores[..., names.index(name)], scores, labels, names))
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
    """The cards at the top of the page, by the first judge that had no part in finding the directions, if there is one:
    of ``Judgement.to_dict``, the number of samples that directions were found with, and the seconds of the run."""
    by = judgement["by"]
    finding, *others = sorted(by, key=lambda name: by[name]["role"] != "finding")
    name = others[0] if others else finding
    hint = f"of {judgement['num_latents']:,} unseen faces, by {name}"
    if others:
        hint += f"; {pages.share(by[finding]['pass_share'][0])} by the scorer that found the directions"
    cards = [("faces that pass", pages.share(by[name]["pass_share"][0]), hint)]
    for prop, corr in by[name]["corr"].items():
        cards.append((f"{plain(prop)} follows its slider", f"{corr[0]:.3f}", "mean correlation, intended and measured"))
    cards.append(("samples", f"{n:,}", "scored faces that the directions were found with"))
    cards.append(("seconds", f"{seconds:.0f}", "for sampling, finding and testing"))
    return cards

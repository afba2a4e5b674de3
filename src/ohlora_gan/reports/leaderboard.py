"""The leaderboard: many judged runs ("cells") on one self-contained page, and the same figures as CSV and Markdown.

``templates/leaderboard.html.j2`` and ``leaderboard.md.j2`` hold the words; what takes counting is counted here.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from math import inf, isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.files import harmless, replacing
from ohlora_gan.judging.figures import DEFAULT_THRESHOLD, PASS_THRESHOLDS, Interval
from ohlora_gan.reading import open_picture
from ohlora_gan.reports import plots
from ohlora_gan.reports.pages import listed, number, plain, said, share, write_page

UNKNOWN = Interval(nan)
ALIKE = ("checkpoint", "scorer", "seed", "properties", "test")
"""Settings that cells have to share to be compared, by the start of their names."""


@dataclass(frozen=True)
class ScorerFigures:
    """What one scorer says about a cell."""

    role: str  # ``"judging"`` (played no part in finding) or ``"finding"``
    # edited property -> correlation of the strength asked for and the score measured, -1 to 1
    corr: Mapping[str, Interval]
    sum_corr: Interval  # the sum of ``corr``, at most the number of edited properties
    sum_abs_corr: Interval  # the sum of the correlations' sizes, as published
    pass_share: Interval  # share of latents, 0 to 1, that pass the generation test
    passed_both: float  # of the latents that pass, the share that passes on a second draw too; NaN where unknown
    # edited property -> (its worst side effect, see ``figures.leakage``, and on which attribute)
    leakage: Mapping[str, tuple[Interval, str]]
    drift: Mapping[str, Interval]  # attribute that was not edited -> how many sigmas an edit moves it, 0 or more
    lost: float  # share of pictures without a score, 0 to 1
    damage: Mapping[str, Interval] = field(default_factory=dict)  # ``figures.damage``, by a judge that sees it

    @property
    def worst_drift(self) -> tuple[Interval, str]:
        """(figure, attribute) of what drifts most; NaN where nothing was measured."""
        known = [(value, name) for name, value in self.drift.items() if isfinite(value.value)]
        return max(known, default=(UNKNOWN, ""))

    @property
    def worst_leakage(self) -> tuple[Interval, str, str]:
        """(figure, edited property, the other property) of the worst side effect; NaN where none was measured."""
        known = [(value, name, other) for name, (value, other) in self.leakage.items() if isfinite(value.value)]
        return max(known, default=(UNKNOWN, "", ""))


@dataclass(frozen=True)
class Cell:
    """One judged run: a way of finding, a layer, a number of samples."""

    folder: Path
    method: str  # how directions were found
    layer: str  # which vector is moved
    n: int  # samples that directions were found with
    edited: tuple[str, ...]
    by: Mapping[str, ScorerFigures]  # by scorer
    decorrelate: str = "none"  # ``"none"``, ``"all"`` or the names of the properties that a direction leaves alone
    hold: str = "none"  # the same of a closed loop: ``"rest"``, ``"none"`` or names
    metric: str = "euclid"  # how the length of an edit is measured (``"euclid"``, ``"cloud"``, ``"image"``)
    grid: str = "sigma"  # what a strength is: ``"sigma"`` or ``"reference"``
    num_latents: int = 0  # latents that the figures are over
    seconds: Mapping[str, float] = field(default_factory=dict)  # stage -> seconds
    equivalent_to_w: bool = False  # whether the layer's edits are w edits
    # part of the picture -> mean absolute change of a pixel, 0 to 1
    image_change: Mapping[str, Interval] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)  # the run's settings by dotted name
    settings: str = ""  # what sets the cell apart from others of its method, such as ``"seed=1"``

    @property
    def way(self) -> str:
        """The way of finding in words: all of a cell but layer and number of samples."""
        parts = [plain(self.method)]
        if self.decorrelate != "none":
            parts.append("decorrelated" if self.decorrelate == "all" else f"decorrelated from {self.decorrelate}")
        if self.hold != "none":
            parts.append("holding all other scores" if self.hold == "rest" else f"holding {self.hold}")
        if self.metric != "euclid":
            parts.append(f"{self.metric} metric")
        return ", ".join([*parts, *([self.settings] if self.settings else [])])


@dataclass(frozen=True)
class FailedCell:
    """A run without figures: its folder, what it was asked for, and a word on what is wrong."""

    folder: Path
    asked: str
    word: str


class Measure(NamedTuple):
    """What cells are compared by."""

    title: str
    pick: Callable[[ScorerFigures], Interval]
    best: str = "highest"  # ``"highest"`` or ``"lowest"``
    say: Callable[[float], str] = number  # the figure's numbers in words

    def of(self, cell: Cell, scorer: str) -> Interval:
        """A cell's figure by a scorer."""
        return self.pick(cell.by[scorer]) if scorer in cell.by else UNKNOWN


SUM = Measure("sum of correlations", lambda figures: figures.sum_corr)
PASS = Measure("share that passes", lambda figures: figures.pass_share, say=share)
AGAIN = Measure("share of those that passes again", lambda figures: Interval(figures.passed_both), say=share)
LEAK = Measure("side effect (σ per σ)", lambda figures: figures.worst_leakage[0], "lowest")


def scorer_order(cells: Sequence[Cell], judge: str | None = None) -> list[str]:
    """All scorers of some cells: the one that ranks them first, other judging ones next, finding ones last; ValueError
    if no cell was measured by ``judge``."""
    roles = {name: figures.role for cell in reversed(cells) for name, figures in cell.by.items()}
    names = dict.fromkeys(name for cell in cells for name in cell.by)
    order = sorted(names, key=lambda name: roles[name] != "judging")
    if judge is not None and judge not in names:
        raise ValueError(f"--judge is {judge!r}, expected one of the scorers of these runs: {', '.join(order)}")
    return order if judge is None else [judge, *(name for name in order if name != judge)]


def ranked(cells: Sequence[Cell], scorer: str) -> list[Cell]:
    """Cells from the best to the worst: by the sum of correlations, then by pass share; unmeasured ones last."""

    def key(cell: Cell) -> tuple[float, float]:
        values = SUM.of(cell, scorer).value, PASS.of(cell, scorer).value
        return (-values[0], -values[1]) if isfinite(sum(values)) else (inf, inf)

    return sorted(cells, key=key)


def largest(cells: Sequence[Cell]) -> list[Cell]:
    """For each way of finding and layer the cell of most samples, in the order of the cells."""
    found: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        best = found.setdefault((cell.way, cell.layer), cell)
        if cell.n > best.n:
            found[cell.way, cell.layer] = cell
    return list(found.values())


def write_leaderboard(
    folder: Path, cells: Sequence[Cell], failed: Sequence[FailedCell] = (), judge: str | None = None
) -> Path:
    """Writes ``leaderboard.html``, ``.csv`` and ``.md`` of at least one cell; returns the page.

    Args:
        failed: runs without figures, listed with what is wrong.
        judge: the scorer that ranks; None is the first judging one.

    Raises:
        ValueError: if no cell was measured by ``judge``.
    """
    scorers = scorer_order(cells, judge)
    first = scorers[0]
    cells = ranked(cells, first)
    write_csv(folder / "leaderboard.csv", cells, failed, scorers)
    shared = {"cells": cells, "failed": failed, "scorers": scorers, "short_seconds": short_seconds}
    write_page(folder / "leaderboard.md", "leaderboard.md.j2", **shared)
    judged = [cell.by[first] for cell in cells if first in cell.by]
    ways, layers = plots.names_of(cells)
    samples = partial(plots.panels, across="samples", mark_places=True)
    seconds = partial(plots.panels, across="seconds of finding")
    several_sizes = len({cell.n for cell in cells}) > 1
    return write_page(
        folder / "leaderboard.html",
        "leaderboard.html.j2",
        title="Ways to find directions, compared",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        headline=headline(cells, first),
        groups=column_groups(cells, scorers),
        link=partial(link_to, output=folder),
        legend=[(way, *plots.look(i)) for i, way in enumerate(ways)],
        over_samples=drawn(samples, cells, first, lambda cell: cell.n) if several_sizes else [],
        over_seconds=drawn(seconds, cells, first, seconds_of) if len(cells) > 1 else [],
        by_layer=drawn(plots.by_layer, largest(cells), first, lambda cell: nan) if len(layers) > 1 else [],
        moves=moves(cells),
        thresholds=thresholds(cells),
        roles={figures.role for figures in judged},
        lost=max((figures.lost for figures in judged if figures.lost > 0), default=0.0),
        unlike=unlike(cells),
        **shared,
    )


def seconds_of(cell: Cell) -> float:
    """Seconds of finding; NaN where they are unknown."""
    return cell.seconds.get("finding", nan)


def calibrating_of(cell: Cell) -> Interval:
    """Seconds of measuring what the directions bring, and of correcting them."""
    return Interval(cell.seconds.get("calibrating", nan))


def drawn(
    draw: Callable[..., plots.Plot], cells: Sequence[Cell], scorer: str, across: Callable[[Cell], float]
) -> list[tuple[Measure, plots.Plot]]:
    """A plot for each measure that some cell has; ``across`` is a cell's place on the horizontal axis."""
    made = []
    for measure in (SUM, PASS, LEAK):
        points = []
        for cell in cells:
            figure = measure.of(cell, scorer)
            value, interval = said(figure, measure.say)
            words = f"{value} ({interval})" if interval else value
            points.append(plots.Point(cell.way, cell.layer, across(cell), figure, words))
        if any(isfinite(point.figure.value) for point in points):
            made.append((measure, draw(points, measure.title, measure.best)))
    return made


def headline(cells: Sequence[Cell], scorer: str) -> list[tuple[str, str, str]]:
    """The best figures, each with the cell that has it."""
    cards = []
    for measure in (SUM, PASS, LEAK):
        known = [(value, cell) for cell in cells if isfinite(value := measure.of(cell, scorer).value)]
        if known:
            value, cell = (max if measure.best == "highest" else min)(known, key=lambda item: item[0])
            hint = f"{cell.way} at {plain(cell.layer)}, {cell.n:,} samples"
            cards.append((f"{measure.best} {measure.title}", measure.say(value), hint))
    return cards


def thresholds(cells: Sequence[Cell]) -> str:
    """What a latent's correlations have to reach to pass."""
    names = dict.fromkeys(name for cell in cells for name in cell.edited)
    published = {name: PASS_THRESHOLDS.get(name, DEFAULT_THRESHOLD) for name in names}
    given = {name: cells[0].config.get(f"test.thresholds.{name}", value) for name, value in published.items()}
    return listed([f"{value:.2f} ({plain(name)})" for name, value in given.items()])


def unlike(cells: Sequence[Cell]) -> list[str]:
    """Settings that the cells should share and do not."""
    names = dict.fromkeys(name for cell in cells for name in cell.config if name.partition(".")[0] in ALIKE)
    return [name for name in names if len({str(cell.config[name]) for cell in cells if name in cell.config}) > 1]


def short_seconds(value: float | None) -> str:
    """Seconds for readers: more digits for less."""
    value = nan if value is None else value
    return number(value, 0 if value >= 10 else 1 if value >= 1 else 2)


def link_to(path: Path, output: Path) -> str:
    """A path as seen from a folder, with forward slashes."""
    return Path(os.path.relpath(path, output)).as_posix()


CHANGES = ("outside", "whole")  # of the picture; the first that was measured is shown


class Column(NamedTuple):
    """A column of figures."""

    label: str  # its head, as plain text
    of: Callable[[Cell], Interval]  # a cell's figure
    say: Callable[[float], str] = number  # the figure's numbers in words
    highest: bool | None = True  # whether more is better; None where no cell is marked as best
    hint: Callable[[Cell], str] = lambda cell: ""  # a cell's remark, shown when the mouse is over it


def column_groups(
    cells: Sequence[Cell], scorers: Sequence[str]
) -> list[tuple[str, str, list[tuple[Column, list[str]]]]]:
    """(scorer, role, columns with a mark for each cell): the figures by each scorer, then what needs none."""
    groups = []
    for i, name in enumerate(scorers):
        role = next(cell.by[name].role for cell in cells if name in cell.by)
        sees_damage = any(name in cell.by and cell.by[name].damage for cell in cells)
        columns = scorer_columns(name, first=i == 0) + (damage_columns(name) if sees_damage else [])
        groups.append((name, role, columns))
    others = [Column("find, s", lambda cell: Interval(seconds_of(cell)), short_seconds, highest=None)]
    if any("calibrating" in cell.seconds for cell in cells):
        others.append(Column("calibrate, s", calibrating_of, short_seconds, highest=None))
    if part := next((part for part in CHANGES if any(part in cell.image_change for cell in cells)), None):
        digits = partial(number, digits=3)
        others.insert(0, Column(f"change {part}", lambda cell: cell.image_change.get(part, UNKNOWN), digits, False))
    groups.append(("", "", others))
    return [(name, role, [(column, marks(column, cells)) for column in columns]) for name, role, columns in groups]


def scorer_columns(name: str, first: bool) -> list[Column]:
    """The figures by one scorer; the first one's say also how many passes hold on a second draw."""

    def leak(cell: Cell) -> str:
        _, edited, other = cell.by[name].worst_leakage if name in cell.by else (UNKNOWN, "", "")
        return f"{plain(edited)} moves {plain(other)}" if other else ""

    def corrs(cell: Cell) -> str:
        corr = cell.by[name].corr if name in cell.by else {}
        return ", ".join(f"{plain(key)} {number(value.value)}" for key, value in corr.items())

    return [
        Column("sum of r", partial(SUM.of, scorer=name), hint=corrs),
        Column("pass", partial(PASS.of, scorer=name), share),
        *([Column("pass again", partial(AGAIN.of, scorer=name), share)] if first else []),
        Column("side effect", partial(LEAK.of, scorer=name), highest=False, hint=leak),
    ]


def damage_columns(name: str) -> list[Column]:
    """What a judge that sees everything says besides: drift, and damage."""

    def drift(cell: Cell) -> tuple[Interval, str]:
        return cell.by[name].worst_drift if name in cell.by else (UNKNOWN, "")

    def damage(cell: Cell, key: str) -> Interval:
        return cell.by[name].damage.get(key, UNKNOWN) if name in cell.by else UNKNOWN

    def highest(cell: Cell) -> str:
        return f"95th percentile {number(damage(cell, 'ratio_p95').value)}"

    return [
        Column("drift", lambda cell: drift(cell)[0], highest=False, hint=lambda cell: plain(drift(cell)[1])),
        Column("damage ratio", partial(damage, key="ratio"), highest=False, hint=highest),
        Column("damaged", partial(damage, key="share"), share, highest=False),
    ]


def marks(column: Column, cells: Sequence[Any]) -> list[str]:
    """``best`` for what reads as the best of a column, ``near`` where the interval overlaps with the best one's."""
    figures = [column.of(cell) for cell in cells]
    known = [figure for figure in figures if isfinite(figure.value)]
    if column.highest is None or len({column.say(figure.value) for figure in known}) < 2:
        return [""] * len(figures)
    best = (max if column.highest else min)(known, key=lambda figure: figure.value)

    def mark(figure: Interval) -> str:
        if column.say(figure.value) == column.say(best.value):
            return "best"
        return "near" if figure.low <= best.high and best.low <= figure.high else ""  # not where one has no interval

    return [mark(figure) for figure in figures]


# --- The same faces moved by different methods, side by side: rows cut from the strips that runs have saved ---


MAX_FACES = 3
PAD = 2  # pixels between the faces of a saved strip


class Moves(NamedTuple):
    """Faces along the directions of one property by several cells."""

    property: str
    rows: list[tuple[Cell, NDArray[np.uint8]]]  # a cell each, with its faces' rows, uint8 ``[faces, R, W, 3]``
    num_faces: int  # how many faces all of them have, at most ``MAX_FACES``
    reach: float | None  # how many sigmas the ends are away from the middle; None where cells differ or say nothing


def moves(cells: Sequence[Cell]) -> list[Moves]:
    """For each property the same faces moved by each way of finding at each layer, with its most samples; runs whose
    strips are missing or cannot be cut are left out."""
    shown, made = largest(cells), []
    for name in dict.fromkeys(name for cell in shown for name in cell.edited):
        rows = [(cell, cut) for cell in shown if (cut := saved_rows(cell, name)) is not None]
        if rows:
            num_faces = min(MAX_FACES, *(len(cut) for _, cut in rows))
            reaches = {cell.config.get("strips.reach") for cell, _ in rows}
            reach = reaches.pop() if len(reaches) == 1 else None
            made.append(Moves(name, rows, num_faces, float(reach) if isinstance(reach, int | float) else None))
    return made


def saved_rows(cell: Cell, name: str) -> NDArray[np.uint8] | None:
    """The rows of a run's strip of a property; None where there is none that can be cut."""
    columns = cell.config.get("strips.steps")
    path = cell.folder / "strips" / f"strip_{name}.png"
    if not isinstance(columns, int) or not path.is_file():
        return None
    try:
        with open_picture(path) as picture:
            return cut_rows(np.asarray(picture.convert("RGB")), columns)
    except (OSError, ValueError):  # cut off, or of another make: the figures are shown without it
        return None


def cut_rows(picture: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """The rows ``[rows, R, W, 3]`` of a saved strip ``[H, W, 3]`` of square faces of side R, so many a row; ValueError
    if the picture is no such grid."""
    height, width = picture.shape[:2]
    side = (width + PAD) // columns - PAD
    if side < 1 or (width + PAD) % columns or (height + PAD) % (side + PAD):
        raise ValueError(f"a picture of {width}x{height} pixels is no grid of {columns} square faces a row")
    return np.stack([picture[top : top + side] for top in range(0, height, side + PAD)])


WHOLE = ("rank", "equivalent_to_w", "n", "num_latents")


def write_csv(path: Path, cells: Sequence[Cell], failed: Sequence[FailedCell], scorers: Sequence[str]) -> None:
    """Writes a row a cell, in the order given, then a row a failed one; what was not measured is empty."""
    import pandas as pd  # a second that other commands need not wait

    rows = []
    for rank, cell in enumerate(cells, start=1):
        row: dict[str, Any] = {"rank": rank, "run": link_to(cell.folder, path.parent), "failed": ""}
        rows.append(row | csv_row(cell, scorers))
    rows += [{"run": link_to(item.folder, path.parent), "failed": f"{item.asked}: {item.word}"} for item in failed]
    table = pd.DataFrame([{name: harmless(value) for name, value in row.items()} for row in rows]).astype(
        dict.fromkeys(WHOLE, "Int64")
    )
    with replacing(path) as partial_path:
        table.to_csv(partial_path, index=False, float_format="%.6g", lineterminator="\n")


def csv_row(cell: Cell, scorers: Sequence[str]) -> dict[str, Any]:
    """A cell's columns: what it is, its figures by each scorer, and what needs none."""
    told = ("method", "decorrelate", "metric", "settings", "layer", "equivalent_to_w", "n", "grid", "num_latents")
    row: dict[str, Any] = {name: getattr(cell, name) for name in told}
    row["equivalent_to_w"] = int(cell.equivalent_to_w)
    for name in scorers:
        if name not in cell.by:
            continue
        figures = cell.by[name]
        row[f"{name}/role"] = figures.role
        for key in ("sum_corr", "pass_share", "sum_abs_corr"):
            row |= spread(f"{name}/{key}", getattr(figures, key))
        for kind, measured in (("corr", figures.corr), ("drift", figures.drift), ("damage", figures.damage)):
            for key, value in measured.items():
                row |= spread(f"{name}/{kind}_{key}", value)
        row[f"{name}/passed_both"] = figures.passed_both
        for key, (value, other) in figures.leakage.items():
            row |= spread(f"{name}/leakage_{key}", value) | {f"{name}/leakage_{key}_into": other}
        row[f"{name}/lost"] = figures.lost
    for key, value in cell.image_change.items():
        row |= spread(f"image_change/{key}", value)
    return row | {f"seconds/{key}": value for key, value in cell.seconds.items()}


def spread(name: str, value: Interval) -> dict[str, Any]:
    """A figure's columns."""
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}

"""The leaderboard: many judged runs on one self-contained page, and the same figures as CSV and Markdown.

``templates/leaderboard.html.j2`` and ``leaderboard.md.j2`` hold the words; what takes counting is counted here.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ohlora_gan.files import replacing
from ohlora_gan.judging.figures import Interval
from ohlora_gan.judging.generation_test import DEFAULT_THRESHOLD, PASS_THRESHOLDS
from ohlora_gan.reports import plots
from ohlora_gan.reports.pages import listed, number, plain, share, write_page
from ohlora_gan.reports.runs_table import UNKNOWN, Cell, FailedCell, largest, ranked, scorer_order

ALIKE = ("checkpoint", "scorer", "seed", "properties", "test")
"""Settings that cells have to share to be compared, by the start of their names."""


def write_leaderboard(
    folder: Path, cells: Sequence[Cell], failed: Sequence[FailedCell] = (), judge: str | None = None
) -> Path:
    """Writes ``leaderboard.html``, ``.csv`` and ``.md``; returns the page.

    Args:
        folder: where to; made if needed.
        cells: at least one.
        failed: runs without figures, listed with what is wrong.
        judge: the scorer that ranks; None is the first judging one.

    Raises:
        ValueError: if no cell was measured by ``judge``.
    """
    scorers = scorer_order(cells, judge)
    cells = ranked(cells, scorers[0])
    write_csv(folder / "leaderboard.csv", cells, failed, scorers)
    shared = {"cells": cells, "failed": failed, "scorers": scorers, "short_seconds": short_seconds}
    write_page(folder / "leaderboard.md", "leaderboard.md.j2", **shared)
    judged = [cell.by[scorers[0]] for cell in cells if scorers[0] in cell.by]
    several_sizes, several_layers = len({cell.n for cell in cells}) > 1, len({cell.layer for cell in cells}) > 1
    return write_page(
        folder / "leaderboard.html",
        "leaderboard.html.j2",
        title="Ways to find directions, compared",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        headline=headline(cells, scorers[0]),
        groups=column_groups(cells, scorers),
        link=partial(link_to, output=folder),
        legend=[(way, *plots.look(i)) for i, way in enumerate(plots.names_of(cells)[0])],
        over_samples=drawn(plots.over_samples, cells, scorers[0]) if several_sizes else [],
        over_seconds=drawn(plots.over_seconds, cells, scorers[0]) if len(cells) > 1 else [],
        by_layer=drawn(plots.by_layer, cells, scorers[0]) if several_layers else [],
        moves=moves(cells),
        thresholds=thresholds(cells),
        roles={figures.role for figures in judged},
        lost=max((figures.lost for figures in judged if figures.lost > 0), default=0.0),
        unlike=unlike(cells),
        **shared,
    )


def drawn(
    draw: Callable[..., plots.Plot], cells: Sequence[Cell], scorer: str
) -> list[tuple[plots.Measure, plots.Plot]]:
    """A plot for each measure that some cell has."""
    measures = [m for m in plots.MEASURES if any(isfinite(m.of(cell, scorer).value) for cell in cells)]
    return [(measure, draw(measure, cells, scorer)) for measure in measures]


def headline(cells: Sequence[Cell], scorer: str) -> list[tuple[str, str, str]]:
    """The best figures, each with the cell that has it."""
    cards = []
    for measure, say in zip(plots.MEASURES, (number, share, number), strict=True):
        known = [(measure.of(cell, scorer).value, cell) for cell in cells]
        known = [item for item in known if isfinite(item[0])]
        if known:
            value, cell = (max if measure.best == "highest" else min)(known, key=lambda item: item[0])
            hint = f"{cell.way} at {plain(cell.layer)}, {cell.n:,} samples"
            cards.append((f"{measure.best} {measure.title}", say(value), hint))
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


# --- The columns of the table ---


CHANGES = ("outside", "whole")  # of the picture; the first that was measured is shown


class Column(NamedTuple):
    """A column of figures.

    Attributes:
        label: its head, as plain text.
        of: a cell's figure.
        say: the figure's numbers in words.
        highest: whether more is better; None where no cell is marked as best.
        hint: a cell's remark, shown when the mouse is over it.
    """

    label: str
    of: Callable[[Cell], Interval]
    say: Callable[[float], str] = number
    highest: bool | None = True
    hint: Callable[[Cell], str] = lambda cell: ""


def column_groups(
    cells: Sequence[Cell], scorers: Sequence[str]
) -> list[tuple[str, str, list[tuple[Column, list[str]]]]]:
    """(scorer, role, columns with a mark for each cell): the figures by each scorer, then what needs none."""
    groups = []
    for i, name in enumerate(scorers):
        role = next(cell.by[name].role for cell in cells if name in cell.by)
        groups.append((name, role, scorer_columns(name, first=i == 0)))
    groups.append(("", "", other_columns(cells)))
    return [(name, role, [(column, marks(column, cells)) for column in columns]) for name, role, columns in groups]


def scorer_columns(name: str, first: bool) -> list[Column]:
    """The figures by one scorer; the first one's say also how many passes hold on a second draw."""

    def leak(cell: Cell) -> str:
        _, edited, other = cell.by[name].worst_leakage if name in cell.by else (UNKNOWN, "", "")
        return f"{plain(edited)} moves {plain(other)}" if other else ""

    def measured(pick: Callable[..., Interval]) -> Callable[[Cell], Interval]:
        return lambda cell: pick(cell.by[name]) if name in cell.by else UNKNOWN

    def corrs(cell: Cell) -> str:
        corr = cell.by[name].corr if name in cell.by else {}
        return ", ".join(f"{plain(key)} {number(value.value)}" for key, value in corr.items())

    again = Column("pass again", measured(lambda figures: Interval(figures.passed_both)), share)
    return [
        Column("sum of r", measured(lambda figures: figures.sum_corr), hint=corrs),
        Column("pass", measured(lambda figures: figures.pass_share), share),
        *([again] if first else []),
        Column("side effect", measured(lambda figures: figures.worst_leakage[0]), highest=False, hint=leak),
    ]


def other_columns(cells: Sequence[Cell]) -> list[Column]:
    """Figures that need no scorer: change of the picture where it was measured, and seconds."""

    def change(part: str) -> Callable[[Cell], Interval]:
        return lambda cell: cell.image_change.get(part, UNKNOWN)

    def seconds(cell: Cell) -> Interval:
        return Interval(cell.seconds.get("finding", math.nan))

    parts = [part for part in CHANGES if any(part in cell.image_change for cell in cells)][:1]
    columns = [Column(f"change {part}", change(part), partial(number, digits=3), highest=False) for part in parts]
    return [*columns, Column("find, s", seconds, short_seconds, highest=None)]


def marks(column: Column, cells: Sequence[Any]) -> list[str]:
    """``best`` for what reads as the best of a column, ``near`` where the interval overlaps with the best one's."""
    figures = [column.of(cell) for cell in cells]
    known = [figure for figure in figures if math.isfinite(figure.value)]
    if column.highest is None or len({column.say(figure.value) for figure in known}) < 2:
        return [""] * len(figures)
    best = (max if column.highest else min)(known, key=lambda figure: figure.value)
    text = column.say(best.value)
    return ["best" if column.say(f.value) == text else "near" if _overlap(f, best) else "" for f in figures]


def _overlap(a: Interval, b: Interval) -> bool:
    return a.low <= b.high and b.low <= a.high  # False where one has no interval


# --- The same faces moved by different methods, side by side: rows cut from the strips that runs have saved ---


MAX_FACES = 3
PAD = 2  # pixels between the faces of a saved strip


class Moves(NamedTuple):
    """Faces along the directions of one property by several cells.

    Attributes:
        property: its name.
        rows: a cell each, with its faces' rows, uint8 ``[faces, R, W, 3]``.
        num_faces: how many faces all of them have, at most ``MAX_FACES``.
        reach: how many sigmas the ends are away from the middle; None where cells differ or say nothing.
    """

    property: str
    rows: list[tuple[Cell, NDArray[np.uint8]]]
    num_faces: int
    reach: float | None


def moves(cells: Sequence[Cell]) -> list[Moves]:
    """For each property the same faces moved by each way of finding at each layer, with its most samples.

    Runs whose strips are missing or cannot be cut are left out.
    """
    shown, made = list(largest(cells).values()), []
    for name in dict.fromkeys(name for cell in shown for name in cell.edited):
        rows = [(cell, cut) for cell in shown if (cut := _saved_rows(cell, name)) is not None]
        if rows:
            num_faces = min(MAX_FACES, *(len(cut) for _, cut in rows))
            reaches = {cell.config.get("strips.reach") for cell, _ in rows}
            reach = reaches.pop() if len(reaches) == 1 else None
            made.append(Moves(name, rows, num_faces, float(reach) if isinstance(reach, int | float) else None))
    return made


def cut_rows(picture: NDArray[np.uint8], columns: int, pad: int = PAD) -> NDArray[np.uint8]:
    """The rows of a saved strip.

    Args:
        picture: uint8 ``[H, W, 3]`` of square faces, ``pad`` pixels between them.
        columns: faces a row.
        pad: pixels between faces.

    Returns:
        uint8 ``[rows, R, W, 3]``, R the side of a face.

    Raises:
        ValueError: if the picture is no such grid.
    """
    height, width = picture.shape[:2]
    side = (width + pad) // columns - pad
    if side < 1 or (width + pad) % columns or (height + pad) % (side + pad):
        raise ValueError(f"a picture of {width}x{height} pixels is no grid of {columns} square faces a row")
    return np.stack([picture[top : top + side] for top in range(0, height, side + pad)])


def _saved_rows(cell: Cell, name: str) -> NDArray[np.uint8] | None:
    columns = cell.config.get("strips.steps")
    path = cell.folder / "strips" / f"strip_{name}.png"
    if not isinstance(columns, int) or not path.is_file():
        return None
    try:
        with Image.open(path) as picture:
            return cut_rows(np.asarray(picture.convert("RGB")), columns)
    except (OSError, ValueError):  # cut off, or of another make: the figures are shown without it
        return None


# --- The leaderboard's figures as a table ---


WHOLE = ("rank", "equivalent_to_w", "n", "num_latents")


def short_seconds(value: float) -> str:
    """Seconds for readers: more digits for less."""
    return number(value, 0 if value >= 10 else 1 if value >= 1 else 2)


def link_to(path: Path, output: Path) -> str:
    """A path as seen from a folder, with forward slashes."""
    return Path(os.path.relpath(path, output)).as_posix()


def write_csv(path: Path, cells: Sequence[Cell], failed: Sequence[FailedCell], scorers: Sequence[str]) -> None:
    """Writes a row a cell, in the order given, then a row a failed one; what was not measured is empty."""
    import pandas as pd  # a second that other commands need not wait

    rows = [_csv_row(rank, cell, scorers, path.parent) for rank, cell in enumerate(cells, start=1)]
    rows += [{"run": link_to(item.folder, path.parent), "failed": f"{item.asked}: {item.word}"} for item in failed]
    table = pd.DataFrame(rows).astype(dict.fromkeys(WHOLE, "Int64"))
    with replacing(path) as partial_path:
        table.to_csv(partial_path, index=False, float_format="%.6g", lineterminator="\n")


def _csv_row(rank: int, cell: Cell, scorers: Sequence[str], output: Path) -> dict[str, Any]:
    row: dict[str, Any] = {"rank": rank, "run": link_to(cell.folder, output), "failed": ""}
    row |= {"method": cell.method, "decorrelate": cell.decorrelate, "metric": cell.metric, "settings": cell.settings}
    row |= {"layer": cell.layer, "equivalent_to_w": int(cell.equivalent_to_w), "n": cell.n}
    row |= {"grid": cell.grid, "num_latents": cell.num_latents}
    for name in scorers:
        figures = cell.by.get(name)
        if figures is None:
            continue
        row[f"{name}/role"] = figures.role
        means = {"sum_corr": figures.sum_corr, "pass_share": figures.pass_share, "sum_abs_corr": figures.sum_abs_corr}
        means |= {f"corr_{key}": value for key, value in figures.corr.items()}
        means |= {f"drift_{key}": value for key, value in figures.drift.items()}
        for key, measured in means.items():
            row |= _spread(f"{name}/{key}", measured)
        row[f"{name}/passed_both"] = figures.passed_both
        for key, (measured, other) in figures.leakage.items():
            row |= {**_spread(f"{name}/leakage_{key}", measured), f"{name}/leakage_{key}_into": other}
        row[f"{name}/lost"] = figures.lost
    for key, changed in cell.image_change.items():
        row |= _spread(f"image_change/{key}", changed)
    return row | {f"seconds/{key}": value for key, value in cell.seconds.items()}


def _spread(name: str, value: Interval) -> Mapping[str, float]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}

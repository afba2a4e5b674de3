"""The table, plots and legend of the leaderboard page, as fragments of HTML. All text is escaped here."""

import math
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

from ohlora_gan.evaluation import leaderboard_plots as plots
from ohlora_gan.evaluation.leaderboard_data import UNKNOWN, Cell, FailedCell, Figure
from ohlora_gan.evaluation.leaderboard_tables import link_to, share, short_seconds
from ohlora_gan.evaluation.report_numbers import number, words

CHANGES = ("outside", "whole")  # of the picture; the first that was measured is shown
STROKES = {"-": "none", "--": "5 3", ":": "1.5 3"}


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
    of: Callable[[Cell], Figure]
    say: Callable[[float], str] = number
    highest: bool | None = True
    hint: Callable[[Cell], str] = lambda cell: ""


def table(cells: Sequence[Cell], scorers: Sequence[str], output: Path) -> str:
    """All cells, best first, with a head that sorts: columns for each scorer, then what needs none."""
    groups = [(name, scorer_columns(name, first=i == 0)) for i, name in enumerate(scorers)]
    groups.append(("", other_columns(cells)))
    columns = [column for _, of_group in groups for column in of_group]
    marks = [_marks(column, cells) for column in columns]
    rows = ""
    for rank, cell in enumerate(cells):
        figures = "".join(_figure_cell(column, cell, mark[rank]) for column, mark in zip(columns, marks, strict=True))
        rows += f"<tr>{_name_cells(rank + 1, cell, output)}{figures}</tr>\n"
    over = "".join(f'<th scope="colgroup" colspan="{len(c)}">{_scorer_head(name, cells)}</th>' for name, c in groups)
    head = "".join(_sorter(label) for label in ("#", "method", "layer", "samples", *(c.label for c in columns)))
    return f"""<div class="scroll" role="region" tabindex="0" aria-label="Leaderboard">
<table class="board"><thead><tr><td colspan="4"></td>{over}</tr><tr>{head}</tr></thead>
<tbody>
{rows}</tbody></table></div>
"""


def scorer_columns(name: str, first: bool) -> list[Column]:
    """The figures by one scorer; the first one's say also how many passes hold on a second draw."""

    def leak(cell: Cell) -> str:
        _, edited, other = cell.by[name].worst_leakage if name in cell.by else (UNKNOWN, "", "")
        return f"{edited} moves {other}".replace("_", " ") if other else ""

    def measured(pick: Callable[..., Figure]) -> Callable[[Cell], Figure]:
        return lambda cell: pick(cell.by[name]) if name in cell.by else UNKNOWN

    def corrs(cell: Cell) -> str:
        corr = cell.by[name].corr if name in cell.by else {}
        return ", ".join(f"{key.replace('_', ' ')} {number(value.value)}" for key, value in corr.items())

    again = Column("pass again", measured(lambda figures: Figure(figures.passed_both)), share)
    return [
        Column("sum of r", measured(lambda figures: figures.sum_corr), hint=corrs),
        Column("pass", measured(lambda figures: figures.pass_share), share),
        *([again] if first else []),
        Column("side effect", measured(lambda figures: figures.worst_leakage[0]), highest=False, hint=leak),
    ]


def other_columns(cells: Sequence[Cell]) -> list[Column]:
    """Figures that need no scorer: change of the picture where it was measured, and seconds."""

    def change(part: str) -> Callable[[Cell], Figure]:
        return lambda cell: cell.image_change.get(part, UNKNOWN)

    def seconds(cell: Cell) -> Figure:
        return Figure(cell.seconds.get("finding", math.nan))

    parts = [part for part in CHANGES if any(part in cell.image_change for cell in cells)][:1]
    columns = [Column(f"change {part}", change(part), _three, highest=False) for part in parts]
    return [*columns, Column("find, s", seconds, short_seconds, highest=None)]


def legend(cells: Sequence[Cell]) -> str:
    """Which line is which way of finding, for all plots."""
    items = ""
    for i, way in enumerate(plots.names_of(cells)[0]):
        color, dashes = plots.look(i)
        line = (
            f'<svg viewBox="0 0 30 8" aria-hidden="true"><line x1="1" y1="4" x2="29" y2="4" stroke-width="2.5" '
            f'stroke="rgb(var(--{color}))" stroke-dasharray="{STROKES[dashes]}"/></svg>'
        )
        items += f"<li>{line}{escape(way)}</li>"
    return f'<ul class="legend">{items}</ul>'


def lines(kind: str, draw: Callable[..., str], cells: Sequence[Cell], scorer: str) -> str:
    """A plot for each measure that some cell has.

    Args:
        kind: unique on the page.
        draw: one of ``over_samples``, ``over_seconds`` and ``by_layer``.
        cells: all cells.
        scorer: whose figures.
    """
    figures = ""
    for i, measure in enumerate(plots.MEASURES):
        if any(math.isfinite(measure.of(cell, scorer).value) for cell in cells):
            title = f"{escape(measure.title.capitalize())} <span>{measure.best} is best</span>"
            plot = draw(f"{kind}-{i}", measure, cells, scorer)
            figures += f'<figure class="plot"><h3>{title}</h3><div class="scroll">{plot}</div></figure>\n'
    return figures


def failures(failed: Sequence[FailedCell], output: Path) -> str:
    """Runs without figures, each with what it was asked for and what is wrong."""
    return "".join(
        f"<li><code>{escape(link_to(item.folder, output))}</code> {escape(item.asked)}: {escape(item.word)}</li>\n"
        for item in failed
    )


def _scorer_head(name: str, cells: Sequence[Cell]) -> str:
    roles = [cell.by[name].role for cell in cells if name in cell.by]
    return f"{escape(name)} <span>{escape(roles[0])}</span>" if roles else ""


def _sorter(label: str) -> str:
    return f'<th scope="col"><button type="button">{escape(label)}</button></th>'


def _name_cells(rank: int, cell: Cell, output: Path) -> str:
    way = escape(cell.way)
    if (cell.folder / "report.html").is_file():
        way = f'<a href="{escape(link_to(cell.folder / "report.html", output))}">{way}</a>'
    layer = words(cell.layer) + (' <span class="badge no">= w</span>' if cell.equivalent_to_w else "")
    return (
        f'<td data-value="{rank}">{rank}</td><th scope="row" data-value="{escape(cell.way)}">{way}</th>'
        f'<td class="name" data-value="{escape(cell.layer)}">{layer}</td><td data-value="{cell.n}">{cell.n:,}</td>'
    )


def _figure_cell(column: Column, cell: Cell, mark: str) -> str:
    figure = column.of(cell)
    interval = ""
    if math.isfinite(figure.low + figure.high):
        low, high = (column.say(value).removesuffix(" %") for value in (figure.low, figure.high))
        interval = f"<small>{low} to {high}</small>"
    value = f"{figure.value:.6g}" if math.isfinite(figure.value) else ""
    hint, kind = column.hint(cell), f' class="{mark}"' if mark else ""
    title = f' title="{escape(hint)}"' if hint else ""
    return f'<td data-value="{value}"{kind}{title}>{column.say(figure.value)}{interval}</td>'


def _marks(column: Column, cells: Sequence[Cell]) -> list[str]:
    """``best`` for what reads as the best of a column, ``near`` where the interval overlaps with the best one's."""
    figures = [column.of(cell) for cell in cells]
    known = [figure for figure in figures if math.isfinite(figure.value)]
    if column.highest is None or len({column.say(figure.value) for figure in known}) < 2:
        return [""] * len(figures)
    best = (max if column.highest else min)(known, key=lambda figure: figure.value)
    text = column.say(best.value)
    return ["best" if column.say(f.value) == text else "near" if _overlap(f, best) else "" for f in figures]


def _overlap(a: Figure, b: Figure) -> bool:
    return a.low <= b.high and b.low <= a.high  # False where one has no interval


def _three(value: float) -> str:
    return number(value, 3)

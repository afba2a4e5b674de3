"""The leaderboard: many judged runs on one self-contained page, and the same figures as CSV and Markdown.

``leaderboard_template.html`` holds the page's words; ``leaderboard_parts``, ``leaderboard_plots`` and
``leaderboard_strips`` make what goes into it.
"""

import math
import os
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from html import escape
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

from ohlora_gan.files import write_records, write_text
from ohlora_gan.judging.grid import DEFAULT_THRESHOLD, PASS_THRESHOLDS
from ohlora_gan.reports import leaderboard_plots as plots
from ohlora_gan.reports.leaderboard_plots import strips
from ohlora_gan.reports.pages import write_page
from ohlora_gan.reports.runs_table import UNKNOWN, Cell, FailedCell, Figure, ranked, scorer_order
from ohlora_gan.reports.sections import card, created
from ohlora_gan.reports.wording import DASH, listed, number, plain, words

ALIKE = ("checkpoint", "scorer", "seed", "properties", "test")
"""Settings that cells have to share to be compared, by the start of their names."""


def write_leaderboard(
    folder: Path, cells: Sequence[Cell], failed: Sequence[FailedCell] = (), judge: str | None = None
) -> Path:
    """Write ``leaderboard.html``, ``.csv`` and ``.md``; returns the page.

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
    folder.mkdir(parents=True, exist_ok=True)
    write_csv(folder / "leaderboard.csv", cells, failed, scorers)
    write_markdown(folder / "leaderboard.md", cells, failed, scorers)
    several_sizes, several_layers = len({cell.n for cell in cells}) > 1, len({cell.layer for cell in cells}) > 1
    fill = {
        "title": "Ways to find directions, compared",
        "subtitle": escape(subtitle(cells, scorers[0])),
        "created": created(datetime.now(timezone.utc).isoformat(timespec="seconds")),
        "headline": "".join(card(*content) for content in headline(cells, scorers[0])),
        "table": table(cells, scorers, folder),
        "failures": failures(failed, folder),
        "legend": legend(cells),
        "samples": lines("samples", plots.over_samples, cells, scorers[0]) if several_sizes else "",
        "seconds": lines("seconds", plots.over_seconds, cells, scorers[0]) if len(cells) > 1 else "",
        "layers": lines("layers", plots.by_layer, cells, scorers[0]) if several_layers else "",
        "strips": strips(cells),
        "judge": escape(scorers[0]),
        "thresholds": escape(thresholds(cells)),
        "notes": "".join(f"<li>{escape(note)}</li>\n" for note in notes(cells, scorers)),
    }
    return write_page(folder / "leaderboard.html", "leaderboard_template.html", fill)


def subtitle(cells: Sequence[Cell], scorer: str) -> str:
    """What is compared, in a line."""

    def count(num: int, what: str) -> str:
        return f"{num} {what}{'' if num == 1 else 's'}"

    ways, layers = plots.names_of(cells)
    sizes = {cell.n for cell in cells}
    said = listed([count(len(ways), "method"), count(len(layers), "layer"), count(len(sizes), "sample size")])
    return f"{count(len(cells), 'cell')}: {said}; ranked by {scorer}"


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


def notes(cells: Sequence[Cell], scorers: Sequence[str]) -> list[str]:
    """What a reader of these cells has to know besides the page's standing words."""
    said = []
    judged = [cell.by[scorers[0]] for cell in cells if scorers[0] in cell.by]
    if all(figures.role != "judging" for figures in judged):
        said.append(
            f"No independent scorer judged these runs: {scorers[0]} also served to find the directions, so its figures "
            f"flatter them."
        )
    grids = {cell.grid for cell in cells}
    if "sigma" in grids:
        said.append(
            "Grid sigma: strengths are in σ of the score, translated for each direction by how far one unit of length "
            "moves the score, so that all methods and layers are asked for the same changes."
        )
    if "reference" in grids:
        said.append(
            "Grid reference: strengths are the published numbers, read as lengths of a unit direction. They differ "
            "between svm and gradient, and the same length is a smaller step in a layer of more numbers (in the "
            "published system 512 at w, 1,024 at mapping_split2, 2,560 at mapping_split1)."
        )
    if len(grids) > 1:
        said.append("Cells of both grids are on this page: compare only cells of the same one.")
    if same := sorted({cell.layer for cell in cells if cell.equivalent_to_w}):
        said.append(
            f"{listed(same)} is marked = w: w is the sum of the two halves of its vector, so an edit (d1, d2) there is "
            f"the edit d1 + d2 at w. The layer can reach nothing that w cannot; differences are those of finding."
        )
    if lost := max((figures.lost for figures in judged if figures.lost > 0), default=0.0):
        said.append(f"{scorers[0]} gave no score to some pictures, to {100 * lost:.1f} % of the worst cell's.")
    if names := unlike(cells):
        said.append(f"The cells differ in {listed(names)}: not all were asked for the same, so compare them with care.")
    return said


def unlike(cells: Sequence[Cell]) -> list[str]:
    """Settings that the cells should share and do not."""
    names = dict.fromkeys(name for cell in cells for name in cell.config if name.partition(".")[0] in ALIKE)
    return [name for name in names if len({str(cell.config[name]) for cell in cells if name in cell.config}) > 1]


# --- The table, plots and legend of the leaderboard page, as fragments of HTML. All text is escaped here ---


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


# --- The leaderboard's figures as files: every figure as CSV, the main ones as Markdown ---


def share(value: float) -> str:
    """``95 %``, with a decimal where it is close to 0 or 1; a dash for what was not measured."""
    if not isfinite(value):
        return DASH
    return f"{100 * value:.0f} %" if 0.1 <= value <= 0.9 or value in (0, 1) else f"{100 * value:.1f} %"


def short_seconds(value: float) -> str:
    """Seconds for readers: more digits for less."""
    return number(value, 0 if value >= 10 else 1 if value >= 1 else 2)


def with_interval(value: Figure, percent: bool = False) -> str:
    """``2.93 (2.90 to 2.95)``."""
    say = share if percent else number
    if not isfinite(value.low + value.high):
        return say(value.value)
    return f"{say(value.value)} ({say(value.low).removesuffix(' %')} to {say(value.high).removesuffix(' %')})"


def link_to(folder: Path, output: Path) -> str:
    """A folder as seen from another one, with forward slashes."""
    return Path(os.path.relpath(folder, output)).as_posix()


def write_csv(path: Path, cells: Sequence[Cell], failed: Sequence[FailedCell], scorers: Sequence[str]) -> Path:
    """A row a cell, in the order given, then a row a failed one; what was not measured is empty."""
    rows = [_csv_row(rank, cell, scorers, path.parent) for rank, cell in enumerate(cells, start=1)]
    rows += [{"run": link_to(item.folder, path.parent), "failed": f"{item.asked}: {item.word}"} for item in failed]
    write_records(path, rows)
    return path


def write_markdown(path: Path, cells: Sequence[Cell], failed: Sequence[FailedCell], scorers: Sequence[str]) -> Path:
    """The main figures as a table, best first, by the first scorer and with two columns of each other one."""
    first, *others = scorers
    head = ["#", "method", "layer", "samples", f"sum of r, {first}", "pass", "worst side effect"]
    for name in others:
        head += [f"sum of r, {name}", "pass"]
    head.append("finding, s")
    lines = [_line(head), _line(["--:", "---", "---", *["--:"] * (len(head) - 3)])]
    for rank, cell in enumerate(cells, start=1):
        lines.append(_line([str(rank), *_markdown_cells(cell, first, others)]))
    lines += [f"\nNot judged: `{item.asked or item.folder.name}` ({item.word})." for item in failed]
    return write_text(path, "\n".join(lines) + "\n")


def _markdown_cells(cell: Cell, first: str, others: Sequence[str]) -> list[str]:
    layer = f"{cell.layer} (= w)" if cell.equivalent_to_w else cell.layer
    texts = [cell.way, layer, f"{cell.n:,}"]
    for name in (first, *others):
        figures = cell.by.get(name)
        texts.append(with_interval(figures.sum_corr) if figures else DASH)
        texts.append(with_interval(figures.pass_share, percent=True) if figures else DASH)
        if name == first:
            texts.append(number(figures.worst_leakage[0].value) if figures else DASH)
    return [*texts, short_seconds(cell.seconds.get("finding", UNKNOWN.value))]


def _line(texts: Sequence[str]) -> str:
    return f"| {' | '.join(text.replace('|', '/') for text in texts)} |"


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
        row[f"{name}/passed_both"] = _plain(figures.passed_both)
        for key, (measured, other) in figures.leakage.items():
            row |= {**_spread(f"{name}/leakage_{key}", measured), f"{name}/leakage_{key}_into": other}
        row[f"{name}/lost"] = _plain(figures.lost)
    for key, changed in cell.image_change.items():
        row |= _spread(f"image_change/{key}", changed)
    return row | {f"seconds/{key}": _plain(value) for key, value in cell.seconds.items()}


def _spread(name: str, value: Figure) -> dict[str, str]:
    return {name: _plain(value.value), f"{name}_low": _plain(value.low), f"{name}_high": _plain(value.high)}


def _plain(value: float) -> str:
    return f"{value:.6g}" if isfinite(value) else ""

"""The leaderboard: many judged runs on one self-contained page, and the same figures as CSV and Markdown.

``leaderboard_template.html`` holds the page's words; ``leaderboard_parts``, ``leaderboard_plots`` and
``leaderboard_strips`` make what goes into it.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from math import isfinite
from pathlib import Path

from ohlora_gan.evaluation import leaderboard_parts as parts
from ohlora_gan.evaluation import leaderboard_plots as plots
from ohlora_gan.evaluation import leaderboard_tables as tables
from ohlora_gan.evaluation.leaderboard_data import Cell, FailedCell, ranked, scorer_order
from ohlora_gan.evaluation.leaderboard_strips import strips
from ohlora_gan.evaluation.page import write_page
from ohlora_gan.evaluation.report_numbers import number
from ohlora_gan.evaluation.report_parts import card, created
from ohlora_gan.evaluation.report_words import listed, plain
from ohlora_gan.evaluation.strengths import DEFAULT_THRESHOLD, PASS_THRESHOLDS

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
    tables.write_csv(folder / "leaderboard.csv", cells, failed, scorers)
    tables.write_markdown(folder / "leaderboard.md", cells, failed, scorers)
    several_sizes, several_layers = len({cell.n for cell in cells}) > 1, len({cell.layer for cell in cells}) > 1
    fill = {
        "title": "Ways to find directions, compared",
        "subtitle": escape(subtitle(cells, scorers[0])),
        "created": created(datetime.now(timezone.utc).isoformat(timespec="seconds")),
        "headline": "".join(card(*content) for content in headline(cells, scorers[0])),
        "table": parts.table(cells, scorers, folder),
        "failures": parts.failures(failed, folder),
        "legend": parts.legend(cells),
        "samples": parts.lines("samples", plots.over_samples, cells, scorers[0]) if several_sizes else "",
        "seconds": parts.lines("seconds", plots.over_seconds, cells, scorers[0]) if len(cells) > 1 else "",
        "layers": parts.lines("layers", plots.by_layer, cells, scorers[0]) if several_layers else "",
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
    for measure, say in zip(plots.MEASURES, (number, tables.share, number), strict=True):
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

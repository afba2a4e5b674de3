"""The dashboard of many runs: one page over run folders, with the sections of the wandb workspace.

``templates/dashboard.html.j2`` holds its words; ``pipelines.dashboard`` reads the folders.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ohlora_gan.reports.leaderboard import LEAK, PASS, SUM, Cell, link_to, ranked, saved_rows, scorer_order
from ohlora_gan.reports.pages import number, plain, share, write_page
from ohlora_gan.reports.plots import Plot

SECTIONS = ("training", "filters", "vectors", "sweep")
"""What dashboards show, in this order."""
STATES = ("done", "running", "unfinished", "failed")
MAX_TRAININGS, MAX_VECTORS = 12, 30
"""Runs that are shown with pictures, the newest, or the best; the table of all runs has the others."""


@dataclass(frozen=True)
class RunRow:
    """A run as its folder tells."""

    folder: Path
    task: str
    what: str
    when: str
    took: str
    figure: str
    state: str  # its first word is one of `STATES`

    @property
    def page(self) -> Path | None:
        """Its report, if it has one."""
        path = self.folder / "report.html"
        return path if path.is_file() else None


@dataclass(frozen=True)
class TrainingCard:
    """A training: what was logged, and its faces if it is a generator's."""

    run: RunRow
    plots: Sequence[tuple[str, Plot]] = ()
    samples: NDArray[np.uint8] | None = None  # ``[H, W, 3]``, the last grid
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class FilterRow:
    """A filter: its figures on pictures that it has not seen, and how many folds it has."""

    run: RunRow
    attribute: str
    figures: Mapping[str, float]  # ``test/auroc``, ``test/accuracy``, ``val/loss``, ...


@dataclass(frozen=True)
class Sweep:
    """The jobs of a sweep: its folder, the judged ones, and how many have no figures."""

    folder: Path
    cells: Sequence[Cell]
    failed: int


@dataclass(frozen=True)
class Dashboard:
    """All that the page shows; a section without runs is left out."""

    root: Path
    runs: Sequence[RunRow]
    training: Sequence[TrainingCard] = ()
    filters: Sequence[FilterRow] = ()
    vectors: Sequence[Cell] = ()
    sweeps: Sequence[Sweep] = ()


def judge_of(cell: Cell) -> str:
    """The scorer that speaks for a run: the first that had no part in finding, where there is one."""
    return scorer_order([cell])[0]


def best_first(cells: Sequence[Cell]) -> list[Cell]:
    """Runs by the sum of correlations, each by its own judge; unmeasured ones last."""
    return sorted(cells, key=lambda cell: -np.nan_to_num(SUM.of(cell, judge_of(cell)).value, nan=-np.inf))


def strips_of(cell: Cell) -> dict[str, NDArray[np.uint8]]:
    """The first face's row along each direction of a run, by property; empty where there are none."""
    rows = {name: saved_rows(cell, name) for name in cell.edited}
    return {name: of[0] for name, of in rows.items() if of is not None and len(of)}


def headline(data: Dashboard) -> list[tuple[str, str, str]]:
    """The cards at the top: how many runs there are and how they are, and the best figures."""
    states = [run.state.partition(":")[0] for run in data.runs]
    counted = ", ".join(f"{states.count(state)} {state}" for state in STATES if state in states)
    cards = [("runs", str(len(data.runs)), counted)]
    judged = [cell for cell in best_first(data.vectors) if cell.by[judge_of(cell)].role == "judging"]
    for cell in judged[:1]:
        hint = f"{cell.way} at {plain(cell.layer)}, by {judge_of(cell)}"
        cards.append(("best sum of correlations", number(SUM.of(cell, judge_of(cell)).value), hint))
    scored = [(card.figures["test/r2_mean"], card) for card in data.training if "test/r2_mean" in card.figures]
    if scored:
        r2, card = max(scored, key=lambda pair: pair[0])
        cards.append(("best scorer’s R²", number(r2, 3), card.run.what))
    told = [(row.figures["test/auroc"], row) for row in data.filters if "test/auroc" in row.figures]
    if told:
        auroc, row = max(told, key=lambda pair: pair[0])
        cards.append(("best filter’s AUROC", number(auroc, 3), row.attribute))
    return cards


def write_dashboard(path: Path, data: Dashboard) -> Path:
    """Writes the page, which needs no other file and no network; links lead to the runs' own pages."""
    vectors = best_first(data.vectors)
    sweeps: list[tuple[Sweep, Cell | None]] = []
    for sweep in data.sweeps:
        ordered = ranked(sweep.cells, scorer_order(sweep.cells)[0]) if sweep.cells else [None]
        sweeps.append((sweep, ordered[0]))
    return write_page(
        path,
        "dashboard.html.j2",
        title="Runs",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        data=data,
        headline=headline(data),
        vectors=[(cell, [measure.of(cell, judge_of(cell)) for measure in (SUM, PASS, LEAK)]) for cell in vectors],
        shown=[(cell, strips) for cell in vectors[:MAX_VECTORS] if (strips := strips_of(cell))],
        sweeps=sweeps,
        judge_of=judge_of,
        sum_of=lambda cell: SUM.of(cell, judge_of(cell)),
        share=share,
        link=lambda target: link_to(target, path.parent),
    )

"""What a leaderboard compares: judged runs of find_vectors.py ("cells"), and their order."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ohlora_gan.judging.figures import Interval
from ohlora_gan.reports.pages import plain

UNKNOWN = Interval(math.nan)


@dataclass(frozen=True)
class ScorerFigures:
    """What one scorer says about a cell.

    Attributes:
        role: ``"judging"`` (played no part in finding) or ``"finding"``.
        corr: edited property -> correlation of the strength asked for and the score measured, -1 to 1.
        sum_corr: the sum of ``corr``, at most the number of edited properties.
        sum_abs_corr: the sum of the correlations' sizes, as published.
        pass_share: share of latents, 0 to 1, that pass the generation test.
        passed_both: of the latents that pass, the share that passes on a second draw too; NaN where unknown.
        leakage: edited property -> (its worst side effect, see ``judging.figures.Leak``: sigmas of another property, 0
            or more, for each sigma asked for; the name of that other property).
        drift: attribute that was not edited -> how many sigmas an edit moves it, 0 or more.
        lost: share of pictures without a score, 0 to 1.
    """

    role: str
    corr: Mapping[str, Interval]
    sum_corr: Interval
    sum_abs_corr: Interval
    pass_share: Interval
    passed_both: float
    leakage: Mapping[str, tuple[Interval, str]]
    drift: Mapping[str, Interval]
    lost: float

    @property
    def worst_leakage(self) -> tuple[Interval, str, str]:
        """(figure, edited property, the other property) of the worst side effect; NaN where none was measured."""
        known = [(value, name, other) for name, (value, other) in self.leakage.items() if math.isfinite(value.value)]
        return max(known, default=(UNKNOWN, "", ""))


@dataclass(frozen=True)
class Cell:
    """One judged run: a way of finding, a layer, a number of samples.

    Attributes:
        folder: the run's folder.
        method: how directions were found.
        layer: which vector is moved.
        n: samples that directions were found with.
        edited: the properties that were edited.
        by: scorer -> what it says.
        decorrelate: ``"none"``, ``"all"`` or the names of the properties that a direction leaves alone.
        metric: how the length of an edit is measured (``"euclid"``, ``"cloud"``, ``"image"``).
        grid: what a strength is: ``"sigma"`` or ``"reference"``.
        num_latents: latents that the figures are over.
        seconds: stage -> seconds.
        equivalent_to_w: whether the layer's edits are w edits.
        image_change: part of the picture -> mean absolute change of a pixel, 0 to 1.
        config: the run's settings by dotted name.
        settings: what sets the cell apart from others of its method, such as ``"seed=1"``.
    """

    folder: Path
    method: str
    layer: str
    n: int
    edited: tuple[str, ...]
    by: Mapping[str, ScorerFigures]
    decorrelate: str = "none"
    metric: str = "euclid"
    grid: str = "sigma"
    num_latents: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    equivalent_to_w: bool = False
    image_change: Mapping[str, Interval] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: str = ""

    @property
    def way(self) -> str:
        """The way of finding in words: all of a cell but layer and number of samples."""
        parts = [plain(self.method)]
        if self.decorrelate != "none":
            parts.append("decorrelated" if self.decorrelate == "all" else f"decorrelated from {self.decorrelate}")
        if self.metric != "euclid":
            parts.append(f"{self.metric} metric")
        return ", ".join([*parts, *([self.settings] if self.settings else [])])


@dataclass(frozen=True)
class FailedCell:
    """A run without figures: its folder, what it was asked for, and a word on what is wrong."""

    folder: Path
    asked: str
    word: str


def scorer_order(cells: Sequence[Cell], judge: str | None = None) -> list[str]:
    """All scorers of some cells: the one that ranks them first, other judging ones next, finding ones last.

    Raises:
        ValueError: if no cell was measured by ``judge``.
    """
    roles: dict[str, str] = {}
    for cell in cells:
        for name, figures in cell.by.items():
            roles.setdefault(name, figures.role)
    names = sorted(roles, key=lambda name: roles[name] != "judging")
    if judge is not None and judge not in names:
        raise ValueError(f"--judge is {judge!r}, expected one of the scorers of these runs: {', '.join(names)}")
    return names if judge is None else [judge, *(name for name in names if name != judge)]


def ranked(cells: Sequence[Cell], scorer: str) -> list[Cell]:
    """Cells from the best to the worst: by the sum of correlations, then by pass share; unmeasured ones last."""

    def key(cell: Cell) -> tuple[float, float]:
        if scorer not in cell.by:
            return math.inf, math.inf
        figures = cell.by[scorer]
        values = figures.sum_corr.value, figures.pass_share.value
        return (-values[0], -values[1]) if math.isfinite(sum(values)) else (math.inf, math.inf)

    return sorted(cells, key=key)


def largest(cells: Sequence[Cell]) -> dict[tuple[str, str], Cell]:
    """(way, layer) -> its cell of most samples, in the order of the cells."""
    found: dict[tuple[str, str], Cell] = {}
    for cell in cells:
        best = found.get((cell.way, cell.layer))
        if best is None or cell.n > best.n:
            found[cell.way, cell.layer] = cell
    return found

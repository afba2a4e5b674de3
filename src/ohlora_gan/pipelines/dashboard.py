"""``ohlora dashboard --local``: reads run folders for one page, with the sections of the wandb workspace."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ohlora_gan.pipelines.compare import flat, read_cell, read_runs
from ohlora_gan.pipelines.runs import JUDGED, METRICS, Run, duration, find_runs, known_settings, read_json
from ohlora_gan.reading import open_picture
from ohlora_gan.reports.dashboard import (
    MAX_TRAININGS,
    Dashboard,
    FilterRow,
    RunRow,
    Sweep,
    TrainingCard,
    write_dashboard,
)
from ohlora_gan.reports.leaderboard import Cell
from ohlora_gan.reports.plots import Plot, curves

CURVES = {
    "Losses": ("train/d_loss", "train/g_loss", "train/loss", "val/loss"),
    "Real or generated (AUROC)": ("train/auroc",),
    "Mean scores": tuple(f"scores/mean/{name}" for name in ("eyes", "mouth", "pose", "quality")),
    "Share explained (R²)": ("val/r2_mean",),
    "Images a second": ("speed/images_per_second",),
}
"""Plots of a training -> the figures in each, those that were logged."""
OF_SWEEPS = ("multirun.yaml", "optimization_results.yaml")
"""What Hydra, or its optuna sweeper, leaves in a sweep's folder."""
SHOWN_FIGURES = ("test/r2_mean", "test/reliability_mean", "test/loss", "val/loss", "train/images_seen")


def local_dashboard(root: Path, output: Path) -> Path:
    """Writes the page of all runs at or below a folder; UserError where there is none."""
    runs = find_runs(root)
    trained = [run for run in runs if run.task == "train"]
    filters = [run for run in trained if known_settings(run.folder).get("attribute")]
    others = [run for run in trained if run not in filters]
    cells = [cell for run in runs if (cell := judged(run)) is not None]
    return write_dashboard(
        output,
        Dashboard(
            root,
            [row(run) for run in reversed(runs)],
            [training_card(run) for run in reversed(others[-MAX_TRAININGS:])],
            [filter_row(run) for run in reversed(filters)],
            cells,
            read_sweeps(root),
        ),
    )


def row(run: Run) -> RunRow:
    when = f"{run.date:%Y-%m-%d %H:%M}"
    return RunRow(run.folder, run.task, run.what, when, duration(run.seconds), run.figure, run.state)


def judged(run: Run) -> Cell | None:
    """The figures of a vector run; None where it has none that can be read."""
    if not (run.folder / JUDGED).is_file():
        return None
    try:
        return read_cell(run.folder, dict(flat(known_settings(run.folder))))
    except ValueError:  # damaged: the table of runs shows it all the same
        return None


def logged(folder: Path) -> pd.DataFrame:
    """All figures that a training has logged, by step; empty where there are none or they cannot be read."""
    tables = [path for path in sorted(folder.glob("csv/**/metrics.csv")) if path.stat().st_size]
    try:
        read = [pd.read_csv(table) for table in tables]
    except (ValueError, OSError):
        return pd.DataFrame()
    found = pd.concat(read) if read else pd.DataFrame()
    return found.set_index("step") if "step" in found else pd.DataFrame()


def plots_of(figures: pd.DataFrame) -> list[tuple[str, Plot]]:
    """A plot for each kind of figures that was logged at two steps or more."""
    made = []
    for title, names in CURVES.items():
        found = figures.reindex(columns=[name for name in names if name in figures]).dropna(how="all")
        if len(found) > 1:
            series = {name.rpartition("/")[2] if "mean/" in name else name: found[name].to_numpy() for name in found}
            made.append((title, curves(found.index.to_numpy(float), series, title)))
    return made


def training_card(run: Run) -> TrainingCard:
    """A training's curves, its last grid of faces, and its main figures."""
    grids = sorted((run.folder / "samples").glob("batch_*.png"))
    samples = None
    if grids:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a picture that is being written
            try:
                with open_picture(grids[-1]) as picture:
                    samples = np.asarray(picture.convert("RGB"))
            except OSError:
                samples = None
    return TrainingCard(row(run), plots_of(logged(run.folder)), samples, shown_figures(run.folder, SHOWN_FIGURES))


def shown_figures(folder: Path, names: Sequence[str]) -> dict[str, float]:
    """Those of some figures that a run's ``metrics.json`` has."""
    metrics = read_json(folder / METRICS)
    return {name: float(metrics[name]) for name in names if isinstance(metrics.get(name), int | float)}


def filter_row(run: Run) -> FilterRow:
    names = ("test/auroc", "test/accuracy", "test/f1", "test/loss", "val/loss", "folds_at_threshold")
    return FilterRow(row(run), str(known_settings(run.folder)["attribute"]), shown_figures(run.folder, names))


def read_sweeps(root: Path) -> list[Sweep]:
    """The sweeps of vector runs at or below a folder, the newest first."""
    found = []
    folders = {path.parent for name in OF_SWEEPS for path in root.rglob(name)}
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime):
        cells, failed = read_runs([folder])
        if cells or failed:
            found.append(Sweep(folder, cells, len(failed)))
    return found[::-1]

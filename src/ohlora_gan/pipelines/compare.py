"""One leaderboard of many runs of find_vectors.py: what ``ohlora compare RUNS`` does.

Writes ``leaderboard.html`` (one self-contained page), ``leaderboard.csv`` (every figure) and ``leaderboard.md`` (a
table for a README). A sweep (``python find_vectors.py -m ...``) does so by itself at its end.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ohlora_gan.pipelines.runs import SETTINGS, read_yaml
from ohlora_gan.reports.leaderboard import write_leaderboard
from ohlora_gan.reports.runs_table import JUDGE_FILE, Cell, FailedCell, read_cell

SAID_OR_IDLE = ("layer", "paths", "command", "device", "logger", "batch_size", "strips", "hydra", "experiment")
"""Settings with a column of their own, or that change no figure."""


def compare_runs(runs: Sequence[str | Path], output: str | Path | None = None, judge: str | None = None) -> Path:
    """Writes the leaderboard of all runs under some folders.

    Args:
        runs: run folders, or folders of run folders such as a sweep's.
        output: where to write; None is the only one of ``runs``.
        judge: the scorer that ranks; None is the first that judges without having been used for finding.

    Returns:
        The page.

    Raises:
        ValueError: if a folder is missing, no run was judged, several folders come without ``output``, or no run was
            measured by ``judge``.
    """
    folders = [Path(path) for path in runs]
    if output is None and len(folders) > 1:
        raise ValueError(f"{len(folders)} folders are compared: say with --output FOLDER where to write")
    cells, failed = read_runs(folders)
    if not cells:
        told = f"; {failed[0].folder}: {failed[0].word}" if failed else ""
        raise ValueError(
            f"no judged run under {', '.join(map(str, folders))}{told}: give run folders of find_vectors.py that hold "
            f"{JUDGE_FILE}"
        )
    return write_leaderboard(Path(output or folders[0]), cells, failed, judge)


def read_runs(folders: Iterable[Path]) -> tuple[list[Cell], list[FailedCell]]:
    """All runs of find_vectors.py in some folders, those with figures and those without.

    Raises:
        ValueError: if a folder is missing.
    """
    cells, failed = [], []
    jobs = [job for folder in folders for job in job_folders(folder)]
    for folder in dict.fromkeys(jobs):
        config = flat_config(folder)
        try:
            cells.append(read_cell(folder, config))
        except ValueError as error:
            failed.append(FailedCell(folder, asked(folder, config), str(error)))
    return with_settings(cells), failed


def job_folders(folder: Path) -> list[Path]:
    """Folders of runs of find_vectors.py, judged or not, at or below a folder.

    Raises:
        ValueError: if there is no such folder.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder, expected a run folder or a folder of runs of find_vectors.py")
    judged = {path.parent for path in folder.rglob(JUDGE_FILE)}
    configs = {path.parent for path in folder.rglob(SETTINGS)}
    begun = {path.parent if path.name == ".hydra" else path for path in configs} - judged
    begun = {path for path in begun if flat_config(path).get("task") == "find_vectors"}
    return sorted(judged | begun, key=lambda path: [(len(part), part) for part in path.parts])  # 2 before 10


def flat_config(folder: Path) -> dict[str, Any]:
    """A run's settings by dotted name; empty where the folder holds none that can be read."""
    for path in (folder / SETTINGS, folder / ".hydra" / SETTINGS):
        try:
            return dict(flat(read_yaml(path)))
        except ValueError:
            continue
    return {}


def flat(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of all leaves of a nested dict."""
    for key, value in content.items() if isinstance(content, dict) else ():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def asked(folder: Path, config: dict[str, Any]) -> str:
    """What a run was asked for: its overrides, else its method, layer and number of samples."""
    try:
        overrides = map(str, read_yaml(folder / ".hydra" / "overrides.yaml"))
        return " ".join(text for text in overrides if not text.startswith("paths."))
    except ValueError:
        known = {"method": config.get("method.name"), "layer": config.get("layer.name"), "n": config.get("n")}
        return " ".join(f"{name}={value}" for name, value in known.items() if value is not None)


def with_settings(cells: Sequence[Cell]) -> list[Cell]:
    """Cells that say in which further settings they differ from others of the same method."""
    named = []
    for cell in cells:
        others = [other for other in cells if other.method == cell.method and other.config]
        varying = [
            name
            for name, value in cell.config.items()
            if not is_shown(name) and any(other.config.get(name, value) != value for other in others)
        ]
        settings = ", ".join(f"{name.rpartition('.')[2]}={cell.config[name]}" for name in varying)
        named.append(replace(cell, settings=settings))
    return named


def is_shown(name: str) -> bool:
    """Whether the leaderboard says a setting elsewhere, or need not say it."""
    first, last = name.partition(".")[0], name.rpartition(".")[2]
    return name in ("n", "method.name", "metric.name") or first in SAID_OR_IDLE or last in ("decorrelate", "metric")

"""The leaderboard's figures as files: every figure as CSV, the main ones as Markdown."""

import os
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from ohlora_gan.csv_table import write_records
from ohlora_gan.evaluation.leaderboard_data import UNKNOWN, Cell, FailedCell, Figure
from ohlora_gan.evaluation.report_numbers import DASH, number
from ohlora_gan.files import write_text


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

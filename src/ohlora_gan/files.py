"""Files that are whole at any moment: a new one takes the old one's place when all of it has been written."""

import csv
import json
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A file beside ``path`` to write to, which becomes ``path`` when the block ends; its folder is made if needed.

    After an error ``path`` is as it was before. So it is in a process that is killed, which leaves
    ``NAME.PROCESS.partial`` behind; nothing reads that.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if str(error.filename) != str(partial):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error  # which users know
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Writes a text in UTF-8."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return Path(path)


def write_json(path: str | Path, content: Any) -> Path:
    """Writes plain data as JSON; numbers of other kinds, such as numpy's, become floats."""
    return write_text(path, json.dumps(content, indent=2, default=float) + "\n")


# --- CSV tables read strictly: what is cut off, misplaced or no number is named with its file, line and c ---


SHOWN = 8


class TableError(ValueError):
    """A table that cannot be used, with the reason."""


@dataclass(frozen=True)
class CsvTable:
    """A header of different names, and rows of as many cells.

    Attributes:
        path: the file.
        header: the columns' names; one may be empty.
        rows: at least one, of text; the first is line 2 of the file.
    """

    path: Path
    header: list[str]
    rows: list[list[str]]

    def require(self, columns: Iterable[str]) -> None:
        """Raises TableError where columns are missing."""
        known = set(self.header)
        missing = [name for name in columns if name not in known]
        if missing:
            raise TableError(f"{self.path} has the columns {shown(self.header)}, it lacks {shown(missing)}")

    def column(self, name: str) -> list[str]:
        """The cells of a column as text."""
        self.require([name])
        place = self.header.index(name)
        return [row[place] for row in self.rows]

    def numbers(self, columns: Sequence[str], unknown: Collection[str] = ()) -> np.ndarray:
        """The cells of some columns as float64 ``[N, len(columns)]``; cells in ``unknown`` become NaN."""
        self.require(columns)
        places = {name: i for i, name in enumerate(self.header)}
        values = [
            [np.nan if row[places[n]] in unknown else self._number(row[places[n]], line, n) for n in columns]
            for line, row in enumerate(self.rows, start=2)
        ]
        return np.array(values, dtype=np.float64).reshape(len(self.rows), len(columns))

    def integers(self, name: str) -> np.ndarray:
        """The cells of a column as int64 ``[N]``."""
        values = self.numbers([name])[:, 0]
        for line, value in enumerate(values.tolist(), start=2):
            if value != int(value):
                raise TableError(f"{self.path}, line {line}, column {name!r}: {value:g} is no whole number")
        return values.astype(np.int64)

    def _number(self, cell: str, line: int, column: str) -> float:
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise TableError(f"{self.path}, line {line}, column {column!r}: {cell!r} is no finite number")
        return value


def read_table(path: str | Path, ends: bool = False) -> CsvTable:
    """Reads a CSV in UTF-8 with a header.

    Args:
        path: the file.
        ends: whether the last line has to end, so that a last number that lost digits is noticed.

    Raises:
        TableError: if the file is missing, empty, no text, cut off, or has a column's name twice.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
        lines = list(csv.reader(text.splitlines(), strict=True))
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}): give a CSV file") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise TableError(f"{path} is no CSV in UTF-8, or is damaged: {error}") from error
    if len(lines) < 2:
        raise TableError(f"{path} holds {len(lines)} lines, expected a header and at least one row: it is cut off")
    header, rows = lines[0], lines[1:]
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise TableError(
                f"{path}, line {line}: {len(row)} cells, expected {len(header)} as in the header: is it cut off?"
            )
    twice = [name for name, count in Counter(header).items() if count > 1]
    if twice:
        raise TableError(f"{path} has the columns {shown(twice)} more than once: remove one of each")
    if ends and not text.endswith(("\n", "\r")):
        raise TableError(f"{path}: the last line does not end, so the file may be cut off: get a whole copy")
    return CsvTable(path, header, rows)


def write_rows(path: str | Path, rows: Iterable[Sequence[Any]]) -> None:
    """Writes rows, the header first; the folder is made where there is none."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def write_records(path: str | Path, records: Sequence[Mapping[str, Any]], columns: Sequence[str] = ()) -> None:
    """Writes mappings from columns to cells as rows; a cell that one lacks is empty.

    Args:
        path: the file.
        records: a row each.
        columns: those that are written; by default all, in the order in which they first come.
    """
    columns = columns or list(dict.fromkeys(name for record in records for name in record))
    write_rows(path, [columns, *([record.get(name, "") for name in columns] for record in records)])


def shown(names: Sequence[str]) -> str:
    """The first of some names, for a sentence."""
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + rest


# --- Result tables of the published Oh-LoRA system, read and checked: tests of latents, sweeps, medians,  ---


UNGROUPED = "all"
SUM_TOLERANCE = 1e-3  # of sums of numbers with four decimals
RENAMED = {"background_score": "background_mean"}
STATISTICS = ("mean", "median")
LOG_COUNTS = ("epoch", "idx", "d_train_count", "g_train_count")
LOG_COLUMNS = (*LOG_COUNTS, "d_loss", "g_loss", "real_scores_mean", "fake_scores_mean", "real_fake_auroc")


@dataclass(frozen=True)
class CaseTable:
    """The image generation test, one row a latent.

    Attributes:
        cases: number of each latent among those tested, int64 ``[N]``, ascending.
        groups: the latents' groups, ``[N]``.
        passed: bool ``[N]``.
        corrs: correlation of intended strength and measured score by property, float64 ``[N]`` with four decimals;
            NaN where undefined. The published vectors found by SVM lower the score, so theirs are negative.
    """

    cases: np.ndarray
    groups: list[str]
    passed: np.ndarray
    corrs: dict[str, np.ndarray]

    @property
    def sum_abs_corr(self) -> np.ndarray:
        """Sum of the absolute correlations, float64 ``[N]``; an undefined one counts as 0."""
        return np.nan_to_num(np.abs(list(self.corrs.values()))).sum(axis=0)


def write_case_table(path: str | Path, table: CaseTable) -> None:
    """Writes ``test_result_*.csv``: one row a latent, ``O`` passed, ``X`` did not, four decimals."""
    columns = [table.cases.tolist(), table.groups, ["O" if passed else "X" for passed in table.passed]]
    numbers = [*table.corrs.values(), table.sum_abs_corr if table.corrs else np.empty(0)]
    columns += [[round(value, 4) for value in column.tolist()] for column in numbers]
    header = ["case", "svm_group_name", "passed", *(f"{name}_corr" for name in table.corrs), "sum_abs_corr"]
    write_rows(path, [header, *zip(*columns, strict=True)])


def read_cases(path: str | Path) -> CaseTable:
    """Reads ``test_result_*.csv`` or ``ohlora_*_group_names_*.csv``, with or without a column ``vector_no``.

    Raises:
        TableError: if the file is damaged, lacks columns, or its numbers contradict each other.
    """
    table = read_table(path)
    group_column = "group_name" if "group_name" in table.header else "svm_group_name"
    edited = [name.removesuffix("_corr") for name in table.header if re.fullmatch("(?!sum_abs).+_corr", name)]
    table.require(["case", group_column, "passed", "sum_abs_corr"])
    if not edited:
        raise TableError(f"{path} has the columns {shown(table.header)}, expected one such as 'eyes_corr' among them")
    _check_cells(table, "passed", ("O", "X"))
    cases, groups = table.integers("case"), table.column(group_column)
    check_groups(groups, path)
    if (np.diff(cases) <= 0).any() or cases[0] < 0:
        raise TableError(f"{path}, column 'case': expected numbers that rise from row to row")
    corrs = table.numbers([f"{name}_corr" for name in edited], unknown=("nan",))
    if (np.abs(corrs) > 1).any():
        raise TableError(f"{path}: a correlation is outside -1 to 1")
    _check_sum(table, np.abs(np.nan_to_num(corrs)), "sum_abs_corr")
    passed = np.array([cell == "O" for cell in table.column("passed")])
    return CaseTable(cases, groups, passed, dict(zip(edited, corrs.T, strict=True)))


def check_groups(names: Iterable[str], source: str | Path) -> None:
    """Raises TableError where group names are not all ``all``, or all of the letters h and l and equally long."""
    names = sorted(set(names))
    odd = [name for name in names if not re.fullmatch("[hl]+", name)]
    if names == [UNGROUPED] or (not odd and len({len(name) for name in names}) == 1):
        return
    raise TableError(
        f"{source} names the groups {shown(odd or names)}, expected names such as 'hllh', of the letters h and l and "
        f"equally long, or 'all' alone"
    )


def read_sweep(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a sweep over sample sizes: column name -> float64 ``[N]``, one row a size; NaN stands for ``-``.

    Raises:
        TableError: if the file is damaged, lacks columns, or a sum of correlations is not their sum.
    """
    table = read_table(path)
    table.require(["n", "time", "sum_mean_corr"])
    columns = [name for name in table.header if name]
    means = [name for name in columns if name.endswith("_mean_corr") and name != "sum_mean_corr"]
    _check_sum(table, table.numbers(means), "sum_mean_corr")
    return dict(zip(columns, table.numbers(columns, unknown=("-",)).T, strict=True))


def read_medians(path: str | Path, statistic: str = "median") -> dict[str, float]:
    """Reads ``property_scores_mean_and_median.csv``: property -> median (or mean) of its normalised score.

    The order of the columns is that of the letters of group names. ``background_score`` is ``background_mean``.

    Raises:
        TableError: if the file is damaged, or lacks the statistic.
    """
    table = read_table(path)
    kinds = table.column("value_type")
    if kinds.count(statistic) != 1:
        raise TableError(f"{path} has the rows {shown(kinds)}, expected one {statistic!r} among them")
    names = [name for name in table.header if name != "value_type"]
    values = table.numbers(names)[kinds.index(statistic)].tolist()
    return {RENAMED.get(name, name): value for name, value in zip(names, values, strict=True)}


def read_training_log(path: str | Path) -> dict[str, np.ndarray]:
    """Reads ``finetune_v9_train_log.csv``: column name -> ``[N]``, int64 where it counts, else float64.

    Raises:
        TableError: if the file is damaged, lacks columns, or does not go on from row to row.
    """
    table = read_table(path)
    table.require(LOG_COLUMNS)
    columns = [name for name in table.header if name]
    log = dict(zip(columns, table.numbers(columns).T, strict=True))
    log |= {name: table.integers(name) for name in LOG_COUNTS}
    steps = list(zip(log["epoch"].tolist(), log["idx"].tolist(), strict=True))
    if any(later <= earlier for earlier, later in pairwise(steps)):
        raise TableError(f"{path}: epoch and idx do not rise from row to row")
    return log


def _check_cells(table: CsvTable, column: str, expected: Sequence[str]) -> None:
    for line, cell in enumerate(table.column(column), start=2):
        if cell not in expected:
            raise TableError(f"{table.path}, line {line}, column {column!r}: {cell!r}, expected {shown(expected)}")


def _check_sum(table: CsvTable, parts: np.ndarray, column: str) -> None:
    off = np.abs(parts.sum(axis=1) - table.numbers([column])[:, 0]) > SUM_TOLERANCE
    if off.any():
        line = int(np.flatnonzero(off)[0]) + 2
        raise TableError(f"{table.path}, line {line}: {column} is not the sum of the row's correlations")
